//! Sums of products of small integers in two AVX2 registers.
//!
//! Pairs of products are added in sixteen bits, which saturate at 32,767: two of codes below 128
//! come to 32,258 at most, two of signed bytes to 32,512.

use std::arch::x86_64::*;

use super::Avx2;
use crate::simd::dot::{Dot, Line};

type Pair = (__m256i, __m256i);

/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn add_products(sums: __m256i, unsigned: __m256i, signed: __m256i) -> __m256i {
    // SAFETY: the caller promises AVX2.
    unsafe {
        let pairs = _mm256_maddubs_epi16(unsigned, signed);
        _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    }
}

/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn add_signed_products(sums: __m256i, codes: __m256i, quad: __m256i) -> __m256i {
    // SAFETY: the caller promises AVX2.
    unsafe {
        let signed = _mm256_xor_si256(codes, _mm256_set1_epi8(-128));
        // The sign goes over to the activation; the size of -128 is 128 as an unsigned byte.
        let (size, quad) = (_mm256_abs_epi8(signed), _mm256_sign_epi8(quad, signed));
        add_products(sums, size, quad)
    }
}

impl Dot for Avx2 {
    type Codes = Pair;
    type Integers = Pair;

    const BYTES_ARE_SIGNED: bool = true;

    #[inline(always)]
    fn prefetch(self, from: *const u8) {
        // SAFETY: a prefetch reads nothing, and every x86-64 has it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }

    #[inline(always)]
    fn codes(self, line: &Line) -> Pair {
        // SAFETY: `self` proves AVX2; the line is 64 bytes long.
        unsafe {
            (
                _mm256_loadu_si256(line.as_ptr().cast()),
                _mm256_loadu_si256(line.as_ptr().add(32).cast()),
            )
        }
    }

    #[inline(always)]
    fn write(self, codes: Pair, to: &mut Line) {
        // SAFETY: `self` proves AVX2; the line is 64 bytes long.
        unsafe {
            _mm256_storeu_si256(to.as_mut_ptr().cast(), codes.0);
            _mm256_storeu_si256(to.as_mut_ptr().add(32).cast(), codes.1);
        }
    }

    #[inline(always)]
    fn low_nibbles(self, codes: Pair) -> Pair {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let mask = _mm256_set1_epi8(0x0f);
            (
                _mm256_and_si256(codes.0, mask),
                _mm256_and_si256(codes.1, mask),
            )
        }
    }

    #[inline(always)]
    fn high_nibbles(self, codes: Pair) -> Pair {
        // SAFETY: `self` proves AVX2.
        let shifted = unsafe {
            (
                _mm256_srli_epi16::<4>(codes.0),
                _mm256_srli_epi16::<4>(codes.1),
            )
        };
        self.low_nibbles(shifted)
    }

    // By sixteen bits at a time: what crosses into a neighbour is not in the mask.
    #[inline(always)]
    fn shifted(self, codes: Pair, left: i32, mask: u8) -> Pair {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let mask = _mm256_set1_epi8(mask as i8);
            let (count, mut halves) = (_mm_cvtsi32_si128(left.abs()), codes);
            if left < 0 {
                halves.0 = _mm256_srl_epi16(halves.0, count);
                halves.1 = _mm256_srl_epi16(halves.1, count);
            } else {
                halves.0 = _mm256_sll_epi16(halves.0, count);
                halves.1 = _mm256_sll_epi16(halves.1, count);
            }
            (
                _mm256_and_si256(halves.0, mask),
                _mm256_and_si256(halves.1, mask),
            )
        }
    }

    #[inline(always)]
    fn or(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves AVX2.
        unsafe { (_mm256_or_si256(a.0, b.0), _mm256_or_si256(a.1, b.1)) }
    }

    #[inline(always)]
    fn integers(self, value: i32) -> Pair {
        // SAFETY: `self` proves AVX2.
        let half = unsafe { _mm256_set1_epi32(value) };
        (half, half)
    }

    #[inline(always)]
    fn quad(self, quad: &[i8; 4]) -> Pair {
        self.integers(i32::from_ne_bytes(quad.map(|value| value as u8)))
    }

    #[inline(always)]
    fn dot(self, sums: Pair, codes: Pair, quad: Pair) -> Pair {
        // SAFETY: `self` proves AVX2.
        unsafe {
            (
                add_products(sums.0, codes.0, quad.0),
                add_products(sums.1, codes.1, quad.1),
            )
        }
    }

    #[inline(always)]
    fn dot_bytes(self, sums: Pair, codes: Pair, quad: Pair) -> Pair {
        // SAFETY: `self` proves AVX2.
        unsafe {
            (
                add_signed_products(sums.0, codes.0, quad.0),
                add_signed_products(sums.1, codes.1, quad.1),
            )
        }
    }
}
