//! What scrapes are told of adapters.
//!
//! `weir_worker_adapter_requests_info` is the metric of adapters that the Inference Extension's
//! endpoint picker reads: its labels are that protocol's, its value the time of the scrape, and the
//! picker takes its name as an argument.

use std::time::{SystemTime, UNIX_EPOCH};

use weir_process::{
    Process,
    prometheus_client::{
        collector::Collector,
        encoding::{DescriptorEncoder, EncodeMetric},
        metrics::{MetricType, gauge::ConstGauge},
    },
};

use super::{Seen, State, list::MOST, uses::Uses};
use crate::metrics::encode_gauges;

/// Read when it is scraped.
#[derive(Debug)]
pub struct AdapterGauges {
    pub adapters: Seen,
    pub uses: Uses,
    /// What adapters may take together.
    pub most_bytes: u64,
}

impl AdapterGauges {
    pub fn register(self, process: &Process) {
        process
            .metrics()
            .register(|registry| registry.register_collector(Box::new(self)));
    }

    fn states(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let adapters = self.adapters.borrow();
        let count = |is_counted: fn(&State) -> bool| {
            let counted = adapters.all().filter(|told| is_counted(told.state));
            counted.count() as f64
        };
        let counts = [
            ("ready", count(|state| *state == State::Ready)),
            ("loading", count(|state| *state == State::Loading)),
            ("failed", count(|state| matches!(state, State::Failed(_)))),
        ];
        let help = "Adapters of the list by how far they are";
        let mut family = encoder.encode_descriptor("adapters", help, None, MetricType::Gauge)?;
        for (state, count) in counts {
            let labels = [("state", state)];
            ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn requests(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (running, waiting) = self.uses.names();
        let labels = [
            ("max_lora", MOST.to_string()),
            ("running_lora_adapters", running.join(",")),
            ("waiting_lora_adapters", waiting.join(",")),
        ];
        let help = "Adapters of requests that run and that wait; the value is the time";
        let name = "adapter_requests_info";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0.0, |since| since.as_secs_f64());
        ConstGauge::new(now).encode(family.encode_family(&labels)?)
    }
}

impl Collector for AdapterGauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.states(&mut encoder)?;
        self.requests(&mut encoder)?;
        let bytes: u64 = {
            let adapters = self.adapters.borrow();
            adapters.served().map(|(_, adapter)| adapter.bytes()).sum()
        };
        let gauges = [
            (
                "adapter_bytes",
                "Memory of the adapters that are served",
                bytes as f64,
            ),
            (
                "adapter_limit_bytes",
                "Memory that adapters may take together",
                self.most_bytes as f64,
            ),
        ];
        encode_gauges(&mut encoder, &gauges)
    }
}
