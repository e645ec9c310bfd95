//! Products are right for every class and size, and each row is computed alone.

use half::{bf16, f16};
use proptest::prelude::*;
use weir_kernels::{Elements, KernelClass, Matrix, matmul};

use crate::numbers::{assert_close, bits, classes, cpu, numbers};

/// A weight in all forms; the numbers are the same, because they fit into the small ones.
struct Weight {
    columns: usize,
    f32: Vec<f32>,
    bf16: Vec<bf16>,
    f16: Vec<f16>,
}

impl Weight {
    fn new(seed: u32, outputs: usize, columns: usize) -> Self {
        let f32: Vec<f32> = numbers(seed, outputs * columns)
            .into_iter()
            .map(|value| (value * 128.0).round() / 128.0)
            .collect();
        Self {
            columns,
            bf16: f32.iter().map(|value| bf16::from_f32(*value)).collect(),
            f16: f32.iter().map(|value| f16::from_f32(*value)).collect(),
            f32,
        }
    }

    fn matrices(&self) -> [Matrix<'_>; 3] {
        [
            Elements::F32(&self.f32),
            Elements::Bf16(&self.bf16),
            Elements::F16(&self.f16),
        ]
        .map(|elements| Matrix::new(elements, self.columns))
    }

    fn times(&self, input: &[f32]) -> Vec<f64> {
        input
            .chunks_exact(self.columns)
            .flat_map(|input| {
                self.f32.chunks_exact(self.columns).map(|weight| {
                    let products = input.iter().zip(weight);
                    products.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
                })
            })
            .collect()
    }
}

fn product(class: KernelClass, threads: usize, input: &[f32], weight: Matrix<'_>) -> Vec<f32> {
    let rows = input.len() / weight.columns();
    let mut output = vec![f32::NAN; rows * weight.rows()];
    matmul(&cpu(class, threads), input, weight, &mut output);
    output
}

/// Whether a class rounds inputs that meet weights in bf16.
fn narrows(class: KernelClass) -> bool {
    class == KernelClass::Avx512Bf16
}

fn narrowed(input: &[f32]) -> Vec<f32> {
    let narrow = input.iter().map(|value| bf16::from_f32(*value));
    narrow.map(bf16::to_f32).collect()
}

#[test]
fn products_are_right_for_every_class_and_awkward_size() {
    for columns in [1, 15, 16, 17, 70, 256] {
        for outputs in [1, 3, 4, 13, 33, 70] {
            let weight = Weight::new(7, outputs, columns);
            for rows in [1, 2, 3, 5, 9, 67] {
                let input = numbers(3, rows * columns);
                let narrowed = narrowed(&input);
                let (exact, rounded) = (weight.times(&input), weight.times(&narrowed));
                for class in classes() {
                    let [f32, bf16, f16] = weight.matrices();
                    let of_bf16 = if narrows(class) { &rounded } else { &exact };
                    for (matrix, expected) in [(f32, &exact), (bf16, of_bf16), (f16, &exact)] {
                        let what = format!("{class} {rows}x{columns}x{outputs}");
                        let output = product(class, 1, &input, matrix);
                        assert_close(&output, expected, 1e-6 * columns as f64, &what);
                    }
                }
            }
        }
    }
}

#[test]
fn weights_of_any_type_and_the_same_numbers_give_the_same_bits() {
    let weight = Weight::new(1, 33, 70);
    let input = numbers(2, 5 * 70);
    for class in classes() {
        let [f32, bf16, f16] = weight
            .matrices()
            .map(|matrix| product(class, 1, &input, matrix));
        assert_eq!(bits(&f32), bits(&f16));
        if !narrows(class) {
            assert_eq!(bits(&f32), bits(&bf16));
        }
    }
}

#[test]
fn an_input_that_is_no_number_stays_none_where_it_is_rounded() {
    let weight = Weight::new(1, 5, 40);
    for class in classes() {
        for broken in [f32::NAN, f32::INFINITY] {
            let mut input = numbers(2, 3 * 40);
            input[40 + 17] = broken;
            let [_, bf16, _] = weight.matrices();
            let output = product(class, 1, &input, bf16);
            let is_whole = |row: &[f32]| row.iter().all(|value| value.is_finite());
            let whole: Vec<bool> = output.chunks(5).map(is_whole).collect();
            assert_eq!(whole, [true, false, true], "{class} {broken}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_row_gives_the_same_bits_alone_in_a_batch_and_on_any_number_of_threads(
        seed in any::<u16>(),
        rows in 1usize..140,
        columns in 1usize..90,
        outputs in 1usize..90,
        threads in 1usize..5,
        class in prop::sample::select(classes()),
    ) {
        let weight = Weight::new(u32::from(seed), outputs, columns);
        let input = numbers(u32::from(seed) + 1, rows * columns);
        for matrix in weight.matrices() {
            let together = product(class, threads, &input, matrix);
            for (alone, together) in input.chunks(columns).zip(together.chunks(outputs)) {
                prop_assert_eq!(bits(&product(class, 1, alone, matrix)), bits(together));
            }
        }
    }
}

#[test]
fn a_row_of_a_weight_is_copied_as_f32() {
    let weight = Weight::new(5, 4, 9);
    for matrix in weight.matrices() {
        let mut row = vec![0.0; 9];
        matrix.copy_row(2, &mut row);
        assert_eq!(row, weight.f32[18..27]);
    }
}

#[test]
fn every_number_in_f16_is_read_exactly() {
    let all: Vec<f16> = (0..=u16::MAX)
        .map(f16::from_bits)
        .filter(|value| value.is_finite())
        .collect();
    let expected: Vec<f32> = all.iter().map(|value| value.to_f32()).collect();
    for class in classes() {
        let output = product(class, 2, &[1.0], Matrix::new(Elements::F16(&all), 1));
        assert_eq!(output, expected, "{class}");
    }
}

#[test]
fn every_number_in_bf16_is_read_exactly() {
    let all: Vec<bf16> = (0..=u16::MAX)
        .map(bf16::from_bits)
        // Whether a number below the normal ones survives a product is the processor's mode.
        .filter(|value| value.is_normal() || value.to_f32() == 0.0)
        .collect();
    let expected: Vec<f32> = all.iter().map(|value| value.to_f32()).collect();
    for class in classes() {
        let output = product(class, 2, &[1.0], Matrix::new(Elements::Bf16(&all), 1));
        assert_eq!(output, expected, "{class}");
    }
}

#[test]
fn a_copied_row_holds_every_number_in_bf16_and_f16_exactly() {
    let bits: Vec<u16> = (0..=u16::MAX).collect();
    let as_bf16: Vec<bf16> = bits.iter().map(|bits| bf16::from_bits(*bits)).collect();
    let as_f16: Vec<f16> = bits.iter().map(|bits| f16::from_bits(*bits)).collect();
    for elements in [Elements::Bf16(&as_bf16), Elements::F16(&as_f16)] {
        // Rows that fit no vector, the last of them the last of the weight.
        let columns = 257;
        let rows = elements.len() / columns;
        let whole = match elements {
            Elements::Bf16(all) => Elements::Bf16(&all[..rows * columns]),
            Elements::F16(all) => Elements::F16(&all[..rows * columns]),
            Elements::F32(_) => unreachable!(),
        };
        let expected = whole.to_vec();
        let mut row = vec![0.0; columns];
        for (index, expected) in expected.chunks_exact(columns).enumerate() {
            Matrix::new(whole, columns).copy_row(index, &mut row);
            let same = row
                .iter()
                .zip(expected)
                .all(|(a, b)| a == b || (a.is_nan() && b.is_nan()));
            assert!(same, "row {index}");
        }
    }
}
