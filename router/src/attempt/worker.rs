//! An attempt at a replica of ours, over gRPC: what comes back, with its evidence.

mod request;

use std::time::Duration;

use serde_json::{Value, json};
use tonic::{Code, Request, Status, Streaming};
use tracing::Span;
use weir_cascade::Token;
use weir_process::traces;
use weir_worker_api as api;
use weir_worker_api::generate_event::Event;
use weir_worker_api::worker_client::WorkerClient;

use super::{Arrival, Finish};
use crate::answer::{CallPiece, Piece, Stop, Usage};
use crate::ask::Ask;
use crate::refusal::Failure;
use crate::replicas::Lease;
pub(crate) use request::{prompt, said};

/// An impossible token: JSON has no infinity.
const LEAST_LOGPROB: f32 = -9999.0;

/// An answer on its way from a replica. Dropping it cancels the work there.
pub(crate) struct Source {
    stream: Streaming<api::GenerateEvent>,
    tier: String,
    usage: Usage,
    /// Of each choice, once it has ended.
    stops: Vec<Option<Stop>>,
    /// Log-probabilities were asked for.
    shows_logprobs: bool,
    /// Held for as long as the replica works.
    _lease: Lease,
}

/// What an attempt at a replica needs.
pub(crate) struct Call<'a> {
    pub tier: &'a str,
    /// What the worker must serve, a deployment or one of its adapters: an address may have gone to a
    /// worker of another one.
    pub model: &'a str,
    /// Hashed. Replicas let tenants take turns, and share no beginnings of prompts across them.
    pub tenant: &'a str,
}

/// Asks the replica of `lease`.
pub(crate) async fn open(lease: Lease, call: Call<'_>, ask: &Ask) -> Result<Source, Failure> {
    let tier = call.tier;
    let mut request = Request::new(request::generate(&call, ask));
    traces::inject(&Span::current(), request.metadata_mut().as_mut());
    let mut client = WorkerClient::new(lease.channel.clone())
        .max_decoding_message_size(api::MAX_MESSAGE_BYTES)
        .max_encoding_message_size(api::MAX_MESSAGE_BYTES);
    match client.generate(request).await {
        Ok(response) => Ok(Source {
            stream: response.into_inner(),
            tier: tier.to_owned(),
            usage: Usage::default(),
            stops: vec![None; ask.choices.max(1) as usize],
            shows_logprobs: ask.logprobs.is_some(),
            _lease: lease,
        }),
        Err(status) => Err(failure(tier, &status, false)),
    }
}

/// Has vectors made by the replica of `lease`.
pub(crate) async fn embed(
    lease: Lease,
    call: Call<'_>,
    ask: &Ask,
) -> Result<(Piece, Finish), Failure> {
    let mut request = Request::new(request::embed(&call, ask));
    traces::inject(&Span::current(), request.metadata_mut().as_mut());
    let mut client = WorkerClient::new(lease.channel.clone())
        .max_decoding_message_size(api::MAX_MESSAGE_BYTES)
        .max_encoding_message_size(api::MAX_MESSAGE_BYTES);
    let made = client.embed(request).await;
    let made = made.map_err(|status| failure(call.tier, &status, false))?;
    let made = made.into_inner();
    let vectors = made.vectors.into_iter().map(|vector| vector.values);
    let piece = Piece {
        vectors: vectors.collect(),
        ..Piece::default()
    };
    let usage = Usage {
        prompt: u64::from(made.prompt_tokens),
        ..Usage::default()
    };
    let finish = Finish {
        stops: vec![Stop::Turn],
        usage,
        native: None,
    };
    Ok((piece, finish))
}

impl Source {
    /// What comes next. Cancelling it between two arrivals loses nothing.
    pub async fn next(&mut self) -> Result<Arrival, Failure> {
        loop {
            let message = self.stream.message().await;
            let message = message.map_err(|status| failure(&self.tier, &status, true))?;
            // A stream that ends without having said so has lost its worker.
            let event = message.ok_or_else(|| Failure::Lost {
                tier: self.tier.clone(),
            })?;
            match event.event {
                Some(Event::Started(started)) => {
                    self.usage.prompt = started.prompt_ids.len() as u64;
                    self.usage.cached = u64::from(started.cached_tokens);
                }
                Some(Event::Tokens(tokens)) => return Ok(arrival(tokens, self.shows_logprobs)),
                Some(Event::Finished(finished)) => {
                    if let Some(finish) = self.finished(&finished) {
                        return Ok(Arrival::Finished(finish));
                    }
                }
                // Nobody asks for it here.
                Some(Event::Prompt(_)) | None => {}
            }
        }
    }

    /// What is known of the tokens so far.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Takes the end of one choice; gives the end of the answer when all have ended.
    fn finished(&mut self, finished: &api::Finished) -> Option<Finish> {
        self.usage.prompt = u64::from(finished.prompt_tokens);
        self.usage.completion += u64::from(finished.completion_tokens);
        let stop = match finished.reason() {
            api::FinishReason::Length => Stop::Length,
            api::FinishReason::ToolCalls => Stop::Calls,
            api::FinishReason::Stop | api::FinishReason::Unspecified => match &finished.stop {
                Some(stop) => Stop::Sequence(Some(stop.clone())),
                None => Stop::Turn,
            },
        };
        if let Some(known) = self.stops.get_mut(finished.choice as usize) {
            *known = Some(stop);
        }
        let stops: Option<Vec<Stop>> = self.stops.iter().cloned().collect();
        Some(Finish {
            stops: stops?,
            usage: self.usage,
            native: None,
        })
    }
}

fn arrival(tokens: api::Tokens, shows_logprobs: bool) -> Arrival {
    let channel = tokens.channel();
    let logprobs = match shows_logprobs && channel == api::Channel::Answer {
        true => tokens.tokens.iter().filter_map(logprob).collect(),
        false => Vec::new(),
    };
    let evidence = tokens
        .tokens
        .iter()
        .filter_map(|token| token.evidence.as_ref());
    let evidence = evidence.map(|evidence| Token {
        // Under a constraint only the allowed tokens were there to be chosen from.
        logprob: evidence.masked_logprob.unwrap_or(evidence.logprob),
        margin: evidence.margin,
        entropy: evidence.entropy,
        forced: evidence.forced,
        value: evidence.value,
        thinking: evidence.thinking,
    });
    let calls = tokens.tool_calls.iter().map(|call| CallPiece {
        index: call.index,
        id: call.id.clone(),
        name: call.name.clone(),
        arguments: call.arguments.clone(),
    });
    let mut piece = Piece {
        choice: tokens.choice,
        calls: calls.collect(),
        logprobs,
        ..Piece::default()
    };
    let evidence = evidence.collect();
    match channel {
        api::Channel::Answer => piece.text = tokens.text,
        api::Channel::Reasoning => piece.reasoning = tokens.text,
    }
    Arrival::Tokens { evidence, piece }
}

/// A token as OpenAI's chat wire shows it; nothing for one that only ends the turn.
fn logprob(token: &api::Token) -> Option<Value> {
    let evidence = token.evidence.as_ref()?;
    if token.text.is_empty() || evidence.thinking {
        return None;
    }
    let others = token.alternatives.iter();
    let others = others.map(|other| told(&other.text, other.logprob));
    let mut own = told(&token.text, evidence.logprob);
    own["top_logprobs"] = others.collect();
    Some(own)
}

fn told(text: &str, logprob: f32) -> Value {
    // Half a character has no bytes that this wire could show.
    let is_whole = !text.contains(char::REPLACEMENT_CHARACTER);
    json!({
        "token": text,
        "logprob": f64::from(logprob.max(LEAST_LOGPROB)),
        "bytes": is_whole.then(|| text.as_bytes().to_vec()),
    })
}

/// `has_begun`: the worker had taken the ask.
fn failure(tier: &str, status: &Status, has_begun: bool) -> Failure {
    let tier = tier.to_owned();
    // The message of a worker is for logs; a client is told in our words.
    tracing::debug!(tier, code = ?status.code(), message = status.message(), "replica failed");
    // What is longer than a worker takes is refused before it is looked into.
    if status.code() == Code::OutOfRange && !has_begun {
        return Failure::TooLong { tier };
    }
    // Every status that a worker of ours writes has a detail.
    if status.details().is_empty() {
        return match has_begun {
            true => Failure::Lost { tier },
            false => Failure::Connect { tier },
        };
    }
    let detail = api::detail_of(status);
    match detail.code() {
        api::ErrorCode::TooLong => Failure::TooLong { tier },
        api::ErrorCode::Invalid => Failure::Refused {
            tier,
            field: Some(detail.field).filter(|field| !field.is_empty()),
        },
        api::ErrorCode::Unsupported | api::ErrorCode::Mismatch => Failure::Unsupported { tier },
        api::ErrorCode::Overloaded => Failure::Overloaded {
            tier,
            retry_after: detail
                .retry_after_seconds
                .map(|seconds| Duration::from_secs(seconds.into())),
        },
        api::ErrorCode::Draining => Failure::Lost { tier },
        // The address belongs to somebody else by now, or the model or adapter is not there yet; another
        // replica may be.
        api::ErrorCode::UnknownModel | api::ErrorCode::Starting => Failure::Connect { tier },
        api::ErrorCode::Internal | api::ErrorCode::Unspecified => Failure::Broken { tier },
    }
}
