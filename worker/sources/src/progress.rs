//! How far a source has come: one value that anybody may watch.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

/// What is being done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Asking the source what its address means.
    #[default]
    Resolving,
    /// Another process of this machine downloads the same.
    Waiting,
    Downloading,
    /// Reading what came earlier, to check it.
    Verifying,
    Unpacking,
    Complete,
}

/// How far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub phase: Phase,
    /// The file that last got something.
    pub file: String,
    pub done_bytes: u64,
    /// Nothing where the source does not say.
    pub total_bytes: Option<u64>,
    /// Over the last ten seconds.
    pub bytes_per_second: u64,
    /// What is being waited out, in the words of an error.
    pub trouble: Option<String>,
}

impl Progress {
    /// From 0 to 100; 100 only when every byte is there.
    pub fn percent(&self) -> Option<u8> {
        match self.total_bytes? {
            0 => Some(100),
            total => Some((u128::from(self.done_bytes.min(total)) * 100 / u128::from(total)) as u8),
        }
    }
}

impl fmt::Display for Progress {
    /// `downloading model.gguf: 43 % of 6200 MB at 85 MB/s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.phase {
            Phase::Resolving => f.write_str("asking the source")?,
            Phase::Waiting => f.write_str("another process of this node downloads")?,
            Phase::Downloading => write!(f, "downloading {}", self.file)?,
            Phase::Verifying => write!(f, "checking {}", self.file)?,
            Phase::Unpacking => write!(f, "unpacking {}", self.file)?,
            Phase::Complete => return f.write_str("complete"),
        }
        let megabytes = |bytes: u64| bytes.div_ceil(1_000_000);
        match (self.percent(), self.total_bytes) {
            (Some(percent), Some(total)) => {
                write!(f, ": {percent} % of {} MB", megabytes(total))?;
            }
            _ if self.done_bytes > 0 => write!(f, ": {} MB", megabytes(self.done_bytes))?,
            _ => {}
        }
        if self.phase == Phase::Downloading && self.bytes_per_second > 0 {
            write!(f, " at {} MB/s", megabytes(self.bytes_per_second))?;
        }
        self.trouble
            .iter()
            .try_for_each(|trouble| write!(f, " ({trouble})"))
    }
}

/// Counts, and tells whoever watches.
pub(crate) struct Meter<'a> {
    tx: &'a watch::Sender<Progress>,
    rate: Mutex<Rate>,
    told: Mutex<Instant>,
}

/// How often a log line says how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(10);

impl<'a> Meter<'a> {
    pub(crate) fn new(tx: &'a watch::Sender<Progress>) -> Self {
        tx.send_replace(Progress::default());
        Self {
            tx,
            rate: Mutex::default(),
            told: Mutex::new(Instant::now()),
        }
    }

    pub(crate) fn enter(&self, phase: Phase, file: &str) {
        self.tx.send_modify(|progress| {
            progress.phase = phase;
            progress.file = file.to_owned();
        });
    }

    pub(crate) fn expect(&self, done_bytes: u64, total_bytes: Option<u64>) {
        self.tx.send_modify(|progress| {
            progress.done_bytes = done_bytes;
            progress.total_bytes = total_bytes;
        });
    }

    /// `bytes` more of `file` are on the disk.
    pub(crate) fn came(&self, file: &str, bytes: u64) {
        let now = Instant::now();
        self.tx.send_modify(|progress| {
            progress.phase = Phase::Downloading;
            if progress.file != file {
                progress.file = file.to_owned();
            }
            progress.trouble = None;
            progress.done_bytes += bytes;
            let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
            progress.bytes_per_second = rate.after(now, bytes);
        });
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if now - *told >= TOLD_EVERY {
            *told = now;
            let progress = self.tx.borrow();
            tracing::info!(
                done_bytes = progress.done_bytes,
                total_bytes = progress.total_bytes,
                bytes_per_second = progress.bytes_per_second,
                "{}",
                *progress
            );
        }
    }

    /// `bytes` were there before, or have to come again.
    pub(crate) fn correct(&self, bytes: i64) {
        self.tx.send_modify(|progress| {
            progress.done_bytes = progress.done_bytes.saturating_add_signed(bytes);
        });
    }

    pub(crate) fn trouble(&self, what: &str) {
        self.tx
            .send_modify(|progress| progress.trouble = Some(what.to_owned()));
    }
}

/// Bytes a second over a window.
#[derive(Debug, Default)]
struct Rate {
    /// When, and how many bytes had come by then.
    marks: VecDeque<(Instant, u64)>,
    came: u64,
}

const WINDOW: Duration = Duration::from_secs(10);
const MARK_EVERY: Duration = Duration::from_millis(250);

impl Rate {
    fn after(&mut self, now: Instant, bytes: u64) -> u64 {
        self.came += bytes;
        if self
            .marks
            .back()
            .is_none_or(|(at, _)| now - *at >= MARK_EVERY)
        {
            self.marks.push_back((now, self.came));
        }
        while self.marks.len() > 2 && self.marks.front().is_some_and(|(at, _)| now - *at > WINDOW) {
            self.marks.pop_front();
        }
        let Some((since, before)) = self.marks.front() else {
            return 0;
        };
        let micros = (now - *since).as_micros();
        let came = u128::from(self.came - before);
        (came * 1_000_000).checked_div(micros).unwrap_or(0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_ten_seconds() {
        let mut rate = Rate::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(rate.after(at(0), 500), 0);
        assert_eq!(rate.after(at(1), 1000), 1000);
        for second in 2..=20 {
            rate.after(at(second), 1000);
        }
        assert_eq!(rate.after(at(21), 1000), 1000);
        for second in 22..=40 {
            rate.after(at(second), 0);
        }
        assert_eq!(rate.after(at(41), 0), 0);
    }

    #[test]
    fn a_hundred_percent_means_every_byte() {
        let of = |done_bytes, total_bytes| Progress {
            done_bytes,
            total_bytes,
            ..Progress::default()
        };
        assert_eq!(of(999, Some(1000)).percent(), Some(99));
        assert_eq!(of(1000, Some(1000)).percent(), Some(100));
        assert_eq!(of(5, None).percent(), None);
        assert_eq!(of(u64::MAX, Some(u64::MAX)).percent(), Some(100));
    }

    #[test]
    fn a_line_says_what_how_far_and_how_fast() {
        let progress = Progress {
            phase: Phase::Downloading,
            file: "model.gguf".into(),
            done_bytes: 2_666_000_000,
            total_bytes: Some(6_200_000_000),
            bytes_per_second: 85_000_000,
            trouble: None,
        };
        assert_eq!(
            progress.to_string(),
            "downloading model.gguf: 43 % of 6200 MB at 85 MB/s"
        );
    }
}
