//! Attention over paged keys and values equals attention over plain rows.

use half::{bf16, f16};
use proptest::prelude::*;
use weir_kernels::Elements;
use weir_kernels::attention::{PagedCache, Query, Scores, attend};

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
        // Numbers that fit into bf16, so that all caches hold the same.
        let rounded = |seed| {
            let numbers = numbers(seed, length * heads * head_dim).into_iter();
            numbers
                .map(|value| bf16::from_f32(value * 2.0).to_f32())
                .collect()
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

#[test]
fn queries_meet_the_positions_up_to_their_own_or_those_of_their_window() {
    let length = 53;
    for (heads, group, dim) in [(1, 1, 8), (2, 3, 20), (2, 1, 64), (1, 7, 33)] {
        let sequence = Sequence::new(1, length, heads, dim);
        let table = [3, 0, 2, 1];
        let paged = sequence.paged(16, 4, &table);
        let as_bf16: Vec<bf16> = paged.iter().map(|value| bf16::from_f32(*value)).collect();
        let as_f16: Vec<f16> = paged.iter().map(|value| f16::from_f32(*value)).collect();
        let caches = [
            Elements::F32(&paged),
            Elements::Bf16(&as_bf16),
            Elements::F16(&as_f16),
        ];
        let rows: Vec<Query<'_>> = [0, 1, 15, 16, 31, 52]
            .map(|position| Query {
                position,
                block_table: &table,
            })
            .to_vec();
        let width = heads * group * dim;
        let queries = numbers(9, rows.len() * width);
        for rule in rules() {
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
            for class in classes() {
                for elements in caches {
                    let cache = PagedCache {
                        elements,
                        block_tokens: 16,
                        heads,
                        head_dim: dim,
                    };
                    let mut output = vec![0.0; queries.len()];
                    let cpu = cpu(class, 2);
                    attend(&cpu, (&queries, rule), &rows, cache, &mut output);
                    let what = format!("{class} {heads} {group} {dim} {rule:?}");
                    assert_close(&output, &expected, 2e-5, &what);
                }
            }
        }
    }
}

#[test]
fn what_lies_before_the_window_is_not_looked_at() {
    let (dim, window, position) = (16, 20, 70);
    let sequence = Sequence::new(7, position + 1, 1, dim);
    let table = [0, 1, 2, 3, 4];
    let mut paged = sequence.paged(16, 5, &table);
    let query = numbers(8, dim);
    let rule = Scores {
        window: Some(window),
        ..Scores::scaled(0.4)
    };
    let expected = sequence.attend(&query, position, 0, rule);
    // Positions 51 to 70 are met: blocks 0 to 2 belong to others, 48 to 50 hold no numbers.
    let table = [u32::MAX, u32::MAX, u32::MAX, 3, 4];
    for part in 0..2 {
        paged[(3 * 2 + part) * 16 * dim..][..3 * dim].fill(f32::NAN);
    }
    for class in classes() {
        let cache = PagedCache {
            elements: Elements::F32(&paged),
            block_tokens: 16,
            heads: 1,
            head_dim: dim,
        };
        let row = Query {
            position,
            block_table: &table,
        };
        let mut output = vec![0.0; dim];
        attend(&cpu(class, 1), (&query, rule), &[row], cache, &mut output);
        assert_close(&output, &expected, 2e-5, class.name());
    }
}

#[test]
fn neither_neighbours_nor_threads_nor_blocks_change_a_bit() {
    let (heads, group, dim) = (2, 2, 24);
    let sequence = Sequence::new(4, 80, heads, dim);
    let width = heads * group * dim;
    let queries = numbers(5, 40 * width);
    for (class, rule) in classes().into_iter().flat_map(|class| {
        let rules = rules().into_iter();
        rules.map(move |rule| (class, rule))
    }) {
        let mut results = Vec::new();
        for (block_tokens, table, threads) in [
            (16, vec![4, 2, 0, 1, 3], 1),
            (32, vec![1, 2, 0], 3),
            (80, vec![0], 2),
        ] {
            let paged = sequence.paged(block_tokens, 5, &table);
            let cache = PagedCache {
                elements: Elements::F32(&paged),
                block_tokens,
                heads,
                head_dim: dim,
            };
            let rows: Vec<Query<'_>> = (40..80)
                .map(|position| Query {
                    position,
                    block_table: &table,
                })
                .collect();
            let cpu = cpu(class, threads);
            let mut together = vec![0.0; queries.len()];
            attend(&cpu, (&queries, rule), &rows, cache, &mut together);
            let mut one_by_one = vec![0.0; queries.len()];
            let alone = queries.chunks_exact(width);
            for ((row, query), output) in rows
                .iter()
                .zip(alone)
                .zip(one_by_one.chunks_exact_mut(width))
            {
                attend(
                    &cpu,
                    (query, rule),
                    std::slice::from_ref(row),
                    cache,
                    output,
                );
            }
            results.extend([bits(&together), bits(&one_by_one)]);
        }
        let same = results.windows(2).all(|pair| pair[0] == pair[1]);
        assert!(same, "{class} {rule:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_token_alone_attends_as_it_does_among_others_on_any_number_of_threads(
        seed in any::<u16>(),
        (heads, group, dim) in (1usize..4, 1usize..9, 1usize..70),
        (length, count) in (1usize..70, 1usize..9),
        window in prop::option::of(1usize..40),
        soft_cap in prop::option::of(1.0f32..60.0),
        threads in 1usize..5,
        class in prop::sample::select(classes()),
    ) {
        let sequence = Sequence::new(u32::from(seed), length, heads, dim);
        let table = [2, 0, 4, 1, 3];
        let paged = sequence.paged(16, 5, &table);
        let rule = Scores { scale: 0.3, soft_cap, window };
        let rows: Vec<Query<'_>> = (0..count)
            .map(|index| Query { position: index * 13 % length, block_table: &table })
            .collect();
        let width = heads * group * dim;
        let queries = numbers(u32::from(seed) + 2, count * width);
        let as_f16: Vec<f16> = paged.iter().map(|value| f16::from_f32(*value)).collect();
        for elements in [Elements::F32(&paged), Elements::F16(&as_f16)] {
            let cache = PagedCache { elements, block_tokens: 16, heads, head_dim: dim };
            let mut together = vec![0.0; queries.len()];
            attend(&cpu(class, threads), (&queries, rule), &rows, cache, &mut together);
            let alone = rows.iter().zip(queries.chunks_exact(width));
            for ((row, query), together) in alone.zip(together.chunks_exact(width)) {
                let mut output = vec![0.0; width];
                attend(&cpu(class, 1), (query, rule), &[*row], cache, &mut output);
                prop_assert_eq!(bits(&output), bits(together));
            }
        }
    }
}
