//! A sum that tells damaged bytes from whole ones as fast as memory gives them.
//!
//! A word that differs always changes the sum: each step is a bijection of the sum so far for a given
//! word, and of the word for a given sum. Bytes that differ in several words do so but for chance.

use std::sync::atomic::{AtomicU64, Ordering};

use weir_kernels::Cpu;

/// What a thread sums at a time.
const CHUNK: usize = 1 << 20;

/// What that costs, in multiplications: the bytes come from memory.
const EACH: usize = CHUNK / 2;

/// An odd number with bits everywhere: 2^64 divided by the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Sums that do not wait for each other.
const LANES: usize = 8;

pub(super) fn of(bytes: &[u8]) -> u64 {
    whole(bytes.len(), bytes.chunks(CHUNK).map(chunk))
}

/// The sums of several runs of bytes, on all threads.
pub(super) fn of_each(cpu: &Cpu, runs: &[&[u8]]) -> Vec<u64> {
    let chunks: Vec<&[u8]> = runs.iter().flat_map(|run| run.chunks(CHUNK)).collect();
    let sums: Vec<AtomicU64> = chunks.iter().map(|_| AtomicU64::new(0)).collect();
    cpu.share((chunks.len(), EACH), &|index| {
        sums[index].store(chunk(chunks[index]), Ordering::Relaxed);
    });
    let mut sums = sums.into_iter().map(AtomicU64::into_inner);
    runs.iter()
        .map(|run| whole(run.len(), sums.by_ref().take(run.len().div_ceil(CHUNK))))
        .collect()
}

fn whole(length: usize, chunks: impl Iterator<Item = u64>) -> u64 {
    chunks.fold(length as u64, step)
}

fn chunk(bytes: &[u8]) -> u64 {
    let mut lanes: [u64; LANES] = std::array::from_fn(|lane| lane as u64);
    let (lines, rest) = bytes.as_chunks::<{ 8 * LANES }>();
    let mut last = [0; 8 * LANES];
    last[..rest.len()].copy_from_slice(rest);
    for line in lines.iter().chain([&last]) {
        let (words, _) = line.as_chunks();
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane = step(*lane, u64::from_le_bytes(*word));
        }
    }
    lanes.into_iter().fold(bytes.len() as u64, step)
}

fn step(sum: u64, word: u64) -> u64 {
    (sum ^ word).wrapping_mul(FACTOR).rotate_left(29)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use weir_kernels::KernelClass;

    use super::*;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 31 % 251) as u8).collect()
    }

    #[test]
    fn every_single_bit_counts() {
        let whole = bytes(200);
        let sum = of(&whole);
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(of(&damaged), sum, "bit {bit}");
        }
    }

    #[test]
    fn lengths_and_places_count() {
        let zeros = [0; 130];
        let sums: Vec<u64> = (0..130).map(|length| of(&zeros[..length])).collect();
        for (index, sum) in sums.iter().enumerate() {
            assert!(!sums[..index].contains(sum), "{index} zeros");
        }
        let mut swapped = bytes(CHUNK * 2);
        let sum = of(&swapped);
        swapped.rotate_left(CHUNK);
        assert_ne!(of(&swapped), sum);
    }

    #[test]
    fn the_sums_are_the_same_for_any_number_of_threads() {
        let runs = [bytes(CHUNK * 3 + 5), Vec::new(), bytes(CHUNK), bytes(7)];
        let runs = runs.each_ref().map(Vec::as_slice);
        for threads in [1, 3] {
            let cpu = Cpu::new(KernelClass::Portable, NonZeroUsize::new(threads).unwrap());
            assert_eq!(of_each(&cpu, &runs), runs.map(of));
        }
    }
}
