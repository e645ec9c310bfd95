//! The metrics of one process, in a registry of its own.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text::encode};
use prometheus_client::metrics::{MetricType, gauge::ConstGauge, info::Info};
use prometheus_client::registry::Registry;

/// What `/metrics` prints. Clones are the same registry.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    prefix: String,
}

impl Metrics {
    /// Component `weir-router` gets the prefix `weir_router_`.
    pub(crate) fn new(component: &str) -> Self {
        let mut registry = Registry::default();
        let build = Info::new([
            ("component".to_owned(), component.to_owned()),
            ("version".to_owned(), crate::VERSION.to_owned()),
            (
                "commit".to_owned(),
                crate::COMMIT.unwrap_or("unknown").to_owned(),
            ),
        ]);
        registry.register("weir_build", "What is running", build);
        registry.register_collector(Box::new(Running));
        Self {
            registry: Arc::new(Mutex::new(registry)),
            prefix: component.replace('-', "_"),
        }
    }

    /// Registers metrics; names given to `registry` get the component's prefix, counters `_total`.
    pub fn register(&self, register: impl FnOnce(&mut Registry)) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        register(registry.sub_registry_with_prefix(&self.prefix));
    }

    /// Everything in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        encode(&mut text, &registry).expect("writing to a string cannot fail");
        text
    }
}

/// What the runtime has in hand, wherever it is asked for within one.
#[derive(Debug)]
struct Running;

impl Collector for Running {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return Ok(());
        };
        let tasks = runtime.metrics().num_alive_tasks() as u64;
        let family = encoder.encode_descriptor(
            "weir_process_tasks",
            "Tasks that have not ended",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(tasks).encode(family)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::metrics::counter::Counter;

    #[test]
    fn names_carry_the_component_and_counters_their_suffix() {
        let metrics = Metrics::new("weir-router");
        let asks = Counter::<u64>::default();
        metrics.register(|registry| registry.register("asks", "Asks received", asks.clone()));
        asks.inc();
        let text = metrics.encode();
        assert!(text.contains("weir_router_asks_total 1\n"), "{text}");
    }

    #[test]
    fn the_build_is_always_there() {
        let text = Metrics::new("weir-operator").encode();
        let line = text
            .lines()
            .find(|line| line.starts_with("weir_build_info{"))
            .unwrap();
        assert!(line.contains("component=\"weir-operator\""), "{line}");
        assert!(
            line.contains(&format!("version=\"{}\"", crate::VERSION)),
            "{line}"
        );
    }
    #[tokio::test]
    async fn tasks_that_have_not_ended_are_counted() {
        let metrics = Metrics::new("weir-router");
        let tasks = |text: String| -> u64 {
            let mut lines = text.lines();
            let found = lines.find_map(|line| line.strip_prefix("weir_process_tasks "));
            found.unwrap().parse().unwrap()
        };
        let before = tasks(metrics.encode());
        #[allow(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        let task = tokio::spawn(std::future::pending::<()>());
        assert_eq!(tasks(metrics.encode()), before + 1);
        task.abort();
        let _ = task.await;
        assert_eq!(tasks(metrics.encode()), before);
    }
}
