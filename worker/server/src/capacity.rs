//! How many sequences at once are worth it: measured on the model itself, before the first request.
//!
//! A step reads all weights once, whatever it computes: the more sequences share it the more tokens
//! come of it, until arithmetic takes longer than reading. From there on more sequences only make
//! each of them slower.

use std::time::{Duration, Instant};

use weir_engine::model::{
    Batch, BatchError, Group, Groups, KvCache, Logits, Model, STEP_TOKENS, SequenceSlice,
};

/// All steps together; the last may take longer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Steps with the same number of sequences, of which the fastest counts: others were disturbed. One
/// that takes long is hardly disturbed.
const STEPS: u32 = 3;
const LONG: Duration = Duration::from_millis(30);

/// So much more must more sequences bring to be worth it.
const WORTH: f64 = 1.1;

/// After so many numbers of sequences in a row that bring nothing, more are not tried. One may be bad
/// luck.
const IN_VAIN: usize = 2;

/// What steps of so many sequences came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    pub sequences: u32,
    pub tokens_per_second: f64,
}

/// What the replica can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capacity {
    /// So many at once bring the most tokens, or nearly so, of what was tried.
    pub sequences: u32,
    /// Of so many, when none of them is long.
    pub tokens_per_second: u64,
    /// More were tried, and bring no more.
    pub is_the_end: bool,
}

impl Capacity {
    /// The first point that none of the later ones is worth more than. Nothing without a point.
    pub fn of(points: &[Point]) -> Option<Self> {
        let (mut best, mut at) = (*points.first()?, 0);
        for (index, point) in points.iter().enumerate() {
            if point.tokens_per_second >= best.tokens_per_second * WORTH {
                (best, at) = (*point, index);
            }
        }
        Some(Self {
            sequences: best.sequences,
            tokens_per_second: best.tokens_per_second as u64,
            is_the_end: at + IN_VAIN < points.len(),
        })
    }
}

/// Computes steps of 1, 2, 4 and more sequences, as long as that pays and nobody is kept waiting for
/// it. Each sequence has one block, which nothing is left in that counts.
///
/// # Errors
/// Where the model does not compute, which is found here for the first time.
pub fn measure(
    (model, cache): (&mut Model, &mut KvCache),
    token: u32,
) -> Result<Vec<Point>, BatchError> {
    let began = Instant::now();
    let mut points: Vec<Point> = Vec::new();
    let mut logits = Logits::new();
    let most = STEP_TOKENS.min(places(cache));
    let counts = (0..).map(|power| 1_usize << power);
    for sequences in counts.take_while(|count| *count <= most) {
        let mut fastest = Duration::MAX;
        for _ in 0..STEPS {
            let step = Instant::now();
            compute((model, cache), &mut logits, (token, sequences))?;
            fastest = fastest.min(step.elapsed());
            if fastest > LONG {
                break;
            }
        }
        points.push(Point {
            sequences: sequences as u32,
            tokens_per_second: sequences as f64 / fastest.as_secs_f64().max(1e-9),
        });
        let is_the_end = Capacity::of(&points).is_some_and(|capacity| capacity.is_the_end);
        if is_the_end || began.elapsed() > PATIENCE {
            break;
        }
    }
    Ok(points)
}

/// How many sequences of one block have room at the same time.
fn places(cache: &KvCache) -> usize {
    let (layout, blocks) = (cache.layout(), cache.blocks());
    let groups = Group::ALL.into_iter().filter(|group| layout.has(*group));
    groups.map(|group| *blocks.of(group)).min().unwrap_or(0)
}

/// The first token of so many sequences.
fn compute(
    (model, cache): (&mut Model, &mut KvCache),
    logits: &mut Logits,
    (token, sequences): (u32, usize),
) -> Result<(), BatchError> {
    let blocks: Vec<u32> = (0..sequences as u32).collect();
    let slots: Vec<u32> = blocks
        .iter()
        .map(|block| block * cache.layout().block_tokens as u32)
        .collect();
    let slices: Vec<SequenceSlice<'_>> = blocks
        .chunks(1)
        .enumerate()
        .map(|(start, block)| SequenceSlice {
            start,
            len: 1,
            context_len: 1,
            block_tables: Groups::both(block),
            adapter: None,
        })
        .collect();
    let batch = Batch {
        tokens: &vec![token; sequences],
        positions: &vec![0; sequences],
        sequences: &slices,
        slots: Groups::both(&slots),
        outputs: &blocks,
    };
    model.forward(cache, &batch, logits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(rates: &[f64]) -> Vec<Point> {
        let numbered = (0_u32..).zip(rates);
        numbered
            .map(|(power, rate)| Point {
                sequences: 1 << power,
                tokens_per_second: *rate,
            })
            .collect()
    }

    fn of(rates: &[f64]) -> Option<(u32, bool)> {
        let capacity = Capacity::of(&points(rates))?;
        Some((capacity.sequences, capacity.is_the_end))
    }

    #[test]
    fn capacity_is_where_more_bring_little_more() {
        assert_eq!(of(&[]), None);
        assert_eq!(
            of(&[40.0, 79.0, 150.0, 180.0, 183.0, 185.0]),
            Some((8, true))
        );
        assert_eq!(of(&[40.0, 41.0, 39.0]), Some((1, true)));
    }

    #[test]
    fn one_point_that_was_disturbed_is_not_the_end() {
        assert_eq!(of(&[40.0, 41.0]), Some((1, false)));
        assert_eq!(of(&[40.0, 30.0, 160.0]), Some((4, false)));
        assert_eq!(
            of(&[40.0, 80.0, 70.0, 310.0, 312.0, 300.0]),
            Some((8, true))
        );
    }

    #[test]
    fn where_time_ran_out_nobody_knows_the_end() {
        assert_eq!(of(&[5.0]), Some((1, false)));
        assert_eq!(of(&[5.0, 9.0, 17.0]), Some((4, false)));
    }

    #[test]
    fn the_rate_is_that_of_the_sequences_it_speaks_of() {
        let capacity = Capacity::of(&points(&[40.0, 79.5, 80.0])).unwrap();
        assert_eq!((capacity.sequences, capacity.tokens_per_second), (2, 79));
    }
}
