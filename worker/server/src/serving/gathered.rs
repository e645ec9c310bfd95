//! What is gathered of answers before any of it is sent: each log-probability is a number that goes
//! out with the text of its token, and a prompt may be shown again with each choice.
//!
//! A stream gathers nothing: its events go out as they come, and it is given up where nobody reads them.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::refusal::Refusal;

/// In an answer's text each takes about a hundred bytes.
const MOST_NUMBERS: usize = 300_000;

/// Of prompts that are shown again: more than the largest body has.
pub const MOST_ECHOED: usize = 16 << 20;

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
    /// Bytes of prompts.
    echoed: AtomicUsize,
}

/// What the answers to one prompt may come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// Tokens of each answer.
    pub written: usize,
    /// Of all of them.
    pub numbers: usize,
}

impl Gathered {
    pub fn new(read: Numbers, written: Numbers) -> Self {
        Self {
            read,
            written,
            numbers: AtomicUsize::new(0),
            echoed: AtomicUsize::new(0),
        }
    }

    /// Counts a prompt of so many bytes that is shown again so many times.
    ///
    /// # Errors
    /// Where that is too much with those that are counted.
    pub fn echo(&self, bytes: usize, times: usize) -> Result<(), Refusal> {
        let more = bytes.saturating_mul(times);
        let before = self.echoed.fetch_add(more, Ordering::Relaxed);
        match before.saturating_add(more) > MOST_ECHOED {
            true => Err(Refusal::invalid(
                "echo",
                format!(
                    "shows prompts of more than {MOST_ECHOED} bytes in one answer: ask with fewer \
                     prompts or choices"
                ),
            )),
            false => Ok(()),
        }
    }

    /// How many numbers the answers to prompts come to, which have so many tokens to be `read` and
    /// `written`.
    ///
    /// # Errors
    /// Where they are too many with those that are counted.
    pub fn numbers(&self, read: usize, written: usize) -> Result<usize, Refusal> {
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

    /// What the answers to a prompt of `read` tokens may come to: with the `most` tokens that were asked
    /// for, and where nothing was said with as many of those there is room for as can be shown, which
    /// must be the `least` that were asked for.
    ///
    /// # Errors
    /// As above.
    pub(super) fn room_for(
        &self,
        read: usize,
        (least, most): (usize, Option<usize>),
        left: usize,
    ) -> Result<Room, Refusal> {
        let least = least.clamp(1, left.max(1));
        let written = match most {
            Some(most) => most.min(left),
            None => {
                let known = self.numbers.load(Ordering::Relaxed) + self.numbers(read, least)?;
                let more = (MOST_NUMBERS - known).checked_div(self.written.each);
                more.map_or(left, |more| left.min(least + more))
            }
        };
        let numbers = self.numbers(read, written)?;
        Ok(Room { written, numbers })
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
        assert_eq!(gathered.numbers(1000, 10), Ok(3200));
        assert_eq!(gathered.numbers(20_000, 12_000), Ok(MOST_NUMBERS));
        let field = |read, written| {
            let refused = gathered.numbers(read, written).unwrap_err();
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
            let room = gathered
                .room_for(7, (0, Some(MOST_NUMBERS / 300)), 5000)
                .unwrap();
            assert_eq!(room.written, MOST_NUMBERS / 300);
            gathered.count(room.numbers);
        }
        assert!(gathered.room_for(7, (0, Some(1)), 5000).is_err());
        assert!(gathered.room_for(7, (0, None), 5000).is_err());
    }

    #[test]
    fn where_nothing_was_asked_for_as_much_is_written_as_can_be_shown() {
        let gathered = chat(3, 20);
        let written = |read, left| {
            gathered
                .room_for(read, (0, None), left)
                .map(|room| room.written)
        };
        assert_eq!(written(20_000, 128_000), Ok(12_000));
        assert_eq!(written(20_000, 11_000), Ok(11_000));
        assert_eq!(written(99_993, 128_000), Ok(1));
        assert!(written(99_994, 128_000).is_err());
        // What was asked for is not cut.
        assert!(
            gathered
                .room_for(20_000, (0, Some(12_001)), 128_000)
                .is_err()
        );
        // Nor what was asked for at least.
        let least = |least| gathered.room_for(20_000, (least, None), 128_000);
        assert_eq!(least(12_000).unwrap().written, 12_000);
        assert!(least(12_001).is_err());
        assert_eq!(
            chat(0, 0).room_for(7, (0, None), 128_000).unwrap().written,
            128_000
        );
    }

    #[test]
    fn prompts_that_are_shown_again_count_together() {
        let gathered = chat(0, 0);
        assert_eq!(gathered.echo(MOST_ECHOED / 16, 15), Ok(()));
        assert_eq!(gathered.echo(MOST_ECHOED / 16, 1), Ok(()));
        let refused = gathered.echo(1, 1).unwrap_err();
        assert_eq!(refused.field(), Some("echo"));
        assert!(chat(0, 0).echo(usize::MAX, 2).is_err());
    }

    #[test]
    fn what_is_shown_of_nothing_has_no_bound() {
        assert_eq!(chat(0, 0).numbers(usize::MAX, usize::MAX), Ok(0));
    }
}
