//! What a block holds, as a number: a hash of all tokens up to its end and of whatever else their
//! keys and values follow from.
//!
//! It is the first half of SHA-256. Whoever writes prompts may look for two beginnings of one hash,
//! and would be answered from keys and values of other tokens; a hash that is merely fast, or one
//! whose secret shows in the times of answers, can be made to collide. Hashing a block takes a
//! thousandth of computing it, so that nothing is won by a faster one.

use sha2::{Digest, Sha256};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(u128);

impl Key {
    /// Of parts whose lengths count too, so that no two lists of them look alike.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self::first_half(hash)
    }

    /// Of what comes after this one.
    fn after(self, tokens: &[u32]) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0.to_le_bytes());
        for token in tokens {
            hash.update(token.to_le_bytes());
        }
        Self::first_half(hash)
    }

    fn first_half(hash: Sha256) -> Self {
        let mut half = [0; 16];
        half.copy_from_slice(&hash.finalize()[..16]);
        Self(u128::from_le_bytes(half))
    }
}

/// The keys of a sequence's whole blocks, in order.
#[derive(Clone, Debug)]
pub struct Chain {
    keys: Vec<Key>,
    last: Key,
    /// Tokens of the block that is not whole yet.
    tail: Vec<u32>,
    block_tokens: usize,
}

impl Chain {
    /// `seed` tells apart what must not be shared, whatever the tokens.
    pub fn new(seed: Key, block_tokens: usize, tokens: &[u32]) -> Self {
        let mut chain = Self {
            keys: Vec::new(),
            last: seed,
            tail: Vec::with_capacity(block_tokens),
            block_tokens,
        };
        tokens.iter().for_each(|token| chain.push(*token));
        chain
    }

    pub fn push(&mut self, token: u32) {
        self.tail.push(token);
        if self.tail.len() == self.block_tokens {
            self.last = self.last.after(&self.tail);
            self.keys.push(self.last);
            self.tail.clear();
        }
    }

    pub fn keys(&self) -> &[Key] {
        &self.keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(seed: &[&[u8]], tokens: &[u32]) -> Vec<Key> {
        Chain::new(Key::of(seed), 2, tokens).keys().to_vec()
    }

    #[test]
    fn a_key_tells_all_tokens_up_to_the_end_of_its_block() {
        let first = keys(&[b"a"], &[1, 2, 3, 4, 5]);
        assert_eq!(first.len(), 2, "the fifth token is of no whole block");
        assert_eq!(first[..1], keys(&[b"a"], &[1, 2, 9]));
        let other_beginning = keys(&[b"a"], &[1, 9, 3, 4]);
        assert_ne!(first[1], other_beginning[1]);
        assert_ne!(first[0], keys(&[b"a"], &[2, 1])[0]);
    }

    #[test]
    fn tokens_that_come_one_by_one_give_the_keys_of_those_that_come_at_once() {
        let seed = Key::of(&[b"a"]);
        let mut slowly = Chain::new(seed, 3, &[]);
        (0..10).for_each(|token| slowly.push(token));
        let tokens: Vec<u32> = (0..10).collect();
        assert_eq!(slowly.keys(), Chain::new(seed, 3, &tokens).keys());
    }

    #[test]
    fn nothing_is_shared_across_seeds() {
        let seeds: [&[&[u8]]; 4] = [&[b"ab"], &[b"a", b"b"], &[b"", b"ab"], &[b"ab", b""]];
        let mut all = seeds.map(|seed| keys(seed, &[1, 2])[0]).to_vec();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 4);
    }
}
