//! What is gathered of answers before any of it is sent: each log-probability is a number that goes
//! out with the text of its token.
//!
//! A stream gathers nothing: its events go out as they come, and it is given up where nobody reads them.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::refusal::Refusal;

/// In an answer's text each takes about a hundred bytes.
const MOST_NUMBERS: usize = 300_000;

/// What is shown of tokens, in all answers to one prompt.
#[derive(Debug, Clone, Copy, Default)]
pub struct Numbers {
    /// For each token.
    pub each: usize,
    /// The request's field that asks for them.
    pub field: &'static str,
}

/// Counts what the answers come to that are sent as one.
#[derive(Debug)]
pub struct Gathered {
    /// Of the tokens of the prompt.
    read: Numbers,
    /// Of those that are written.
    written: Numbers,
    numbers: AtomicUsize,
}

impl Gathered {
    pub fn new(read: Numbers, written: Numbers) -> Self {
        let numbers = AtomicUsize::new(0);
        Self {
            read,
            written,
            numbers,
        }
    }

    /// How many numbers the answers to a prompt of `read` tokens may come to, that has room for
    /// `written`.
    ///
    /// # Errors
    /// Where they are too many with those that are counted.
    pub(super) fn room_for(&self, read: usize, written: usize) -> Result<usize, Refusal> {
        let mut sum = self.numbers.load(Ordering::Relaxed);
        let before = sum;
        for (numbers, tokens) in [(self.read, read), (self.written, written)] {
            sum = sum.saturating_add(numbers.each.saturating_mul(tokens));
            if sum > MOST_NUMBERS {
                let why = format!(
                    "asks for up to {sum} numbers in one answer, more than {MOST_NUMBERS}: ask for \
                     fewer tokens, choices or alternatives"
                );
                return Err(Refusal::invalid(numbers.field, why));
            }
        }
        Ok(sum - before)
    }

    /// Counts numbers that there was room for.
    pub(super) fn count(&self, numbers: usize) {
        self.numbers.fetch_add(numbers, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(of_prompt: usize, of_answer: usize) -> Gathered {
        let numbers = |each, field| Numbers { each, field };
        Gathered::new(
            numbers(of_prompt, "prompt_logprobs"),
            numbers(of_answer, "top_logprobs"),
        )
    }

    #[test]
    fn what_is_read_and_what_may_be_written_count_together_and_the_one_over_is_named() {
        let gathered = chat(3, 20);
        assert_eq!(gathered.room_for(1000, 10), Ok(3200));
        assert_eq!(gathered.room_for(20_000, 12_000), Ok(MOST_NUMBERS));
        let field = |read, written| {
            let refused = gathered.room_for(read, written).unwrap_err();
            refused.field().unwrap().to_owned()
        };
        assert_eq!(field(100_001, 0), "prompt_logprobs");
        assert_eq!(field(20_000, 12_001), "top_logprobs");
        assert_eq!(field(1, usize::MAX), "top_logprobs");
    }

    #[test]
    fn answers_that_are_sent_as_one_count_together() {
        let gathered = chat(0, 100);
        for _ in 0..3 {
            let numbers = gathered.room_for(7, MOST_NUMBERS / 300).unwrap();
            gathered.count(numbers);
        }
        assert!(gathered.room_for(7, 1).is_err());
    }

    #[test]
    fn what_is_shown_of_nothing_has_no_bound() {
        assert_eq!(chat(0, 0).room_for(usize::MAX, usize::MAX), Ok(0));
    }
}
