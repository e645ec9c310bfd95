//! `/v1/completions`: text goes on, as before there were chats.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::chat::{MOST_CHOICES, MOST_STOPS};
use super::logprobs::Logprobs;
use super::usage::usage;
use super::{check_length, said, server_error};
use crate::answer::{Answer, Ending, alternative};
use crate::ask::Ask;
use crate::events::{Beat, End, Events, Style, in_turns};
use crate::intake::{self, Received};
use crate::pieces::pieces;
use crate::prompt::Input;
use crate::refusal::Refusal;
use crate::spoil::Whole;
use crate::{StandIn, fields};

const MOST_PROMPTS: usize = 16;

/// What is written where nobody says how much.
const TOKENS: u64 = 16;

pub(crate) async fn completions(
    State(stand_in): State<Arc<StandIn>>,
    request: Request,
) -> Response {
    let received = intake::receive(&stand_in, request).await;
    said(received.and_then(|received| complete(&stand_in, &received)))
}

/// One text that is gone on with.
struct Choice {
    /// The prompt too, where it is echoed.
    pieces: Vec<String>,
    finish: &'static str,
}

struct Envelope<'a> {
    id: String,
    created: u64,
    model: &'a str,
    /// None where they are not wanted.
    logprobs: Option<Logprobs>,
    has_usage: bool,
    is_echoed: bool,
    usage: Value,
}

fn complete(stand_in: &StandIn, received: &Received) -> Result<Response, Refusal> {
    let body = &received.body;
    fields::refuse(
        body,
        &["suffix", "best_of"],
        "not supported by the stand-in",
    )?;
    let model = fields::required_text(body, "model")?;
    let (choices, input, written) = choices(stand_in, body)?;
    let options = fields::field(body, "stream_options")
        .cloned()
        .unwrap_or_default();
    let top = fields::number(body, "logprobs", 0..=5)?;
    let envelope = Envelope {
        id: format!("cmpl-stand-in-{}", received.number),
        created: stand_in.now(),
        model,
        logprobs: Logprobs::of(top.map(|top| top as usize), &received.headers)?,
        has_usage: options["include_usage"] == true,
        is_echoed: fields::flag(body, "echo")? == Some(true),
        usage: usage(&input, written, 0),
    };
    let error = server_error(received.trouble());
    if fields::flag(body, "stream")? == Some(true) {
        let events = envelope.events(&choices, error);
        return Ok(received.stream(events, stand_in.pace));
    }
    received.whole(Whole {
        body: envelope.whole(&choices),
        error,
    })
}

/// Every prompt's choices, what the prompts cost, and how many tokens were written.
fn choices(
    stand_in: &StandIn,
    body: &Map<String, Value>,
) -> Result<(Vec<Choice>, Input, u64), Refusal> {
    let prompts = fields::texts(body, "prompt", MOST_PROMPTS)?;
    if prompts.is_empty() {
        return Err(Refusal::of("prompt", "field required"));
    }
    let count = fields::number(body, "n", 1..=MOST_CHOICES)?.unwrap_or(1);
    let is_echoed = fields::flag(body, "echo")? == Some(true);
    let max_tokens = fields::number(body, "max_tokens", 0..=u64::MAX)?.unwrap_or(TOKENS);
    let stops = fields::texts(body, "stop", MOST_STOPS)?;
    let (mut choices, mut input, mut written) = (Vec::new(), Input::default(), 0);
    for prompt in prompts {
        let mut ask = Ask {
            question: prompt,
            stops: stops.clone(),
            max_tokens: Some(max_tokens),
            ..Ask::default()
        };
        ask.prompt.push(&ask.question, 0, "prompt");
        check_length(&ask, "prompt")?;
        let cost = stand_in.prompts.unmarked(&ask.prompt);
        input.tokens += cost.tokens;
        input.read += cost.read;
        input.written += cost.written;
        let answer = Answer::to(&ask, &stand_in.desk);
        for index in 0..count {
            let answer = answer.choice(index, &ask);
            written += answer.tokens();
            choices.push(choice(&answer, is_echoed.then_some(&ask.question)));
        }
    }
    Ok((choices, input, written))
}

fn choice(answer: &Answer, echoed: Option<&String>) -> Choice {
    let said = answer
        .parts
        .iter()
        .flat_map(|part| part.pieces().iter().cloned());
    Choice {
        pieces: echoed
            .map_or(Vec::new(), |prompt| pieces(prompt))
            .into_iter()
            .chain(said)
            .collect(),
        finish: match answer.ending {
            Ending::Length => "length",
            _ => "stop",
        },
    }
}

impl Envelope<'_> {
    fn whole(&self, choices: &[Choice]) -> Value {
        let choices = choices.iter().enumerate().map(|(index, choice)| {
            let logprobs = self.logprobs(&choice.pieces, 0);
            shown(
                index,
                &choice.pieces.concat(),
                logprobs,
                Some(choice.finish),
            )
        });
        let mut body = self.envelope(choices.collect());
        body["usage"] = self.usage.clone();
        body
    }

    fn events(&self, choices: &[Choice], error: Value) -> Events {
        let beats = choices
            .iter()
            .enumerate()
            .map(|(index, choice)| self.beats(index, choice));
        let mut tail: Vec<Value> = choices
            .iter()
            .enumerate()
            .map(|(index, choice)| {
                self.chunk(vec![shown(index, "", Value::Null, Some(choice.finish))])
            })
            .collect();
        if self.has_usage {
            let mut last = self.envelope(Vec::new());
            last["usage"] = self.usage.clone();
            tail.push(last);
        }
        Events {
            style: Style::Plain,
            head: Vec::new(),
            middle: in_turns(beats.collect()),
            tail,
            end: End::Done,
            refusal: error.clone(),
            error,
        }
    }

    fn beats(&self, index: usize, choice: &Choice) -> Vec<Beat> {
        let mut offset = 0;
        let beat = |piece: &String| {
            let logprobs = self.logprobs(std::slice::from_ref(piece), offset);
            offset += piece.chars().count();
            Beat::piece(self.chunk(vec![shown(index, piece, logprobs, None)]))
        };
        choice.pieces.iter().map(beat).collect()
    }

    fn envelope(&self, choices: Vec<Value>) -> Value {
        json!({
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.model,
            "system_fingerprint": "fp_stand_in",
            "choices": choices,
        })
    }

    fn chunk(&self, choices: Vec<Value>) -> Value {
        let mut chunk = self.envelope(choices);
        if self.has_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }

    /// Log-probabilities of pieces of which the first begins at character `offset`; of a prompt's
    /// first there is none.
    fn logprobs(&self, pieces: &[String], offset: usize) -> Value {
        let Some(told) = self.logprobs else {
            return Value::Null;
        };
        let offsets = pieces.iter().scan(offset, |at, piece| {
            let here = *at;
            *at += piece.chars().count();
            Some(here)
        });
        let is_first = |at: usize| self.is_echoed && offset == 0 && at == 0;
        let tops = pieces.iter().enumerate().map(|(at, piece)| {
            let ranks =
                (0..told.top).map(|rank| (alternative(piece, rank), json!(told.at(piece, rank))));
            let ranks: Map<_, _> = ranks.collect();
            (!is_first(at)).then_some(ranks)
        });
        let likely = pieces.iter().enumerate();
        let likely = likely.map(|(at, piece)| (!is_first(at)).then(|| told.at(piece, 0)));
        json!({
            "tokens": pieces,
            "token_logprobs": likely.collect::<Vec<_>>(),
            "top_logprobs": tops.collect::<Vec<_>>(),
            "text_offset": offsets.collect::<Vec<_>>(),
        })
    }
}

fn shown(index: usize, text: &str, logprobs: Value, finish: Option<&str>) -> Value {
    json!({"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish})
}
