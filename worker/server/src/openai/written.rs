//! Whole answers as text, in pieces: one that grows is copied again and again, and a large one takes
//! several times its size of memory.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{HeaderValue, header},
    response::Response,
};
use http_body::{Frame, SizeHint};
use serde::Serialize;
use tokio::task::spawn_blocking;

use crate::{
    refusal::Refusal,
    sending::{Held, Sending},
};

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
    let pieces = full.into_iter().chain([last]).map(Bytes::from).collect();
    let whole = Whole::of(pieces, sending).await?;
    let length = whole.size_hint().exact().unwrap_or_default();
    let mut response = Response::new(Body::new(whole));
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    headers.insert(header::CONTENT_LENGTH, length.into());
    Ok(response)
}

/// An answer that is there, of which each piece gives its room back when it is handed over.
struct Whole {
    pieces: VecDeque<Bytes>,
    /// Short ones have none.
    held: Option<Held>,
}

impl Whole {
    async fn of(pieces: VecDeque<Bytes>, sending: &Sending) -> Result<Self, Refusal> {
        let bytes = pieces.iter().map(Bytes::len).sum();
        let held = match pieces.len() {
            0 | 1 => None,
            _ => Some(sending.hold(bytes).await?),
        };
        Ok(Self { pieces, held })
    }
}

impl HttpBody for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.pop_front();
        if let (Some(piece), Some(held)) = (&piece, &mut self.held) {
            held.give_back(piece.len());
        }
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.pieces.iter().map(|piece| piece.len() as u64).sum())
    }
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

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    #[tokio::test]
    async fn an_answer_says_how_long_it_is_and_gives_its_room_back_as_it_is_read() {
        let sending = Sending::default();
        let text = "x".repeat(3 * PIECE_BYTES);
        let answer = written(&sending, text.clone()).await.unwrap();
        let length = text.len() + 2;
        assert_eq!(answer.headers()["content-length"], length.to_string());
        // By that a reader is held to a speed.
        assert_eq!(answer.body().size_hint().exact(), Some(length as u64));
        let all = sending.free_kibibytes() + length.div_ceil(1024);
        let mut body = answer.into_body();
        let piece =
            Pin::new(&mut body).poll_frame(&mut Context::from_waker(std::task::Waker::noop()));
        assert!(piece.is_ready());
        assert_eq!(
            all - sending.free_kibibytes(),
            (2 * PIECE_BYTES + 2).div_ceil(1024)
        );
        assert_eq!(
            to_bytes(body, usize::MAX).await.unwrap().len(),
            length - PIECE_BYTES
        );
        assert_eq!(sending.free_kibibytes(), all);
    }

    #[tokio::test]
    async fn a_short_answer_needs_no_room() {
        let sending = Sending::default();
        let _all = sending.hold(sending.free_kibibytes() << 10).await.unwrap();
        assert!(written(&sending, "short").await.is_ok());
    }
}
