//! Makes one vector of the states of a text's tokens.
//!
//! States are added up in the order of their positions, so that a vector is the same however the text
//! was cut into chunks, and whatever ran beside it.

use std::ops::Range;

use weir_model::Pooling;

use crate::request::Embedding;

#[derive(Debug)]
pub(crate) struct Embedder {
    tokens: Vec<u32>,
    pooling: Pooling,
    /// Of the states so far.
    sum: Vec<f64>,
    /// The first position whose state was not counted: one that is computed again, after its blocks
    /// were taken, does not count twice.
    uncounted: usize,
}

impl Embedder {
    pub fn new(embedding: Embedding) -> Self {
        let last = embedding.tokens.len() - 1;
        Self {
            uncounted: match embedding.pooling {
                Pooling::Last => last,
                Pooling::Mean => 0,
            },
            tokens: embedding.tokens,
            pooling: embedding.pooling,
            sum: Vec::new(),
        }
    }

    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Which of the positions of a chunk a state is needed of.
    pub fn wanted(&self, positions: &Range<usize>) -> Range<usize> {
        self.uncounted.clamp(positions.start, positions.end)..positions.end
    }

    /// Counts the state of the token at `position`.
    pub fn take(&mut self, position: usize, state: &[f32]) {
        self.uncounted = position + 1;
        self.sum.resize(state.len(), 0.0);
        for (sum, value) in self.sum.iter_mut().zip(state) {
            *sum += f64::from(*value);
        }
    }

    /// The vector, once all states that are needed were counted.
    pub fn vector(&self) -> Option<Vec<f32>> {
        if self.uncounted < self.tokens.len() {
            return None;
        }
        let count = match self.pooling {
            Pooling::Last => 1,
            Pooling::Mean => self.tokens.len(),
        };
        let mean = self.sum.iter().map(|sum| (sum / count as f64) as f32);
        Some(mean.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Origin;

    fn embedder(pooling: Pooling) -> Embedder {
        Embedder::new(Embedding {
            tokens: vec![7, 8, 9],
            pooling,
            origin: Origin::default(),
        })
    }

    #[test]
    fn the_last_token_speaks_for_all_and_the_mean_is_of_all() {
        let states = [[1.0_f32, 4.0], [2.0, 5.0], [6.0, 0.0]];
        for (pooling, wanted, vector) in [
            (Pooling::Last, 2..3, vec![6.0_f32, 0.0]),
            (Pooling::Mean, 0..3, vec![3.0, 3.0]),
        ] {
            let mut embedder = embedder(pooling);
            assert_eq!(embedder.wanted(&(0..3)), wanted);
            for position in wanted {
                assert_eq!(embedder.vector(), None);
                embedder.take(position, &states[position]);
            }
            assert_eq!(embedder.vector(), Some(vector));
        }
    }

    #[test]
    fn what_was_counted_is_not_wanted_again() {
        let mut embedder = embedder(Pooling::Mean);
        embedder.take(0, &[1.0]);
        assert_eq!(embedder.wanted(&(0..2)), 1..2);
        assert_eq!(embedder.wanted(&(0..1)), 1..1);
    }
}
