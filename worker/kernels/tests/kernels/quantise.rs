//! Weights are rounded as llama.cpp's reference rounds them.

use half::f16;
use weir_kernels::packed::{Format, dequantise_row, quantise_row};

use crate::numbers::{classes, numbers};

fn q8_0(weights: &[f32]) -> Vec<u8> {
    let largest = weights.iter().fold(0.0f32, |so_far, x| so_far.max(x.abs()));
    let d = largest / 127.0;
    let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
    let codes = weights.iter().map(|x| (x * inverse).round() as i8 as u8);
    let scale = f16::from_f32(d).to_le_bytes();
    scale.into_iter().chain(codes).collect()
}

fn q4_0(weights: &[f32]) -> Vec<u8> {
    let (mut largest, mut signed) = (0.0, 0.0);
    for x in weights {
        if x.abs() > largest {
            (largest, signed) = (x.abs(), *x);
        }
    }
    let d = signed / -8.0;
    let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
    let code = |x: f32| ((x * inverse + 8.5) as i8).min(15) as u8;
    let codes = (0..16).map(|j| code(weights[j]) | code(weights[j + 16]) << 4);
    let scale = f16::from_f32(d).to_le_bytes();
    scale.into_iter().chain(codes).collect()
}

#[test]
fn blocks_of_rounded_weights_are_those_of_the_reference() {
    let mut weights = numbers(1, 32 * 40);
    weights[64..96].fill(0.0);
    // Halves between two codes, on either side of nothing.
    for (at, weight) in weights[96..128].iter_mut().enumerate() {
        *weight = at as f32 / 2.0 - 8.0;
    }
    weights[96] = -127.0;
    for (format, reference) in [
        (Format::Q8_0, q8_0 as fn(&[f32]) -> Vec<u8>),
        (Format::Q4_0, q4_0),
    ] {
        let expected: Vec<u8> = weights.chunks_exact(32).flat_map(reference).collect();
        for class in classes() {
            let mut blocks = vec![0xaa; expected.len()];
            quantise_row(class, format, &weights, &mut blocks);
            assert_eq!(blocks, expected, "{format} {class}");
        }
    }
}

#[test]
fn rounded_weights_are_within_half_a_step() {
    let weights = numbers(2, 32 * 50);
    for (format, steps) in [(Format::Q8_0, 127.0), (Format::Q4_0, 8.0)] {
        let mut blocks = vec![0; format.row_bytes(weights.len())];
        quantise_row(classes()[0], format, &weights, &mut blocks);
        let mut read = vec![0.0; weights.len()];
        dequantise_row(format, &blocks, &mut read);
        for (group, read) in weights.chunks_exact(32).zip(read.chunks_exact(32)) {
            let largest = group.iter().fold(0.0f32, |so_far, x| so_far.max(x.abs()));
            for (weight, read) in group.iter().zip(read) {
                // The most positive of four bits is cut off at 7 steps; a scale in f16 is rounded.
                let step = largest / steps * if format == Format::Q4_0 { 1.01 } else { 0.52 };
                assert!(
                    (weight - read).abs() <= step,
                    "{format}: {weight} became {read}"
                );
            }
        }
    }
}
