//! How the model's makers want it sampled, where a request does not say.

use std::path::Path;

use serde::Deserialize;

use crate::LoadError;
use crate::files::read_json;
use crate::open::gguf_at;

/// From `generation_config.json`; a field is `None` where the file or the model leaves it out.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct GenerationDefaults {
    pub temperature: Option<f32>,
    pub top_k: Option<u32>,
    pub top_p: Option<f32>,
    pub min_p: Option<f32>,
    pub typical_p: Option<f32>,
    pub repetition_penalty: Option<f32>,
    do_sample: Option<bool>,
}

impl GenerationDefaults {
    /// A model without the file has no defaults, nor has a GGUF file; that is no error.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        if gguf_at(path)?.is_some() {
            return Ok(Self::default());
        }
        let read: Option<Self> = read_json(&path.join("generation_config.json"))?;
        let mut defaults = read.unwrap_or_default();
        if defaults.do_sample == Some(false) {
            defaults.temperature = Some(0.0);
        }
        Ok(defaults)
    }
}
