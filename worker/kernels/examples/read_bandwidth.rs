//! How fast two threads, or as many as are asked for, read memory: what `bench/` holds every engine
//! against. Prints `{"read": GB per second}`.
//!
//! `cargo run --release -p weir-kernels --example read_bandwidth -- THREADS`
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "its output is what it is for, and a report that fails has failed"
)]

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

/// More than any cache holds, for each thread.
const BYTES: usize = 512 << 20;

/// The best of so many: whoever shares the machine slows some of them down.
const ROUNDS: usize = 12;

fn main() {
    let threads = std::env::args()
        .nth(1)
        .map_or(2, |text| text.parse().unwrap());
    let barrier = Barrier::new(threads);
    let times: Vec<Vec<f64>> = std::thread::scope(|scope| {
        let barrier = &barrier;
        let readers: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || rounds(thread, barrier)))
            .collect();
        readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .collect()
    });
    // A round has taken as long as its slowest thread.
    let slowest = |round: usize| times.iter().map(|times| times[round]).fold(0.0, f64::max);
    let best = (0..ROUNDS).map(slowest).fold(f64::INFINITY, f64::min);
    let read = (threads * BYTES) as f64 / best / 1e9;
    println!("{{\"read\": {read:.2}}}");
}

fn rounds(thread: usize, barrier: &Barrier) -> Vec<f64> {
    // No two pages alike: a host may keep those of the same bytes once.
    let numbers: Vec<u64> = (0..BYTES as u64 / 8)
        .map(|at| (at + thread as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .collect();
    let once = |_| {
        barrier.wait();
        let began = Instant::now();
        black_box(sum(&numbers));
        began.elapsed().as_secs_f64()
    };
    (0..ROUNDS).map(once).collect()
}

/// By lines, eight at a time, so that nothing but memory is waited for.
fn sum(numbers: &[u64]) -> u64 {
    let mut sums = [0u64; 64];
    for lines in numbers.as_chunks::<64>().0 {
        for (sum, number) in sums.iter_mut().zip(lines) {
            *sum = sum.wrapping_add(*number);
        }
    }
    sums.iter().fold(0, |so_far, sum| so_far.wrapping_add(*sum))
}
