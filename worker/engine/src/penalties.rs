//! Changes logits by what was said before and by the request's own wishes.
//!
//! Evidence is taken before this, so it always says what the model itself held likely.

use std::{collections::BTreeMap, sync::Arc};

/// What to change. The default changes nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Penalties {
    /// Divides a positive and multiplies a negative logit of every token of prompt and answer.
    pub repetition: f32,
    /// Taken off once from the logit of every token of the answer.
    pub presence: f32,
    /// Taken off for each time that a token is in the answer.
    pub frequency: f32,
    /// Added to single tokens.
    pub bias: Arc<[(u32, f32)]>,
}

impl Default for Penalties {
    fn default() -> Self {
        Self {
            repetition: 1.0,
            presence: 0.0,
            frequency: 0.0,
            bias: Arc::new([]),
        }
    }
}

impl Penalties {
    pub fn change_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Applies everything to one row; `answer` is the end of `tokens`, from index `prompt` on.
    pub fn apply(&self, logits: &mut [f32], tokens: &[u32], prompt: usize) {
        if self.repetition != 1.0 {
            for id in counts(tokens).into_keys() {
                if let Some(logit) = logits.get_mut(id as usize) {
                    *logit = if *logit > 0.0 {
                        *logit / self.repetition
                    } else {
                        *logit * self.repetition
                    };
                }
            }
        }
        if self.presence != 0.0 || self.frequency != 0.0 {
            for (id, count) in counts(&tokens[prompt..]) {
                if let Some(logit) = logits.get_mut(id as usize) {
                    *logit -= self.presence + self.frequency * count as f32;
                }
            }
        }
        for (id, bias) in self.bias.iter() {
            if let Some(logit) = logits.get_mut(*id as usize) {
                *logit += bias;
            }
        }
    }
}

fn counts(tokens: &[u32]) -> BTreeMap<u32, u32> {
    let mut counts = BTreeMap::new();
    for id in tokens {
        *counts.entry(*id).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(penalties: Penalties) -> Vec<f32> {
        let mut logits = vec![2.0, -2.0, 4.0, 0.0];
        // The prompt is [0, 1], the answer [1, 2, 2].
        penalties.apply(&mut logits, &[0, 1, 1, 2, 2], 2);
        logits
    }

    #[test]
    fn each_penalty_counts_what_it_says() {
        let none = Penalties::default;
        assert_eq!(applied(none()), [2.0, -2.0, 4.0, 0.0]);
        let repetition = Penalties {
            repetition: 2.0,
            ..none()
        };
        assert_eq!(applied(repetition), [1.0, -4.0, 2.0, 0.0]);
        let presence = Penalties {
            presence: 1.0,
            ..none()
        };
        assert_eq!(applied(presence), [2.0, -3.0, 3.0, 0.0]);
        let frequency = Penalties {
            frequency: 1.0,
            ..none()
        };
        assert_eq!(applied(frequency), [2.0, -3.0, 2.0, 0.0]);
    }

    #[test]
    fn a_bias_moves_its_token_and_one_outside_the_vocabulary_moves_nothing() {
        let bias = Penalties {
            bias: Arc::new([(3, -100.0), (99, 5.0)]),
            ..Penalties::default()
        };
        assert_eq!(applied(bias), [2.0, -2.0, 4.0, -100.0]);
    }
}
