//! How far the model is on its way to this machine: for scrapes, and for the operator.

use std::time::Duration;

use tokio::{sync::watch, time::sleep};
use weir_policy::load::Arriving;
use weir_process::{
    Process,
    prometheus_client::{collector::Collector, encoding::DescriptorEncoder},
};
use weir_sources::{Phase, Progress};

use crate::{load::Reports, metrics::encode_gauges};

/// Between two reports: a download brings news with every packet.
const PAUSE: Duration = Duration::from_millis(500);

/// Tells until the model is here, whose files `progress` follows.
pub fn tell(process: &Process, reports: &Reports, mut progress: watch::Receiver<Progress>) {
    let gauges = Gauges(progress.clone());
    process
        .metrics()
        .register(|registry| registry.register_collector(Box::new(gauges)));
    let reports = reports.clone();
    process.tasks().spawn("arriving", async move {
        while progress.changed().await.is_ok() {
            let now = report(&progress.borrow_and_update());
            reports.arriving(now);
            sleep(PAUSE).await;
        }
    });
}

/// Nothing once it is here.
fn report(progress: &Progress) -> Option<Arriving> {
    (progress.phase != Phase::Complete).then(|| Arriving {
        said: progress.to_string(),
        done_bytes: progress.done_bytes,
        total_bytes: progress.total_bytes,
        bytes_per_second: progress.bytes_per_second,
    })
}

/// What has come, read when it is scraped.
#[derive(Debug)]
struct Gauges(watch::Receiver<Progress>);

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let progress = self.0.borrow().clone();
        let rate = match progress.phase {
            Phase::Downloading => progress.bytes_per_second,
            _ => 0,
        };
        let gauges = [
            (
                "download_done_bytes",
                "Of the model's files: what is here",
                progress.done_bytes as f64,
            ),
            (
                "download_bytes_per_second",
                "How fast the model's files come, over ten seconds",
                rate as f64,
            ),
        ];
        encode_gauges(&mut encoder, &gauges)?;
        // Where the source says it.
        progress.total_bytes.map_or(Ok(()), |total| {
            let help = "Of the model's files: all there is to come";
            encode_gauges(
                &mut encoder,
                &[("download_total_bytes", help, total as f64)],
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_is_told_how_far_it_is_until_it_is_here() {
        let mut progress = Progress {
            phase: Phase::Downloading,
            file: "model.gguf".into(),
            done_bytes: 30_000_000,
            total_bytes: Some(120_000_000),
            bytes_per_second: 10_000_000,
            trouble: None,
        };
        let arriving = report(&progress).unwrap();
        assert_eq!(
            arriving.said,
            "downloading model.gguf: 25 % of 120 MB at 10 MB/s"
        );
        assert_eq!(arriving.done_bytes, 30_000_000);
        progress.phase = Phase::Complete;
        assert_eq!(report(&progress), None);
    }
}
