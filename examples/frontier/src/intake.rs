//! What happens to every request before its wire looks at it: it is noted, it meets its fault,
//! and its key is checked.

use axum::body::to_bytes;
use axum::extract::Request;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value};

use crate::StandIn;
use crate::fault::{self, Break, Fault};
use crate::refusal::Refusal;

const LONGEST_BODY_BYTES: usize = 1024 * 1024;

/// A request that may be answered.
#[derive(Debug)]
pub(crate) struct Received {
    /// Its place among all that came.
    pub(crate) number: u64,
    pub(crate) headers: HeaderMap,
    /// Empty for a request without a body.
    pub(crate) body: Map<String, Value>,
    /// Where its answer is to break off.
    pub(crate) broken: Option<(usize, Break)>,
}

pub(crate) async fn receive(stand_in: &StandIn, request: Request) -> Result<Received, Refusal> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LONGEST_BODY_BYTES).await.map_err(|_| {
        let message = format!("the body is longer than {LONGEST_BODY_BYTES} bytes");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    })?;
    let number = stand_in.journal.note(&parts, &body);
    let broken = meet(fault_of(stand_in, &parts.headers)?).await?;
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
        broken,
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

async fn meet(fault: Option<Fault>) -> Result<Option<(usize, Break)>, Refusal> {
    match fault {
        None => Ok(None),
        Some(Fault::Status(status)) => Err(Refusal::new(status, "a fault that was asked for")),
        Some(Fault::Throttle { retry_after }) => Err(Refusal {
            retry_after: Some(retry_after),
            ..Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too many requests, as was asked for",
            )
        }),
        Some(Fault::Stall(time)) => {
            tokio::time::sleep(time).await;
            Ok(None)
        }
        Some(Fault::Break { after, how }) => Ok(Some((after, how))),
    }
}

/// Both wires take a bearer token and, as Anthropic's SDK may, `x-api-key`.
fn check_key(expected: Option<&str>, headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer =
        text(header::AUTHORIZATION.as_str()).and_then(|value| value.strip_prefix("Bearer "));
    let key = text("x-api-key");
    if let (Some(bearer), Some(key)) = (bearer, key)
        && bearer != key
    {
        let message = "authorization and x-api-key are both set and differ: send one";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, message));
    }
    match expected {
        Some(expected) if bearer.or(key) != Some(expected) => Err(Refusal::new(
            StatusCode::UNAUTHORIZED,
            "the API key is missing or wrong",
        )),
        _ => Ok(()),
    }
}
