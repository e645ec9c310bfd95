//! An attempt at an endpoint: what is sent there, which is by allow-list, and how its stream is
//! read.
//!
//! Nothing of the client's headers goes upstream, and nothing of the provider's error texts comes
//! back.

mod events;
mod headers;
mod opening;
pub(crate) mod phases;
mod proof;
mod reader;
mod refused;
mod request;
mod restoring;
mod source;
mod vectors;
mod witness;

use std::sync::Arc;

use futures::StreamExt;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use reqwest::{Response, Url};
use serde_json::Value;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::Span;
use weir_policy::redact::{Redacted, Redaction};
use weir_policy::tier::Endpoint;
use weir_process::traces;

use super::Finish;
use crate::answer::Piece;
use crate::ask::{Ask, Input};
use crate::bundle::Bundle;
use crate::decision::Decision;
use crate::dial::{Dialler, Reach, is_refused};
use crate::endpoints::Pass;
use crate::refusal::Failure;
use crate::throttle;
use crate::wire::{Upstream, Wire};
use reader::Reader;
use restoring::Restoring;
pub(crate) use source::Source;
use witness::Witness;

/// The most that is read of a count.
const LONGEST_COUNT: usize = 64 << 10;
/// The most that is read of an error.
const LONGEST_ERROR: usize = 64 << 10;
/// 2,048 vectors of 4,096 numbers, in base64.
const LONGEST_VECTORS: usize = 48 << 20;

/// What an attempt at an endpoint needs.
pub(crate) struct Call<'a> {
    pub tier: &'a str,
    pub endpoint: &'a Endpoint,
    pub reach: Reach,
    pub key: Option<HeaderValue>,
    /// What is taken out of whatever leaves the cluster.
    pub redaction: Option<&'a Arc<Redaction>>,
    /// Where it is written down how much that was; nothing for what is no ask.
    pub decision: Option<&'a Decision>,
    /// Of its `caBundle`.
    pub bundle: Option<Bundle>,
    /// What it is told of the endpoint.
    pub pass: &'a Pass,
    /// Its answer may not be good enough.
    pub is_judged: bool,
}

/// Sends the ask and waits for the first byte of the answer.
pub(crate) async fn open(call: Call<'_>, dialler: &Dialler, ask: &Ask) -> Result<Source, Failure> {
    let tier = call.tier.to_owned();
    let broken = || Failure::Broken { tier: tier.clone() };
    let outgoing = Outgoing::of(&call, ask).await?;
    let wire = outgoing.wire;
    let mut redacted = outgoing.redacted.clone();
    let mut has_asked = outgoing.asks_logprobs;
    let by = Instant::now() + call.endpoint.timeouts.first_byte;
    let response = match send(&call, dialler, outgoing, by).await {
        // Nobody but the cascade wanted them.
        Err(failure)
            if has_asked && refused::is_of_logprobs(&failure) && ask.logprobs.is_none() =>
        {
            let outgoing = Outgoing::without_logprobs(&call, ask).await?;
            redacted = outgoing.redacted.clone();
            has_asked = false;
            let response = send(&call, dialler, outgoing, by).await?;
            // Only now it is known that they were what was refused.
            tracing::warn!(tier, "the endpoint refuses to tell log-probabilities");
            call.pass.found_mute();
            response
        }
        response => response?,
    };
    if !is_event_stream(response.headers()) {
        tracing::warn!(
            tier,
            "the endpoint did not answer with a plain stream of events"
        );
        return Err(broken());
    }
    let witness = call.is_judged.then(|| Witness::new(wire, ask, has_asked));
    let reader = Reader::new(wire, call.endpoint, ask, redacted.is_none()).before(witness);
    let restoring = redacted.map(|redacted| Restoring::new(redacted, ask.form.is_json()));
    let body = response.bytes_stream().boxed();
    let idle = call.endpoint.timeouts.idle;
    let source = Source::new(tier, idle, body, reader, restoring);
    source.begin(by).await
}

/// Asks how many tokens a prompt has: the same request, of which only `fields` count.
pub(crate) async fn count(
    call: Call<'_>,
    dialler: &Dialler,
    ask: &Ask,
    fields: &[&str],
) -> Result<Value, Failure> {
    let mut outgoing = Outgoing::of(&call, ask).await?;
    let suffix = match outgoing.wire {
        Wire::Messages => "/count_tokens",
        _ => "/input_tokens",
    };
    let path = format!("{}{suffix}", outgoing.url.path());
    outgoing.url.set_path(&path);
    if let Some(members) = outgoing.body.as_object_mut() {
        members.retain(|field, _| fields.contains(&field.as_str()));
    }
    let by = Instant::now() + call.endpoint.timeouts.first_byte;
    let response = exchange(&call, dialler, outgoing, by).await?;
    // Counts have limits of their own: what is said of these closes the model to nobody.
    call.pass.heard(response.status(), &HeaderMap::new());
    let response = well(&call, response).await?;
    whole(&call, response, LONGEST_COUNT).await
}

/// Has vectors made, and reads all of them.
pub(crate) async fn embed(
    call: Call<'_>,
    dialler: &Dialler,
    ask: &Ask,
) -> Result<(Piece, Finish), Failure> {
    let outgoing = Outgoing::of(&call, ask).await?;
    let by = Instant::now() + call.endpoint.timeouts.first_byte;
    let response = send(&call, dialler, outgoing, by).await?;
    let answer = gather(&call, response, LONGEST_VECTORS).await?;
    let inputs = match &ask.input {
        Input::Many(inputs) => inputs.len(),
        _ => 1,
    };
    vectors::read(&answer, inputs).ok_or_else(|| Failure::Broken {
        tier: call.tier.to_owned(),
    })
}

/// The whole of an answer, of at most `most` bytes.
async fn whole(call: &Call<'_>, response: Response, most: usize) -> Result<Value, Failure> {
    let gathered = gather(call, response, most).await?;
    serde_json::from_slice(&gathered).map_err(|_| Failure::Broken {
        tier: call.tier.to_owned(),
    })
}

/// The bytes of an answer, of which there are at most `most`.
async fn gather(call: &Call<'_>, response: Response, most: usize) -> Result<Vec<u8>, Failure> {
    let tier = || call.tier.to_owned();
    let mut stream = response.bytes_stream();
    let mut gathered = Vec::new();
    loop {
        let piece = timeout(call.endpoint.timeouts.idle, stream.next()).await;
        let piece = piece.map_err(|_| Failure::TooSlow { tier: tier() })?;
        match piece {
            None => break,
            Some(piece) => {
                gathered.extend_from_slice(&piece.map_err(|_| Failure::Lost { tier: tier() })?);
            }
        }
        if gathered.len() > most {
            return Err(Failure::Broken { tier: tier() });
        }
    }
    Ok(gathered)
}

/// A request as it goes out.
struct Outgoing {
    wire: Wire,
    url: Url,
    headers: HeaderMap,
    body: Value,
    /// What was taken out of `body`, if anything was.
    redacted: Option<Arc<Redacted>>,
    /// For the cascade.
    asks_logprobs: bool,
}

impl Outgoing {
    /// The only way from an ask to an endpoint: what leaves the cluster is redacted here.
    async fn of(call: &Call<'_>, ask: &Ask) -> Result<Self, Failure> {
        Self::made(call, ask, call.is_judged && !call.pass.is_mute()).await
    }

    /// For an endpoint that has refused the request with them.
    async fn without_logprobs(call: &Call<'_>, ask: &Ask) -> Result<Self, Failure> {
        Self::made(call, ask, false).await
    }

    async fn made(call: &Call<'_>, ask: &Ask, wants_logprobs: bool) -> Result<Self, Failure> {
        let broken = || Failure::Broken {
            tier: call.tier.to_owned(),
        };
        // A tier that cannot be asked is not in the plan.
        let wire = Upstream::of_endpoint(call.endpoint).wire_for(ask.wire);
        let wire = wire.ok_or_else(broken)?;
        let mut body = request::body(wire, call.endpoint, ask);
        let asks_logprobs =
            wants_logprobs && request::add_logprobs(&mut body, wire, (call.endpoint, ask));
        let (body, redacted) = match (call.reach, call.redaction) {
            (Reach::Outside, Some(redaction)) => redact(call, redaction, body).await?,
            _ => (body, None),
        };
        Ok(Self {
            wire,
            url: call
                .pass
                .url(wire, || url(call.endpoint, wire))
                .ok_or_else(broken)?,
            headers: headers::of(call, wire, ask),
            body,
            redacted,
            asks_logprobs,
        })
    }
}

/// Takes private values out of a request, on a thread where looking through megabytes disturbs
/// nobody.
async fn redact(
    call: &Call<'_>,
    redaction: &Arc<Redaction>,
    mut body: Value,
) -> Result<(Value, Option<Arc<Redacted>>), Failure> {
    request::forget_thoughts(&mut body);
    let redaction = redaction.clone();
    let redacted = spawn_blocking(move || redaction.apply(&mut body).map(|found| (body, found)));
    let tier = || call.tier.to_owned();
    let redacted = redacted
        .await
        .map_err(|_| Failure::Broken { tier: tier() })?;
    let (body, found) = redacted.map_err(|cannot| Failure::CannotRedact {
        tier: tier(),
        field: cannot.field,
    })?;
    if let Some(decision) = call.decision {
        decision.redacted(found.len());
    }
    Ok((body, (!found.is_empty()).then(|| Arc::new(found))))
}

/// Sends a request, and waits until `by` for an answer that is no error.
async fn send(
    call: &Call<'_>,
    dialler: &Dialler,
    outgoing: Outgoing,
    by: Instant,
) -> Result<Response, Failure> {
    let response = exchange(call, dialler, outgoing, by).await?;
    call.pass.heard(response.status(), response.headers());
    well(call, response).await
}

/// Sends a request, and waits until `by` for any answer.
async fn exchange(
    call: &Call<'_>,
    dialler: &Dialler,
    outgoing: Outgoing,
    by: Instant,
) -> Result<Response, Failure> {
    let connect = call.endpoint.timeouts.connect;
    let tier = call.tier.to_owned();
    if let Err(refused) = dialler.check_literal(call.reach, &outgoing.url) {
        tracing::warn!(tier, %refused, "address refused");
        return Err(Failure::AddressRefused { tier });
    }
    let client = dialler.client(call.reach, connect, call.bundle.as_ref());
    let client = client.map_err(|error| {
        tracing::error!(%error, "no HTTP client");
        Failure::Broken { tier: tier.clone() }
    })?;
    let mut headers = outgoing.headers;
    // Outside, the client's trace is nobody's business.
    if call.reach != Reach::Outside {
        traces::inject(&Span::current(), &mut headers);
    }
    let request = client
        .post(outgoing.url)
        .headers(headers)
        .json(&outgoing.body);
    let sent = timeout_at(by, request.send()).await;
    sent.map_err(|_| Failure::TooSlow { tier: tier.clone() })?
        .map_err(|error| not_sent(&tier, &error))
}

/// An answer that is no error.
async fn well(call: &Call<'_>, response: Response) -> Result<Response, Failure> {
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(response);
    }
    let tier = call.tier.to_owned();
    let retry_after = throttle::retry_after(response.headers(), Timestamp::now());
    tracing::warn!(
        tier,
        status = status.as_u16(),
        "the endpoint answered with an error"
    );
    let said = match status {
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNPROCESSABLE_ENTITY => whole(call, response, LONGEST_ERROR).await.ok(),
        _ => None,
    };
    Err(refused::failure(tier, status, said.as_ref(), retry_after))
}

/// Where an endpoint takes asks on `wire`.
fn url(endpoint: &Endpoint, wire: Wire) -> String {
    let base = &endpoint.base_url;
    match wire {
        Wire::Chat => format!("{base}/chat/completions"),
        Wire::Completions => format!("{base}/completions"),
        Wire::Responses => format!("{base}/responses"),
        Wire::Embeddings => format!("{base}/embeddings"),
        // Anthropic's SDKs put the version behind the base themselves, and so do people.
        Wire::Messages => format!("{}/v1/messages", base.strip_suffix("/v1").unwrap_or(base)),
    }
}

/// Whether what comes is a stream of events, and not compressed, which nobody asked for.
fn is_event_stream(headers: &HeaderMap) -> bool {
    let coding = headers.get(header::CONTENT_ENCODING);
    if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return false;
    }
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok());
    let kind = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim());
    kind.is_none_or(|kind| kind.eq_ignore_ascii_case("text/event-stream"))
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

#[cfg(test)]
mod mutations;
#[cfg(test)]
pub(crate) mod tests;
