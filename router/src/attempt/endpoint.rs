//! An attempt at an endpoint that speaks the OpenAI wire: what is sent there, which is by
//! allow-list, and how its stream is read.
//!
//! Nothing of the client's headers goes upstream, and nothing of the provider's error texts comes
//! back.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use reqwest::Url;
use serde_json::{Map, Value, json};
use tokio::time::timeout;
use weir_crds::Provider;
use weir_policy::tier::{Endpoint, Timeouts};

use super::{Arrival, Finish};
use crate::answer::{Piece, Usage};
use crate::ask::Ask;
use crate::bundle::Bundle;
use crate::dial::{Dialler, Reach, is_refused};
use crate::endpoints::Pass;
use crate::refusal::Failure;
use crate::throttle;

/// The longest line of a stream; a provider that sends more is not one.
const LONGEST_LINE: usize = 4 << 20;

/// An answer on its way from an endpoint. Dropping it closes the connection.
pub(crate) struct Source {
    body: BoxStream<'static, reqwest::Result<Bytes>>,
    tier: String,
    idle: Duration,
    line: Vec<u8>,
    arrivals: VecDeque<Arrival>,
    /// Set by the finish reason; the usage comes after it.
    finish: Option<Finish>,
    usage: Option<Usage>,
    has_ended: bool,
}

/// What an attempt at an endpoint needs.
pub(crate) struct Call<'a> {
    pub tier: &'a str,
    pub endpoint: &'a Endpoint,
    pub reach: Reach,
    /// The value of `authorization`.
    pub key: Option<HeaderValue>,
    /// Of its `caBundle`.
    pub bundle: Option<Bundle>,
    /// What it is told of the endpoint.
    pub pass: &'a Pass,
}

/// Sends the ask and waits for the first byte of the answer.
pub(crate) async fn open(call: Call<'_>, dialler: &Dialler, ask: &Ask) -> Result<Source, Failure> {
    let Timeouts {
        connect,
        first_byte,
        idle,
    } = call.endpoint.timeouts;
    let tier = call.tier.to_owned();
    let broken = || Failure::Broken { tier: tier.clone() };
    let url = format!("{}/chat/completions", call.endpoint.base_url);
    let url: Url = url.parse().map_err(|_| broken())?;
    if let Err(refused) = dialler.check_literal(call.reach, &url) {
        tracing::warn!(tier, %refused, "address refused");
        return Err(Failure::AddressRefused { tier });
    }
    let client = dialler.client(call.reach, connect, call.bundle.as_ref());
    let client = client.map_err(|error| {
        tracing::error!(%error, "no HTTP client");
        broken()
    })?;
    let request = client
        .post(url)
        .headers(headers(&call))
        .body(body(call.endpoint, ask).to_string());
    let sent = timeout(first_byte, request.send()).await;
    let response = sent
        .map_err(|_| Failure::TooSlow { tier: tier.clone() })?
        .map_err(|error| not_sent(&tier, &error))?;
    let status = response.status();
    call.pass.heard(status, response.headers());
    if status != StatusCode::OK {
        let retry_after = throttle::retry_after(response.headers(), Timestamp::now());
        tracing::warn!(
            tier,
            status = status.as_u16(),
            "the endpoint answered with an error"
        );
        return Err(refused(tier, status, retry_after));
    }
    let mut body = response.bytes_stream().boxed();
    let first = timeout(first_byte, body.next()).await;
    let first = first.map_err(|_| Failure::TooSlow { tier: tier.clone() })?;
    let mut source = Source {
        body,
        tier,
        idle,
        line: Vec::new(),
        arrivals: VecDeque::new(),
        finish: None,
        usage: None,
        has_ended: false,
    };
    source.take(first)?;
    Ok(source)
}

impl Source {
    /// What comes next. Cancelling it between two arrivals loses nothing.
    pub async fn next(&mut self) -> Result<Arrival, Failure> {
        loop {
            if let Some(arrival) = self.arrivals.pop_front() {
                return Ok(arrival);
            }
            if self.has_ended {
                return self.end();
            }
            match timeout(self.idle, self.body.next()).await {
                Ok(piece) => self.take(piece)?,
                Err(_) => {
                    return Err(Failure::TooSlow {
                        tier: self.tier.clone(),
                    });
                }
            }
        }
    }

    /// A stream that was cut before it said how the answer ends is no answer.
    fn end(&mut self) -> Result<Arrival, Failure> {
        let mut finish = self.finish.take().ok_or_else(|| self.lost())?;
        finish.usage = self.usage.unwrap_or_default();
        Ok(Arrival::Finished(finish))
    }

    fn take(&mut self, piece: Option<reqwest::Result<Bytes>>) -> Result<(), Failure> {
        let bytes = match piece {
            None => {
                self.has_ended = true;
                return Ok(());
            }
            Some(Err(_)) if self.finish.is_some() => {
                self.has_ended = true;
                return Ok(());
            }
            Some(Err(_)) => return Err(self.lost()),
            Some(Ok(bytes)) => bytes,
        };
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.len() > LONGEST_LINE {
                return Err(Failure::Broken {
                    tier: self.tier.clone(),
                });
            }
            if self.line.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.take_line(line.trim_ascii())?;
            }
        }
        Ok(())
    }

    /// One line of the event stream; comments and other fields than `data` say nothing.
    fn take_line(&mut self, line: &[u8]) -> Result<(), Failure> {
        let Some(data) = line.strip_prefix(b"data:").map(<[u8]>::trim_ascii_start) else {
            return Ok(());
        };
        if data == b"[DONE]" {
            self.has_ended = true;
            return Ok(());
        }
        let broken = Failure::Broken {
            tier: self.tier.clone(),
        };
        let mut chunk: Value = serde_json::from_slice(data).map_err(|_| broken.clone())?;
        if chunk.get("error").is_some_and(|error| !error.is_null()) {
            return Err(broken);
        }
        if let Some(usage) = chunk.get("usage").filter(|usage| usage.is_object()) {
            self.usage = Some(Usage {
                prompt: usage["prompt_tokens"].as_u64().unwrap_or(0),
                cached: usage["prompt_tokens_details"]["cached_tokens"]
                    .as_u64()
                    .unwrap_or(0),
                completion: usage["completion_tokens"].as_u64().unwrap_or(0),
            });
        }
        let Some(choice) = chunk.pointer_mut("/choices/0") else {
            return Ok(());
        };
        let piece = piece(choice);
        if !piece.is_empty() {
            self.arrivals.push_back(Arrival::Tokens {
                evidence: Vec::new(),
                piece,
            });
        }
        if let Some(word) = choice["finish_reason"].as_str() {
            self.finish = Some(Finish {
                word: word.to_owned(),
                usage: Usage::default(),
            });
        }
        Ok(())
    }

    fn lost(&self) -> Failure {
        Failure::Lost {
            tier: self.tier.clone(),
        }
    }
}

/// What a chunk adds to the answer, by allow-list.
fn piece(choice: &mut Value) -> Piece {
    let logprobs = choice
        .get_mut("logprobs")
        .map(Value::take)
        .filter(|value| !value.is_null());
    let mut piece = Piece {
        logprobs,
        ..Piece::default()
    };
    let Some(Value::Object(delta)) = choice.get_mut("delta").map(Value::take) else {
        return piece;
    };
    for (field, value) in delta {
        match (field.as_str(), value) {
            (_, Value::Null) => {}
            ("content", Value::String(text)) => piece.text = text,
            ("tool_calls" | "function_call" | "refusal" | "reasoning_content", value) => {
                piece.rest.insert(field, value);
            }
            _ => {}
        }
    }
    piece
}

fn headers(call: &Call<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in &call.endpoint.headers {
        // Both were checked with the policy.
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    headers.insert(
        header::ACCEPT,
        HeaderValue::from_static("text/event-stream"),
    );
    if let Some(key) = &call.key {
        headers.insert(header::AUTHORIZATION, key.clone());
    }
    headers
}

/// The client's body, as this endpoint wants it.
fn body(endpoint: &Endpoint, ask: &Ask) -> Value {
    let mut body = ask.body.clone();
    for field in ["max_tokens", "max_completion_tokens", "stream_options"] {
        body.shift_remove(field);
    }
    body.insert("model".into(), endpoint.model.clone().into());
    body.insert("stream".into(), true.into());
    body.insert("stream_options".into(), json!({ "include_usage": true }));
    // The name that OpenAI's own models insist on is unknown to many that are only compatible.
    let (limit_field, has_developer_role) = match endpoint.provider {
        Provider::OpenAI => ("max_completion_tokens", true),
        Provider::OpenAICompatible | Provider::Anthropic => ("max_tokens", false),
    };
    let most = match (ask.max_tokens, endpoint.max_output_tokens) {
        (Some(asked), Some(most)) => Some(asked.min(most)),
        (asked, most) => asked.or(most),
    };
    if let Some(most) = most {
        body.insert(limit_field.into(), most.into());
    }
    if !has_developer_role {
        rename_developer(&mut body);
    }
    for field in &endpoint.unsupported {
        body.shift_remove(field);
    }
    Value::Object(body)
}

fn rename_developer(body: &mut Map<String, Value>) {
    let messages = body.get_mut("messages").and_then(Value::as_array_mut);
    for message in messages.into_iter().flatten() {
        if message["role"] == "developer" {
            message["role"] = "system".into();
        }
    }
}

fn not_sent(tier: &str, error: &reqwest::Error) -> Failure {
    let tier = tier.to_owned();
    // Without the URL, which may hold what a policy's author would rather not see in a log.
    tracing::warn!(
        tier,
        refused = is_refused(error),
        timeout = error.is_timeout(),
        "the endpoint was not reached"
    );
    match error.is_connect() {
        _ if is_refused(error) => Failure::AddressRefused { tier },
        true => Failure::Connect { tier },
        false => Failure::Lost { tier },
    }
}

fn refused(tier: String, status: StatusCode, retry_after: Option<Duration>) -> Failure {
    match status.as_u16() {
        401 | 403 => Failure::CredentialRefused { tier },
        429 | 503 | 529 => Failure::Overloaded { tier, retry_after },
        408 | 504 => Failure::TooSlow { tier },
        400 | 404 | 405 | 413 | 422 => Failure::Refused { tier, field: None },
        _ => Failure::Broken { tier },
    }
}

#[cfg(test)]
pub(crate) mod tests;
