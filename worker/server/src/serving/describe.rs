//! What this worker serves. The answer does not change while the process lives.

use weir_policy::load;
use weir_worker_api as api;

use super::Serving;

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
            adapters: Vec::new(),
            cold_start: Some(api::ColdStart {
                download_millis: self.cold_start.download_ms,
                load_millis: self.cold_start.load_ms,
                warm_up_millis: self.cold_start.warm_up_ms,
            }),
            capacity: Some(api::Capacity {
                sequences: self.capacity.sequences,
                tokens_per_second: self.capacity.tokens_per_second,
            }),
            revision: self.revision.clone(),
            version: weir_process::VERSION.to_owned(),
        }
    }

    /// The same for the operator.
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
