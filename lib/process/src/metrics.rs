//! The metrics of one process, in a registry of its own.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::info::Info;
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
}
