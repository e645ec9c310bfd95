//! Products of numbers in bf16, two for each lane.

use std::arch::x86_64::*;
use std::mem::transmute;

use half::bf16;

use super::Avx512;
use crate::simd::{LANES, PAIRS, Pairs};

#[derive(Clone, Copy)]
pub(in crate::simd::x86) struct Avx512Pairs(());

impl Avx512Pairs {
    /// # Safety
    /// The processor has AVX-512 BF16 and what [`Avx512`] needs.
    pub(in crate::simd::x86) unsafe fn proven() -> Self {
        Self(())
    }
}

impl Pairs<Avx512> for Avx512Pairs {
    type Numbers = __m512bh;

    #[inline(always)]
    fn load(self, from: &[bf16; PAIRS]) -> __m512bh {
        // SAFETY: `self` proves AVX-512 F; the array is 64 bytes long, and both are 32 numbers.
        unsafe { transmute(_mm512_loadu_si512(from.as_ptr().cast())) }
    }

    #[inline(always)]
    fn dot(self, sum: __m512, a: __m512bh, b: __m512bh) -> __m512 {
        // SAFETY: `self` proves AVX-512 BF16.
        unsafe { _mm512_dpbf16_ps(sum, a, b) }
    }

    #[inline(always)]
    fn narrow(self, from: &[f32; LANES], to: &mut [bf16; LANES]) {
        // SAFETY: `self` proves AVX-512 BF16; the arrays are 64 and 32 bytes long.
        unsafe {
            let narrow: __m256i = transmute(_mm512_cvtneps_pbh(_mm512_loadu_ps(from.as_ptr())));
            _mm256_storeu_si256(to.as_mut_ptr().cast(), narrow);
        }
    }
}
