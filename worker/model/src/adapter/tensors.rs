//! The tensors of `adapter_model.safetensors`, each taken once, with the checks that weights get.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use weir_kernels::{Cpu, KernelClass};

use super::AdapterError;
use super::modules::{MODELS, Module};
use super::stored::Stored;
use crate::layers::{Layout, sees};
use crate::tensor::{Plain, Tensor};

/// What PEFT puts before every name.
const WRAPPER: &str = "base_model.model.";

/// Those that have not been taken.
pub(super) struct Tensors<'a> {
    stored: &'a Stored,
    left: BTreeMap<String, TensorInfo>,
    /// How many belong to what sees images, where the model leaves that alone.
    skipped: usize,
    /// What names begin with.
    model: (&'static str, &'static str),
    cpu: Cpu,
}

impl<'a> Tensors<'a> {
    pub(super) fn of(
        (stored, tensors): (&'a Stored, Vec<(String, TensorInfo)>),
        layout: Layout,
    ) -> Self {
        let mut left: BTreeMap<String, TensorInfo> = tensors.into_iter().collect();
        let begins = |(model, _): &(&str, &str)| {
            let begin = format!("{WRAPPER}{model}.layers.");
            left.keys().any(|name| name.starts_with(&begin))
        };
        let model = MODELS.into_iter().find(begins).unwrap_or(MODELS[0]);
        let is_for_images = layout.is_wrapped || model != MODELS[0];
        let is_skipped = |name: &str| {
            let inner = name.strip_prefix(WRAPPER);
            is_for_images && inner.is_some_and(sees)
        };
        let before = left.len();
        left.retain(|name, _| !is_skipped(name));
        Self {
            stored,
            skipped: before - left.len(),
            model,
            left,
            cpu: Cpu::new(KernelClass::detect(), NonZeroUsize::MIN),
        }
    }

    /// Of those that are left, as they are stored.
    pub(super) fn bytes(&self) -> u64 {
        let each = self.left.values().map(|info| info.data_offsets);
        each.map(|(from, to)| (to - from) as u64).sum()
    }

    pub(super) fn skipped(&self) -> usize {
        self.skipped
    }

    /// What the names of layers begin with, and the name of the head.
    pub(super) fn model(&self) -> (&'static str, &'static str) {
        self.model
    }

    pub(super) fn has(&self, module: &str) -> bool {
        ["A", "B"]
            .map(|half| name(module, half))
            .iter()
            .any(|name| self.left.contains_key(name))
    }

    /// Both halves for a module: from its inputs to `rank` numbers, and from those to its outputs.
    pub(super) fn take(
        &mut self,
        module: &Module,
        rank: usize,
    ) -> Result<(Tensor, Tensor), AdapterError> {
        let down = self.tensor(name(&module.name, "A"), [rank, module.inputs])?;
        let up = self.tensor(name(&module.name, "B"), [module.outputs(), rank])?;
        Ok((down, up))
    }

    fn tensor(&mut self, tensor: String, expected: [usize; 2]) -> Result<Tensor, AdapterError> {
        let Some(info) = self.left.remove(&tensor) else {
            return Err(AdapterError::TensorMissing { tensor });
        };
        if info.shape != expected {
            return Err(AdapterError::TensorShape {
                tensor,
                found: info.shape,
                expected,
            });
        }
        let plain = match info.dtype {
            Dtype::F32 => Plain::F32,
            Dtype::BF16 => Plain::Bf16,
            Dtype::F16 => Plain::F16,
            other => {
                let stored = format!("{other:?}");
                return Err(AdapterError::TensorType { tensor, stored });
            }
        };
        let copied = Tensor::copied(&self.stored.tensor(&info)?, plain, expected[1]);
        match copied.row_not_finite(&self.cpu) {
            Some(row) => Err(AdapterError::NotFinite { tensor, row }),
            None => Ok(copied),
        }
    }

    /// # Errors
    /// Names a tensor that was not taken.
    pub(super) fn finish(self) -> Result<(), AdapterError> {
        match self.left.into_keys().next() {
            Some(tensor) => Err(AdapterError::TensorUnexpected { tensor }),
            None => Ok(()),
        }
    }
}

fn name(module: &str, half: &str) -> String {
    format!("{WRAPPER}{module}.lora_{half}.weight")
}
