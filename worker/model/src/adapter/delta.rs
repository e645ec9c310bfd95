//! What an adapter adds to one product, as the kernels take it.

use std::sync::Arc;

use half::{bf16, f16};
use weir_kernels::{Elements, LowRank, Panels};

use crate::tensor::Tensor;

#[derive(Debug)]
pub(crate) struct Delta {
    /// Products whose outputs lie in one module share it.
    down: Arc<Tensor>,
    /// In panels.
    up: Numbers,
    rank: usize,
    outputs: usize,
    scale: f32,
}

#[derive(Debug)]
enum Numbers {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    F16(Vec<f16>),
}

impl Delta {
    /// `up` has a row of `rank` numbers for each output.
    pub(super) fn new(down: &Arc<Tensor>, (up, rank): (Elements<'_>, usize), scale: f32) -> Self {
        Self {
            down: down.clone(),
            up: match up {
                Elements::F32(rows) => Numbers::F32(Panels::of(rows, rank)),
                Elements::Bf16(rows) => Numbers::Bf16(Panels::of(rows, rank)),
                Elements::F16(rows) => Numbers::F16(Panels::of(rows, rank)),
            },
            rank,
            outputs: up.len() / rank,
            scale,
        }
    }

    pub(crate) fn low_rank(&self) -> LowRank<'_> {
        LowRank {
            down: self.down.matrix(),
            up: Panels::new(self.up.elements(), self.rank, self.outputs),
            scale: self.scale,
        }
    }

    pub(super) fn up_bytes(&self) -> u64 {
        let bytes = match &self.up {
            Numbers::F32(numbers) => size_of_val(&numbers[..]),
            Numbers::Bf16(numbers) => size_of_val(&numbers[..]),
            Numbers::F16(numbers) => size_of_val(&numbers[..]),
        };
        bytes as u64
    }
}

impl Numbers {
    fn elements(&self) -> Elements<'_> {
        match self {
            Self::F32(numbers) => Elements::F32(numbers),
            Self::Bf16(numbers) => Elements::Bf16(numbers),
            Self::F16(numbers) => Elements::F16(numbers),
        }
    }
}
