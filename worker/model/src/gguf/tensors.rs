//! The tensors of a GGUF file under the names of the hub.

use std::collections::BTreeSet;
use std::sync::Arc;

use weir_kernels::packed::Format;

use super::names::{
    Architecture, Located, ROPE_DIVISORS, ROPE_DIVISORS_LONG, ROPE_DIVISORS_SHORT, Transform,
};
use super::{Gguf, TensorType};
use crate::LoadError;
use crate::found::{Found, Stored};
use crate::tensor::Plain;

/// Tensors that have not been taken yet.
#[derive(Clone, Debug)]
pub(crate) struct GgufTensors {
    gguf: Arc<Gguf>,
    architecture: &'static Architecture,
    head_dim: usize,
    left: BTreeSet<String>,
}

impl GgufTensors {
    pub(crate) fn new(gguf: Gguf, architecture: &'static Architecture, head_dim: usize) -> Self {
        let mut left: BTreeSet<String> = gguf.tensor_names().map(str::to_owned).collect();
        // These are read with the spec.
        for divisors in [ROPE_DIVISORS, ROPE_DIVISORS_LONG, ROPE_DIVISORS_SHORT] {
            left.remove(divisors);
        }
        Self {
            gguf: Arc::new(gguf),
            architecture,
            head_dim,
            left,
        }
    }

    pub(crate) fn gguf(&self) -> &Gguf {
        &self.gguf
    }

    pub(crate) fn take(&mut self, hub: &str, shape: &[usize]) -> Result<Found, LoadError> {
        let missing = || LoadError::TensorMissing {
            tensor: hub.to_owned(),
        };
        let Located { name, transform } = self.architecture.locate(hub).ok_or_else(missing)?;
        let tensor = self.gguf.tensor(&name)?;
        if tensor.shape != shape {
            return Err(LoadError::TensorShape {
                tensor: name,
                found: tensor.shape,
                expected: shape.to_vec(),
            });
        }
        self.left.remove(&name);
        let (map, range) = tensor.mapped();
        // A bias counts as rows of one number.
        let is_vector = shape.len() == 1;
        let paired = (transform == Transform::PairedRows).then_some(self.head_dim);
        Ok(Found {
            name,
            map: map.clone(),
            range,
            stored: stored(tensor.kind),
            columns: if is_vector && paired.is_some() {
                1
            } else {
                tensor.columns()
            },
            paired,
        })
    }

    pub(crate) fn has(&self, hub: &str) -> bool {
        let located = self.architecture.locate(hub);
        located.is_some_and(|located| self.gguf.contains(&located.name))
    }

    pub(crate) fn skip(&mut self, hub: &str) {
        if let Some(located) = self.architecture.locate(hub) {
            self.left.remove(&located.name);
        }
    }

    /// A tensor that was neither taken nor skipped.
    pub(crate) fn first_left(&self) -> Option<&str> {
        self.left.first().map(String::as_str)
    }
}

fn stored(kind: TensorType) -> Stored {
    let format = match kind {
        TensorType::F32 => return Stored::Plain(Plain::F32),
        TensorType::F16 => return Stored::Plain(Plain::F16),
        TensorType::Bf16 => return Stored::Plain(Plain::Bf16),
        TensorType::Q4_0 => Format::Q4_0,
        TensorType::Q4_1 => Format::Q4_1,
        TensorType::Q5_0 => Format::Q5_0,
        TensorType::Q5_1 => Format::Q5_1,
        TensorType::Q8_0 => Format::Q8_0,
        TensorType::Q4K => Format::Q4_K,
        TensorType::Q5K => Format::Q5_K,
        TensorType::Q6K => Format::Q6_K,
    };
    Stored::Blocks(format)
}
