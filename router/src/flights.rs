//! Asks that carry an `Idempotency-Key`: what a tenant asks twice under one key is done once.
//!
//! - Whoever asks again while the first ask is in hand waits for its answer, and gets the same.
//! - A whole answer is kept for a little while, because whoever lost it asks again; errors are not.
//! - A stream cannot be had twice: until it has ended its key is refused.
//! - What is kept is bounded by number and by memory; what is in hand, by the asks that may be.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::refusal::Refusal;

pub(crate) const HEADER: &str = "idempotency-key";
/// SDKs send about fifty characters.
const LONGEST_KEY: usize = 255;
/// SDKs try again within seconds, people within a minute.
const KEEP: Duration = Duration::from_secs(60);
/// For so long an ask goes on that nobody waits for: longer than an SDK waits before it asks again.
const LINGER: Duration = Duration::from_secs(10);
const MOST_KEPT: usize = 1024;
const MOST_KEPT_BYTES: usize = 16 << 20;

/// The asks in hand that have keys, and the answers that are kept.
#[derive(Default)]
pub(crate) struct Flights {
    shelf: Mutex<HashMap<Place, Flight>>,
}

type Place = (String, String);
type Landing = watch::Receiver<Option<Arc<Landed>>>;

struct Flight {
    ticket: Ticket,
    /// Where its answer will be; nothing of a stream.
    landing: Option<watch::Sender<Option<Arc<Landed>>>>,
    /// Since when the answer is here.
    since: Option<Instant>,
    bytes: usize,
}

/// What an ask says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// Hashed.
    pub tenant: String,
    pub key: String,
    /// Of all that was asked.
    pub digest: [u8; 32],
    /// The decision's id.
    pub decision: String,
    pub is_stream: bool,
}

/// An answer that is here.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Landed {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What becomes of an ask with a key.
pub(crate) enum Boarding {
    /// It is the first.
    Lead(Lead),
    /// It gets the answer of this decision.
    Join { decision: String, landing: Landing },
}

/// The first ask under its key. Dropping it before it has landed gives the key free.
pub(crate) struct Lead {
    flights: Weak<Flights>,
    place: Place,
    landing: watch::Sender<Option<Arc<Landed>>>,
    has_landed: bool,
}

/// The key of a request, if it has one.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(value) = headers.get(HEADER) else {
        return Ok(None);
    };
    let key = value.to_str().unwrap_or_default().trim();
    match (1..=LONGEST_KEY).contains(&key.len()) {
        true => Ok(Some(key.to_owned())),
        false => {
            let message = format!("must be between 1 and {LONGEST_KEY} plain characters");
            Err(Refusal::field(HEADER, message))
        }
    }
}

impl Flights {
    /// Looks for the first ask of the same key and tenant.
    pub fn board(self: &Arc<Self>, ticket: Ticket, now: Instant) -> Result<Boarding, Refusal> {
        let place = (ticket.tenant.clone(), ticket.key.clone());
        let mut shelf = self.shelf();
        shelf.retain(|_, flight| flight.since.is_none_or(|since| now < since + KEEP));
        match shelf.get(&place) {
            None => {}
            Some(first) if first.ticket.digest != ticket.digest => {
                let message = "was sent with another request: each needs a key of its own";
                return Err(Refusal::field(HEADER, message));
            }
            Some(first) => {
                let landing = first.landing.as_ref().filter(|_| !ticket.is_stream);
                let landing = landing.ok_or(Refusal::InHand)?;
                return Ok(Boarding::Join {
                    decision: first.ticket.decision.clone(),
                    landing: landing.subscribe(),
                });
            }
        }
        let (landing, _) = watch::channel(None);
        let flight = Flight {
            landing: (!ticket.is_stream).then(|| landing.clone()),
            ticket,
            since: None,
            bytes: 0,
        };
        shelf.insert(place.clone(), flight);
        Ok(Boarding::Lead(Lead {
            flights: Arc::downgrade(self),
            place,
            landing,
            has_landed: false,
        }))
    }

    fn keep(&self, place: &Place, bytes: usize, now: Instant) {
        let mut shelf = self.shelf();
        if let Some(flight) = shelf.get_mut(place) {
            (flight.since, flight.bytes) = (Some(now), bytes);
        }
        loop {
            let kept = || shelf.iter().filter(|(_, flight)| flight.since.is_some());
            let bytes: usize = kept().map(|(_, flight)| flight.bytes).sum();
            if kept().count() <= MOST_KEPT && bytes <= MOST_KEPT_BYTES {
                return;
            }
            let oldest = kept().min_by_key(|(_, flight)| flight.since);
            let oldest = oldest.map(|(place, _)| place.clone());
            oldest.and_then(|place| shelf.remove(&place));
        }
    }

    fn shelf(&self) -> MutexGuard<'_, HashMap<Place, Flight>> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lead {
    pub fn landing(&self) -> Landing {
        self.landing.subscribe()
    }

    /// Returns when nobody has waited for the answer for a while.
    pub async fn abandoned(&self) {
        loop {
            self.landing.closed().await;
            sleep(LINGER).await;
            if self.landing.receiver_count() == 0 {
                return;
            }
        }
    }

    /// The answer is here: all who wait get it, and who asks again soon, unless it is an error.
    pub fn land(mut self, landed: Landed, now: Instant) {
        if landed.status == StatusCode::OK {
            self.has_landed = true;
            if let Some(flights) = self.flights.upgrade() {
                flights.keep(&self.place, landed.body.len(), now);
            }
        }
        self.landing.send_replace(Some(Arc::new(landed)));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if let Some(flights) = self.flights.upgrade().filter(|_| !self.has_landed) {
            flights.shelf().remove(&self.place);
        }
    }
}

#[cfg(test)]
mod tests;
