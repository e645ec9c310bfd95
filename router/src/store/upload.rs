//! The task of one destination: lines become objects, written one after the other.
//!
//! An object that cannot be written is tried again under the same name, so that nothing is there twice;
//! meanwhile the queue fills, and then drops. What is left when nobody can send any more has a short
//! time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use weir_policy::records::Store;
use weir_process::Shutdown;

use super::Waiting;
use super::batch::Batch;
use super::bucket::{Bucket, StoreError};
use crate::credentials::Credentials;
use crate::dial::Dialler;

/// An object is written when it is this long, or its first line this old.
const BATCH_BYTES: usize = 1 << 20;
const BATCH_AGE: Duration = Duration::from_secs(10);
/// For one try.
const LONGEST_PUT: Duration = Duration::from_secs(30);
/// Doubled with each try.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// About three minutes of pauses.
const MOST_TRIES: u32 = 9;
/// For all that is left when the last sender is gone.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What objects are called.
pub(super) struct Names {
    pub prefix: String,
    pub policy: String,
    /// Of this router.
    pub tag: String,
    pub count: Arc<AtomicU64>,
}

impl Names {
    /// The next one, for an object that is begun at `time`.
    fn next(&self, time: Timestamp) -> String {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let hour = time.strftime("%Y/%m/%d/%H");
        let lead = match self.prefix.as_str() {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        format!("{lead}{}/{hour}/{}-{count:06}.jsonl", self.policy, self.tag)
    }
}

pub(super) struct Uploader {
    pub store: Store,
    pub lines: mpsc::Receiver<Waiting>,
    pub shutdown: Shutdown,
    pub credentials: watch::Receiver<Arc<Credentials>>,
    pub dialler: Arc<Dialler>,
    pub names: Names,
}

impl Uploader {
    /// Writes until every outbox is gone and nothing is left. Dropping it counts what is left as failed.
    pub async fn run(mut self, mut alive: watch::Receiver<()>) {
        let too_late = async {
            // Nothing is ever sent: it ends with its sender.
            while alive.changed().await.is_ok() {}
            sleep(LAST_WORDS).await;
        };
        tokio::select! {
            () = self.work() => {}
            () = too_late => tracing::warn!(
                policy = self.names.policy,
                "records are lost: their store did not take them before the end"
            ),
        }
    }

    async fn work(&mut self) {
        while let Some(batch) = self.gather().await {
            let name = self.names.next(Timestamp::now());
            let outcome = self.deliver(&name, &batch).await;
            batch.ended(outcome);
        }
    }

    /// The next lines; nothing where none can come.
    async fn gather(&mut self) -> Option<Batch> {
        let mut batch = Batch::default();
        batch.add(self.lines.recv().await?);
        let until = Instant::now() + BATCH_AGE;
        while batch.bytes() < BATCH_BYTES {
            tokio::select! {
                biased;
                line = self.lines.recv() => match line {
                    Some(line) => batch.add(line),
                    None => break,
                },
                () = sleep_until(until) => break,
                // A router that ends may not have until then.
                () = self.shutdown.draining() => break,
            }
        }
        Some(batch)
    }

    /// Writes one object, as often as it takes within reason. Gives what became of it.
    async fn deliver(&mut self, name: &str, batch: &Batch) -> &'static str {
        let mut pause = FIRST_PAUSE;
        for tried in 1..=MOST_TRIES {
            let credentials = self.credentials.borrow_and_update().clone();
            let Some(keys) = credentials.store(&self.store.secret) else {
                return "dropped";
            };
            let put = async {
                let bucket = Bucket::open(&self.store, keys, &self.dialler)?;
                let body = batch.jsonl(bucket.is_inside);
                bucket.put(name, body).await
            };
            let put = timeout(LONGEST_PUT, put).await;
            let error = match put.unwrap_or(Err(StoreError::TooSlow(LONGEST_PUT))) {
                Ok(()) => return "written",
                Err(error) => error,
            };
            tracing::warn!(
                policy = self.names.policy,
                bucket = self.store.bucket,
                lines = batch.len(),
                tried,
                %error,
                "records were not written"
            );
            if tried == MOST_TRIES {
                break;
            }
            tokio::select! {
                () = sleep(pause) => {}
                // Somebody may have mended it.
                Ok(()) = self.credentials.changed() => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        "failed"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_named_by_policy_hour_router_and_number() {
        let names = |prefix: &str| Names {
            prefix: prefix.into(),
            policy: "support".into(),
            tag: "ab12".into(),
            count: Arc::new(7.into()),
        };
        let time: Timestamp = "2026-11-21T09:59:59Z".parse().unwrap();
        let first = names("a/b").next(time);
        assert_eq!(first, "a/b/support/2026/11/21/09/ab12-000007.jsonl");
        let bare = names("");
        bare.next(time);
        assert_eq!(bare.next(time), "support/2026/11/21/09/ab12-000008.jsonl");
    }
}
