//! What happens to every request before its wire looks at it: it is noted, it meets its fault,
//! and its key is checked.

use std::sync::Arc;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value};

use crate::StandIn;
use crate::events::Events;
use crate::fault::{self, Break, Damage, Fault};
use crate::journal::{Journal, Sending};
use crate::refusal::{ORGANIZATION, Refusal, key_of, key_told};
use crate::socket::Line;
use crate::spoil::{self, Whole};

const LONGEST_BODY_BYTES: usize = 8 * 1024 * 1024;

/// A request that may be answered.
#[derive(Debug)]
pub(crate) struct Received {
    /// Its place among all that came.
    pub(crate) number: u64,
    pub(crate) headers: HeaderMap,
    /// Empty for a request without a body.
    pub(crate) body: Map<String, Value>,
    damage: Option<Damage>,
    journal: Arc<Journal>,
}

impl Received {
    /// What is said where something is to fail, with what providers' errors give away.
    pub(crate) fn trouble(&self) -> String {
        trouble(&self.headers)
    }

    /// An answer in one piece.
    pub(crate) fn whole(&self, whole: Whole) -> Result<Response, Refusal> {
        if let Some(Damage::Break {
            how: Break::Error, ..
        }) = self.damage
        {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            return Err(Refusal::new(status, self.trouble()));
        }
        Ok(spoil::whole(whole, self.damage).play(self.sending()))
    }

    /// A streamed answer, with a pause before each piece.
    pub(crate) fn stream(&self, events: Events, pace: Duration) -> Response {
        spoil::stream(events, pace, self.damage).play(self.sending())
    }

    fn sending(&self) -> Sending {
        Sending::of(self.journal.clone(), self.number)
    }
}

fn trouble(headers: &HeaderMap) -> String {
    let key = key_told(headers);
    format!(
        "a fault that was asked for met a request in organization {ORGANIZATION} with key {key}"
    )
}

pub(crate) async fn receive(stand_in: &StandIn, request: Request) -> Result<Received, Refusal> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LONGEST_BODY_BYTES).await.map_err(|_| {
        let message = format!("the body is longer than {LONGEST_BODY_BYTES} bytes");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    })?;
    let number = stand_in.journal.note(&parts, &body);
    let fault = fault_of(stand_in, &parts.headers)?;
    let line = parts.extensions.get::<axum::extract::ConnectInfo<Line>>();
    let damage = meet(fault, &parts.headers, line.map(|line| &line.0)).await?;
    check_key(stand_in.api_key.as_deref(), &parts.headers)?;
    let body = if body.is_empty() && parts.method == http::Method::GET {
        Map::new()
    } else {
        serde_json::from_slice(&body).map_err(|error| {
            let message = format!("the body is not a JSON object: {error}");
            Refusal::new(StatusCode::BAD_REQUEST, message)
        })?
    };
    Ok(Received {
        number,
        headers: parts.headers,
        body,
        damage,
        journal: stand_in.journal.clone(),
    })
}

/// The request's own fault, else the next one planned.
fn fault_of(stand_in: &StandIn, headers: &HeaderMap) -> Result<Option<Fault>, Refusal> {
    match headers.get(fault::HEADER) {
        None => Ok(stand_in.faults.next()),
        Some(value) => value
            .to_str()
            .unwrap_or_default()
            .parse()
            .map(Some)
            .map_err(|why| Refusal::field(fault::HEADER, why)),
    }
}

/// Meets the faults that come before an answer; those of the answer itself are left.
async fn meet(
    fault: Option<Fault>,
    headers: &HeaderMap,
    line: Option<&Line>,
) -> Result<Option<Damage>, Refusal> {
    match fault {
        None => Ok(None),
        Some(Fault::Status(status)) => Err(Refusal::new(status, trouble(headers))),
        Some(Fault::Throttle { retry_after }) => {
            let message = format!(
                "Rate limit reached in organization {ORGANIZATION} with key {} on requests per \
                 min (RPM), as was asked for",
                key_told(headers)
            );
            Err(Refusal {
                retry_after: Some(retry_after),
                ..Refusal::new(StatusCode::TOO_MANY_REQUESTS, message)
            })
        }
        Some(Fault::Stall(time)) => {
            tokio::time::sleep(time).await;
            Ok(None)
        }
        Some(Fault::Redirect(location)) => Err(Refusal {
            location: Some(Box::new(location)),
            ..Refusal::new(StatusCode::FOUND, "look elsewhere")
        }),
        Some(Fault::Connection(trouble)) => {
            if let Some(line) = line {
                line.trouble(trouble);
            }
            Ok(None)
        }
        Some(Fault::Answer(damage)) => Ok(Some(damage)),
    }
}

/// Both wires take a bearer token and, as Anthropic's SDK may, `x-api-key`.
fn check_key(expected: Option<&str>, headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer =
        text(header::AUTHORIZATION.as_str()).and_then(|value| value.strip_prefix("Bearer "));
    if let (Some(bearer), Some(key)) = (bearer, text("x-api-key"))
        && bearer != key
    {
        let message = "authorization and x-api-key are both set and differ: send one";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, message));
    }
    match expected {
        Some(expected) if key_of(headers) != Some(expected) => {
            let key = key_told(headers);
            let message = format!("Incorrect API key provided: {key}, of {ORGANIZATION}");
            Err(Refusal::new(StatusCode::UNAUTHORIZED, message))
        }
        _ => Ok(()),
    }
}
