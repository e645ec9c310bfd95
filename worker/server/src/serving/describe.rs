//! What this worker serves. Only its adapters change while the process lives.

use std::sync::Arc;

use weir_engine::model::Adapter;
use weir_policy::load;
use weir_worker_api as api;

use super::Serving;
use crate::adapters::{State, Told};

impl Serving {
    pub fn describe(&self) -> api::DescribeResponse {
        let facts = &self.facts;
        let options = self.engine.options();
        api::DescribeResponse {
            model: self.name.clone(),
            model_digest: facts.digest.clone(),
            tokenizer_digest: facts.tokenizer_digest.clone(),
            kernel_class: facts.kernel_class.to_string(),
            architecture: facts.architecture.clone(),
            parameters: facts.parameters,
            weight_bytes: facts.weight_bytes,
            quantization: facts.quantization.to_owned(),
            key_value_type: facts.key_value_type.to_owned(),
            context_tokens: self.engine.context_tokens() as u32,
            max_sequences: options.max_sequences as u32,
            max_waiting: options.max_waiting as u32,
            adapters: self.adapter_descriptions(),
            cold_start: Some(api::ColdStart {
                download_millis: self.cold_start.download_ms,
                load_millis: self.cold_start.load_ms,
                warm_up_millis: self.cold_start.warm_up_ms,
                adapters_millis: self.cold_start.adapters_ms,
            }),
            capacity: Some(api::Capacity {
                sequences: self.capacity.sequences,
                tokens_per_second: self.capacity.tokens_per_second,
            }),
            revision: self.revision.clone(),
            version: weir_process::VERSION.to_owned(),
            phase: api::Phase::Serving.into(),
            arriving: None,
        }
    }

    fn adapter_descriptions(&self) -> Vec<api::AdapterDescription> {
        let adapters = self.adapters.borrow();
        let describe = |told: Told<'_>| api::AdapterDescription {
            name: told.name.to_owned(),
            digest: digest(told.served),
            problem: match told.state {
                State::Failed(failure) => failure.to_string(),
                State::Loading | State::Ready => String::new(),
            },
        };
        adapters.all().map(describe).collect()
    }

    /// The adapters for the operator.
    pub fn adapter_loads(&self) -> Vec<load::AdapterLoad> {
        let adapters = self.adapters.borrow();
        let load = |told: Told<'_>| {
            let (reason, message) = match told.state {
                State::Failed(failure) => (failure.reason, failure.message.as_str()),
                State::Loading => ("Downloading", ""),
                State::Ready => ("", ""),
            };
            load::AdapterLoad {
                name: told.name.to_owned(),
                digest: digest(told.served),
                reason: reason.to_owned(),
                message: message.to_owned(),
                source_sha256: told.source_sha256.to_owned(),
            }
        };
        adapters.all().map(load).collect()
    }

    /// The model for the operator.
    pub fn model_facts(&self) -> load::ModelFacts {
        let facts = &self.facts;
        load::ModelFacts {
            digest: facts.digest.clone(),
            revision: self.revision.clone(),
            architecture: facts.architecture.clone(),
            parameters: facts.parameters,
            bytes: facts.weight_bytes,
            quantization: facts.quantization.to_owned(),
            context_tokens: self.engine.context_tokens() as u32,
        }
    }
}

/// Empty where nothing is served yet.
fn digest(adapter: Option<&Arc<Adapter>>) -> String {
    adapter.map_or_else(String::new, |adapter| adapter.digest().to_owned())
}
