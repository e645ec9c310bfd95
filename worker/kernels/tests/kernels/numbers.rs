//! Seeded numbers, and how far two results are apart.

use std::num::NonZeroUsize;

use weir_kernels::{Cpu, KernelClass};

/// The classes that this processor can run.
pub fn classes() -> Vec<KernelClass> {
    KernelClass::ALL
        .into_iter()
        .filter(|class| class.is_available())
        .collect()
}

pub fn cpu(class: KernelClass, threads: usize) -> Cpu {
    Cpu::new(class, NonZeroUsize::new(threads).unwrap())
}

/// Numbers between -1 and 1.
pub fn numbers(seed: u32, count: usize) -> Vec<f32> {
    let mut state = 0x9e37_79b9_u32.wrapping_mul(seed + 1) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state as f32 / u32::MAX as f32) * 2.0 - 1.0
        })
        .collect()
}

pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Fails where two numbers in the same place are further apart than `tolerance`.
pub fn assert_close(ours: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(ours.len(), expected.len(), "{what}");
    for (index, (ours, expected)) in ours.iter().zip(expected).enumerate() {
        assert!(
            (f64::from(*ours) - expected).abs() <= tolerance,
            "{what}: number {index} is {ours} instead of {expected}"
        );
    }
}
