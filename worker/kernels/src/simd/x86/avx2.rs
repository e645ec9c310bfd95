//! Sixteen lanes in two AVX2 registers.

mod dot;

use std::arch::x86_64::*;

use half::{bf16, f16};

use crate::simd::{LANES, Simd};

#[derive(Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    /// # Safety
    /// The processor has AVX2, FMA and F16C.
    pub(super) unsafe fn proven() -> Self {
        Self(())
    }
}

type Pair = (__m256, __m256);

/// Folds by lane i and i + 4, then i + 2, then i + 1.
///
/// # Safety
/// The processor has AVX.
#[inline(always)]
pub(super) unsafe fn sum_of_eight(eight: __m256) -> f32 {
    // SAFETY: the caller promises AVX, which includes SSE.
    unsafe {
        let four = _mm_add_ps(
            _mm256_castps256_ps128(eight),
            _mm256_extractf128_ps::<1>(eight),
        );
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
    }
}

/// Folds each of four as [`sum_of_eight`] does.
///
/// # Safety
/// The processor has AVX.
#[inline(always)]
pub(super) unsafe fn sums_of_eights([a, b, c, d]: [__m256; 4]) -> [f32; 4] {
    // SAFETY: the caller promises AVX, which includes SSE; the array is 16 bytes long.
    unsafe {
        let fours = |x, y| {
            _mm256_add_ps(
                _mm256_permute2f128_ps::<0x20>(x, y),
                _mm256_permute2f128_ps::<0x31>(x, y),
            )
        };
        // Four lanes of a and of b, and of c and of d.
        let (ab, cd) = (fours(a, b), fours(c, d));
        // Two lanes of a and of c, and of b and of d.
        let twos = _mm256_add_ps(
            _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd),
            _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd),
        );
        let ones = _mm256_add_ps(
            _mm256_shuffle_ps::<0b10_00_10_00>(twos, twos),
            _mm256_shuffle_ps::<0b11_01_11_01>(twos, twos),
        );
        let all = _mm_unpacklo_ps(
            _mm256_castps256_ps128(ones),
            _mm256_extractf128_ps::<1>(ones),
        );
        let mut stored = [0.0; 4];
        _mm_storeu_ps(stored.as_mut_ptr(), all);
        stored
    }
}

/// # Safety
/// The processor has AVX.
#[inline(always)]
pub(super) unsafe fn largest_of_eight(eight: __m256) -> f32 {
    // SAFETY: the caller promises AVX, which includes SSE.
    unsafe {
        let four = _mm_max_ps(
            _mm256_castps256_ps128(eight),
            _mm256_extractf128_ps::<1>(eight),
        );
        let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
    }
}

/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn widen(eight: __m128i) -> __m256 {
    // SAFETY: the caller promises AVX2.
    unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(eight))) }
}

/// A 256th of each e4m3, as f16: its bits in the places of theirs, whose exponents begin 8 lower.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
pub(super) unsafe fn halves(from: &[u8; LANES]) -> __m256i {
    // SAFETY: the caller promises AVX2; the array is 16 bytes long.
    unsafe {
        let numbers = _mm256_cvtepi8_epi16(_mm_loadu_si128(from.as_ptr().cast()));
        // The sign is in all bits above the number, of which one comes to lie on the exponent.
        let placed = _mm256_slli_epi16::<7>(numbers);
        _mm256_and_si256(placed, _mm256_set1_epi16(!0x4000))
    }
}

/// 2 to the power of each lane, which is whole and from -126 to 127.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn power_of_two(exponent: __m256) -> __m256 {
    // SAFETY: the caller promises AVX2.
    unsafe {
        let biased = _mm256_add_epi32(_mm256_cvtps_epi32(exponent), _mm256_set1_epi32(127));
        _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
    }
}

impl Simd for Avx2 {
    type Vector = Pair;

    const LARGE_TILE: bool = false;

    #[inline(always)]
    fn splat(self, value: f32) -> Pair {
        // SAFETY: `self` proves AVX2.
        let half = unsafe { _mm256_set1_ps(value) };
        (half, half)
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Pair {
        // SAFETY: `self` proves AVX2; the array is 64 bytes long.
        unsafe {
            (
                _mm256_loadu_ps(from.as_ptr()),
                _mm256_loadu_ps(from.as_ptr().add(8)),
            )
        }
    }

    #[inline(always)]
    fn load_bf16(self, from: &[bf16; LANES]) -> Pair {
        // SAFETY: `self` proves AVX2; the array is 32 bytes long.
        unsafe {
            let all = _mm256_loadu_si256(from.as_ptr().cast());
            (
                widen(_mm256_castsi256_si128(all)),
                widen(_mm256_extracti128_si256::<1>(all)),
            )
        }
    }

    #[inline(always)]
    fn load_f16(self, from: &[f16; LANES]) -> Pair {
        // SAFETY: `self` proves AVX2 and F16C; the array is 32 bytes long.
        unsafe {
            (
                _mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().cast())),
                _mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().add(8).cast())),
            )
        }
    }

    #[inline(always)]
    fn load_e4m3(self, from: &[u8; LANES]) -> Pair {
        // SAFETY: `self` proves AVX2 and F16C.
        unsafe {
            let halves = halves(from);
            (
                _mm256_cvtph_ps(_mm256_castsi256_si128(halves)),
                _mm256_cvtph_ps(_mm256_extracti128_si256::<1>(halves)),
            )
        }
    }

    #[inline(always)]
    fn load_u8(self, from: &[u8; LANES]) -> Pair {
        // SAFETY: `self` proves AVX2; each half of the array is 8 bytes long.
        unsafe {
            let halves = from.as_ptr();
            self.floats((
                _mm256_cvtepu8_epi32(_mm_loadl_epi64(halves.cast())),
                _mm256_cvtepu8_epi32(_mm_loadl_epi64(halves.add(8).cast())),
            ))
        }
    }

    #[inline(always)]
    fn load_i8(self, from: &[u8; LANES]) -> Pair {
        // SAFETY: `self` proves AVX2; each half of the array is 8 bytes long.
        unsafe {
            let halves = from.as_ptr();
            self.floats((
                _mm256_cvtepi8_epi32(_mm_loadl_epi64(halves.cast())),
                _mm256_cvtepi8_epi32(_mm_loadl_epi64(halves.add(8).cast())),
            ))
        }
    }

    #[inline(always)]
    fn floats(self, integers: Self::Integers) -> Pair {
        // SAFETY: `self` proves AVX2.
        unsafe {
            (
                _mm256_cvtepi32_ps(integers.0),
                _mm256_cvtepi32_ps(integers.1),
            )
        }
    }

    #[inline(always)]
    fn store(self, vector: Pair, to: &mut [f32; LANES]) {
        // SAFETY: `self` proves AVX2; the array is 64 bytes long.
        unsafe {
            _mm256_storeu_ps(to.as_mut_ptr(), vector.0);
            _mm256_storeu_ps(to.as_mut_ptr().add(8), vector.1);
        }
    }

    #[inline(always)]
    fn add(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves AVX2.
        unsafe { (_mm256_add_ps(a.0, b.0), _mm256_add_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn sub(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves AVX2.
        unsafe { (_mm256_sub_ps(a.0, b.0), _mm256_sub_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn mul(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves AVX2.
        unsafe { (_mm256_mul_ps(a.0, b.0), _mm256_mul_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn div(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves AVX2.
        unsafe { (_mm256_div_ps(a.0, b.0), _mm256_div_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn max(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves AVX2.
        unsafe { (_mm256_max_ps(a.0, b.0), _mm256_max_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn min(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves AVX2.
        unsafe { (_mm256_min_ps(a.0, b.0), _mm256_min_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn fma(self, a: Pair, b: Pair, c: Pair) -> Pair {
        // SAFETY: `self` proves AVX2 and FMA.
        unsafe {
            (
                _mm256_fmadd_ps(a.0, b.0, c.0),
                _mm256_fmadd_ps(a.1, b.1, c.1),
            )
        }
    }

    #[inline(always)]
    fn scale(self, vector: Pair, exponent: Pair) -> Pair {
        // SAFETY: `self` proves AVX2.
        unsafe {
            (
                _mm256_mul_ps(vector.0, power_of_two(exponent.0)),
                _mm256_mul_ps(vector.1, power_of_two(exponent.1)),
            )
        }
    }

    #[inline(always)]
    fn sum(self, vector: Pair) -> f32 {
        // SAFETY: `self` proves AVX2.
        unsafe { sum_of_eight(_mm256_add_ps(vector.0, vector.1)) }
    }

    #[inline(always)]
    fn sums(self, [a, b, c, d]: [Pair; 4]) -> [f32; 4] {
        // SAFETY: `self` proves AVX2.
        unsafe {
            sums_of_eights([
                _mm256_add_ps(a.0, a.1),
                _mm256_add_ps(b.0, b.1),
                _mm256_add_ps(c.0, c.1),
                _mm256_add_ps(d.0, d.1),
            ])
        }
    }

    #[inline(always)]
    fn largest(self, vector: Pair) -> f32 {
        // SAFETY: `self` proves AVX2.
        unsafe { largest_of_eight(_mm256_max_ps(vector.0, vector.1)) }
    }
}
