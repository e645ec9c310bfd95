//! The tensors of `adapter_model.safetensors`, each taken once, with the checks that weights get.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::num::NonZeroUsize;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use weir_kernels::{Cpu, KernelClass};

use super::AdapterError;
use super::modules::{MODELS, Module};
use crate::files;
use crate::tensor::{Plain, Tensor};

pub(super) const FILE: &str = "adapter_model.safetensors";

/// What PEFT puts before every name.
const WRAPPER: &str = "base_model.model.";

/// The bytes of the file in a folder, where they are no more than that.
pub(super) fn read(folder: &Path, most_bytes: u64) -> Result<Vec<u8>, AdapterError> {
    let path = folder.join(FILE);
    let failed = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound => AdapterError::Missing {
            folder: folder.to_owned(),
            file: FILE,
        },
        _ => AdapterError::Read {
            path: path.clone(),
            source,
        },
    };
    let file = files::open(&path).map_err(failed)?;
    let needed = file.metadata().map_err(failed)?.len();
    let too_large = |needed| AdapterError::TooLarge {
        needed,
        available: most_bytes,
    };
    if needed > most_bytes {
        return Err(too_large(needed));
    }
    whole(file, needed).map_err(failed)
}

/// It may grow or shrink while it is read, and is then found to be no such file.
fn whole(file: File, length: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let size = usize::try_from(length).map_err(|_| ErrorKind::OutOfMemory)?;
    bytes.try_reserve_exact(size)?;
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Those that have not been taken.
pub(super) struct Tensors<'a> {
    left: BTreeMap<String, TensorView<'a>>,
    /// What names begin with.
    model: (&'static str, &'static str),
    cpu: Cpu,
}

impl<'a> Tensors<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Result<Self, AdapterError> {
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| AdapterError::Malformed {
            why: error.to_string(),
        })?;
        let left: BTreeMap<String, TensorView<'a>> = tensors.tensors().into_iter().collect();
        let begins = |(model, _): &(&str, &str)| {
            let begin = format!("{WRAPPER}{model}.layers.");
            left.keys().any(|name| name.starts_with(&begin))
        };
        let model = MODELS.into_iter().find(begins).unwrap_or(MODELS[0]);
        Ok(Self {
            left,
            model,
            cpu: Cpu::new(KernelClass::detect(), NonZeroUsize::MIN),
        })
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
        let Some(view) = self.left.remove(&tensor) else {
            return Err(AdapterError::TensorMissing { tensor });
        };
        if view.shape() != expected {
            return Err(AdapterError::TensorShape {
                tensor,
                found: view.shape().to_vec(),
                expected,
            });
        }
        let plain = match view.dtype() {
            Dtype::F32 => Plain::F32,
            Dtype::BF16 => Plain::Bf16,
            Dtype::F16 => Plain::F16,
            other => {
                let stored = format!("{other:?}");
                return Err(AdapterError::TensorType { tensor, stored });
            }
        };
        let copied = Tensor::copied(view.data(), plain, expected[1]);
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
