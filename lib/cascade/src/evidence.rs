//! What is kept of the tokens of one attempt: the same few hundred bytes however many there are.

use serde::{Deserialize, Serialize};

use crate::histogram::Histogram;
use crate::window::Window;

/// No single token weighs more than this many nats: a probability of zero, or a number that is
/// none, counts as the worst there is and not as infinity, which would swallow every sum.
const WORST_SURPRISE: f32 = 100.0;

/// How sure the model was of one token, as the engine reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Token {
    /// Natural logarithm of the token's probability.
    pub logprob: f32,
    /// Log-probability of the best token minus that of the second best.
    pub margin: f32,
    /// Entropy of the whole distribution in nats, where whoever computed it has said.
    pub entropy: Option<f32>,
    /// A constraint allowed this token only, so it says nothing about the model.
    pub forced: bool,
    /// The token belongs to a JSON value and not to structure.
    pub value: bool,
    /// The token belongs to the model's thinking and not to its answer.
    pub thinking: bool,
    /// Nothing is known of it but that it came: it counts, and the rest of this says nothing.
    pub unseen: bool,
}

impl Token {
    /// One of which nothing is known.
    pub fn unseen(thinking: bool) -> Self {
        Self {
            thinking,
            unseen: true,
            ..Self::default()
        }
    }
}

/// Everything an attempt's tokens have said so far.
///
/// *Surprise* is the negative log-probability of a token in nats: 0 for a certain one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    tokens: u32,
    answer_tokens: u32,
    /// Tokens of any kind, and of the answer, of which nothing is known.
    unseen: u32,
    unseen_answer: u32,
    pub(crate) answer: Series,
    pub(crate) values: Series,
    pub(crate) thinking: Series,
    entropy: Entropy,
    answer_margin: Option<f32>,
    lowest_margin: Option<f32>,
}

/// Surprises of one kind of token.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Series {
    pub count: u32,
    pub sum: f64,
    /// The largest surprise.
    pub worst: f32,
    pub histogram: Histogram,
    pub window: Window,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Entropy {
    count: u32,
    sum: f64,
    histogram: Histogram,
}

impl Series {
    fn add(&mut self, surprise: f32) {
        self.count += 1;
        self.sum += f64::from(surprise);
        self.worst = self.worst.max(surprise);
        self.histogram.add(surprise);
        self.window.add(surprise);
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn spread(&self) -> Option<Spread> {
        // Surprise grows as probability falls: the worst 2 % are the upper 98 % quantile.
        let worst_share = |share: f64| self.histogram.quantile(1.0 - share);
        Some(Spread {
            tokens: self.count,
            mean: (self.sum / f64::from(self.count)) as f32,
            worst: self.worst,
            q02: worst_share(0.02)?,
            q10: worst_share(0.10)?,
            q25: worst_share(0.25)?,
            q50: worst_share(0.50)?,
            worst_window: self.window.worst()? as f32,
            tail_window: self.window.tail()? as f32,
        })
    }
}

impl Evidence {
    /// Takes one more token in. Forced tokens are counted and not weighed.
    pub fn observe(&mut self, token: &Token) {
        self.tokens += 1;
        if !token.thinking {
            self.answer_tokens += 1;
        }
        if token.unseen {
            self.unseen += 1;
            self.unseen_answer += u32::from(!token.thinking);
            return;
        }
        if token.forced {
            return;
        }
        let surprise = bounded(-token.logprob);
        if let Some(entropy) = token.entropy.map(bounded) {
            self.entropy.count += 1;
            self.entropy.sum += f64::from(entropy);
            self.entropy.histogram.add(entropy);
        }
        if token.thinking {
            self.thinking.add(surprise);
            return;
        }
        self.answer.add(surprise);
        if token.value {
            self.values.add(surprise);
        }
        // A margin that is no number is no margin.
        let margin = WORST_SURPRISE - bounded(WORST_SURPRISE - token.margin);
        self.answer_margin.get_or_insert(margin);
        self.lowest_margin = Some(
            self.lowest_margin
                .map_or(margin, |lowest| lowest.min(margin)),
        );
    }

    /// Tokens of any kind.
    pub fn tokens(&self) -> u32 {
        self.tokens
    }

    /// Tokens of the answer, forced ones included, thinking left out.
    pub fn answer_tokens(&self) -> u32 {
        self.answer_tokens
    }

    /// The margin at the first token of the answer that was the model's to choose.
    pub fn answer_margin(&self) -> Option<f32> {
        self.answer_margin
    }

    /// Whether any token has been weighed.
    pub fn is_empty(&self) -> bool {
        self.answer.is_empty() && self.thinking.is_empty()
    }

    /// Whether something came of which nothing is known.
    pub fn has_unseen(&self) -> bool {
        self.unseen > 0
    }

    /// Whether so much of the answer is unknown that the rest says little of the whole: more than one token
    /// in ten.
    pub fn is_patchy(&self) -> bool {
        u64::from(self.unseen_answer) * 10 > u64::from(self.answer_tokens)
    }

    /// The numbers a record keeps and a fitted score would be fitted on.
    pub fn snapshot(&self) -> Snapshot {
        let entropy = &self.entropy;
        Snapshot {
            tokens: self.tokens,
            answer_tokens: self.answer_tokens,
            unseen: self.unseen,
            answer: self.answer.spread(),
            values: self.values.spread(),
            thinking: self.thinking.spread(),
            entropy_mean: (entropy.count > 0)
                .then(|| (entropy.sum / f64::from(entropy.count)) as f32),
            entropy_q90: self.entropy.histogram.quantile(0.9),
            answer_margin: self.answer_margin,
            lowest_margin: self.lowest_margin,
        }
    }
}

fn bounded(value: f32) -> f32 {
    if value.is_nan() {
        WORST_SURPRISE
    } else {
        value.clamp(0.0, WORST_SURPRISE)
    }
}

/// The evidence of an attempt in numbers, for decision records.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Tokens of any kind.
    pub tokens: u32,
    /// Tokens of the answer, forced ones included.
    pub answer_tokens: u32,
    /// Those of any kind of which nothing is known; guessed by their text.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unseen: u32,
    /// Tokens of the answer that were the model's to choose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Spread>,
    /// Those of them inside JSON values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<Spread>,
    /// Tokens of the model's thinking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking: Option<Spread>,
    /// Mean entropy over answer and thinking, in nats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entropy_mean: Option<f32>,
    /// Nine tokens of ten have no higher entropy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entropy_q90: Option<f32>,
    /// Margin at the first token of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_margin: Option<f32>,
    /// Lowest margin in the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lowest_margin: Option<f32>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks it")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// How surprises of one kind of token are spread, in nats.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Spread {
    /// How many there are.
    pub tokens: u32,
    /// Their mean.
    pub mean: f32,
    /// The largest.
    pub worst: f32,
    /// The worst 2 % are at least this large, to within a bin.
    pub q02: f32,
    /// The worst 10 %.
    pub q10: f32,
    /// The worst quarter.
    pub q25: f32,
    /// The worse half.
    pub q50: f32,
    /// The highest mean of 32 neighbours.
    pub worst_window: f32,
    /// The mean of the last 32.
    pub tail_window: f32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn observed(tokens: &[Token]) -> Evidence {
        let mut evidence = Evidence::default();
        tokens.iter().for_each(|token| evidence.observe(token));
        evidence
    }

    fn token(logprob: f32) -> Token {
        Token {
            logprob,
            margin: 1.0,
            entropy: Some(0.5),
            ..Token::default()
        }
    }

    #[test]
    fn forced_tokens_are_counted_and_not_weighed() {
        let forced = Token {
            forced: true,
            ..token(-9.0)
        };
        let evidence = observed(&[forced, token(-0.5)]);
        assert_eq!(evidence.tokens(), 2);
        let answer = evidence.snapshot().answer.unwrap();
        assert_eq!((answer.tokens, answer.worst), (1, 0.5));
    }

    #[test]
    fn thinking_is_kept_apart_from_the_answer() {
        let thought = Token {
            thinking: true,
            margin: 0.0,
            ..token(-5.0)
        };
        let snapshot = observed(&[thought, token(-0.5)]).snapshot();
        assert_eq!(snapshot.answer.unwrap().worst, 0.5);
        assert_eq!(snapshot.thinking.unwrap().worst, 5.0);
        assert_eq!(snapshot.answer_margin, Some(1.0));
    }

    #[test]
    fn numbers_that_are_none_count_as_the_worst_there_is() {
        for logprob in [f32::NAN, f32::NEG_INFINITY, -1e30] {
            let wrong = Token {
                margin: f32::NAN,
                entropy: Some(f32::INFINITY),
                ..token(logprob)
            };
            let snapshot = observed(&[wrong]).snapshot();
            assert_eq!(snapshot.answer.unwrap().worst, WORST_SURPRISE, "{logprob}");
            assert_eq!(snapshot.answer_margin, Some(0.0));
        }
    }

    #[test]
    fn what_is_not_known_is_absent_and_never_certain() {
        let untold = Token {
            entropy: None,
            ..token(-0.5)
        };
        let snapshot = observed(&[untold, Token::unseen(false)]).snapshot();
        assert_eq!((snapshot.tokens, snapshot.unseen), (2, 1));
        assert_eq!((snapshot.entropy_mean, snapshot.entropy_q90), (None, None));
        assert_eq!(snapshot.answer.unwrap().tokens, 1);
        let half = observed(&[untold, token(-0.1)]).snapshot();
        assert_eq!(half.entropy_mean, Some(0.5), "of those that have one");
    }

    #[test]
    fn one_unknown_token_in_ten_is_too_few_to_matter_and_thinking_hides_nothing() {
        let mut tokens = vec![token(-0.1); 9];
        tokens.push(Token::unseen(false));
        tokens.extend([Token::unseen(true); 30]);
        let mut evidence = observed(&tokens);
        assert!(!evidence.is_patchy());
        evidence.observe(&Token::unseen(false));
        assert!(evidence.is_patchy());
    }

    #[test]
    fn a_snapshot_survives_a_record() {
        let snapshot = observed(&[token(-0.1), token(-2.0)]).snapshot();
        let line = serde_json::to_string(&snapshot).unwrap();
        assert_eq!(serde_json::from_str::<Snapshot>(&line).unwrap(), snapshot);
    }

    proptest! {
        #[test]
        fn sums_and_quantiles_do_not_depend_on_the_order(logprobs in vec(-30f32..0.0, 1..100)) {
            let forwards: Vec<Token> = logprobs.iter().copied().map(token).collect();
            let backwards: Vec<Token> = logprobs.iter().rev().copied().map(token).collect();
            let (a, b) = (observed(&forwards), observed(&backwards));
            prop_assert!((a.answer.sum - b.answer.sum).abs() < 1e-6);
            prop_assert_eq!(&a.answer.histogram, &b.answer.histogram);
            prop_assert_eq!(a.answer.worst, b.answer.worst);
        }
    }
}
