//! The numbers of all layers' keys and values, as one type stores them.

use std::ops::Range;

use half::vec::HalfBitsVecExt;
use half::{bf16, f16};
use weir_kernels::attention::Stored;
use weir_kernels::{Elements, e4m3};

use super::KvKind;
use crate::LoadError;

/// All of it reserved at once; pages are taken as they are first written to.
#[derive(Debug)]
pub(super) enum Pool {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    F16(Vec<f16>),
    Fp8 {
        numbers: Vec<u8>,
        /// Of each row of one head's dimensions.
        exponents: Vec<u8>,
    },
}

impl Pool {
    /// So many numbers, in rows of `head_dim`.
    pub(super) fn new(kind: KvKind, length: usize, head_dim: usize) -> Result<Self, LoadError> {
        Ok(match kind {
            KvKind::F32 => Self::F32(zeros(0.0, length)?),
            KvKind::Bf16 => Self::Bf16(zeros(0_u16, length)?.reinterpret_into()),
            KvKind::F16 => Self::F16(zeros(0_u16, length)?.reinterpret_into()),
            KvKind::Fp8 => Self::Fp8 {
                numbers: zeros(0, length)?,
                exponents: zeros(0, length / head_dim)?,
            },
        })
    }

    /// Writes one row, which begins with the number `at`.
    pub(super) fn write(&mut self, at: usize, row: &[f32]) {
        let range = at..at + row.len();
        match self {
            Self::F32(pool) => pool[range].copy_from_slice(row),
            Self::Bf16(pool) => put(&mut pool[range], row, bf16::from_f32),
            Self::F16(pool) => put(&mut pool[range], row, f16::from_f32),
            Self::Fp8 { numbers, exponents } => {
                exponents[at / row.len()] = e4m3::round_row(row, &mut numbers[range]);
            }
        }
    }

    /// Some whole rows of `head_dim` numbers.
    pub(super) fn stored(&self, range: Range<usize>, head_dim: usize) -> Stored<'_> {
        match self {
            Self::F32(pool) => Stored::Plain(Elements::F32(&pool[range])),
            Self::Bf16(pool) => Stored::Plain(Elements::Bf16(&pool[range])),
            Self::F16(pool) => Stored::Plain(Elements::F16(&pool[range])),
            Self::Fp8 { numbers, exponents } => Stored::E4m3 {
                exponents: &exponents[range.start / head_dim..range.end / head_dim],
                numbers: &numbers[range],
            },
        }
    }

    /// Makes whole rows hold what nobody may read.
    #[cfg(test)]
    pub(super) fn spoil(&mut self, range: Range<usize>, head_dim: usize) {
        match self {
            Self::F32(pool) => pool[range].fill(f32::NAN),
            Self::Bf16(pool) => pool[range].fill(bf16::NAN),
            Self::F16(pool) => pool[range].fill(f16::NAN),
            Self::Fp8 { exponents, .. } => {
                exponents[range.start / head_dim..range.end / head_dim].fill(u8::MAX);
            }
        }
    }
}

fn put<T>(to: &mut [T], row: &[f32], stored: impl Fn(f32) -> T) {
    for (to, from) in to.iter_mut().zip(row) {
        *to = stored(*from);
    }
}

/// Numbers that are all bits zero. The system gives a page when it is first written to, so that
/// blocks nobody has used take nothing.
fn zeros<T: Clone>(zero: T, length: usize) -> Result<Vec<T>, LoadError> {
    let mut room = Vec::<T>::new();
    room.try_reserve_exact(length)
        .map_err(|_| LoadError::Memory {
            what: "the cache of keys and values",
            bytes: length.saturating_mul(size_of::<T>()),
        })?;
    drop(room);
    // Not by growing what was reserved, which would write to every page.
    Ok(vec![zero; length])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resident_bytes() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
        pages * 4096
    }

    #[test]
    fn numbers_that_nobody_wrote_take_no_memory() {
        let length = 256 << 20;
        let before = resident_bytes();
        let narrow = zeros(0_u16, length).unwrap().reinterpret_into::<f16>();
        let wide = zeros(0_f32, length).unwrap();
        let bytes = zeros(0_u8, length).unwrap();
        let grown = resident_bytes().saturating_sub(before);
        assert_eq!((narrow[length - 1], wide[length / 2]), (f16::ZERO, 0.0));
        assert_eq!(bytes[length - 1], 0);
        assert!(grown < length, "{grown} bytes");
    }
}
