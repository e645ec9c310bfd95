//! A number that is none is found wherever it lies, by any number of threads.

use std::num::NonZeroUsize;

use half::{bf16, f16};
use weir_kernels::{Cpu, Elements, KernelClass, first_not_finite};

/// More than one run of numbers, and no whole number of them.
const LENGTH: usize = 200_001;

#[test]
fn the_first_number_that_is_not_finite_is_found_in_every_type() {
    for threads in [1, 3] {
        let threads = NonZeroUsize::new(threads).unwrap();
        let cpu = Cpu::new(KernelClass::Portable, threads);
        for at in [0, 65_535, 65_536, LENGTH - 1] {
            for bad in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
                let mut wide = vec![f32::MAX; LENGTH];
                wide[at] = bad;
                wide[LENGTH - 1] = bad;
                let brain: Vec<bf16> = wide.iter().map(|x| bf16::from_f32(x * 0.5)).collect();
                let narrow: Vec<f16> = wide
                    .iter()
                    .map(|x| {
                        if x.is_finite() {
                            f16::MAX
                        } else {
                            f16::from_f32(*x)
                        }
                    })
                    .collect();
                for numbers in [
                    Elements::F32(&wide),
                    Elements::Bf16(&brain),
                    Elements::F16(&narrow),
                ] {
                    assert_eq!(first_not_finite(&cpu, numbers), Some(at), "{bad}");
                }
            }
        }
    }
}

#[test]
fn the_largest_and_smallest_numbers_are_finite() {
    let cpu = Cpu::new(KernelClass::Portable, NonZeroUsize::MIN);
    let wide = [f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45, -0.0];
    let brain = [bf16::MAX, bf16::MIN, bf16::MIN_POSITIVE_SUBNORMAL];
    let narrow = [f16::MAX, f16::MIN, f16::MIN_POSITIVE_SUBNORMAL];
    assert_eq!(first_not_finite(&cpu, Elements::F32(&wide)), None);
    assert_eq!(first_not_finite(&cpu, Elements::Bf16(&brain)), None);
    assert_eq!(first_not_finite(&cpu, Elements::F16(&narrow)), None);
    assert_eq!(first_not_finite(&cpu, Elements::F32(&[])), None);
}
