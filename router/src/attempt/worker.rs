//! An attempt at a replica of ours, over gRPC: what is asked, and what comes back with evidence.

use std::time::Duration;

use tonic::{Code, Request, Status, Streaming};
use tracing::Span;
use weir_cascade::Token;
use weir_process::traces;
use weir_worker_api as api;
use weir_worker_api::generate_event::Event;
use weir_worker_api::worker_client::WorkerClient;

use super::{Arrival, Finish};
use crate::answer::{Piece, Usage};
use crate::ask::Ask;
use crate::refusal::Failure;
use crate::replicas::Lease;

/// An answer on its way from a replica. Dropping it cancels the work there.
pub(crate) struct Source {
    stream: Streaming<api::GenerateEvent>,
    tier: String,
    cached: u64,
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
    let mut request = Request::new(request(&call, ask));
    traces::inject(&Span::current(), request.metadata_mut().as_mut());
    let mut client = WorkerClient::new(lease.channel.clone())
        .max_decoding_message_size(api::MAX_MESSAGE_BYTES)
        .max_encoding_message_size(api::MAX_MESSAGE_BYTES);
    match client.generate(request).await {
        Ok(response) => Ok(Source {
            stream: response.into_inner(),
            tier: tier.to_owned(),
            cached: 0,
            _lease: lease,
        }),
        Err(status) => Err(failure(tier, &status, false)),
    }
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
                Some(Event::Started(started)) => self.cached = u64::from(started.cached_tokens),
                Some(Event::Tokens(tokens)) => return Ok(arrival(tokens)),
                Some(Event::Finished(finished)) => {
                    return Ok(Arrival::Finished(Finish {
                        word: match finished.reason() {
                            api::FinishReason::Length => "length",
                            api::FinishReason::ToolCalls => "tool_calls",
                            api::FinishReason::Stop | api::FinishReason::Unspecified => "stop",
                        }
                        .to_owned(),
                        usage: Usage {
                            prompt: u64::from(finished.prompt_tokens),
                            cached: self.cached,
                            completion: u64::from(finished.completion_tokens),
                        },
                    }));
                }
                // Nobody asks for it here.
                Some(Event::Prompt(_)) | None => {}
            }
        }
    }
}

fn arrival(tokens: api::Tokens) -> Arrival {
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
    let evidence = evidence.collect();
    let mut piece = Piece::default();
    match tokens.channel() {
        api::Channel::Answer => piece.text = tokens.text,
        api::Channel::Reasoning if tokens.text.is_empty() => {}
        api::Channel::Reasoning => {
            piece
                .rest
                .insert("reasoning_content".into(), tokens.text.into());
        }
    }
    Arrival::Tokens { evidence, piece }
}

/// The conversation as a worker takes it.
pub(crate) fn prompt(ask: &Ask) -> api::Prompt {
    let messages = ask.messages.iter().map(|message| api::Message {
        role: message.role.clone(),
        content: message.content.clone(),
        tool_call_id: message.tool_call_id.clone(),
        tool_calls_json: message.tool_calls.clone(),
        reasoning: String::new(),
    });
    let chat = api::Chat {
        messages: messages.collect(),
        ..api::Chat::default()
    };
    api::Prompt {
        form: Some(api::prompt::Form::Chat(chat)),
    }
}

fn request(call: &Call<'_>, ask: &Ask) -> api::GenerateRequest {
    let sampling = &ask.sampling;
    api::GenerateRequest {
        model: call.model.to_owned(),
        prompt: Some(prompt(ask)),
        sampling: Some(api::Sampling {
            temperature: sampling.temperature,
            top_k: sampling.top_k,
            top_p: sampling.top_p,
            min_p: sampling.min_p,
            repetition_penalty: sampling.repetition_penalty,
            presence_penalty: sampling.presence_penalty,
            frequency_penalty: sampling.frequency_penalty,
            seed: sampling.seed,
            ..api::Sampling::default()
        }),
        limits: Some(api::Limits {
            max_tokens: ask.max_tokens,
            stop: ask.stop.clone(),
            ..api::Limits::default()
        }),
        choices: 1,
        cache_salt: call.tenant.to_owned(),
        ..api::GenerateRequest::default()
    }
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
