//! A row alone is the row among others, where there is so much to do that threads share it.

use half::{bf16, f16};
use proptest::prelude::*;
use weir_kernels::{
    Cpu, Elements, KernelClass, Matrix, gelu_tanh_times, matmul, rms_norm, rotate_first_halves,
    silu_times,
};

use crate::numbers::{bits, classes, cpu, numbers};

/// One that works on rows of so many numbers: from input to output.
type Rows<'a> = &'a dyn Fn(&Cpu, &[f32]) -> Vec<f32>;

/// Whether each row of `input` gives the same alone and among the others.
fn each_is_itself(
    class: KernelClass,
    threads: usize,
    rows: (&[f32], usize),
    kernel: Rows<'_>,
) -> bool {
    let (input, width) = rows;
    let together = kernel(&cpu(class, threads), input);
    let one = cpu(class, 1);
    let wide = together.len() / (input.len() / width);
    let pairs = input.chunks_exact(width).zip(together.chunks_exact(wide));
    let mut different =
        pairs.filter(|(alone, together)| bits(&kernel(&one, alone)) != bits(together));
    different.next().is_none()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_normed_row_is(
        seed in 0..1000u32,
        (rows, width) in (1..300usize, 1..1200usize),
        threads in 1..6usize,
        class in prop::sample::select(classes()),
    ) {
        let input = numbers(seed, rows * width);
        let weight = numbers(seed + 1, width);
        let kernel = |cpu: &Cpu, input: &[f32]| {
            let mut output = vec![0.0; input.len()];
            rms_norm(cpu, input, &weight, 1e-6, &mut output);
            output
        };
        prop_assert!(each_is_itself(class, threads, (&input, width), &kernel));
    }

    #[test]
    fn a_gated_row_is(
        seed in 0..1000u32,
        (rows, width) in (1..60usize, 1..2000usize),
        threads in 1..6usize,
        class in prop::sample::select(classes()),
    ) {
        let input = numbers(seed, rows * width);
        // Every row meets the same numbers, so that it does so alone too.
        let up = numbers(seed + 1, width);
        for gate in [silu_times, gelu_tanh_times] {
            let kernel = |cpu: &Cpu, input: &[f32]| {
                let mut output = input.to_vec();
                gate(cpu, &mut output, &up.repeat(input.len() / width));
                output
            };
            prop_assert!(each_is_itself(class, threads, (&input, width), &kernel));
        }
    }

    #[test]
    fn a_rotated_row_is(
        seed in 0..1000u32,
        (rows, heads) in (1..300usize, 1..20usize),
        (half, rest) in (1..70usize, 0..9usize),
        threads in 1..6usize,
        class in prop::sample::select(classes()),
    ) {
        let head_dim = 2 * half + rest;
        let input = numbers(seed, rows * heads * head_dim);
        let (cosines, sines) = (numbers(seed + 1, half), numbers(seed + 2, half));
        let kernel = |cpu: &Cpu, input: &[f32]| {
            let count = input.len() / (heads * head_dim);
            let mut output = input.to_vec();
            let angles = (&cosines.repeat(count)[..], &sines.repeat(count)[..]);
            rotate_first_halves(cpu, &mut output, (head_dim, 2 * half), angles);
            output
        };
        prop_assert!(each_is_itself(class, threads, (&input, heads * head_dim), &kernel));
    }

    #[test]
    fn a_row_times_a_large_weight_is(
        seed in 0..1000u32,
        (rows, columns, outputs) in (1..12usize, 200..500usize, 150..400usize),
        threads in 1..6usize,
        class in prop::sample::select(classes()),
    ) {
        let input = numbers(seed, rows * columns);
        let weight = numbers(seed + 1, outputs * columns);
        let as_bf16: Vec<bf16> = weight.iter().map(|value| bf16::from_f32(*value)).collect();
        let as_f16: Vec<f16> = weight.iter().map(|value| f16::from_f32(*value)).collect();
        for elements in [Elements::F32(&weight), Elements::Bf16(&as_bf16), Elements::F16(&as_f16)] {
            let kernel = |cpu: &Cpu, input: &[f32]| {
                let mut output = vec![0.0; input.len() / columns * outputs];
                matmul(cpu, input, Matrix::new(elements, columns), &mut output);
                output
            };
            prop_assert!(each_is_itself(class, threads, (&input, columns), &kernel));
        }
    }
}
