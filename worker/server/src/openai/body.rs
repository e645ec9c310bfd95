//! Takes in what clients send, within bounds of size, time and number.

use std::{sync::Arc, time::Duration};

use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use futures::StreamExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use weir_policy::json::{MOST_VALUES, has_too_many_values};

use crate::{
    intake::{Intake, LONGEST, Taking},
    refusal::Refusal,
};

/// A prompt of a million characters and its JSON fit; a picture does not, and none is taken.
const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;

/// Bodies that may be parsed at the same time: what is parsed takes many times their own memory.
const MOST_PARSED: usize = 32;

/// Nothing has come for so long.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);

/// How much of what nobody wants is taken from a client before it is told so, and for how long.
/// Many clients do not read before they have written everything, and what a connection closes on
/// is lost to them.
const MOST_DISCARDED: u64 = 64 * 1024 * 1024;
const LONGEST_DISCARDING: Duration = Duration::from_secs(10);

/// What reads bodies; clones share their bounds.
#[derive(Clone, Debug)]
pub struct Reading {
    intake: Intake,
    parsed: Arc<Semaphore>,
}

/// A body's place among those that are parsed, and what it holds of what may be taken in.
#[derive(Debug)]
pub struct Place {
    parsed: OwnedSemaphorePermit,
    taking: Taking,
}

impl Place {
    /// The body is parsed; what was made of it holds the room until its prompts are read.
    pub fn parsed(self) -> Taking {
        drop(self.parsed);
        self.taking
    }
}

impl Reading {
    pub fn with(intake: Intake) -> Self {
        Self {
            intake,
            parsed: Arc::new(Semaphore::new(MOST_PARSED)),
        }
    }
}

/// The whole body, and its place among those that are parsed.
pub async fn read(reading: &Reading, body: Body) -> Result<(Bytes, Place), Refusal> {
    let is_long = body.size_hint().lower() > MAX_BODY_BYTES as u64;
    let mut rest = body.into_data_stream();
    let mut taking = reading.intake.begin();
    let read = match is_long {
        true => Err(TOO_LARGE),
        false => {
            let whole = timeout(LONGEST, whole(&mut rest, &mut taking)).await;
            whole.unwrap_or(Err(Refusal::BodyTooSlow))
        }
    };
    let whole = match read {
        Ok(whole) => whole,
        Err(refusal) => {
            drop(taking);
            if matches!(
                refusal,
                Refusal::BodyTooLarge { .. } | Refusal::Crowded { .. }
            ) {
                discard(Body::from_stream(rest)).await;
            }
            return Err(refusal);
        }
    };
    if has_too_many_values(&whole) {
        return Err(Refusal::TooManyValues { limit: MOST_VALUES });
    }
    let parsed = reading.parsed.clone().acquire_owned().await;
    let place = Place {
        parsed: parsed.map_err(|_| Refusal::BodyBroken)?,
        taking,
    };
    Ok((whole, place))
}

const TOO_LARGE: Refusal = Refusal::BodyTooLarge {
    limit_bytes: MAX_BODY_BYTES,
};

async fn whole(body: &mut BodyDataStream, taking: &mut Taking) -> Result<Bytes, Refusal> {
    let mut whole = Vec::new();
    loop {
        let piece = timeout(LONGEST_SILENCE, body.next()).await;
        let Some(piece) = piece.map_err(|_| Refusal::BodyTooSlow)? else {
            return Ok(whole.into());
        };
        let piece = piece.map_err(|_| Refusal::BodyBroken)?;
        if whole.len() + piece.len() > MAX_BODY_BYTES {
            return Err(TOO_LARGE);
        }
        taking.add(piece.len())?;
        whole.extend_from_slice(&piece);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_parsed_leaves_its_place_to_others_and_holds_its_room() {
        let intake = Intake::default();
        let reading = Reading::with(intake.clone());
        let (body, place) = read(&reading, Body::from(vec![b' '; 5000])).await.unwrap();
        assert_eq!(body.len(), 5000);
        assert_eq!(reading.parsed.available_permits(), MOST_PARSED - 1);
        let room = place.parsed();
        assert_eq!(reading.parsed.available_permits(), MOST_PARSED);
        assert_eq!(intake.taken_kibibytes(), 5);
        drop(room);
        assert_eq!(intake.taken_kibibytes(), 0);
    }
}
