//! The body of a request, read within bounds of size, memory and time.
//!
//! - What all bodies in hand take is bounded by one count of bytes, which an ask gives back when it
//!   is over: each byte of a body counts twice, because its text is kept twice once it is parsed,
//!   and each JSON value in it as [`VALUE_BYTES`], which is what a parsed value takes. No tenant has all of it.
//! - A body that takes its time holds one of a bounded number of places, so that half-sent bodies
//!   take nothing from those that are sent at once.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures::StreamExt;
use http::request::Parts;
use http::{Version, header};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use weir_policy::json::{MOST_VALUES, most_values};

use super::memory::{Memory, Part};
use crate::args::Args;
use crate::refusal::Refusal;

/// What a parsed value takes, with its share of a list that grows or of an object.
const VALUE_BYTES: usize = 128;
/// A body that is whole within this needs no place.
const PROMPT: Duration = Duration::from_secs(1);
/// Places for bodies that take longer.
const MOST_SLOW: usize = 256;
/// A client that says nothing for so long has gone.
const LONGEST_STALL: Duration = Duration::from_secs(10);
/// However steadily it comes.
const LONGEST_READ: Duration = Duration::from_secs(60);
/// What is read of a refused body, so that a client that writes first and reads later sees why.
const MOST_DISCARDED: usize = 64 << 20;
const LONGEST_DISCARD: Duration = Duration::from_secs(2);

/// The bounds of one router.
pub(crate) struct Bounds {
    longest: usize,
    memory: Arc<Memory>,
    slow: Semaphore,
    prompt: Duration,
    stall: Duration,
}

impl Bounds {
    pub fn new(args: &Args) -> Self {
        Self {
            longest: args.max_body_bytes,
            memory: Memory::of(args.max_bodies_bytes),
            slow: Semaphore::new(MOST_SLOW),
            prompt: PROMPT,
            stall: LONGEST_STALL,
        }
    }
}

/// What a body takes of the memory for bodies, until this is dropped.
pub(crate) struct Held {
    /// How long it was.
    pub length: usize,
    _part: Part,
}

/// A body on its way in.
pub(crate) struct Incoming {
    stream: BodyDataStream,
    announced: Option<usize>,
    /// The client waits to be told that it may send, and has not been told.
    is_held_back: bool,
    is_over: bool,
    gathered: Vec<u8>,
}

impl Incoming {
    pub fn new(body: Body, parts: &Parts) -> Self {
        let announced = parts.headers.get(header::CONTENT_LENGTH);
        Self {
            stream: body.into_data_stream(),
            announced: announced.and_then(|length| length.to_str().ok()?.parse().ok()),
            is_held_back: parts.version == Version::HTTP_11
                && parts.headers.contains_key(header::EXPECT),
            is_over: false,
            gathered: Vec::new(),
        }
    }

    /// The whole body of a request of `tenant`, and what it takes.
    pub async fn read(
        &mut self,
        bounds: &Bounds,
        tenant: &str,
    ) -> Result<(Vec<u8>, Held), Refusal> {
        let limit = bounds.longest;
        if self.announced.is_some_and(|length| length > limit) {
            return Err(Refusal::TooLarge { limit });
        }
        let mut part = bounds.memory.part(tenant);
        match timeout(bounds.prompt, self.gather(bounds, &mut part)).await {
            Ok(gathered) => gathered?,
            Err(_) => {
                let place = bounds.slow.try_acquire();
                let _place = place.map_err(|_| Refusal::BodyTooSlow(bounds.prompt))?;
                let gathered = timeout(LONGEST_READ, self.gather(bounds, &mut part)).await;
                gathered.unwrap_or(Err(Refusal::BodyTooSlow(LONGEST_READ)))?;
            }
        }
        let values = most_values(&self.gathered);
        if values > MOST_VALUES {
            return Err(Refusal::TooManyValues { limit: MOST_VALUES });
        }
        let length = self.gathered.len();
        part.grow(2 * length + values * VALUE_BYTES)?;
        let held = Held {
            length,
            _part: part,
        };
        Ok((std::mem::take(&mut self.gathered), held))
    }

    /// Goes on where it was left, if it was dropped while it waited.
    async fn gather(&mut self, bounds: &Bounds, part: &mut Part) -> Result<(), Refusal> {
        let limit = bounds.longest;
        while let Some(piece) = self.next(bounds.stall).await? {
            let length = self.gathered.len() + piece.len();
            if length > limit {
                return Err(Refusal::TooLarge { limit });
            }
            part.grow(2 * length)?;
            self.gathered.extend_from_slice(&piece);
        }
        Ok(())
    }

    async fn next(&mut self, stall: Duration) -> Result<Option<Bytes>, Refusal> {
        self.is_held_back = false;
        if self.is_over {
            return Ok(None);
        }
        let piece = timeout(stall, self.stream.next()).await;
        let piece = piece.map_err(|_| Refusal::BodyTooSlow(stall))?;
        self.is_over = piece.is_none();
        piece.transpose().map_err(|_| Refusal::BodyBroken)
    }

    /// Reads what is left of a refused body, within bounds. Whether the connection is of use
    /// afterwards.
    pub async fn discard(&mut self) -> bool {
        self.gathered = Vec::new();
        if self.is_held_back {
            return false;
        }
        let discard = async {
            let mut discarded = 0;
            while let Ok(Some(piece)) = self.next(LONGEST_DISCARD).await {
                discarded += piece.len();
                if discarded > MOST_DISCARDED {
                    break;
                }
            }
        };
        // Time that runs out leaves the body where it is.
        let _ = timeout(LONGEST_DISCARD, discard).await;
        self.is_over
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http::Request;

    use super::*;

    fn bounds(longest: usize, in_all: usize) -> Bounds {
        Bounds::new(&Args {
            max_body_bytes: longest,
            max_bodies_bytes: in_all,
            ..Args::default()
        })
    }

    fn incoming(body: impl Into<Body>, announced: Option<usize>) -> Incoming {
        let mut request = Request::new(());
        if let Some(length) = announced {
            let headers = request.headers_mut();
            headers.insert(header::CONTENT_LENGTH, length.into());
        }
        Incoming::new(body.into(), &request.into_parts().0)
    }

    async fn read(bounds: &Bounds, body: impl Into<Body>) -> Result<(Vec<u8>, Held), Refusal> {
        incoming(body, None).read(bounds, "a").await
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_before_it_is_read_whole() {
        let bounds = bounds(10, 1 << 20);
        let too_large = Some(Refusal::TooLarge { limit: 10 });
        assert_eq!(read(&bounds, vec![b' '; 11]).await.err(), too_large);
        assert_eq!(read(&bounds, "{}").await.unwrap().0, b"{}");
        let announced = incoming("{}", Some(11)).read(&bounds, "a").await;
        assert_eq!(announced.err(), too_large);
    }

    #[tokio::test]
    async fn bodies_in_hand_are_bounded_together_and_give_back_what_they_took() {
        let bounds = bounds(1 << 20, 256 << 10);
        let body = || format!("\"{}\"", "x".repeat(100 << 10));
        let first = read(&bounds, body()).await.unwrap();
        let second = read(&bounds, body()).await;
        let limit = 256 << 10;
        assert_eq!(second.err(), Some(Refusal::BodiesTooLarge { limit }));
        drop(first);
        assert!(read(&bounds, body()).await.is_ok());
        assert_eq!(bounds.memory.free(), 256 << 10);
    }

    #[tokio::test]
    async fn bodies_of_one_tenant_leave_room_for_those_of_others() {
        let bounds = bounds(1 << 20, 256 << 10);
        let read = async |tenant: &str, length: usize| {
            let body = "x".repeat(length);
            incoming(body, None).read(&bounds, tenant).await
        };
        let mut held = Vec::new();
        let refused = loop {
            match read("greedy", 10 << 10).await {
                Ok((_, body)) => held.push(body),
                Err(refused) => break refused,
            }
        };
        assert!(matches!(refused, Refusal::BodiesOfOne { .. }));
        assert_eq!(held.len(), 11, "of 12.8 that there is room for");
        assert!(read("modest", 10 << 10).await.is_ok());
        drop(held);
        let (_, huge) = read("greedy", 1 << 20).await.unwrap();
        assert_eq!(huge.length, 1 << 20);
        assert!(read("modest", 10 << 10).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_of_many_small_values_counts_for_what_they_take_when_parsed() {
        let list = |values: usize| format!("[{}0]", "0,".repeat(values - 1));
        let wide = bounds(10 << 20, 64 << 20);
        let refused = read(&wide, list(4_900_000)).await.err();
        let limit = MOST_VALUES;
        assert_eq!(refused, Some(Refusal::TooManyValues { limit }));
        let (_, _held) = read(&wide, list(100_000)).await.unwrap();
        let taken = (64 << 20) - wide.memory.free();
        assert!(taken > 100_000 * VALUE_BYTES, "{taken}");
    }

    #[tokio::test]
    async fn a_body_that_stalls_is_ended_and_does_not_lock_out_one_that_is_sent_at_once() {
        let mut bounds = bounds(1 << 20, 1 << 20);
        bounds.prompt = Duration::from_millis(50);
        bounds.stall = Duration::from_millis(500);
        let stalled = || {
            let half = stream::iter([Ok::<_, std::io::Error>("{")]);
            Body::from_stream(half.chain(stream::pending()))
        };
        let all = futures::future::join_all((0..=MOST_SLOW).map(|_| read(&bounds, stalled())));
        let prompt = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert_eq!(bounds.slow.available_permits(), 0);
            assert!(read(&bounds, "{}").await.is_ok());
        };
        let (ended, ()) = tokio::join!(all, prompt);
        let ended: Vec<Refusal> = ended.into_iter().filter_map(Result::err).collect();
        let after = |wait| {
            let slow = Refusal::BodyTooSlow(wait);
            ended.iter().filter(|ended| **ended == slow).count()
        };
        assert_eq!((after(bounds.stall), after(bounds.prompt)), (MOST_SLOW, 1));
    }
}
