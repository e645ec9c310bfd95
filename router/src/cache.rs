//! Answers that are given again to the very same ask, where a policy wants that: in this router's memory only.
//!
//! - What an ask must have in common with another to get its answer is its `key`: the tenant, all that was
//!   asked, and whatever of the policy and of the models would make the answer another one.
//! - What is kept is what the client was told, whole, and nothing that it could not rely on.
//! - Bounded by bytes; what was not asked for the longest goes first. What is too old is never given.

mod key;
mod recording;
mod replay;
mod wish;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::answer::{Begin, End, Piece, Stop, weight};
use crate::room::Room;
pub(crate) use key::{Key, Models, key};
pub(crate) use recording::{Recording, Terms};
pub(crate) use replay::replay;
pub(crate) use wish::Wish;

/// A longer answer is not kept.
const MOST_ANSWER_BYTES: usize = 1 << 20;
/// Of all the memory that there is, what answers may take that are still written.
const PART_IN_THE_MAKING: usize = 4;
/// How often what is too old is thrown away although nobody needs its room.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// An answer as the client was told it.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    /// Of the decision that it comes from.
    pub decision: String,
    pub begin: Begin,
    pub pieces: Vec<Piece>,
    pub end: End,
}

/// What was found, for a header and for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    Hit,
    Miss,
}

impl Lookup {
    pub fn word(self) -> &'static str {
        match self {
            Lookup::Hit => "hit",
            Lookup::Miss => "miss",
        }
    }
}

pub(crate) struct Cache {
    shelf: Mutex<Shelf>,
    /// Of answers that are kept.
    most_bytes: usize,
    /// For answers that are still written.
    in_the_making: Arc<Room>,
}

#[derive(Default)]
struct Shelf {
    kept: HashMap<Key, Kept>,
    /// By when they were last asked for.
    by_use: BTreeMap<u64, Key>,
    uses: u64,
    bytes: usize,
    swept: Option<Instant>,
}

struct Kept {
    answer: Arc<Answer>,
    bytes: usize,
    since: Instant,
    keep: Duration,
    /// Its place in `by_use`.
    used: u64,
}

impl Cache {
    /// Of all answers together, so many bytes.
    pub fn new(most_bytes: usize) -> Self {
        let most_in_the_making = most_bytes / PART_IN_THE_MAKING;
        Self {
            shelf: Mutex::default(),
            most_bytes: most_bytes - most_in_the_making,
            in_the_making: Room::of(most_in_the_making),
        }
    }

    /// The answer to the same ask, if it is no older than `most_age`.
    pub fn find(&self, key: &Key, most_age: Duration, now: Instant) -> Option<Arc<Answer>> {
        let mut shelf = self.shelf();
        let kept = shelf.kept.get(key)?;
        if kept.is_old(now) {
            shelf.remove(key);
            return None;
        }
        if now.saturating_duration_since(kept.since) > most_age {
            return None;
        }
        let answer = kept.answer.clone();
        shelf.touch(key);
        Some(answer)
    }

    /// Keeps an answer for so long, in place of an older one.
    pub fn put(&self, key: Key, answer: Answer, keep: Duration, now: Instant) {
        let bytes = answer.bytes();
        if bytes > self.most_bytes.min(MOST_ANSWER_BYTES) {
            return;
        }
        let mut shelf = self.shelf();
        shelf.remove(&key);
        let kept = Kept {
            answer: answer.into(),
            bytes,
            since: now,
            keep,
            used: 0,
        };
        shelf.bytes += bytes;
        shelf.kept.insert(key, kept);
        shelf.touch(&key);
        while shelf.bytes > self.most_bytes
            && let Some((_, oldest)) = shelf.by_use.first_key_value()
        {
            let oldest = *oldest;
            shelf.remove(&oldest);
        }
    }

    /// Throws away what is too old, now and then.
    pub fn sweep(&self, now: Instant) {
        let mut shelf = self.shelf();
        if shelf.swept.is_some_and(|swept| now < swept + SWEEP_EVERY) {
            return;
        }
        shelf.swept = Some(now);
        let kept = shelf.kept.iter();
        let old = kept.filter(|(_, kept)| kept.is_old(now));
        let old: Vec<Key> = old.map(|(key, _)| *key).collect();
        for key in old {
            shelf.remove(&key);
        }
    }

    /// How much memory the kept answers take.
    pub fn bytes(&self) -> usize {
        self.shelf().bytes
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    /// The answer was just asked for.
    fn touch(&mut self, key: &Key) {
        let Some(kept) = self.kept.get_mut(key) else {
            return;
        };
        self.by_use.remove(&kept.used);
        self.uses += 1;
        kept.used = self.uses;
        self.by_use.insert(self.uses, *key);
    }

    fn remove(&mut self, key: &Key) {
        if let Some(kept) = self.kept.remove(key) {
            self.by_use.remove(&kept.used);
            self.bytes -= kept.bytes;
        }
    }
}

impl Kept {
    fn is_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= self.keep
    }
}

impl Answer {
    /// About how much memory it takes.
    fn bytes(&self) -> usize {
        let pieces: usize = self.pieces.iter().map(Piece::bytes).sum();
        let Begin {
            tier,
            attempts,
            dropped,
            ..
        } = &self.begin;
        let told = dropped.iter().chain([tier, attempts, &self.decision]);
        let told: usize = told.map(|text| size_of::<String>() + text.len()).sum();
        let stops = self.end.stops.iter().map(|stop| match stop {
            Stop::Sequence(Some(text)) => size_of::<Stop>() + text.len(),
            _ => size_of::<Stop>(),
        });
        let native = self.end.native.as_ref().map_or(0, weight);
        let end = native + stops.sum::<usize>();
        size_of::<Self>() + size_of::<Kept>() + told + pieces + end
    }
}

#[cfg(test)]
mod tests;
