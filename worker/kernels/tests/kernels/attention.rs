//! Attention over paged keys and values equals attention over plain rows.

use half::{bf16, f16};
use proptest::prelude::*;
use weir_kernels::attention::{PagedCache, Partials, Query, Scores, Stored, attend};
use weir_kernels::{Elements, KernelClass, e4m3};

use crate::numbers::{assert_close, bits, classes, cpu, numbers};

/// One sequence's keys and values, as plain rows: [position][head][dimension].
struct Sequence {
    heads: usize,
    head_dim: usize,
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Sequence {
    fn new(seed: u32, length: usize, heads: usize, head_dim: usize) -> Self {
        // Numbers that fit into eight bits, so that all caches hold the same. Rows differ in size.
        let rounded = |seed| {
            let numbers = numbers(seed, length * heads * head_dim);
            let mut rounded = Vec::new();
            for (index, row) in numbers.chunks_exact(head_dim).enumerate() {
                let size = [2.0, 0.7, 0.2][index % 3];
                let row: Vec<f32> = row.iter().map(|number| number * size).collect();
                let mut bytes = vec![0; head_dim];
                let exponent = e4m3::round_row(&row, &mut bytes);
                let scale = 2f32.powi(i32::from(exponent) - 135);
                rounded.extend(bytes.into_iter().map(|byte| e4m3::value(byte) * scale));
            }
            rounded
        };
        Self {
            heads,
            head_dim,
            keys: rounded(seed),
            values: rounded(seed + 1),
        }
    }

    fn length(&self) -> usize {
        self.keys.len() / (self.heads * self.head_dim)
    }

    /// Written into the blocks of a cache; what nobody wrote is not a number.
    fn paged(&self, block_tokens: usize, blocks: usize, table: &[u32]) -> Vec<f32> {
        let (heads, dim) = (self.heads, self.head_dim);
        let mut cache = vec![f32::NAN; blocks * 2 * heads * block_tokens * dim];
        for position in 0..self.length() {
            let block = table[position / block_tokens] as usize;
            for (part, rows) in [&self.keys, &self.values].into_iter().enumerate() {
                for head in 0..heads {
                    let place = ((block * 2 + part) * heads + head) * block_tokens
                        + position % block_tokens;
                    let from = &rows[(position * heads + head) * dim..][..dim];
                    cache[place * dim..][..dim].copy_from_slice(from);
                }
            }
        }
        cache
    }

    /// The attention of one head of one query, in f64.
    fn attend(&self, query: &[f32], position: usize, head: usize, rule: Scores) -> Vec<f64> {
        let row = |rows: &[f32], at: usize| -> Vec<f64> {
            let from = &rows[(at * self.heads + head) * self.head_dim..][..self.head_dim];
            from.iter().map(|value| f64::from(*value)).collect()
        };
        let first = (position + 1).saturating_sub(rule.window.unwrap_or(usize::MAX));
        let scores: Vec<f64> = (first..=position)
            .map(|at| {
                let products = row(&self.keys, at).into_iter().zip(query);
                let product: f64 = products.map(|(key, query)| key * f64::from(*query)).sum();
                let score = product * f64::from(rule.scale);
                rule.soft_cap.map_or(score, |cap| {
                    f64::from(cap) * (score / f64::from(cap)).tanh()
                })
            })
            .collect();
        let total: f64 = scores.iter().map(|score| score.exp()).sum();
        let mut output = vec![0.0; self.head_dim];
        for (at, score) in scores.iter().enumerate() {
            for (output, value) in output.iter_mut().zip(row(&self.values, first + at)) {
                *output += score.exp() / total * value;
            }
        }
        output
    }
}

/// Rows in eight bits, and the exponents of these.
fn in_eight_bits(paged: &[f32], head_dim: usize) -> (Vec<u8>, Vec<u8>) {
    let mut bytes = vec![0; paged.len()];
    let rows = paged
        .chunks_exact(head_dim)
        .zip(bytes.chunks_exact_mut(head_dim));
    let exponents = rows.map(|(row, to)| e4m3::round_row(row, to)).collect();
    (bytes, exponents)
}

/// Blocks in no order.
fn scattered(blocks: usize) -> Vec<u32> {
    let (odd, even): (Vec<u32>, Vec<u32>) = (0..blocks as u32).partition(|block| block % 2 == 1);
    odd.into_iter().rev().chain(even).collect()
}

/// Every way to score: plain, capped softly and hard, and windows that end within runs and on them.
fn rules() -> Vec<Scores> {
    let rule = |soft_cap, window| Scores {
        scale: 0.4,
        soft_cap,
        window,
    };
    vec![
        Scores::scaled(0.4),
        rule(Some(50.0), None),
        rule(Some(0.5), None),
        rule(None, Some(1)),
        rule(None, Some(16)),
        rule(Some(2.0), Some(21)),
        rule(None, Some(1000)),
    ]
}

/// Holds every class and every type of cache against the plain sums.
fn assert_attends(sequence: &Sequence, group: usize, positions: &[usize], rules: &[Scores]) {
    let (heads, dim) = (sequence.heads, sequence.head_dim);
    let blocks = sequence.length().div_ceil(16);
    let table = scattered(blocks);
    let paged = sequence.paged(16, blocks, &table);
    let as_bf16: Vec<bf16> = paged.iter().map(|value| bf16::from_f32(*value)).collect();
    let as_f16: Vec<f16> = paged.iter().map(|value| f16::from_f32(*value)).collect();
    let (numbers_of_rows, exponents) = in_eight_bits(&paged, dim);
    let caches = [
        Stored::Plain(Elements::F32(&paged)),
        Stored::Plain(Elements::Bf16(&as_bf16)),
        Stored::Plain(Elements::F16(&as_f16)),
        Stored::E4m3 {
            numbers: &numbers_of_rows,
            exponents: &exponents,
        },
    ];
    let rows: Vec<Query<'_>> = positions
        .iter()
        .map(|&position| Query {
            position,
            block_table: &table,
        })
        .collect();
    let width = heads * group * dim;
    let queries = numbers(9, rows.len() * width);
    for &rule in rules {
        let expected: Vec<f64> = rows
            .iter()
            .zip(queries.chunks_exact(width))
            .flat_map(|(row, queries)| {
                let heads = queries.chunks_exact(dim).enumerate();
                heads.flat_map(|(head, query)| {
                    sequence.attend(query, row.position, head / group, rule)
                })
            })
            .collect();
        for (class, stored) in classes()
            .into_iter()
            .flat_map(|class| caches.map(|stored| (class, stored)))
        {
            let cache = PagedCache {
                stored,
                block_tokens: 16,
                heads,
                head_dim: dim,
            };
            let mut output = vec![0.0; queries.len()];
            let to = (&mut output[..], &mut Partials::default());
            attend(&cpu(class, 2), (&queries, rule), &rows, cache, to);
            let what = format!("{class} {heads} {group} {dim} {rule:?}");
            assert_close(&output, &expected, 2e-5, &what);
        }
    }
}

#[test]
fn queries_meet_the_positions_up_to_their_own_or_those_of_their_window() {
    for (heads, group, dim) in [(1, 1, 8), (2, 3, 20), (2, 1, 64), (1, 7, 33)] {
        let sequence = Sequence::new(1, 53, heads, dim);
        assert_attends(&sequence, group, &[0, 1, 15, 16, 31, 52], &rules());
    }
}

#[test]
fn a_long_context_is_met_as_a_short_one_is() {
    // Cells of 512 positions: windows begin on their bounds, beside them and in their middle.
    let positions = [511, 512, 1023, 1024, 1025, 1300];
    let long = [1, 20, 513, 600, 800, 1024, 2000].map(|window| Scores {
        scale: 0.4,
        soft_cap: (window % 3 == 0).then_some(2.0),
        window: Some(window),
    });
    for (heads, group, dim) in [(2, 3, 20), (1, 1, 64), (1, 7, 33)] {
        let sequence = Sequence::new(1, 1301, heads, dim);
        assert_attends(&sequence, group, &positions, &rules()[..3]);
        assert_attends(&sequence, group, &positions, &long);
    }
}

#[test]
fn what_lies_before_the_window_is_not_looked_at() {
    let dim = 16;
    // Within one cell, and over two of which the first is met from its middle.
    for (window, position) in [(20, 70), (600, 1300)] {
        let sequence = Sequence::new(7, position + 1, 1, dim);
        let blocks = (position + 1).div_ceil(16);
        let mut table: Vec<u32> = (0..blocks as u32).collect();
        let mut paged = sequence.paged(16, blocks, &table);
        let query = numbers(8, dim);
        let rule = Scores {
            window: Some(window),
            ..Scores::scaled(0.4)
        };
        let expected = sequence.attend(&query, position, 0, rule);
        // Blocks before the window belong to others; the first within holds numbers of others.
        let first = position + 1 - window;
        table[..first / 16].fill(u32::MAX);
        for part in 0..2 {
            paged[(first / 16 * 2 + part) * 16 * dim..][..first % 16 * dim].fill(f32::NAN);
        }
        for class in classes() {
            let cache = PagedCache {
                stored: Stored::Plain(Elements::F32(&paged)),
                block_tokens: 16,
                heads: 1,
                head_dim: dim,
            };
            let row = Query {
                position,
                block_table: &table,
            };
            let mut output = vec![0.0; dim];
            let to = (&mut output[..], &mut Partials::default());
            attend(&cpu(class, 1), (&query, rule), &[row], cache, to);
            assert_close(&output, &expected, 2e-5, class.name());
        }
    }
}

#[test]
fn what_is_not_a_number_leaves_no_number_of_who_meets_it_and_of_nobody_else() {
    let (length, dim) = (40, 20);
    let table = scattered(3);
    let rows: Vec<Query<'_>> = (0..length)
        .map(|position| Query {
            position,
            block_table: &table,
        })
        .collect();
    let rule = Scores {
        window: Some(20),
        ..Scores::scaled(0.4)
    };
    // Keys and values, met by one head and by more than are met at once.
    let cases = [(true, 1), (false, 5), (true, 5), (false, 1)];
    for (odd, (is_key, group)) in (0..length).zip(cases.into_iter().cycle()) {
        let queries = numbers(3, length * group * dim);
        let mut sequence = Sequence::new(2, length, 1, dim);
        let of = if is_key {
            &mut sequence.keys
        } else {
            &mut sequence.values
        };
        of[odd * dim..][..dim].fill(f32::NAN);
        let paged = sequence.paged(16, 3, &table);
        let as_f16: Vec<f16> = paged.iter().map(|value| f16::from_f32(*value)).collect();
        let (bytes, exponents) = in_eight_bits(&paged, dim);
        let kinds = [
            Stored::Plain(Elements::F32(&paged)),
            Stored::Plain(Elements::F16(&as_f16)),
            Stored::E4m3 {
                numbers: &bytes,
                exponents: &exponents,
            },
        ];
        for (class, stored) in classes()
            .into_iter()
            .flat_map(|class| kinds.map(|stored| (class, stored)))
        {
            let cache = PagedCache {
                stored,
                block_tokens: 16,
                heads: 1,
                head_dim: dim,
            };
            let mut output = vec![0.0; queries.len()];
            let to = (&mut output[..], &mut Partials::default());
            attend(&cpu(class, 1), (&queries, rule), &rows, cache, to);
            for (position, output) in output.chunks_exact(group * dim).enumerate() {
                let meets = (odd..odd + 20).contains(&position);
                let as_meant = output.iter().all(|value| value.is_nan() == meets);
                assert!(as_meant, "{class}: {position} meets {odd}: {output:?}");
            }
        }
    }
}

/// The bits of `count` last positions, in chunks of rows, by all ways to hold and share them.
fn outcomes(
    (class, rule, bits_each): (KernelClass, Scores, usize),
    (sequence, group, count): (&Sequence, usize, usize),
    queries: &[f32],
) -> Vec<Vec<u32>> {
    let (heads, dim, length) = (sequence.heads, sequence.head_dim, sequence.length());
    let width = heads * group * dim;
    let mut results = Vec::new();
    for (block_tokens, threads, at_once) in [(16, 1, count), (32, 3, 7), (80, 2, 1), (528, 2, 16)] {
        let blocks = length.div_ceil(block_tokens);
        let table = scattered(blocks);
        let paged = sequence.paged(block_tokens, blocks, &table);
        let (numbers, exponents) = in_eight_bits(&paged, dim);
        let stored = match bits_each {
            8 => Stored::E4m3 {
                numbers: &numbers,
                exponents: &exponents,
            },
            _ => Stored::Plain(Elements::F32(&paged)),
        };
        let cache = PagedCache {
            stored,
            block_tokens,
            heads,
            head_dim: dim,
        };
        let rows: Vec<Query<'_>> = (length - count..length)
            .map(|position| Query {
                position,
                block_table: &table,
            })
            .collect();
        let cpu = cpu(class, threads);
        let mut output = vec![0.0; queries.len()];
        let mut partials = Partials::default();
        let queries = queries.chunks(at_once * width);
        let outputs = output.chunks_mut(at_once * width);
        for ((rows, queries), output) in rows.chunks(at_once).zip(queries).zip(outputs) {
            attend(&cpu, (queries, rule), rows, cache, (output, &mut partials));
        }
        results.push(bits(&output));
    }
    results
}

#[test]
fn neither_chunks_nor_threads_nor_blocks_change_a_bit() {
    let (heads, group, dim, count) = (2, 2, 24, 40);
    let queries = numbers(5, count * heads * group * dim);
    // The long one passes the bound of a cell on its way.
    for length in [80, 1044] {
        let sequence = Sequence::new(4, length, heads, dim);
        for class in classes() {
            for rule in rules() {
                for bits_each in [32, 8] {
                    let call = (class, rule, bits_each);
                    let all = outcomes(call, (&sequence, group, count), &queries);
                    let same = all.windows(2).all(|pair| pair[0] == pair[1]);
                    assert!(same, "{length} {call:?}");
                }
            }
        }
    }
}

#[test]
fn rows_that_wait_for_memory_are_met_as_they_are_alone() {
    let (heads, group, dim, count) = (2, 16, 128, 140);
    let sequence = Sequence::new(6, 700, heads, dim);
    let queries = numbers(7, count * heads * group * dim);
    let class = KernelClass::detect();
    let rule = Scores::scaled(0.1);
    let all = outcomes((class, rule, 32), (&sequence, group, count), &queries);
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_token_alone_attends_as_it_does_among_others_on_any_number_of_threads(
        seed in any::<u16>(),
        (heads, group, dim) in (1usize..4, 1usize..9, 1usize..70),
        (length, count) in (prop_oneof![1usize..70, 500usize..1700], 1usize..9),
        window in prop::option::of(prop_oneof![1usize..40, 400usize..1200]),
        soft_cap in prop::option::of(1.0f32..60.0),
        threads in 1usize..5,
        class in prop::sample::select(classes()),
    ) {
        let sequence = Sequence::new(u32::from(seed), length, heads, dim);
        let blocks = length.div_ceil(16);
        let table = scattered(blocks);
        let paged = sequence.paged(16, blocks, &table);
        let rule = Scores { scale: 0.3, soft_cap, window };
        let rows: Vec<Query<'_>> = (0..count)
            .map(|index| Query { position: index * 389 % length, block_table: &table })
            .collect();
        let width = heads * group * dim;
        let queries = numbers(u32::from(seed) + 2, count * width);
        let as_f16: Vec<f16> = paged.iter().map(|value| f16::from_f32(*value)).collect();
        let (bytes, exponents) = in_eight_bits(&paged, dim);
        let in_eight_bits = Stored::E4m3 { numbers: &bytes, exponents: &exponents };
        let plain = [Elements::F32(&paged), Elements::F16(&as_f16)].map(Stored::Plain);
        for stored in plain.into_iter().chain([in_eight_bits]) {
            let cache = PagedCache { stored, block_tokens: 16, heads, head_dim: dim };
            let (mut together, mut partials) = (vec![0.0; queries.len()], Partials::default());
            let to = (&mut together[..], &mut partials);
            attend(&cpu(class, threads), (&queries, rule), &rows, cache, to);
            let alone = rows.iter().zip(queries.chunks_exact(width));
            for ((row, query), together) in alone.zip(together.chunks_exact(width)) {
                let mut output = vec![0.0; width];
                let to = (&mut output[..], &mut partials);
                attend(&cpu(class, 1), (query, rule), &[*row], cache, to);
                prop_assert_eq!(bits(&output), bits(together));
            }
        }
    }
}
