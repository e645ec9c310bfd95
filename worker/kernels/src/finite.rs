//! Finds numbers that are none: a weight that is not finite spoils every answer.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{Cpu, Elements};

/// Numbers that a thread looks at before it takes the next run.
const RUN: usize = 1 << 16;

/// What looking at a run costs, in multiplications: the numbers come from memory.
const EACH: usize = 4 * RUN;

/// The place of the first number that is infinite or not a number.
pub fn first_not_finite(cpu: &Cpu, numbers: Elements<'_>) -> Option<usize> {
    match numbers {
        // All bits of the exponent set.
        Elements::F32(numbers) => first(cpu, numbers, |number| {
            number.to_bits() & 0x7f80_0000 == 0x7f80_0000
        }),
        Elements::Bf16(numbers) => {
            first(cpu, numbers, |number| number.to_bits() & 0x7f80 == 0x7f80)
        }
        Elements::F16(numbers) => first(cpu, numbers, |number| number.to_bits() & 0x7c00 == 0x7c00),
    }
}

fn first<T: Copy + Sync>(
    cpu: &Cpu,
    numbers: &[T],
    is_bad: impl Fn(T) -> bool + Sync,
) -> Option<usize> {
    let found = AtomicUsize::new(usize::MAX);
    cpu.share((numbers.len().div_ceil(RUN), EACH), &|index| {
        let start = index * RUN;
        let run = &numbers[start..(start + RUN).min(numbers.len())];
        // Without a way out of the loop, so that it is vectors that are compared.
        let any = run.iter().fold(false, |any, number| any | is_bad(*number));
        if any && let Some(at) = run.iter().position(|number| is_bad(*number)) {
            found.fetch_min(start + at, Ordering::Relaxed);
        }
    });
    Some(found.into_inner()).filter(|at| *at != usize::MAX)
}
