//! Takes in what clients send, within bounds of size, time and number.

use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use futures::StreamExt;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};
use weir_policy::json::{MOST_VALUES, most_values};

use crate::refusal::Refusal;

/// A prompt of a million characters and its JSON fit; a picture does not, and none is taken.
const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;

/// Bodies that may be read at the same time: with the limit above they bound what memory they take.
pub const MOST_READING: usize = 32;

/// Longer than a body of that size takes on a slow line, so that nobody holds a place by silence.
const LONGEST_READING: Duration = Duration::from_secs(30);

/// How much of what nobody wants is taken from a client before it is told so, and for how long.
/// Many clients do not read before they have written everything, and what a connection closes on
/// is lost to them.
const MOST_DISCARDED: u64 = 64 * 1024 * 1024;
const LONGEST_DISCARDING: Duration = Duration::from_secs(10);

/// The whole body, and its place among those that are read: what is parsed of it takes memory too.
pub async fn read(
    reading: &Semaphore,
    body: Body,
) -> Result<(Bytes, SemaphorePermit<'_>), Refusal> {
    let Ok(place) = reading.try_acquire() else {
        discard(body).await;
        return Err(Refusal::Overloaded {
            max_waiting: MOST_READING,
            seconds: 1,
        });
    };
    let is_long = body.size_hint().lower() > MAX_BODY_BYTES as u64;
    let mut rest = body.into_data_stream();
    let whole = match is_long {
        true => None,
        false => {
            let whole = timeout(LONGEST_READING, whole(&mut rest)).await;
            whole.map_err(|_| Refusal::BodyTooSlow)??
        }
    };
    let Some(whole) = whole else {
        drop(place);
        discard(Body::new(rest)).await;
        return Err(Refusal::BodyTooLarge {
            limit_bytes: MAX_BODY_BYTES,
        });
    };
    if most_values(&whole) > MOST_VALUES {
        return Err(Refusal::TooManyValues { limit: MOST_VALUES });
    }
    Ok((whole, place))
}

/// Nothing where it is longer than is taken.
async fn whole(body: &mut BodyDataStream) -> Result<Option<Bytes>, Refusal> {
    let mut whole = Vec::new();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|_| Refusal::BodyBroken)?;
        if whole.len() + piece.len() > MAX_BODY_BYTES {
            return Ok(None);
        }
        whole.extend_from_slice(&piece);
    }
    Ok(Some(whole.into()))
}

/// Lets a client write what nobody looks at, within bounds. One that says that it has more than
/// that is not waited for.
pub async fn discard(body: Body) {
    if body.size_hint().lower() > MOST_DISCARDED {
        return;
    }
    let mut pieces = body.into_data_stream();
    let all = async {
        let mut left = MOST_DISCARDED;
        while let Some(Ok(piece)) = pieces.next().await {
            match left.checked_sub(piece.len() as u64) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // Whoever takes longer may miss the answer.
    let _ = timeout(LONGEST_DISCARDING, all).await;
}
