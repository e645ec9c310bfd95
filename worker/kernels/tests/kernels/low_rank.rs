//! What adapters add is right for every class, and a row gets the same alone and beside others.

use half::{bf16, f16};
use proptest::prelude::*;
use weir_kernels::{
    Elements, KernelClass, LowRank, LowRankScratch, Matrix, Panels, Share, add_low_rank,
};

use crate::numbers::{assert_close, bits, classes, cpu, numbers};

/// Both halves for one product.
struct Adapter {
    down: Half,
    up: Half,
    rank: usize,
    outputs: usize,
    columns: usize,
    scale: f32,
}

/// The same numbers in all forms, because they fit into the small ones.
struct Half {
    f32: Vec<f32>,
    bf16: Vec<bf16>,
    f16: Vec<f16>,
}

impl Half {
    fn new(seed: u32, count: usize) -> Self {
        let f32: Vec<f32> = numbers(seed, count)
            .into_iter()
            .map(|value| (value * 128.0).round() / 128.0)
            .collect();
        Self {
            bf16: f32.iter().map(|value| bf16::from_f32(*value)).collect(),
            f16: f32.iter().map(|value| f16::from_f32(*value)).collect(),
            f32,
        }
    }

    fn laid(&self, rank: usize) -> Self {
        Self {
            f32: Panels::of(&self.f32, rank),
            bf16: Panels::of(&self.bf16, rank),
            f16: Panels::of(&self.f16, rank),
        }
    }

    fn elements(&self, form: usize) -> Elements<'_> {
        match form {
            0 => Elements::F32(&self.f32),
            1 => Elements::Bf16(&self.bf16),
            _ => Elements::F16(&self.f16),
        }
    }
}

impl Adapter {
    fn new(seed: u32, (columns, rank, outputs): (usize, usize, usize)) -> (Self, Vec<f32>) {
        let rows = Half::new(seed + 1, outputs * rank);
        let adapter = Self {
            down: Half::new(seed, rank * columns),
            up: rows.laid(rank),
            rank,
            outputs,
            columns,
            scale: 0.5 + seed as f32 / 4.0,
        };
        (adapter, rows.f32)
    }

    fn low_rank(&self, form: usize) -> LowRank<'_> {
        LowRank {
            down: Matrix::new(self.down.elements(form), self.columns),
            up: Panels::new(self.up.elements(form), self.rank, self.outputs),
            scale: self.scale,
        }
    }

    fn plain(&self, up: &[f32], input: &[f32]) -> Vec<f64> {
        let product = |weight: &[f32], with: &[f64]| -> f64 {
            let pairs = weight.iter().zip(with);
            pairs.map(|(a, b)| f64::from(*a) * b).sum()
        };
        let input: Vec<f64> = input.iter().copied().map(f64::from).collect();
        let middle: Vec<f64> = self
            .down
            .f32
            .chunks_exact(self.columns)
            .map(|row| product(row, &input) * f64::from(self.scale))
            .collect();
        let rows = up.chunks_exact(self.rank);
        rows.map(|row| product(row, &middle)).collect()
    }
}

#[test]
fn what_an_adapter_adds_is_right_for_every_class_form_and_awkward_size() {
    for (columns, rank, outputs) in [(1, 1, 1), (17, 3, 63), (70, 16, 65), (44, 64, 130)] {
        let (adapter, up) = Adapter::new(3, (columns, rank, outputs));
        for count in [1, 3, 4, 9, 67] {
            let input = numbers(5, count * columns);
            let before = numbers(6, count * outputs);
            // Every other row has no adapter.
            let rows: Vec<u32> = (0..count as u32).step_by(2).collect();
            let mut expected: Vec<f64> = before.iter().copied().map(f64::from).collect();
            for row in &rows {
                let row = *row as usize;
                let adds = adapter.plain(&up, &input[row * columns..][..columns]);
                for (to, add) in expected[row * outputs..].iter_mut().zip(adds) {
                    *to += add;
                }
            }
            for class in classes() {
                for form in 0..3 {
                    let share = Share {
                        rows: &rows,
                        adds: [Some(adapter.low_rank(form))],
                    };
                    let mut output = before.clone();
                    add_low_rank(
                        &cpu(class, 2),
                        (&input, columns),
                        &[share],
                        [&mut output],
                        &mut LowRankScratch::default(),
                    );
                    let what = format!("{class}, form {form}, {count} rows of {columns}");
                    assert_close(&output, &expected, 2e-4, &what);
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "a row has one adapter")]
fn a_row_with_two_adapters_is_refused() {
    let (adapter, _) = Adapter::new(1, (8, 2, 8));
    let share = || Share {
        rows: &[1],
        adds: [Some(adapter.low_rank(0))],
    };
    add_low_rank(
        &cpu(KernelClass::Portable, 1),
        (&[0.0; 16], 8),
        &[share(), share()],
        [&mut [0.0; 16]],
        &mut LowRankScratch::default(),
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_row_gets_the_same_bits_alone_and_beside_rows_of_other_adapters(
        owners in prop::collection::vec(0..4usize, 1..90),
        (columns, first, second) in (1..300usize, 1..600usize, 1..90usize),
        ranks in prop::array::uniform3(1..=64usize),
        form in 0..3usize,
        threads in 1..4usize,
        class in prop::sample::select(classes()),
    ) {
        let make = |seed: usize, rank, outputs| Adapter::new(seed as u32, (columns, rank, outputs)).0;
        // Of three adapters one leaves the second product alone.
        let adapters: Vec<(Adapter, Option<Adapter>)> = (0..3)
            .map(|at| (make(at, ranks[at], first), (at != 1).then(|| make(at + 9, ranks[at], second))))
            .collect();
        let input = numbers(2, owners.len() * columns);
        let before = [numbers(3, owners.len() * first), numbers(4, owners.len() * second)];
        let adds = |at: usize| {
            let (one, other) = &adapters[at];
            [Some(one.low_rank(form)), other.as_ref().map(|other| other.low_rank(form))]
        };
        let of = |at: usize| -> Vec<u32> {
            let owned = owners.iter().enumerate().filter(|(_, owner)| **owner == at);
            owned.map(|(row, _)| row as u32).collect()
        };
        let rows: Vec<Vec<u32>> = (0..3).map(of).collect();
        let shares: Vec<Share<'_, 2>> =
            (0..3).map(|at| Share { rows: &rows[at], adds: adds(at) }).collect();
        let mut scratch = LowRankScratch::default();
        let [mut one, mut two] = before.clone();
        let cpu_together = cpu(class, threads);
        add_low_rank(&cpu_together, (&input, columns), &shares, [&mut one, &mut two], &mut scratch);
        let cpu_alone = cpu(class, 1);
        for (row, owner) in owners.iter().enumerate() {
            let row_of = |all: &[f32], width: usize| all[row * width..][..width].to_vec();
            let (mut a, mut b) = (row_of(&before[0], first), row_of(&before[1], second));
            if *owner < 3 {
                let share = Share { rows: &[0], adds: adds(*owner) };
                let input = &input[row * columns..][..columns];
                add_low_rank(&cpu_alone, (input, columns), &[share], [&mut a, &mut b], &mut scratch);
            }
            prop_assert_eq!(bits(&a), bits(&row_of(&one, first)));
            prop_assert_eq!(bits(&b), bits(&row_of(&two, second)));
        }
    }
}
