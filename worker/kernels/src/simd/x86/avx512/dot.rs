//! Sums of products of small integers by VNNI: 64 products in one instruction.

use std::arch::x86_64::*;

use super::Avx512;
use crate::simd::dot::{Dot, Line};

impl Dot for Avx512 {
    type Codes = __m512i;
    type Integers = __m512i;

    const BYTES_ARE_SIGNED: bool = false;

    #[inline(always)]
    fn prefetch(self, from: *const u8) {
        // SAFETY: a prefetch reads nothing, and every x86-64 has it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }

    #[inline(always)]
    fn codes(self, line: &Line) -> __m512i {
        // SAFETY: `self` proves AVX-512 F; the line is 64 bytes long.
        unsafe { _mm512_loadu_si512(line.as_ptr().cast()) }
    }

    #[inline(always)]
    fn write(self, codes: __m512i, to: &mut Line) {
        // SAFETY: `self` proves AVX-512 F; the line is 64 bytes long.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), codes) }
    }

    #[inline(always)]
    fn low_nibbles(self, codes: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_and_si512(codes, _mm512_set1_epi8(0x0f)) }
    }

    #[inline(always)]
    fn high_nibbles(self, codes: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512 F and BW.
        unsafe { _mm512_and_si512(_mm512_srli_epi16::<4>(codes), _mm512_set1_epi8(0x0f)) }
    }

    // By sixteen bits at a time: what crosses into a neighbour is not in the mask.
    #[inline(always)]
    fn shifted(self, codes: __m512i, left: i32, mask: u8) -> __m512i {
        // SAFETY: `self` proves AVX-512 F and BW.
        unsafe {
            let shifted = if left < 0 {
                _mm512_srl_epi16(codes, _mm_cvtsi32_si128(-left))
            } else {
                _mm512_sll_epi16(codes, _mm_cvtsi32_si128(left))
            };
            _mm512_and_si512(shifted, _mm512_set1_epi8(mask as i8))
        }
    }

    #[inline(always)]
    fn or(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_or_si512(a, b) }
    }

    #[inline(always)]
    fn integers(self, value: i32) -> __m512i {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_set1_epi32(value) }
    }

    #[inline(always)]
    fn quad(self, quad: &[i8; 4]) -> __m512i {
        self.integers(i32::from_ne_bytes(quad.map(|value| value as u8)))
    }

    #[inline(always)]
    fn dot(self, sums: __m512i, codes: __m512i, quad: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512 VNNI.
        unsafe { _mm512_dpbusd_epi32(sums, codes, quad) }
    }

    #[inline(always)]
    fn dot_bytes(self, sums: __m512i, codes: __m512i, quad: __m512i) -> __m512i {
        self.dot(sums, codes, quad)
    }
}
