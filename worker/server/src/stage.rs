//! How far a start has come, for whoever asks before there is a model.

use std::sync::Arc;

use tokio::sync::watch;
use weir_sources::Progress;
use weir_worker_api::{self as api, Phase};

use crate::refusal::Refusal;

/// When to ask again where nobody knows how long it takes.
const RETRY_AFTER_SECONDS: u64 = 5;

/// Clients wait no longer than this, whatever they are told.
const LONGEST_SECONDS: u64 = 120;

/// Clones are the same start.
#[derive(Clone, Debug)]
pub struct Stage {
    model: Arc<str>,
    phase: watch::Sender<Phase>,
    progress: watch::Receiver<Progress>,
}

impl Stage {
    /// Of a worker that is to serve `model`, whose files `progress` follows.
    pub fn new(model: &str, progress: watch::Receiver<Progress>) -> Self {
        Self {
            model: model.into(),
            phase: watch::Sender::new(Phase::Fetching),
            progress,
        }
    }

    pub fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    pub fn describe(&self) -> api::DescribeResponse {
        let phase = *self.phase.borrow();
        let progress = self.progress.borrow();
        let arriving = (phase == Phase::Fetching).then(|| api::Arriving {
            done_bytes: progress.done_bytes,
            total_bytes: progress.total_bytes,
            percent: progress.percent().map(u32::from),
            bytes_per_second: progress.bytes_per_second,
            said: progress.to_string(),
        });
        api::DescribeResponse {
            model: self.model.as_ref().to_owned(),
            version: weir_process::VERSION.to_owned(),
            phase: phase.into(),
            arriving,
            ..api::DescribeResponse::default()
        }
    }

    /// What everything else is answered with.
    pub fn refusal(&self) -> Refusal {
        let progress = self.progress.borrow();
        let (doing, seconds) = match *self.phase.borrow() {
            Phase::Unspecified | Phase::Fetching => (progress.to_string(), seconds_left(&progress)),
            Phase::Loading => ("loading it".to_owned(), None),
            Phase::WarmingUp | Phase::Serving => ("warming up".to_owned(), None),
            Phase::Adapters => ("waiting for its adapters".to_owned(), None),
        };
        let seconds = seconds.unwrap_or(RETRY_AFTER_SECONDS);
        Refusal::Starting {
            model: self.model.as_ref().to_owned(),
            doing,
            seconds: seconds.clamp(1, LONGEST_SECONDS) as u32,
        }
    }
}

/// As long as the rest of a download takes at its pace.
fn seconds_left(progress: &Progress) -> Option<u64> {
    let left = progress.total_bytes?.saturating_sub(progress.done_bytes);
    left.checked_div(progress.bytes_per_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_told_to_come_back_when_the_download_is_over() {
        let (tx, rx) = watch::channel(Progress::default());
        let stage = Stage::new("triage", rx);
        let seconds = |bytes_per_second, total_bytes| {
            tx.send_replace(Progress {
                done_bytes: 100,
                total_bytes,
                bytes_per_second,
                ..Progress::default()
            });
            stage.refusal().retry_after_seconds().unwrap()
        };
        assert_eq!(seconds(50, Some(1100)), 20);
        assert_eq!(seconds(1, Some(1100)), 120);
        assert_eq!(seconds(5000, Some(1100)), 1);
        assert_eq!((seconds(0, Some(1100)), seconds(50, None)), (5, 5));
        stage.enter(Phase::Loading);
        assert_eq!(seconds(50, Some(1100)), 5);
    }
}
