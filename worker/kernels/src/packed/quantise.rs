//! Weights in full precision made into blocks, as llama.cpp's reference makes them.

use half::f16;

use super::format::{Format, GROUP};
use crate::KernelClass;
use crate::simd::{Kernel, Simd, dispatch};

/// Rounds a row of weights to the nearest codes. The same bytes on every class.
///
/// # Panics
/// Where the format is neither `Q8_0` nor `Q4_0`, or the lengths do not fit together.
pub fn quantise_row(class: KernelClass, format: Format, weights: &[f32], blocks: &mut [u8]) {
    assert!(
        matches!(format, Format::Q8_0 | Format::Q4_0),
        "weights are not rounded to {format} here"
    );
    assert_eq!(
        blocks.len(),
        format.row_bytes(weights.len()),
        "a row has one code per weight"
    );
    let row = Row {
        format,
        weights,
        blocks,
    };
    dispatch(class, row);
}

struct Row<'a> {
    format: Format,
    weights: &'a [f32],
    blocks: &'a mut [u8],
}

impl Kernel for Row<'_> {
    type Output = ();

    // In plain numbers: what `simd` stands for is the instructions that the compiler may use.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let (weights, _) = self.weights.as_chunks::<GROUP>();
        let blocks = self.blocks.chunks_exact_mut(self.format.block_bytes());
        for (weights, block) in weights.iter().zip(blocks) {
            let (scale, codes) = block.split_at_mut(2);
            let rounded = match self.format {
                Format::Q8_0 => eight_bits(weights, codes),
                _ => four_bits(weights, codes),
            };
            scale.copy_from_slice(&f16::from_f32(rounded).to_le_bytes());
        }
    }
}

#[inline(always)]
fn eight_bits(weights: &[f32; GROUP], codes: &mut [u8]) -> f32 {
    let largest = weights.iter().fold(0.0f32, |so_far, weight| {
        let size = weight.abs();
        if size > so_far { size } else { so_far }
    });
    let scale = largest / 127.0;
    let inverse = inverse(scale);
    for (code, weight) in codes.iter_mut().zip(weights) {
        *code = (weight * inverse).round() as i8 as u8;
    }
    scale
}

#[inline(always)]
fn four_bits(weights: &[f32; GROUP], codes: &mut [u8]) -> f32 {
    // The one with the largest size, with its sign: it becomes -8, which has no counterpart.
    let largest = weights.iter().fold(0.0f32, |so_far, weight| {
        if weight.abs() > so_far.abs() {
            *weight
        } else {
            so_far
        }
    });
    let scale = largest / -8.0;
    let inverse = inverse(scale);
    let nearest = |weight: f32| ((weight * inverse + 8.5) as u8).min(15);
    let (low, high) = weights.split_at(GROUP / 2);
    for ((code, low), high) in codes.iter_mut().zip(low).zip(high) {
        *code = nearest(*low) | nearest(*high) << 4;
    }
    scale
}

#[inline(always)]
fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}
