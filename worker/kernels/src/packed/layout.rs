//! How lines become codes and heads become scales, and what a group adds to an output.

use half::f16;

use super::activations::QuantizedGroup;
use super::format::{Format, GROUP};
use crate::simd::dot::{Dot, Line};
use crate::simd::{LANES, Simd};

/// Quads of a group, each of which meets one vector of codes.
pub(crate) const QUADS: usize = GROUP / 4;

/// Codes of a group for sixteen outputs, one vector per quad.
pub(crate) type Codes<S> = [<S as Dot>::Codes; QUADS];

/// Scales of a group for sixteen outputs. The second is the minimum, or the scale of the second
/// sixteen columns, or nothing.
pub(crate) type Scales<S> = [<S as Simd>::Vector; 2];

/// A format as kernels know it.
pub(crate) trait Layout {
    const FORMAT: Format;
    type Sums: Sums;

    /// Of the `group`th of a head's groups.
    fn scales<S: Simd>(simd: S, head: &[u8], group: usize) -> Scales<S>;
}

/// What the integer sums of a group become. There is one order of operations for one format, in
/// every kernel: that is all there is to batch invariance here.
pub(crate) trait Sums {
    /// Whether the second sixteen columns are summed by themselves.
    const HALVES: bool;
    /// Whether codes have eight bits.
    const BYTES: bool;

    fn start<S: Simd>(activations: &QuantizedGroup, half: usize) -> i32;
    fn add<S: Simd>(
        simd: S,
        so_far: S::Vector,
        sums_and_scales: ([S::Integers; 2], Scales<S>),
        activations: &QuantizedGroup,
    ) -> S::Vector;
}

#[inline(always)]
pub(crate) fn codes<S: Simd>(simd: S, format: Format, lines: &[Line]) -> Codes<S> {
    let lines = &lines[..format.lines()];
    let mut codes = [simd.codes(&lines[0]); QUADS];
    if format.bits() == 8 {
        for (codes, line) in codes.iter_mut().zip(lines) {
            *codes = simd.codes(line);
        }
        return codes;
    }
    let high = format.bits() - 4;
    for at in 0..QUADS / 2 {
        let both = simd.codes(&lines[high + at]);
        codes[at] = simd.low_nibbles(both);
        codes[at + QUADS / 2] = simd.high_nibbles(both);
    }
    for (quad, codes) in codes.iter_mut().enumerate() {
        let bits = match high {
            1 => simd.shifted(simd.codes(&lines[0]), 4 - quad as i32, 0x10),
            2 => {
                let line = simd.codes(&lines[quad / 4]);
                simd.shifted(line, 4 - 2 * (quad % 4) as i32, 0x30)
            }
            _ => continue,
        };
        *codes = simd.or(*codes, bits);
    }
    codes
}

/// Sixteen numbers in f16 of a head.
#[inline(always)]
fn halves<S: Simd>(simd: S, head: &[u8], index: usize) -> S::Vector {
    let bytes = head[index * 2 * LANES..][..2 * LANES].as_chunks::<2>().0;
    let mut numbers = [f16::ZERO; LANES];
    for (number, bytes) in numbers.iter_mut().zip(bytes) {
        *number = f16::from_le_bytes(*bytes);
    }
    simd.load_f16(&numbers)
}

/// Sixteen bytes of a head with so many numbers in f16.
#[inline(always)]
fn bytes_at(head: &[u8], halves: usize, index: usize) -> &[u8; LANES] {
    &head[halves * 2 * LANES..].as_chunks().0[index]
}

/// Scale only.
#[inline(always)]
fn scale<S: Simd>(simd: S, head: &[u8]) -> Scales<S> {
    [halves(simd, head, 0), simd.splat(0.0)]
}

/// Scale and minimum.
#[inline(always)]
fn scale_and_minimum<S: Simd>(simd: S, head: &[u8]) -> Scales<S> {
    [halves(simd, head, 0), halves(simd, head, 1)]
}

/// Scale and minimum in six bits of what the block has in f16.
#[inline(always)]
fn six_bits<S: Simd>(simd: S, head: &[u8], group: usize) -> Scales<S> {
    let (mut scale, mut minimum) = ([0; LANES], [0; LANES]);
    if group < 4 {
        let (scales, minimums) = (bytes_at(head, 2, group), bytes_at(head, 2, group + 4));
        for lane in 0..LANES {
            scale[lane] = scales[lane] & 63;
            minimum[lane] = minimums[lane] & 63;
        }
    } else {
        let low = bytes_at(head, 2, group + 4);
        let (scales, minimums) = (bytes_at(head, 2, group - 4), bytes_at(head, 2, group));
        for lane in 0..LANES {
            scale[lane] = low[lane] & 0x0f | (scales[lane] >> 6) << 4;
            minimum[lane] = low[lane] >> 4 | (minimums[lane] >> 6) << 4;
        }
    }
    let negative = simd.sub(simd.splat(0.0), halves(simd, head, 1));
    [
        simd.mul(halves(simd, head, 0), simd.load_u8(&scale)),
        simd.mul(negative, simd.load_u8(&minimum)),
    ]
}

/// A scale in eight bits for each sixteen columns.
#[inline(always)]
fn sixteenths<S: Simd>(simd: S, head: &[u8], group: usize) -> Scales<S> {
    let scale = halves(simd, head, 0);
    [
        simd.mul(scale, simd.load_i8(bytes_at(head, 1, 2 * group))),
        simd.mul(scale, simd.load_i8(bytes_at(head, 1, 2 * group + 1))),
    ]
}

/// (code - 8) · scale.
pub(crate) struct Offset4;
/// (code - 16) · scale.
pub(crate) struct Offset5;
/// (code - 128) · scale.
pub(crate) struct Offset8;
/// (code - 32) · the scale of its sixteen columns.
pub(crate) struct Sixteens;
/// code · scale + minimum.
pub(crate) struct Minimum;

macro_rules! offset {
    ($name:ident, $bytes:expr, |$simd:ident, $starts:ident| $start:expr) => {
        impl Sums for $name {
            const HALVES: bool = false;
            const BYTES: bool = $bytes;

            #[inline(always)]
            fn start<$simd: Simd>(activations: &QuantizedGroup, _: usize) -> i32 {
                let $starts = &activations.starts;
                $start
            }

            #[inline(always)]
            fn add<S: Simd>(
                simd: S,
                so_far: S::Vector,
                (sums, scales): ([S::Integers; 2], Scales<S>),
                activations: &QuantizedGroup,
            ) -> S::Vector {
                let scaled = simd.mul(simd.floats(sums[0]), scales[0]);
                simd.fma(scaled, simd.splat(activations.scale), so_far)
            }
        }
    };
}

offset!(Offset4, false, |S, starts| starts.four_bits);
offset!(Offset5, false, |S, starts| starts.five_bits);
offset!(Offset8, true, |S, starts| if S::BYTES_ARE_SIGNED {
    0
} else {
    starts.eight_bits
});

impl Sums for Sixteens {
    const HALVES: bool = true;
    const BYTES: bool = false;

    #[inline(always)]
    fn start<S: Simd>(activations: &QuantizedGroup, half: usize) -> i32 {
        activations.starts.six_bits[half]
    }

    #[inline(always)]
    fn add<S: Simd>(
        simd: S,
        so_far: S::Vector,
        (sums, scales): ([S::Integers; 2], Scales<S>),
        activations: &QuantizedGroup,
    ) -> S::Vector {
        let first = simd.mul(simd.floats(sums[0]), scales[0]);
        let both = simd.fma(simd.floats(sums[1]), scales[1], first);
        simd.fma(both, simd.splat(activations.scale), so_far)
    }
}

impl Sums for Minimum {
    const HALVES: bool = false;
    const BYTES: bool = false;

    #[inline(always)]
    fn start<S: Simd>(_: &QuantizedGroup, _: usize) -> i32 {
        0
    }

    #[inline(always)]
    fn add<S: Simd>(
        simd: S,
        so_far: S::Vector,
        (sums, scales): ([S::Integers; 2], Scales<S>),
        activations: &QuantizedGroup,
    ) -> S::Vector {
        let scaled = simd.mul(simd.floats(sums[0]), scales[0]);
        let scaled = simd.fma(scaled, simd.splat(activations.scale), so_far);
        simd.fma(scales[1], simd.splat(activations.scaled_sum), scaled)
    }
}

macro_rules! layouts {
    ($($name:ident: $sums:ty, |$simd:ident, $head:ident, $group:ident| $scales:expr;)*) => {
        $(
            #[allow(non_camel_case_types, reason = "the name of its format")]
            pub(crate) struct $name;

            impl Layout for $name {
                const FORMAT: Format = Format::$name;
                type Sums = $sums;

                #[inline(always)]
                fn scales<S: Simd>($simd: S, $head: &[u8], $group: usize) -> Scales<S> {
                    $scales
                }
            }
        )*
    };
}

layouts! {
    Q4_0: Offset4, |simd, head, _group| scale(simd, head);
    Q4_1: Minimum, |simd, head, _group| scale_and_minimum(simd, head);
    Q5_0: Offset5, |simd, head, _group| scale(simd, head);
    Q5_1: Minimum, |simd, head, _group| scale_and_minimum(simd, head);
    Q8_0: Offset8, |simd, head, _group| scale(simd, head);
    Q4_K: Minimum, |simd, head, group| six_bits(simd, head, group);
    Q5_K: Minimum, |simd, head, group| six_bits(simd, head, group);
    Q6_K: Sixteens, |simd, head, group| sixteenths(simd, head, group);
}

/// Does something with the layout of a format, which is a type that `$layout` stands for.
macro_rules! with_layout {
    ($format:expr, $layout:ident => $does:expr) => {
        match $format {
            $crate::packed::Format::Q4_0 => {
                type $layout = $crate::packed::layout::Q4_0;
                $does
            }
            $crate::packed::Format::Q4_1 => {
                type $layout = $crate::packed::layout::Q4_1;
                $does
            }
            $crate::packed::Format::Q5_0 => {
                type $layout = $crate::packed::layout::Q5_0;
                $does
            }
            $crate::packed::Format::Q5_1 => {
                type $layout = $crate::packed::layout::Q5_1;
                $does
            }
            $crate::packed::Format::Q8_0 => {
                type $layout = $crate::packed::layout::Q8_0;
                $does
            }
            $crate::packed::Format::Q4_K => {
                type $layout = $crate::packed::layout::Q4_K;
                $does
            }
            $crate::packed::Format::Q5_K => {
                type $layout = $crate::packed::layout::Q5_K;
                $does
            }
            $crate::packed::Format::Q6_K => {
                type $layout = $crate::packed::layout::Q6_K;
                $does
            }
        }
    };
}
pub(crate) use with_layout;
