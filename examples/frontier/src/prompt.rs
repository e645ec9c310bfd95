//! What an ask's input counts, and how much of it was read before.
//!
//! Invariant: memory is bounded; of prompts only hashes of their beginnings are kept.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use crate::pieces;

/// Tokens of markup that every message of a prompt is counted with.
pub(crate) const TOKENS_PER_MESSAGE: u64 = 3;

/// What an image counts, whatever is on it.
pub(crate) const TOKENS_PER_IMAGE: u64 = 85;

/// The shortest beginning that is kept without being marked.
const LEAST_UNMARKED_TOKENS: u64 = 1024;

/// How many beginnings are kept.
const MOST_KEPT: usize = 4096;

/// How long a marked beginning is to be kept. (It is kept until others take its place.)
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Lifetime {
    Minutes,
    Hour,
}

/// The input in the order in which it is read, in blocks at whose ends a cache may begin.
#[derive(Debug, Default)]
pub(crate) struct Prompt {
    blocks: Vec<Block>,
}

#[derive(Debug)]
struct Block {
    tokens: u64,
    digest: u64,
    mark: Option<Lifetime>,
}

impl Prompt {
    /// Adds a block of `text` that counts `more` tokens beyond it. `seen` is what a cache tells it by.
    pub(crate) fn push(&mut self, text: &str, more: u64, seen: &str) {
        let mut hasher = DefaultHasher::new();
        let before = self.blocks.last().map_or(0, |block| block.digest);
        (before, text, seen).hash(&mut hasher);
        self.blocks.push(Block {
            tokens: pieces::count(text) + more,
            digest: hasher.finish(),
            mark: None,
        });
    }

    /// A whole message.
    pub(crate) fn push_message(&mut self, role: &str, text: &str) {
        self.push(text, TOKENS_PER_MESSAGE, role);
    }

    /// Asks for all up to here to be kept.
    pub(crate) fn mark(&mut self, lifetime: Lifetime) {
        if let Some(last) = self.blocks.last_mut() {
            last.mark = Some(lifetime);
        }
    }

    pub(crate) fn tokens(&self) -> u64 {
        self.blocks.iter().map(|block| block.tokens).sum()
    }

    /// Every block's end with the tokens up to it.
    fn ends(&self) -> impl Iterator<Item = (&Block, u64)> {
        self.blocks.iter().scan(0, |sum, block| {
            *sum += block.tokens;
            Some((block, *sum))
        })
    }
}

/// A prompt's tokens by what they cost.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Input {
    /// All of them.
    pub(crate) tokens: u64,
    pub(crate) read: u64,
    pub(crate) written: u64,
    /// Of those written, the ones to be kept for an hour.
    pub(crate) written_for_an_hour: u64,
}

/// The beginnings of prompts that were seen.
#[derive(Debug, Default)]
pub(crate) struct PromptCache(Mutex<VecDeque<u64>>);

impl PromptCache {
    /// Keeps what is marked, and reads the longest beginning that was kept before.
    pub(crate) fn marked(&self, prompt: &Prompt) -> Input {
        let last = prompt.ends().filter(|(block, _)| block.mark.is_some());
        let Some((_, upto)) = last.last() else {
            return Input {
                tokens: prompt.tokens(),
                ..Input::default()
            };
        };
        let read = self.longest(prompt, 0).min(upto);
        let kept: Vec<u64> = prompt
            .ends()
            .filter(|(block, _)| block.mark.is_some())
            .map(|(block, _)| block.digest)
            .collect();
        self.keep(&kept);
        let hour = prompt
            .ends()
            .filter(|(block, _)| block.mark == Some(Lifetime::Hour))
            .last()
            .map_or(0, |(_, tokens)| tokens.saturating_sub(read));
        Input {
            tokens: prompt.tokens(),
            read,
            written: upto - read,
            written_for_an_hour: hour,
        }
    }

    /// Keeps every long beginning without being asked.
    pub(crate) fn unmarked(&self, prompt: &Prompt) -> Input {
        let tokens = prompt.tokens();
        let read = self.longest(prompt, LEAST_UNMARKED_TOKENS);
        let kept: Vec<u64> = prompt
            .ends()
            .filter(|&(_, tokens)| tokens >= LEAST_UNMARKED_TOKENS)
            .map(|(block, _)| block.digest)
            .collect();
        self.keep(&kept);
        let written = if kept.is_empty() { 0 } else { tokens - read };
        Input {
            tokens,
            read,
            written,
            written_for_an_hour: 0,
        }
    }

    fn longest(&self, prompt: &Prompt, least: u64) -> u64 {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = prompt
            .ends()
            .filter(|(block, tokens)| *tokens >= least && kept.contains(&block.digest));
        known.last().map_or(0, |(_, tokens)| tokens)
    }

    fn keep(&self, digests: &[u64]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for digest in digests {
            if !kept.contains(digest) {
                kept.push_back(*digest);
            }
        }
        let over = kept.len().saturating_sub(MOST_KEPT);
        kept.drain(..over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(texts: &[&str]) -> Prompt {
        let mut prompt = Prompt::default();
        for text in texts {
            prompt.push_message("user", text);
        }
        prompt
    }

    #[test]
    fn a_marked_beginning_is_written_once_and_then_read() {
        let cache = PromptCache::default();
        let ask = |tail: &str| {
            let mut prompt = prompt(&["one two"]);
            prompt.mark(Lifetime::Hour);
            prompt.push_message("user", tail);
            cache.marked(&prompt)
        };
        let first = ask("three");
        assert_eq!(
            (first.read, first.written, first.written_for_an_hour),
            (0, 5, 5)
        );
        let second = ask("four");
        assert_eq!((second.read, second.written), (5, 0));
        assert_eq!(second.tokens, 5 + 4);
    }

    #[test]
    fn what_follows_a_difference_is_not_read() {
        let cache = PromptCache::default();
        let ask = |head: &str| {
            let mut prompt = prompt(&[head, "same"]);
            prompt.mark(Lifetime::Minutes);
            cache.marked(&prompt).read
        };
        assert_eq!((ask("one"), ask("two"), ask("one")), (0, 0, 8));
    }

    #[test]
    fn without_a_mark_only_long_beginnings_are_kept() {
        let cache = PromptCache::default();
        let short = prompt(&["short"]);
        assert_eq!(cache.unmarked(&short).read + cache.unmarked(&short).read, 0);
        let long = prompt(&["word ".repeat(1100).as_str(), "and"]);
        assert_eq!(cache.unmarked(&long).read, 0);
        assert_eq!(cache.unmarked(&long).read, long.tokens());
    }

    #[test]
    fn the_oldest_beginnings_are_forgotten() {
        let cache = PromptCache::default();
        let all: Vec<u64> = (0..2 * MOST_KEPT as u64).collect();
        cache.keep(&all);
        assert_eq!(cache.0.lock().unwrap().len(), MOST_KEPT);
    }
}
