//! A router that has no leader grants itself: by the same function, out of a ledger in a file. What is
//! granted is on disk before any of it is spent.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use tokio::sync::watch;
use weir_policy::Table;
use weir_policy::budget::ledger::Book;
use weir_policy::budget::round::{Reported, round};
use weir_policy::load::RouterLoad;
use weir_process::Process;

use super::Purses;
use crate::world::View;

/// Between two looks at what was spent, where nobody waits.
const EVERY: Duration = Duration::from_secs(1);
/// After something that cannot be written: what is at hand lasts a while.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// What the only router of its ledger is called there.
const POD: &str = "router";

/// The file, which belongs to one router at a time.
struct Own {
    path: PathBuf,
    book: Book,
    /// Held for as long as the process lives, however it ends.
    _lock: File,
}

/// Grants what `purses` need out of the ledger at `path`, as a task of `process`. Fails where the file
/// cannot be read, is not understood, or is another router's: what was spent must not be spent again.
pub(super) fn keep(
    process: &Process,
    path: &Path,
    (purses, views): (Purses, watch::Receiver<Arc<View>>),
) -> anyhow::Result<()> {
    let own = Own::open(path)?;
    process.tasks().spawn("grant", own.grant(purses, views));
    Ok(())
}

impl Own {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let named = |what: &str| format!("{what} {}", path.display());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| named("make the folder of"))?;
        }
        let lock = path.with_extension("lock");
        let lock = File::create(&lock).with_context(|| format!("make {}", lock.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "the ledger {} is another router's, which runs",
                    path.display()
                )
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| named("lock the ledger"));
            }
        }
        let entries: BTreeMap<String, String> = match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
                format!(
                    "read the ledger {}: if what was spent may be forgotten, delete it",
                    path.display()
                )
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error).with_context(|| named("read the ledger")),
        };
        Ok(Self {
            path: path.to_owned(),
            book: Book::read(&entries),
            _lock: lock,
        })
    }

    /// Until all that was granted is spent or given back, and nothing more is.
    async fn grant(mut self, purses: Purses, views: watch::Receiver<Arc<View>>) {
        loop {
            let table = views.borrow().table.clone();
            let next = self.next(&table, (&purses, Timestamp::now()));
            let mut pause = EVERY;
            if next != self.book {
                let path = self.path.clone();
                let entries = next.write();
                let written = tokio::task::spawn_blocking(move || write(&path, &entries)).await;
                match written {
                    Ok(Ok(())) => self.book = next,
                    Ok(Err(error)) => {
                        let error = format!("{error:#}");
                        tracing::warn!(error, "nothing is granted: the ledger cannot be written");
                        pause = AFTER_FAILURE;
                    }
                    // It panicked, which was told.
                    Err(_) => pause = AFTER_FAILURE,
                }
            }
            purses.hear(&self.book.policies);
            if purses.is_returned() {
                return;
            }
            tokio::select! {
                () = purses.over() => return,
                () = purses.0.need.notified(), if pause == EVERY => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn next(&self, table: &Table, (purses, now): (&Purses, Timestamp)) -> Book {
        let served = table.policies().map(|policy| &policy.name);
        // A policy that this run does not serve may be served by the next one: what was spent stays spent.
        let kept = self.book.policies.keys().chain(self.book.unreadable.keys());
        let known: BTreeSet<String> = served.chain(kept).cloned().collect();
        let load = RouterLoad {
            run: purses.run().to_owned(),
            purses: purses.report(),
            ..RouterLoad::default()
        };
        let router = Reported {
            pod: POD,
            load: Some(&load),
        };
        round(&self.book, (table, &known), &[router], now)
    }
}

/// Whole or not at all, and on the disk when it returns.
fn write(path: &Path, entries: &BTreeMap<String, String>) -> anyhow::Result<()> {
    let json = serde_json::to_vec(entries).context("write the ledger as JSON")?;
    let new = path.with_extension("new");
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(&json)?;
        file.sync_all()
    });
    written.with_context(|| format!("write {}", new.display()))?;
    fs::rename(&new, path).with_context(|| format!("rename to {}", path.display()))?;
    // Else the old one may be there again after a loss of power.
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let written = File::open(folder).and_then(|folder| folder.sync_all());
    written.with_context(|| format!("write the folder {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::tests::{granted, purses, settings};
    use serde_json::json;
    use weir_crds::Period;

    #[test]
    fn a_ledger_is_one_routers_at_a_time_and_not_begun_anew_where_it_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/budgets.json");
        let own = Own::open(&path).unwrap();
        let error = Own::open(&path).err().unwrap().to_string();
        assert!(error.contains("is another router's"), "{error}");
        drop(own);
        let entries = [("support".to_owned(), "odd".to_owned())].into();
        write(&path, &entries).unwrap();
        let own = Own::open(&path).unwrap();
        assert_eq!(own.book.unreadable, entries);
        drop(own);
        fs::write(&path, "{").unwrap();
        let error = Own::open(&path).err().unwrap().to_string();
        assert!(error.contains("delete it"), "{error}");
    }

    #[test]
    fn what_was_spent_of_a_policy_that_is_not_served_now_is_known_to_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("budgets.json");
        let mut own = Own::open(&path).unwrap();
        let limits = settings(json!([{ "period": "Month", "limit": "10" }]));
        own.book.policies = granted(&[(Period::Month, "2", "3")], &limits);
        own.book.unreadable = [("odd".to_owned(), "odd".to_owned())].into();
        let next = own.next(&Table::default(), (&purses(), Timestamp::now()));
        assert_eq!(next, own.book);
        write(&path, &next.write()).unwrap();
        drop(own);
        assert_eq!(Own::open(&path).unwrap().book, next);
    }
}
