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
    held::{Full, Held, Room},
    refusal::Refusal,
};

/// More than most answers take.
const PIECE_BYTES: usize = 1 << 16;

/// A response with the answer, written on a thread where taking long disturbs nobody. It holds its
/// room until it is sent.
pub async fn written(
    sending: &Room,
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
    let length = full.iter().chain([&last]).map(Vec::len).sum::<usize>();
    let held = sending.hold(length).await;
    let mut held = held.map_err(|Full { limit_bytes }| Refusal::Unread { limit_bytes })?;
    let pieces = full.into_iter().chain([last]).map(|text| {
        let held = held.part(text.len());
        Bytes::from_owner(Piece { text, _held: held })
    });
    let whole = Whole(pieces.collect());
    let mut response = Response::new(Body::new(whole));
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    headers.insert(header::CONTENT_LENGTH, length.into());
    Ok(response)
}

/// A part of an answer, which holds its room for as long as anything of it waits to be sent, also
/// where nobody asks for more any longer.
struct Piece {
    text: Vec<u8>,
    _held: Held,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

/// An answer that is there, and says how long it is.
struct Whole(VecDeque<Bytes>);

impl HttpBody for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.0.pop_front();
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|piece| piece.len() as u64).sum())
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
        let sending = Room::default();
        let text = "x".repeat(3 * PIECE_BYTES);
        let answer = written(&sending, text.clone()).await.unwrap();
        let length = text.len() + 2;
        assert_eq!(answer.headers()["content-length"], length.to_string());
        // By that a reader is held to a speed.
        assert_eq!(answer.body().size_hint().exact(), Some(length as u64));
        let all = sending.free_kibibytes() + length.div_ceil(1024);
        let held = || all - sending.free_kibibytes();
        let mut body = answer.into_body();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut handed = Vec::new();
        for _ in 0..3 {
            let piece = Pin::new(&mut body).poll_frame(&mut cx);
            let Poll::Ready(Some(Ok(piece))) = piece else {
                panic!("there is more");
            };
            let mut piece = piece.into_data().unwrap();
            // What was handed over waits to be sent, and a part of it is kept as a whole.
            handed.push(piece.split_off(1));
            assert_eq!(held(), length.div_ceil(1024));
        }
        handed.truncate(1);
        assert_eq!(held(), (PIECE_BYTES + 2).div_ceil(1024));
        let rest = to_bytes(body, usize::MAX).await.unwrap().len();
        assert_eq!((rest, held()), (2, PIECE_BYTES / 1024));
        drop(handed);
        assert_eq!(held(), 0);
    }
}
