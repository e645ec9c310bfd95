//! What was received, so that a test can prove what left its sender.
//!
//! Invariant: memory is bounded; the oldest requests are forgotten, and long bodies are cut.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::request::Parts;
use serde::Serialize;
use serde_json::{Map, Value};

const MOST_KEPT: usize = 256;
const LONGEST_BODY_BYTES: usize = 64 * 1024;

/// The requests of the two wires, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Journal(Mutex<Kept>);

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Kept {
    /// How many came, those no longer kept included.
    total: u64,
    requests: VecDeque<Entry>,
}

#[derive(Clone, Debug, Serialize)]
struct Entry {
    number: u64,
    method: String,
    path: String,
    query: Option<String>,
    /// As received, credentials included.
    headers: Map<String, Value>,
    /// As JSON where it is JSON, else as text.
    body: Value,
    /// The client went away before its stream had ended.
    left: bool,
}

/// A stream that is being sent. Dropping it before it is over says that the client went away.
#[derive(Debug)]
pub(crate) struct Sending {
    journal: Arc<Journal>,
    number: u64,
    is_over: bool,
}

impl Sending {
    pub(crate) fn of(journal: Arc<Journal>, number: u64) -> Self {
        Self {
            journal,
            number,
            is_over: false,
        }
    }

    /// All of it was sent.
    pub(crate) fn over(&mut self) {
        self.is_over = true;
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.is_over {
            self.journal.left(self.number);
        }
    }
}

impl Journal {
    /// Notes a request and gives its number, from 1.
    pub(crate) fn note(&self, parts: &Parts, body: &[u8]) -> u64 {
        let mut kept = self.lock();
        kept.total += 1;
        let entry = Entry {
            number: kept.total,
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            headers: headers(parts),
            body: shown(body),
            left: false,
        };
        if kept.requests.len() == MOST_KEPT {
            kept.requests.pop_front();
        }
        kept.requests.push_back(entry);
        kept.total
    }

    fn left(&self, number: u64) {
        let mut kept = self.lock();
        let entry = kept
            .requests
            .iter_mut()
            .find(|entry| entry.number == number);
        if let Some(entry) = entry {
            entry.left = true;
        }
    }

    pub(crate) fn read(&self) -> Kept {
        self.lock().clone()
    }

    pub(crate) fn clear(&self) {
        *self.lock() = Kept::default();
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Headers by name; a repeated one keeps all its values, joined as HTTP joins them.
fn headers(parts: &Parts) -> Map<String, Value> {
    let mut headers = Map::new();
    for name in parts.headers.keys() {
        let values: Vec<_> = parts
            .headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        headers.insert(name.to_string(), values.join(", ").into());
    }
    headers
}

fn shown(body: &[u8]) -> Value {
    let cut = &body[..body.len().min(LONGEST_BODY_BYTES)];
    serde_json::from_slice(cut).unwrap_or_else(|_| String::from_utf8_lossy(cut).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_is_dropped_before_its_end_was_left() {
        let journal = Arc::new(Journal::default());
        let (parts, ()) = http::Request::post("/").body(()).unwrap().into_parts();
        for is_over in [true, false] {
            let number = journal.note(&parts, b"");
            let mut sending = Sending::of(journal.clone(), number);
            if is_over {
                sending.over();
            }
        }
        let kept = journal.read();
        let left: Vec<bool> = kept.requests.iter().map(|entry| entry.left).collect();
        assert_eq!(left, [false, true]);
    }

    #[test]
    fn the_oldest_are_forgotten_and_long_bodies_are_cut() {
        let journal = Journal::default();
        let (parts, ()) = http::Request::post("/v1/messages")
            .body(())
            .unwrap()
            .into_parts();
        for _ in 0..=MOST_KEPT {
            journal.note(&parts, &[b'x'; LONGEST_BODY_BYTES + 1]);
        }
        let kept = journal.read();
        assert_eq!(kept.total, 1 + MOST_KEPT as u64);
        assert_eq!(kept.requests.len(), MOST_KEPT);
        assert_eq!(kept.requests[0].number, 2);
        assert_eq!(
            kept.requests[0].body.as_str().unwrap().len(),
            LONGEST_BODY_BYTES
        );
    }
}
