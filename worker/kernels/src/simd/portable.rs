//! Sixteen lanes in plain Rust: runs anywhere, and is what the compiler can make of it.

mod dot;

use half::{bf16, f16};

use super::{LANES, Simd};

#[derive(Clone, Copy)]
pub(super) struct Portable;

type Lanes = [f32; LANES];

#[inline(always)]
fn zip(a: Lanes, b: Lanes, operation: impl Fn(f32, f32) -> f32) -> Lanes {
    std::array::from_fn(|lane| operation(a[lane], b[lane]))
}

#[inline(always)]
fn fold(mut lanes: Lanes, operation: impl Fn(f32, f32) -> f32) -> f32 {
    for width in [8, 4, 2, 1] {
        for lane in 0..width {
            lanes[lane] = operation(lanes[lane], lanes[lane + width]);
        }
    }
    lanes[0]
}

impl Simd for Portable {
    type Vector = Lanes;

    const LARGE_TILE: bool = false;

    #[inline(always)]
    fn splat(self, value: f32) -> Lanes {
        [value; LANES]
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Lanes {
        *from
    }

    #[inline(always)]
    fn load_bf16(self, from: &[bf16; LANES]) -> Lanes {
        std::array::from_fn(|lane| f32::from_bits(u32::from(from[lane].to_bits()) << 16))
    }

    #[inline(always)]
    fn load_f16(self, from: &[f16; LANES]) -> Lanes {
        std::array::from_fn(|lane| from[lane].to_f32_const())
    }

    #[inline(always)]
    fn load_e4m3(self, from: &[u8; LANES]) -> Lanes {
        // Its bits in the places of those of f32, whose exponents begin lower.
        const APART: f32 = f32::from_bits((127 + 127 - 15) << 23);
        from.map(|number| {
            let number = u32::from(number);
            f32::from_bits((number & 0x80) << 24 | (number & 0x7f) << 20) * APART
        })
    }

    #[inline(always)]
    fn load_u8(self, from: &[u8; LANES]) -> Lanes {
        from.map(f32::from)
    }

    #[inline(always)]
    fn load_i8(self, from: &[u8; LANES]) -> Lanes {
        from.map(|value| f32::from(value as i8))
    }

    #[inline(always)]
    fn floats(self, integers: [i32; LANES]) -> Lanes {
        integers.map(|value| value as f32)
    }

    #[inline(always)]
    fn store(self, vector: Lanes, to: &mut [f32; LANES]) {
        *to = vector;
    }

    #[inline(always)]
    fn add(self, a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| a / b)
    }

    #[inline(always)]
    fn max(self, a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn min(self, a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| if a < b { a } else { b })
    }

    // Two roundings: one would be a library call per lane without the instruction.
    #[inline(always)]
    fn fma(self, a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        std::array::from_fn(|lane| a[lane] * b[lane] + c[lane])
    }

    #[inline(always)]
    fn scale(self, vector: Lanes, exponent: Lanes) -> Lanes {
        zip(vector, exponent, |value, exponent| {
            value * f32::from_bits((((exponent as i32) + 127) << 23) as u32)
        })
    }

    #[inline(always)]
    fn sum(self, vector: Lanes) -> f32 {
        fold(vector, |a, b| a + b)
    }

    #[inline(always)]
    fn sums(self, vectors: [Lanes; 4]) -> [f32; 4] {
        vectors.map(|vector| self.sum(vector))
    }

    #[inline(always)]
    fn largest(self, vector: Lanes) -> f32 {
        fold(vector, |a, b| if a > b { a } else { b })
    }
}
