//! Rows of numbers in eight bits each, with a power of two for each row.
//!
//! A number is an e4m3 of the Open Compute Project: a sign, four bits of exponent, three of mantissa,
//! 448 the largest, no infinities. A row's exponent is a byte b beside it, which says that its
//! numbers are to be multiplied by 2^(b - 135). It follows from the largest number of the row alone,
//! which becomes more than 224 and at most 448: the exponent of that number as f32 has it, or one more.
//! So a number is off by a 16th of itself at most, down to a 2^13th of the row's largest, and by
//! a 2^17th of that largest below.
//!
//! A row with a number that is not finite, or is beyond 1.75 · 2^127, has the exponent 255, and none
//! of it is a number: it may be lost in which place that was, but not that it was.

/// What is not a number.
const NAN: u8 = 0x7f;

/// Of a row of which nothing is a number.
const NO_NUMBER: u8 = u8::MAX;

/// What an e4m3 stands for.
pub fn value(number: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(number >> 3 & 0xf), f32::from(number & 7));
    let size = match (number & 0x7f, exponent) {
        (NAN, _) => f32::NAN,
        (_, 0) => mantissa * 2f32.powi(-9),
        _ => (8.0 + mantissa) * 2f32.powi(exponent - 10),
    };
    if number < 0x80 { size } else { -size }
}

/// Writes the numbers of a row into `to`, each rounded to the nearest, and says their exponent.
///
/// # Panics
/// Where there is not a place for each number.
pub fn round_row(row: &[f32], to: &mut [u8]) -> u8 {
    assert_eq!(row.len(), to.len(), "each number has its place");
    // As integers: what is not a number is above infinity, and that above all numbers.
    let sizes = row.iter().map(|number| number.to_bits() & 0x7fff_ffff);
    let largest = sizes.fold(0, u32::max);
    // One more where the largest has a mantissa above 1.75.
    let exponent = ((largest + 0x1f_ffff) >> 23).min(u32::from(NO_NUMBER)) as u8;
    match exponent {
        0 => to.fill(0),
        NO_NUMBER => to.fill(NAN),
        _ => {
            let by = scale(exponent).recip();
            for (to, number) in to.iter_mut().zip(row) {
                *to = nearest(number * by);
            }
        }
    }
    exponent
}

/// What 256ths of a row's numbers are multiplied by.
#[inline(always)]
pub(crate) fn scale(exponent: u8) -> f32 {
    match exponent {
        NO_NUMBER => f32::NAN,
        _ => f32::from_bits(u32::from(exponent) << 23),
    }
}

/// The e4m3 nearest to 256 times a number whose size is 1.75 at most; of two that are as near, the
/// even one.
fn nearest(number: f32) -> u8 {
    /// 256 times this is the least that has all three bits of mantissa.
    const NORMAL: u32 = (2.0_f32 / 32768.0).to_bits();
    /// Numbers of f32 beside this are as far apart as 256ths of those below that.
    const APART: f32 = 64.0;
    let bits = number.to_bits();
    let size = bits & 0x7fff_ffff;
    let fine = (f32::from_bits(size) + APART).to_bits() - APART.to_bits();
    let is_odd = size >> 20 & 1;
    // Three bits of mantissa are left, and the exponent is as of 15 bits more below one.
    let normal = ((size + 0x7_ffff + is_odd) >> 20).wrapping_sub((127 - 15) << 3);
    let rounded = if size < NORMAL { fine } else { normal };
    (bits >> 24) as u8 & 0x80 | rounded as u8
}
