//! Rows in eight bits: what they stand for, how far that is from what was rounded, and what becomes of
//! what is not a number.

use proptest::prelude::*;
use weir_kernels::attention::{PagedCache, Partials, Query, Scores, Stored, attend};
use weir_kernels::e4m3::{round_row, value};

use crate::numbers::{classes, cpu};

/// Of a byte, by the bits of the format one by one.
fn meant(byte: u8) -> Option<f64> {
    let bit = |at: u32| f64::from(byte >> at & 1);
    let exponent = 8.0 * bit(6) + 4.0 * bit(5) + 2.0 * bit(4) + bit(3);
    let mantissa = bit(2) / 2.0 + bit(1) / 4.0 + bit(0) / 8.0;
    let size = match (exponent, mantissa) {
        (15.0, 0.875) => return None,
        (0.0, _) => mantissa * 2f64.powi(-6),
        _ => (1.0 + mantissa) * 2f64.powf(exponent - 7.0),
    };
    Some(if bit(7) == 1.0 { -size } else { size })
}

fn rounded(row: &[f32]) -> (Vec<u8>, u8) {
    let mut bytes = vec![0xaa; row.len()];
    let exponent = round_row(row, &mut bytes);
    (bytes, exponent)
}

#[test]
fn every_byte_stands_for_the_number_of_the_format_and_comes_back_from_it() {
    let mut numbers = 0;
    for byte in 0..=u8::MAX {
        let Some(expected) = meant(byte) else {
            assert!(value(byte).is_nan(), "{byte:#x}");
            continue;
        };
        numbers += 1;
        assert_eq!(f64::from(value(byte)), expected, "{byte:#x}");
        // Beside the largest there is, so that the row's exponent is that of the format.
        let (bytes, exponent) = rounded(&[value(byte), 448.0]);
        assert_eq!((bytes, exponent), (vec![byte, 0x7e], 135), "{byte:#x}");
    }
    assert_eq!(numbers, 254);
}

/// What one position of one dimension has for its value, as attention reads it.
fn read(class: weir_kernels::KernelClass, byte: u8, exponent: u8) -> f32 {
    // The block's keys, of which the first is met and is zero, and then its values.
    let mut numbers = [0; 2 * 16];
    let mut exponents = [0; 2 * 16];
    (numbers[16], exponents[16]) = (byte, exponent);
    let cache = PagedCache {
        stored: Stored::E4m3 {
            numbers: &numbers,
            exponents: &exponents,
        },
        block_tokens: 16,
        heads: 1,
        head_dim: 1,
    };
    let query = Query {
        position: 0,
        block_table: &[0],
    };
    let mut output = [0.0];
    let to = (&mut output[..], &mut Partials::default());
    attend(
        &cpu(class, 1),
        (&[1.0], Scores::scaled(1.0)),
        &[query],
        cache,
        to,
    );
    output[0]
}

#[test]
fn every_class_reads_every_byte_with_every_exponent_as_it_is_meant() {
    for class in classes() {
        for byte in 0..=u8::MAX {
            for exponent in [1, 2, 100, 127, 135, 200, 239] {
                let Some(expected) = meant(byte) else {
                    continue;
                };
                let expected = expected * 2f64.powi(i32::from(exponent) - 135);
                let read = read(class, byte, exponent);
                assert_eq!(f64::from(read), expected, "{class} {byte:#x} {exponent}");
            }
            assert!(read(class, byte, 255).is_nan(), "{class} {byte:#x}");
        }
    }
}

#[test]
fn what_is_not_a_number_makes_its_row_none_and_no_other() {
    for odd in [
        f32::NAN,
        -f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MAX,
    ] {
        let (bytes, exponent) = rounded(&[1.0, odd, -2.0]);
        assert_eq!((bytes, exponent), (vec![0x7f; 3], 255), "{odd}");
    }
    // The largest there is.
    let largest = 1.75 * 2f32.powi(127);
    assert_eq!(rounded(&[largest, -1.0]), (vec![0x7e, 0x80], 254));
}

#[test]
fn of_two_that_are_as_near_the_even_one_is_taken() {
    let least = 2f32.powi(-9);
    for (number, expected) in [
        (17.0, 16.0),
        (19.0, 20.0),
        (-21.0, -20.0),
        (0.5 * least, 0.0),
        (1.5 * least, 2.0 * least),
        (-2.5 * least, -2.0 * least),
        // From the numbers without all bits of mantissa to those with them.
        (7.5 * least, 8.0 * least),
    ] {
        let (bytes, exponent) = rounded(&[number, 448.0]);
        assert_eq!((value(bytes[0]), exponent), (expected, 135), "{number}");
    }
}

#[test]
fn a_row_of_zeros_or_of_what_is_nearly_none_is_zeros() {
    for row in [[0.0, -0.0], [f32::from_bits(1), -1e-39]] {
        assert_eq!(rounded(&row), (vec![0, 0], 0));
    }
}

proptest! {
    #[test]
    fn a_number_is_off_by_a_16th_of_itself_or_by_next_to_nothing_of_the_largest(
        row in prop::collection::vec((-1.0f32..1.0, -20i32..3), 1..80),
        size in -100i32..120,
    ) {
        let row: Vec<f32> = row.iter().map(|(number, power)| number * 2f32.powi(power + size)).collect();
        let largest = row.iter().fold(0.0f32, |most, number| most.max(number.abs()));
        let (bytes, exponent) = rounded(&row);
        let scale = 2f64.powi(i32::from(exponent) - 135);
        let of_row: Vec<f64> = bytes.iter().map(|byte| meant(*byte).unwrap() * scale).collect();
        for (number, found) in row.iter().zip(&of_row) {
            let bound = (number.abs() / 16.0).max(largest / 2f32.powi(17));
            prop_assert!((f64::from(*number) - found).abs() <= f64::from(bound), "{number} became {found}");
        }
        // No byte beside a number's own is nearer to it.
        for (number, (byte, found)) in row.iter().zip(bytes.iter().zip(&of_row)) {
            let off = (f64::from(*number) - found).abs();
            for other in (0..=u8::MAX).filter(|other| other != byte) {
                let Some(other) = meant(other) else { continue };
                let by_other = (f64::from(*number) - other * scale).abs();
                prop_assert!(off <= by_other, "{number} became {found}");
            }
        }
    }
}
