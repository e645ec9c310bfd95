//! A completion of a text, whole or in chunks.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::chat::{finish_reason, usage};
use super::gathered::Gathered;
use super::{About, Content, Voice, append, data, text};
use crate::answer::{Begin, End, Piece, Stop};
use crate::record::line;
use crate::refusal::{Family, Refusal};

pub(super) struct Completions {
    about: About,
    /// How much text each choice has had, in characters, for where its tokens stand.
    written: Vec<usize>,
    /// Of each choice of an answer that is gathered.
    logprobs: Vec<Lists>,
}

/// The members of a choice's log-probabilities, each a list that is written as it will be shown.
type Lists = BTreeMap<String, String>;

impl Completions {
    pub fn new(about: About) -> Self {
        Self {
            about,
            written: Vec::new(),
            logprobs: Vec::new(),
        }
    }

    fn chunk(&self, choice: u32, text: &str, logprobs: Value, finish_reason: Value) -> String {
        let choice = json!({
            "index": choice,
            "text": text,
            "logprobs": logprobs,
            "finish_reason": finish_reason,
        });
        let mut chunk = self.envelope(json!([choice]));
        if self.about.include_usage {
            chunk["usage"] = Value::Null;
        }
        data(&chunk)
    }

    fn envelope(&self, choices: Value) -> Value {
        json!({
            "id": format!("cmpl-{}", self.about.id),
            "object": "text_completion",
            "created": self.about.created,
            "model": self.about.model,
            "choices": choices,
        })
    }

    /// In the upstream's words, or in ours.
    fn logprobs_of(&mut self, piece: &mut Piece) -> Value {
        let native = piece.native.take();
        let native = native.map(|mut native| native["choices"][0]["logprobs"].take());
        match native {
            Some(native) if piece.logprobs.is_empty() => native,
            _ => logprobs(&piece.text, &piece.logprobs, self.written(piece.choice)),
        }
    }

    fn written(&mut self, choice: u32) -> &mut usize {
        let choice = choice as usize;
        if self.written.len() <= choice {
            self.written.resize(choice + 1, 0);
        }
        &mut self.written[choice]
    }
}

impl Voice for Completions {
    fn begin(&mut self, _: &Begin) -> String {
        String::new()
    }

    fn piece(&mut self, mut piece: Piece) -> String {
        let logprobs = self.logprobs_of(&mut piece);
        match piece.text.is_empty() && logprobs.is_null() {
            true => String::new(),
            false => self.chunk(piece.choice, &piece.text, logprobs, Value::Null),
        }
    }

    fn end(&mut self, end: End) -> String {
        let mut text = String::new();
        for (choice, stop) in end.stops.iter().enumerate() {
            let reason = finish_reason(stop).into();
            text.push_str(&self.chunk(choice as u32, "", Value::Null, reason));
        }
        if self.about.include_usage {
            let mut chunk = self.envelope(json!([]));
            chunk["usage"] = usage(end.usage);
            text.push_str(&data(&chunk));
        }
        text.push_str("data: [DONE]\n\n");
        text
    }

    fn fail(&mut self, refusal: &Refusal) -> String {
        data(&refusal.body_on(Family::OpenAI))
    }

    fn ping(&self) -> &'static str {
        ": ping\n\n"
    }

    fn gather(&mut self, piece: &mut Piece) -> usize {
        let said = self.logprobs_of(piece);
        piece.logprobs = Vec::new();
        let choice = piece.choice as usize;
        if self.logprobs.len() <= choice {
            self.logprobs.resize(choice + 1, Lists::new());
        }
        let mut bytes = 0;
        for (member, values) in said.as_object().into_iter().flatten() {
            let list = self.logprobs[choice].entry(member.clone()).or_default();
            for value in values.as_array().into_iter().flatten() {
                bytes += append(list, value);
            }
        }
        bytes
    }

    fn restart(&mut self) {
        self.logprobs.clear();
        self.written.clear();
    }

    fn whole(&mut self, gathered: Gathered, end: &End) -> Content {
        let mut logprobs = std::mem::take(&mut self.logprobs);
        logprobs.resize(gathered.choices.len(), Lists::new());
        let choices = gathered.choices.into_iter().zip(logprobs).enumerate();
        let choices = choices.map(|(index, (choice, lists))| {
            let stop = end.stops.get(index).unwrap_or(&Stop::Turn);
            let head = json!({
                "index": index, "text": choice.text, "finish_reason": finish_reason(stop),
            });
            let lists: Vec<_> = lists
                .iter()
                .map(|(member, list)| (member.as_str(), format!("[{list}]")))
                .collect();
            let logprobs = match lists.is_empty() {
                true => "null".to_owned(),
                false => line("{}", &lists),
            };
            line(&text(&head), &[("logprobs", logprobs)])
        });
        let choices = format!("[{}]", choices.collect::<Vec<_>>().join(","));
        let mut envelope = self.envelope(Value::Null);
        envelope["usage"] = usage(end.usage);
        if let Some(envelope) = envelope.as_object_mut() {
            envelope.shift_remove("choices");
        }
        Content::Text(line(&text(&envelope), &[("choices", choices)]))
    }
}

/// The older form of log-probabilities: a list for each of their members. `written` is where the
/// first of them stands, and then where the next one will; `text` is what they are shown with.
fn logprobs(text: &str, tokens: &[Value], written: &mut usize) -> Value {
    if tokens.is_empty() {
        return Value::Null;
    }
    let (mut names, mut values, mut tops, mut offsets) = (vec![], vec![], vec![], vec![]);
    for token in tokens {
        let name = token["token"].as_str().unwrap_or_default();
        names.push(Value::from(name));
        values.push(token["logprob"].clone());
        tops.push(likeliest(name, token));
        offsets.push(Value::from(*written));
        // What a tokenizer puts before a prompt is not in its text.
        if !token["logprob"].is_null() || text.starts_with(name) {
            *written += name.chars().count();
        }
    }
    json!({
        "tokens": names,
        "token_logprobs": values,
        "top_logprobs": tops,
        "text_offset": offsets,
    })
}

/// By their names, what could have been in a token's place, and itself.
fn likeliest(name: &str, token: &Value) -> Value {
    let Some(others) = token["top_logprobs"].as_array() else {
        return Value::Null;
    };
    let mut likeliest = Map::new();
    for other in others {
        let name = other["token"].as_str().unwrap_or_default();
        // Of two tokens that look alike, the likelier is shown.
        likeliest
            .entry(name)
            .or_insert_with(|| other["logprob"].clone());
    }
    likeliest.insert(name.to_owned(), token["logprob"].clone());
    Value::Object(likeliest)
}
