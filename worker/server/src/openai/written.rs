//! Whole answers as text, in pieces: one that grows is copied again and again, and a large one takes
//! several times its size of memory.

use std::{convert::Infallible, io};

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::Response,
};
use futures::stream::iter;
use serde::Serialize;
use tokio::task::spawn_blocking;

use crate::{refusal::Refusal, sending::Sending};

/// More than most answers take.
const PIECE_BYTES: usize = 1 << 16;

/// A response with the answer, written on a thread where taking long disturbs nobody.
/// It holds its room until it is read.
pub async fn written(
    sending: &Sending,
    answer: impl Serialize + Send + 'static,
) -> Result<Response, Refusal> {
    let written = spawn_blocking(move || {
        let mut pieces = Pieces::default();
        serde_json::to_writer(&mut pieces, &answer).map(|()| pieces)
    });
    let Ok(Ok(Pieces { full, last })) = written.await else {
        return Err(Refusal::Internal {
            step: "writing the answer",
        });
    };
    let pieces: Vec<Vec<u8>> = full.into_iter().chain([last]).collect();
    let length = pieces.iter().map(Vec::len).sum::<usize>();
    let held = sending.hold(length).await?;
    let pieces = pieces.into_iter().map(move |piece| {
        let _until_the_last = &held;
        Ok::<_, Infallible>(piece)
    });
    let mut response = Response::new(Body::from_stream(iter(pieces)));
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    headers.insert(header::CONTENT_LENGTH, length.into());
    Ok(response)
}

#[derive(Default)]
struct Pieces {
    full: Vec<Vec<u8>>,
    last: Vec<u8>,
}

impl io::Write for Pieces {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if self.last.len() == PIECE_BYTES {
            let full = std::mem::replace(&mut self.last, Vec::with_capacity(PIECE_BYTES));
            self.full.push(full);
        }
        let more = &text[..text.len().min(PIECE_BYTES - self.last.len())];
        self.last.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
