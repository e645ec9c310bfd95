//! Products are right for every class and size, and each row is computed alone.

use half::bf16;
use proptest::prelude::*;
use weir_kernels::{Elements, KernelClass, Matrix, matmul};

use crate::numbers::{assert_close, bits, classes, cpu, numbers};

/// A weight in both forms; the numbers are the same, because they fit into bf16.
struct Weight {
    columns: usize,
    f32: Vec<f32>,
    bf16: Vec<bf16>,
}

impl Weight {
    fn new(seed: u32, outputs: usize, columns: usize) -> Self {
        let numbers = numbers(seed, outputs * columns).into_iter();
        let bf16: Vec<bf16> = numbers.map(bf16::from_f32).collect();
        Self {
            columns,
            f32: bf16.iter().map(|value| value.to_f32()).collect(),
            bf16,
        }
    }

    fn matrices(&self) -> [Matrix<'_>; 2] {
        [Elements::F32(&self.f32), Elements::Bf16(&self.bf16)]
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

#[test]
fn products_are_right_for_every_class_and_awkward_size() {
    for columns in [1, 15, 16, 17, 70, 256] {
        for outputs in [1, 3, 4, 13, 33, 70] {
            let weight = Weight::new(7, outputs, columns);
            for rows in [1, 2, 3, 5, 9, 67] {
                let input = numbers(3, rows * columns);
                let expected = weight.times(&input);
                for class in classes() {
                    for matrix in weight.matrices() {
                        let what = format!("{class} {rows}x{columns}x{outputs}");
                        let output = product(class, 1, &input, matrix);
                        assert_close(&output, &expected, 1e-6 * columns as f64, &what);
                    }
                }
            }
        }
    }
}

#[test]
fn weights_in_bf16_and_f32_of_the_same_numbers_give_the_same_bits() {
    let weight = Weight::new(1, 33, 70);
    let input = numbers(2, 5 * 70);
    for class in classes() {
        let [f32, bf16] = weight
            .matrices()
            .map(|matrix| product(class, 1, &input, matrix));
        assert_eq!(bits(&f32), bits(&bf16));
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
