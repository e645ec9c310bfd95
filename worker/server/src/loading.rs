//! What is told of a load: how long its parts took, and what became of packed weights.

use std::time::{Duration, SystemTime};

use tokio::task::spawn_blocking;
use weir_engine::model::{LoadReport, Upkeep, Upkept};
use weir_process::Process;

/// How long the parts of a start took that are not the model's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Took {
    pub tokenizer: Duration,
    pub key_values: Duration,
    pub warm_up: Duration,
}

impl Took {
    /// As `open 12 ms, digest 400 ms`: parts that took less than one are left out. What the model's
    /// took together is among them as `all`.
    pub fn told(&self, report: &LoadReport) -> String {
        let parts = report.phases.each().into_iter().chain([
            ("tokenizer", self.tokenizer),
            ("key values", self.key_values),
            ("warm-up", self.warm_up),
        ]);
        let parts = parts.map(|(name, took)| (name, took.as_millis()));
        let told = parts.filter(|(_, took)| *took > 0);
        let told: Vec<String> = told
            .map(|(name, took)| format!("{name} {took} ms"))
            .collect();
        told.join(", ")
    }
}

/// Does for the next start what is to be done, while this one serves.
pub fn keep_up(process: &Process, upkeep: Upkeep) {
    let shutdown = process.shutdown().clone();
    process.tasks().spawn("packed weights", async move {
        let is_over = move || shutdown.has_begun();
        let kept = spawn_blocking(move || upkeep.run(SystemTime::now(), &is_over)).await;
        match kept {
            Ok(Ok(Upkept::Nothing | Upkept::Over)) => {}
            Ok(Ok(Upkept::Written { path, bytes })) => {
                tracing::info!(path = %path.display(), bytes, "packed weights kept for the next start");
            }
            Ok(Ok(Upkept::ByAnother)) => {
                tracing::info!("another worker keeps the packed weights");
            }
            Ok(Ok(Upkept::NoRoom { bytes, available })) => {
                tracing::warn!(bytes, available, "no room to keep packed weights");
            }
            Ok(Err(error)) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "packed weights were not kept");
            }
            Err(error) => tracing::warn!(%error, "packed weights were not kept"),
        }
    });
}

#[cfg(test)]
mod tests {
    use weir_engine::model::LoadPhases;

    use super::*;

    #[test]
    fn parts_that_took_nothing_are_not_told() {
        let report = LoadReport {
            phases: LoadPhases {
                pack: Duration::from_millis(1200),
                check: Duration::from_micros(900),
                ..LoadPhases::default()
            },
            ..LoadReport::default()
        };
        let took = Took {
            warm_up: Duration::from_millis(30),
            ..Took::default()
        };
        assert_eq!(took.told(&report), "pack 1200 ms, warm-up 30 ms");
    }
}
