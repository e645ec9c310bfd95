//! Sends an answer, whole or as server-sent events, and breaks it off where a fault says so.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use futures::{Stream, StreamExt, stream};
use http::{HeaderValue, StatusCode, header};
use serde_json::Value;

use crate::fault::Break;
use crate::refusal::Refusal;

/// A stream's events as they go on the wire.
#[derive(Debug)]
pub(crate) struct Events {
    pub(crate) head: Vec<String>,
    /// One per piece of text: what a fault counts.
    pub(crate) pieces: Vec<String>,
    pub(crate) tail: Vec<String>,
    /// What this wire says when it fails after its headers.
    pub(crate) error: String,
}

enum Step {
    Send(String),
    Piece(String),
    Cut,
    Hang,
}

/// Sends events, a pause before each piece of text.
pub(crate) fn streamed(events: Events, pace: Duration, broken: Option<(usize, Break)>) -> Response {
    let mut steps: Vec<Step> = events.head.into_iter().map(Step::Send).collect();
    let kept = broken.map_or(usize::MAX, |(after, _)| after);
    steps.extend(events.pieces.into_iter().take(kept).map(Step::Piece));
    match broken {
        None => steps.extend(events.tail.into_iter().map(Step::Send)),
        Some((_, Break::Cut)) => steps.push(Step::Cut),
        Some((_, Break::Hang)) => steps.push(Step::Hang),
        Some((_, Break::Error)) => steps.push(Step::Send(events.error)),
    }
    response("text/event-stream", play(steps, pace))
}

/// Sends an answer in one piece.
pub(crate) fn whole(body: &Value, broken: Option<(usize, Break)>) -> Result<Response, Refusal> {
    let text = body.to_string();
    let last = match broken {
        None => {
            return Ok(response(
                "application/json",
                play(vec![Step::Send(text)], Duration::ZERO),
            ));
        }
        Some((_, Break::Error)) => {
            let message = "a fault that was asked for";
            return Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, message));
        }
        Some((_, Break::Cut)) => Step::Cut,
        Some((_, Break::Hang)) => Step::Hang,
    };
    let half: String = text.chars().take(text.len() / 2).collect();
    Ok(response(
        "application/json",
        play(vec![Step::Send(half), last], Duration::ZERO),
    ))
}

fn play(steps: Vec<Step>, pace: Duration) -> impl Stream<Item = io::Result<String>> {
    stream::iter(steps).then(move |step| async move {
        match step {
            Step::Send(text) => Ok(text),
            Step::Piece(text) => {
                tokio::time::sleep(pace).await;
                Ok(text)
            }
            Step::Cut => {
                // Lets the server write what it has before it learns that the body is broken.
                tokio::task::yield_now().await;
                Err(io::Error::from(io::ErrorKind::ConnectionAborted))
            }
            Step::Hang => std::future::pending().await,
        }
    })
}

fn response(
    kind: &'static str,
    body: impl Stream<Item = io::Result<String>> + Send + 'static,
) -> Response {
    let mut response = Response::new(Body::from_stream(body));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
