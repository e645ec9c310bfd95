//! Sixteen lanes on x86-64: one AVX-512 register, or two of AVX2.
//!
//! A token of either type exists only where the processor has the instructions; that is what the
//! safety comments below lean on.
#![allow(
    unsafe_code,
    reason = "vector instructions are unsafe to call without the processor's support"
)]

mod avx2;
mod avx512;

use self::avx2::Avx2;
use self::avx512::{Avx512, Avx512Pairs};
use super::{Kernel, PairKernel};
use crate::KernelClass;

/// Runs a kernel on a class that [`KernelClass::is_available`] and that is not portable.
pub(super) fn run<K: Kernel>(class: KernelClass, kernel: K) -> K::Output {
    assert!(
        class.is_available(),
        "kernel class {class} is not available here"
    );
    match class {
        // SAFETY: the processor has the features; the assertion above asked.
        KernelClass::Avx512Bf16 | KernelClass::Avx512 => unsafe {
            on_avx512(kernel, Avx512::proven())
        },
        // SAFETY: as above.
        _ => unsafe { on_avx2(kernel, Avx2::proven()) },
    }
}

/// Runs a kernel on the class that has pairs, which is available.
pub(super) fn run_pairs<K: PairKernel>(kernel: K) {
    assert!(
        KernelClass::Avx512Bf16.is_available(),
        "products in pairs are not available here"
    );
    // SAFETY: the processor has the features; the assertion above asked.
    unsafe { on_avx512_bf16(kernel, Avx512::proven(), Avx512Pairs::proven()) }
}

#[target_feature(enable = "avx512bf16,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn on_avx512_bf16<K: PairKernel>(kernel: K, simd: Avx512, pairs: Avx512Pairs) {
    kernel.run(simd, pairs);
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn on_avx512<K: Kernel>(kernel: K, simd: Avx512) -> K::Output {
    kernel.run(simd)
}

#[target_feature(enable = "avx2,fma,f16c")]
fn on_avx2<K: Kernel>(kernel: K, simd: Avx2) -> K::Output {
    kernel.run(simd)
}
