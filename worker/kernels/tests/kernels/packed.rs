//! Packed weights read as what their blocks stand for, and their products are right for every
//! class and size, each row by itself.

use proptest::prelude::*;
use weir_kernels::KernelClass;
use weir_kernels::packed::{
    AlignedBytes, Format, Packed, PackedShape, QuantizedRows, dequantise_row, is_finite,
    matmul_packed, matmul_packed_many, pack,
};

use crate::blocks::{blocks, numbers_of};
use crate::numbers::{bits, classes, cpu, numbers};

/// A weight in both forms.
struct Weight {
    shape: PackedShape,
    numbers: Vec<f32>,
    packed: AlignedBytes,
}

impl Weight {
    fn new(seed: u32, format: Format, rows: usize, columns: usize) -> Self {
        let blocks = blocks(seed, format, rows, columns);
        Self::of(PackedShape::new(format, rows, columns), &blocks)
    }

    fn of(shape: PackedShape, blocks: &[u8]) -> Self {
        let mut packed = AlignedBytes::zeros(shape.bytes()).unwrap();
        let length = shape.format().row_bytes(shape.columns());
        let row = |row: usize, to: &mut [u8]| {
            to.copy_from_slice(&blocks[row * length..][..length]);
        };
        pack(&cpu(KernelClass::detect(), 2), shape, row, &mut packed);
        Self {
            shape,
            numbers: numbers_of(shape.format(), blocks),
            packed,
        }
    }

    fn packed(&self) -> Packed<'_> {
        Packed::new(self.shape, &self.packed)
    }

    /// The product with inputs as eight bits hold them, and the sum of its terms' sizes.
    fn times(&self, input: &[f32]) -> Vec<(f64, f64)> {
        let columns = self.shape.columns();
        let rounded: Vec<f64> = input.chunks_exact(32).flat_map(rounded).collect();
        rounded
            .chunks_exact(columns)
            .flat_map(|input| {
                self.numbers.chunks_exact(columns).map(|weight| {
                    let pairs = input.iter().zip(weight);
                    let products = pairs.map(|(input, weight)| input * f64::from(*weight));
                    products.fold((0.0, 0.0), |(sum, size), product| {
                        (sum + product, size + product.abs())
                    })
                })
            })
            .collect()
    }
}

/// 32 numbers, each the nearest multiple of a 127th of the largest.
fn rounded(group: &[f32]) -> Vec<f64> {
    let largest = group
        .iter()
        .fold(0.0f32, |so_far, value| so_far.max(value.abs()));
    let code = |value: &f32| (value * (127.0 / largest)).round_ties_even();
    let scale = f64::from(largest / 127.0);
    group
        .iter()
        .map(|value| f64::from(code(value)) * scale)
        .collect()
}

fn product(class: KernelClass, threads: usize, input: &[f32], weight: &Weight) -> Vec<f32> {
    let cpu = cpu(class, threads);
    let mut rows = QuantizedRows::new();
    rows.set(&cpu, input, weight.shape.columns());
    let mut output = vec![f32::NAN; rows.rows() * weight.shape.rows()];
    matmul_packed(&cpu, &rows, weight.packed(), &mut output);
    output
}

fn assert_right(weight: &Weight, input: &[f32], what: &str) {
    let expected = weight.times(input);
    for class in classes() {
        let output = product(class, 2, input, weight);
        for (index, (ours, (expected, size))) in output.iter().zip(&expected).enumerate() {
            // A minimum and the codes above it may cancel, hence what is left of the terms.
            let tolerance = 1e-5 * (size + 1.0);
            assert!(
                (f64::from(*ours) - expected).abs() <= tolerance,
                "{what} {class}: number {index} is {ours} instead of {expected}"
            );
        }
    }
}

/// Some whole blocks, odd and even numbers of them.
fn columns(format: Format) -> [usize; 3] {
    [1, 3, 20].map(|count| count * format.block_weights())
}

#[test]
fn blocks_take_what_files_give_them() {
    let sizes = Format::ALL.map(|format| (format.block_weights(), format.block_bytes()));
    let expected = [
        (32, 18),
        (32, 20),
        (32, 22),
        (32, 24),
        (32, 34),
        (256, 144),
        (256, 176),
        (256, 210),
    ];
    assert_eq!(sizes, expected);
}

#[test]
fn blocks_stand_for_the_numbers_that_their_authors_say() {
    for format in Format::ALL {
        let blocks = blocks(1, format, 3, 768);
        let expected = numbers_of(format, &blocks);
        let mut ours = vec![f32::NAN; expected.len()];
        dequantise_row(format, &blocks, &mut ours);
        assert_eq!(ours, expected, "{format}");
        assert!(is_finite(format, &blocks), "{format}");
    }
}

#[test]
fn a_scale_that_is_no_number_is_found() {
    for format in Format::ALL {
        let mut blocks = blocks(1, format, 1, 768);
        let last = if format == Format::Q6_K { 208 } else { 0 };
        let at = blocks.len() - format.block_bytes() + last;
        blocks[at..at + 2].copy_from_slice(&0x7c00u16.to_le_bytes());
        assert!(!is_finite(format, &blocks), "{format}");
    }
}

#[test]
fn a_packed_row_reads_as_its_blocks() {
    for format in Format::ALL {
        for (rows, columns) in [1, 15, 16, 17, 37].into_iter().flat_map(|rows| {
            let columns = columns(format).into_iter();
            columns.map(move |columns| (rows, columns))
        }) {
            let weight = Weight::new(3, format, rows, columns);
            let mut row = vec![f32::NAN; columns];
            for (index, expected) in weight.numbers.chunks_exact(columns).enumerate() {
                weight.packed().copy_row(index, &mut row);
                assert_eq!(row, expected, "{format} {rows}x{columns} row {index}");
            }
        }
    }
}

#[test]
fn packing_adds_less_than_three_in_a_hundred() {
    for format in Format::ALL {
        for (rows, columns) in [(2048, 2048), (512, 768), (49_155, 2048), (896, 4864)] {
            let shape = PackedShape::new(format, rows, columns);
            assert!(
                shape.bytes() as f64 <= 1.03 * shape.block_bytes() as f64,
                "{shape:?} takes {} instead of {}",
                shape.bytes(),
                shape.block_bytes()
            );
        }
    }
}

#[test]
fn products_are_right_for_every_format_and_class_and_awkward_size() {
    for format in Format::ALL {
        for columns in columns(format) {
            for outputs in [1, 16, 35] {
                let weight = Weight::new(7, format, outputs, columns);
                for rows in [1, 2, 3, 7, 9, 19] {
                    let input = numbers(3, rows * columns);
                    let what = format!("{format} {rows}x{columns}x{outputs}");
                    assert_right(&weight, &input, &what);
                }
            }
        }
    }
}

#[test]
fn the_largest_codes_of_one_sign_do_not_overflow() {
    for format in Format::ALL {
        for byte in [0x00, 0x80, 0xff] {
            let shape = PackedShape::new(format, 17, 256);
            let mut blocks = blocks(1, format, 17, 256);
            for block in blocks.chunks_exact_mut(format.block_bytes()) {
                // All codes, and in `Q6_K` all scales.
                let body = if format == Format::Q6_K {
                    0..208
                } else {
                    16..block.len()
                };
                block[body].fill(byte);
            }
            let weight = Weight::of(shape, &blocks);
            for value in [1.0, -1.0] {
                assert_right(
                    &weight,
                    &[value; 3 * 256],
                    &format!("{format} {byte} {value}"),
                );
            }
        }
    }
}

#[test]
fn rows_of_a_hundred_thousandth_and_of_nothing_are_right_too() {
    let weight = Weight::new(5, Format::Q4_K, 16, 256);
    let tiny: Vec<f32> = numbers(6, 256).iter().map(|value| value * 1e-5).collect();
    assert_eq!(
        product(KernelClass::Portable, 1, &[0.0; 256], &weight),
        [0.0; 16]
    );
    for class in classes() {
        let ours = product(class, 1, &tiny, &weight);
        for (ours, (expected, size)) in ours.iter().zip(weight.times(&tiny)) {
            assert!(
                (f64::from(*ours) - expected).abs() <= 1e-5 * size,
                "{class}"
            );
        }
    }
}

#[test]
fn a_row_with_a_number_that_is_not_finite_gives_none_and_its_neighbours_are_well() {
    for format in Format::ALL {
        let weight = Weight::new(5, format, 16, 256);
        for broken in [f32::NAN, f32::INFINITY] {
            let mut input = numbers(6, 3 * 256);
            input[256 + 77] = broken;
            for class in classes() {
                let output = product(class, 1, &input, &weight);
                let finite: Vec<bool> = output.iter().map(|value| value.is_finite()).collect();
                let expected = [[true; 16], [false; 16], [true; 16]].concat();
                assert_eq!(finite, expected, "{format} {class} {broken}");
            }
        }
    }
}

#[test]
fn products_with_several_weights_are_those_with_each() {
    let columns = 512;
    let weights = [(Format::Q4_K, 40), (Format::Q6_K, 7), (Format::Q8_0, 130)]
        .map(|(format, rows)| Weight::new(8, format, rows, columns));
    for (class, rows) in classes()
        .into_iter()
        .flat_map(|class| [(class, 1), (class, 9)])
    {
        let input = numbers(9, rows * columns);
        let cpu = cpu(class, 2);
        let mut quantised = QuantizedRows::new();
        quantised.set(&cpu, &input, columns);
        let mut outputs = weights
            .each_ref()
            .map(|weight| vec![0.0; rows * weight.shape.rows()]);
        let mut products: Vec<(Packed<'_>, &mut [f32])> = weights
            .iter()
            .zip(&mut outputs)
            .map(|(weight, output)| (weight.packed(), &mut output[..]))
            .collect();
        matmul_packed_many(&cpu, &quantised, &mut products);
        for (weight, output) in weights.iter().zip(&outputs) {
            let alone = product(class, 1, &input, weight);
            assert_eq!(bits(output), bits(&alone), "{class} {rows}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_row_gives_the_same_bits_alone_in_a_batch_and_on_any_number_of_threads(
        seed in any::<u16>(),
        format in prop::sample::select(Format::ALL.to_vec()),
        rows in prop_oneof![4 => 1usize..30, 1 => 250usize..270],
        blocks in 1usize..22,
        outputs in 1usize..90,
        threads in 1usize..5,
        class in prop::sample::select(classes()),
    ) {
        let columns = blocks.min(if format.block_weights() == 256 { 3 } else { 40 })
            * format.block_weights();
        let weight = Weight::new(u32::from(seed), format, outputs, columns);
        let input = numbers(u32::from(seed) + 1, rows * columns);
        let together = product(class, threads, &input, &weight);
        for (alone, together) in input.chunks(columns).zip(together.chunks(outputs)) {
            prop_assert_eq!(bits(&product(class, 1, alone, &weight)), bits(together));
        }
    }
}
