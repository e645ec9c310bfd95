//! What the operator counts.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// Writes to the API server, by step.
#[derive(Clone, Debug, Default)]
pub struct Writes(Family<Step, Counter>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Step {
    step: &'static str,
}

impl Writes {
    pub fn count(&self, step: &'static str) {
        self.0.get_or_create(&Step { step }).inc();
    }
}

/// All of it; clones count together.
#[derive(Clone, Debug)]
pub struct OperatorMetrics {
    pub writes: Writes,
    leading: Gauge,
    reconciles: Family<Reconcile, Counter>,
    seconds: Histogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reconcile {
    /// `deployment` or `namespace`.
    of: &'static str,
    /// `ok` or `failed`.
    outcome: &'static str,
}

impl OperatorMetrics {
    pub fn register(metrics: &weir_process::Metrics) -> Self {
        let all = Self {
            writes: Writes::default(),
            leading: Gauge::default(),
            reconciles: Family::default(),
            // From a millisecond, a pass over an unchanged world, to some ten seconds.
            seconds: Histogram::new(exponential_buckets(0.001, 4.0, 8)),
        };
        metrics.register(|registry| {
            registry.register(
                "writes",
                "Writes to the API server by step",
                all.writes.0.clone(),
            );
            registry.register(
                "leading",
                "1 while this operator leads",
                all.leading.clone(),
            );
            registry.register(
                "reconciles",
                "Passes over an object",
                all.reconciles.clone(),
            );
            registry.register(
                "reconcile_duration_seconds",
                "Time of one pass",
                all.seconds.clone(),
            );
        });
        all
    }

    pub fn leads(&self, leads: bool) {
        self.leading.set(i64::from(leads));
    }

    pub fn reconciled(&self, of: &'static str, ok: bool, took: Duration) {
        let outcome = if ok { "ok" } else { "failed" };
        self.reconciles
            .get_or_create(&Reconcile { of, outcome })
            .inc();
        self.seconds.observe(took.as_secs_f64());
    }
}
