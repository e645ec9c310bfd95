//! Sums of products of small integers, sixteen outputs at a time.
//!
//! A vector of 64 bytes holds four codes for each of sixteen outputs; a quad is four activations
//! that all of them are multiplied by. Nothing is rounded and nothing overflows, so every class
//! computes the same integers.

use super::LANES;

/// Four bytes for each of sixteen lanes.
pub(crate) type Line = [u8; 4 * LANES];

/// What products of packed weights are made of.
pub(crate) trait Dot: Copy {
    /// 64 codes.
    type Codes: Copy;
    /// Sixteen sums.
    type Integers: Copy;

    /// Whether [`Dot::dot_bytes`] takes 128 off each code.
    const BYTES_ARE_SIGNED: bool;

    /// Asks for a line of the processor's caches that will be read soon. Any address will do.
    fn prefetch(self, from: *const u8);

    fn codes(self, line: &Line) -> Self::Codes;
    fn write(self, codes: Self::Codes, to: &mut Line);
    fn low_nibbles(self, codes: Self::Codes) -> Self::Codes;
    fn high_nibbles(self, codes: Self::Codes) -> Self::Codes;
    /// The bits of `mask`, which has no other than 4 and 5, after a shift to the left by -3 to 4.
    fn shifted(self, codes: Self::Codes, left: i32, mask: u8) -> Self::Codes;
    fn or(self, a: Self::Codes, b: Self::Codes) -> Self::Codes;

    fn integers(self, value: i32) -> Self::Integers;
    /// A quad for every lane.
    fn quad(self, quad: &[i8; 4]) -> Self::Integers;
    /// Adds the four products of each lane. Codes are below 128.
    fn dot(self, sums: Self::Integers, codes: Self::Codes, quad: Self::Integers) -> Self::Integers;
    /// Adds the four products of each lane, for any codes. No activation is -128.
    fn dot_bytes(
        self,
        sums: Self::Integers,
        codes: Self::Codes,
        quad: Self::Integers,
    ) -> Self::Integers;
}
