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
const PATIENCE: Duration = Duration::from_millis(500);

/// Steps with the same number of sequences, of which the fastest counts: others were disturbed.
const STEPS: u32 = 3;

/// So much more must the double bring to be worth it.
const WORTH: f64 = 1.1;

/// What steps of so many sequences came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    pub sequences: u32,
    pub tokens_per_second: f64,
}

/// What the replica can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capacity {
    /// More than that at once bring no more tokens.
    pub sequences: u32,
    /// Of so many, when none of them is long.
    pub tokens_per_second: u64,
}

impl Capacity {
    /// Where the points stop growing; they come in order, each of twice as many sequences as the one
    /// before. Nothing without a point.
    pub fn of(points: &[Point]) -> Option<Self> {
        let pays = |pair: &&[Point]| {
            let [one, double] = pair else { return false };
            double.tokens_per_second >= one.tokens_per_second * WORTH
        };
        let last = points.windows(2).take_while(pays).count();
        points.get(last).map(|point| Self {
            sequences: point.sequences,
            tokens_per_second: point.tokens_per_second as u64,
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
            if began.elapsed() > PATIENCE {
                break;
            }
        }
        let tokens_per_second = sequences as f64 / fastest.as_secs_f64().max(1e-9);
        let before = points.last().map_or(0.0, |point| point.tokens_per_second);
        points.push(Point {
            sequences: sequences as u32,
            tokens_per_second,
        });
        if tokens_per_second < before * WORTH || began.elapsed() > PATIENCE {
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

    #[test]
    fn capacity_is_where_twice_as_many_bring_little_more() {
        let of = |rates: &[f64]| Capacity::of(&points(rates)).map(|it| it.sequences);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[40.0]), Some(1));
        assert_eq!(of(&[40.0, 79.0, 150.0, 180.0, 183.0]), Some(8));
        // What comes after the first stop was not asked for.
        assert_eq!(of(&[40.0, 41.0, 80.0]), Some(1));
        assert_eq!(of(&[40.0, 80.0, 160.0]), Some(4));
    }

    #[test]
    fn the_rate_is_that_of_the_sequences_it_speaks_of() {
        let capacity = Capacity::of(&points(&[40.0, 79.5, 80.0])).unwrap();
        assert_eq!((capacity.sequences, capacity.tokens_per_second), (2, 79));
    }
}
