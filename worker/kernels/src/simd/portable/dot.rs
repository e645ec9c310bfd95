//! Sums of products of small integers, one by one.

use super::Portable;
use crate::simd::LANES;
use crate::simd::dot::{Dot, Line};

impl Dot for Portable {
    type Codes = Line;
    type Integers = [i32; LANES];

    const BYTES_ARE_SIGNED: bool = false;

    #[inline(always)]
    fn prefetch(self, _: *const u8) {}

    #[inline(always)]
    fn codes(self, line: &Line) -> Line {
        *line
    }

    #[inline(always)]
    fn write(self, codes: Line, to: &mut Line) {
        *to = codes;
    }

    #[inline(always)]
    fn low_nibbles(self, codes: Line) -> Line {
        codes.map(|code| code & 0x0f)
    }

    #[inline(always)]
    fn high_nibbles(self, codes: Line) -> Line {
        codes.map(|code| code >> 4)
    }

    #[inline(always)]
    fn shifted(self, codes: Line, left: i32, mask: u8) -> Line {
        codes.map(|code| {
            (if left < 0 {
                code >> -left
            } else {
                code << left
            }) & mask
        })
    }

    #[inline(always)]
    fn or(self, a: Line, b: Line) -> Line {
        std::array::from_fn(|at| a[at] | b[at])
    }

    #[inline(always)]
    fn integers(self, value: i32) -> [i32; LANES] {
        [value; LANES]
    }

    #[inline(always)]
    fn quad(self, quad: &[i8; 4]) -> [i32; LANES] {
        [i32::from_ne_bytes(quad.map(|value| value as u8)); LANES]
    }

    #[inline(always)]
    fn dot(self, mut sums: [i32; LANES], codes: Line, quad: [i32; LANES]) -> [i32; LANES] {
        let quad = quad[0].to_ne_bytes().map(|value| i32::from(value as i8));
        for (sum, codes) in sums.iter_mut().zip(codes.as_chunks::<4>().0) {
            for (code, value) in codes.iter().zip(quad) {
                *sum += i32::from(*code) * value;
            }
        }
        sums
    }

    #[inline(always)]
    fn dot_bytes(self, sums: [i32; LANES], codes: Line, quad: [i32; LANES]) -> [i32; LANES] {
        self.dot(sums, codes, quad)
    }
}
