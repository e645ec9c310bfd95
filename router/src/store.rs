//! Records on their way to object storage, for the policies that want them there. One queue and one task
//! for each destination.
//!
//! An ask never waits for a store: a line that finds no room is dropped and counted. Every line that was
//! taken is counted too, as written, dropped or failed, whatever becomes of it.

mod batch;
mod bucket;
mod upload;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::sync::{mpsc, watch};
use weir_policy::Table;
use weir_policy::records::Store;
use weir_process::{Shutdown, Tasks};

use crate::credentials::Credentials;
use crate::dial::Dialler;
use crate::feedback::Label;
use crate::metrics::RecordLabels;
use crate::text::Text;
use upload::{Names, Uploader};

/// The most lines that wait for one destination, and the most bytes of them.
const MOST_LINES: usize = 4096;
const MOST_BYTES: usize = 16 << 20;

/// One line for a store.
pub(crate) enum Line {
    Record {
        id: String,
        json: Arc<str>,
        labels: Vec<Label>,
        text: Option<Text>,
        is_private: bool,
    },
    /// On a decision whose record has gone before.
    Feedback {
        id: String,
        label: Label,
        is_private: bool,
    },
    /// Feedback that another line says.
    Merged,
}

impl Line {
    /// About how long it is.
    fn bytes(&self) -> usize {
        match self {
            Line::Record {
                json, labels, text, ..
            } => {
                let labels = labels.iter().map(Label::bytes).sum::<usize>();
                json.len() + labels + text.as_ref().map_or(0, Text::bytes)
            }
            Line::Feedback { id, label, .. } => id.len() + label.bytes(),
            Line::Merged => 0,
        }
    }
}

/// A line that waits, and its place among those that do. It is counted when it is dropped.
struct Waiting {
    line: Line,
    place: Place,
}

struct Place {
    bytes: usize,
    waiting: Arc<AtomicUsize>,
    counts: Counts,
    outcome: &'static str,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.bytes, Ordering::Relaxed);
        self.counts.count(self.outcome);
    }
}

/// What became of the lines of one policy.
#[derive(Clone)]
struct Counts {
    policy: String,
    family: Family<RecordLabels, Counter>,
}

impl Counts {
    fn count(&self, outcome: &'static str) {
        let policy = self.policy.clone();
        let labels = RecordLabels { policy, outcome };
        self.family.get_or_create(&labels).inc();
    }
}

/// The way to one destination. Its task ends when all of these are gone.
pub(crate) struct Outbox {
    store: Store,
    lines: mpsc::Sender<Waiting>,
    waiting: Arc<AtomicUsize>,
    counts: Counts,
    /// Tells the task when it is gone.
    _alive: watch::Sender<()>,
}

impl Outbox {
    /// Takes a line, or drops it where too much waits already.
    pub fn put(&self, line: Line) {
        let bytes = line.bytes();
        let add = |waiting: usize| Some(waiting + bytes).filter(|sum| *sum <= MOST_BYTES);
        let order = Ordering::Relaxed;
        if self.waiting.fetch_update(order, order, add).is_err() {
            return self.counts.count("dropped");
        }
        let place = Place {
            bytes,
            waiting: self.waiting.clone(),
            counts: self.counts.clone(),
            outcome: "failed",
        };
        let sent = self.lines.try_send(Waiting { line, place });
        if let Err(mpsc::error::TrySendError::Full(mut waiting)) = sent {
            waiting.place.outcome = "dropped";
        }
    }
}

/// What every destination's task needs.
pub(crate) struct Means {
    pub tasks: Tasks,
    pub shutdown: Shutdown,
    pub credentials: watch::Receiver<Arc<Credentials>>,
    pub dialler: Arc<Dialler>,
    pub counts: Family<RecordLabels, Counter>,
    /// Of this router, among all that write to one place.
    pub tag: String,
}

/// The destinations, by policy.
pub(crate) struct Stores {
    means: Means,
    count: Arc<AtomicU64>,
    outboxes: Mutex<BTreeMap<String, Arc<Outbox>>>,
}

impl Stores {
    pub fn new(means: Means) -> Self {
        Self {
            means,
            count: Arc::default(),
            outboxes: Mutex::default(),
        }
    }

    /// The way to `store` for the policy's records. Must be called inside a runtime.
    pub fn outbox(&self, policy: &str, store: &Store) -> Arc<Outbox> {
        let mut outboxes = self.outboxes();
        match outboxes.get(policy) {
            Some(outbox) if outbox.store == *store => outbox.clone(),
            _ => {
                let outbox = Arc::new(self.open(policy, store));
                outboxes.insert(policy.to_owned(), outbox.clone());
                outbox
            }
        }
    }

    /// Lets go of the destinations that no policy names any more; what waits for them still goes there.
    pub fn keep(&self, table: &Table) {
        self.outboxes().retain(|policy, outbox| {
            let policy = table.policy(policy);
            let store = policy.and_then(|policy| policy.settings.records.store.as_ref());
            store == Some(&outbox.store)
        });
    }

    fn open(&self, policy: &str, store: &Store) -> Outbox {
        let means = &self.means;
        let (lines, received) = mpsc::channel(MOST_LINES);
        let (alive, gone) = watch::channel(());
        let uploader = Uploader {
            store: store.clone(),
            lines: received,
            shutdown: means.shutdown.clone(),
            credentials: means.credentials.clone(),
            dialler: means.dialler.clone(),
            names: Names {
                prefix: store.prefix.clone(),
                policy: policy.to_owned(),
                tag: means.tag.clone(),
                count: self.count.clone(),
            },
        };
        means.tasks.spawn("records", uploader.run(gone));
        Outbox {
            store: store.clone(),
            lines,
            waiting: Arc::default(),
            counts: Counts {
                policy: policy.to_owned(),
                family: means.counts.clone(),
            },
            _alive: alive,
        }
    }

    fn outboxes(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Outbox>>> {
        self.outboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn outbox() -> (
        Outbox,
        mpsc::Receiver<Waiting>,
        Family<RecordLabels, Counter>,
    ) {
        let (lines, received) = mpsc::channel(2);
        let family = Family::default();
        let outbox = Outbox {
            store: Store {
                bucket: "b".into(),
                prefix: String::new(),
                secret: "s".into(),
            },
            lines,
            waiting: Arc::default(),
            counts: Counts {
                policy: "support".into(),
                family: family.clone(),
            },
            _alive: watch::channel(()).0,
        };
        (outbox, received, family)
    }

    fn feedback(comment: usize) -> Line {
        Line::Feedback {
            id: "a".into(),
            label: Label {
                time: Timestamp::UNIX_EPOCH,
                verdict: "good",
                score: None,
                comment: Some("x".repeat(comment)),
            },
            is_private: false,
        }
    }

    #[test]
    fn a_full_queue_drops_and_counts_by_number_and_by_memory() {
        let (outbox, mut received, family) = outbox();
        let count = |outcome| {
            let policy = "support".to_owned();
            family
                .get_or_create(&RecordLabels { policy, outcome })
                .get()
        };
        outbox.put(feedback(MOST_BYTES));
        assert_eq!(count("dropped"), 1, "too long");
        for _ in 0..3 {
            outbox.put(feedback(1));
        }
        assert_eq!(count("dropped"), 2, "too many");
        let mut written = received.try_recv().unwrap();
        written.place.outcome = "written";
        drop(written);
        assert_eq!((count("written"), count("failed")), (1, 0));
        drop(received);
        assert_eq!(count("failed"), 1, "nobody was left to write it");
        outbox.put(feedback(1));
        assert_eq!(count("failed"), 2);
        assert_eq!(outbox.waiting.load(Ordering::Relaxed), 0);
    }
}
