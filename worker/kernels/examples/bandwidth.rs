//! How much of the memory's read bandwidth products with packed weights reach, and how many
//! operations a second they do on many rows.
//!
//! `cargo run --release -p weir-kernels --example bandwidth`, then, if wanted, names of formats.
#![allow(
    clippy::print_stdout,
    reason = "a report on the terminal is what this is for"
)]

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use weir_kernels::packed::{
    AlignedBytes, Format, Packed, PackedShape, QuantizedRows, matmul_packed, pack,
};
use weir_kernels::{Cpu, KernelClass, available_threads};

/// A layer of a model of a billion weights: outputs and columns.
const LAYER: [(usize, usize); 4] = [(3072, 2048), (2048, 2048), (16384, 2048), (2048, 8192)];
/// Layers in turn, so that no weight is in a cache when its turn comes.
const LAYERS: usize = 10;
const PREFILL_ROWS: usize = 512;
/// Rows of a small batch, which should still stream.
const BATCH: usize = 8;
const ROUNDS: usize = 25;

fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    let threads = available_threads();
    let cpu = Cpu::new(KernelClass::detect(), threads);
    println!("{} on {threads} threads", cpu.class());
    println!(
        "format  MB  pack s  read GB/s  1 row GB/s  {BATCH} rows GB/s  {PREFILL_ROWS} rows GFLOP/s"
    );
    for format in Format::ALL {
        if !chosen.is_empty() && chosen.iter().all(|name| name != format.name()) {
            continue;
        }
        let start = Instant::now();
        let layers: Vec<Weight> = (0..LAYERS)
            .flat_map(|index| layer(&cpu, format, index))
            .collect();
        let packing = start.elapsed().as_secs_f64();
        let bytes: usize = layers.iter().map(|weight| weight.bytes.len()).sum();
        let [read, one_row, batch] = streams(&cpu, &layers, threads.get());
        let prefill = prefill(&cpu, &layers[..LAYER.len()]);
        let rate = |seconds: f64| bytes as f64 / seconds / 1e9;
        let share = |seconds: f64| 100.0 * read / seconds;
        println!(
            "{format} {:6.0} {packing:6.2} {:9.1} {:6.1} {:3.0}% {:8.1} {:3.0}% {prefill:12.0}",
            bytes as f64 / 1e6,
            rate(read),
            rate(one_row),
            share(one_row),
            rate(batch),
            share(batch),
        );
    }
}

struct Weight {
    shape: PackedShape,
    bytes: AlignedBytes,
}

impl Weight {
    fn packed(&self) -> Packed<'_> {
        Packed::new(self.shape, &self.bytes)
    }
}

/// No two layers alike: a host may keep pages of the same bytes once, and a cache may hold that.
fn layer(cpu: &Cpu, format: Format, index: usize) -> Vec<Weight> {
    LAYER
        .into_iter()
        .map(|(rows, columns)| {
            let shape = PackedShape::new(format, rows, columns);
            let mut bytes = AlignedBytes::zeros(shape.bytes()).expect("there is memory");
            let fill = |row: usize, blocks: &mut [u8]| noise(index * 0x1_0000 + row, blocks);
            pack(cpu, shape, fill, &mut bytes);
            Weight { shape, bytes }
        })
        .collect()
}

/// Bytes from 0 to 63, which make no scale that is not a number.
fn noise(seed: usize, bytes: &mut [u8]) {
    let mut state = (seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for bytes in bytes.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        for (to, byte) in bytes.iter_mut().zip(state.to_le_bytes()) {
            *to = byte & 0x3f;
        }
    }
}

/// The shortest times, in seconds, that reading every weight takes, multiplying one row with every
/// weight, and a small batch. All in turn over the same memory, because it differs by the minute.
fn streams(cpu: &Cpu, layers: &[Weight], threads: usize) -> [f64; 3] {
    let input: Vec<f32> = (0..BATCH * 8192)
        .map(|at| (at % 97) as f32 - 48.0)
        .collect();
    let mut output = vec![0.0; BATCH * 16384];
    let mut rows = QuantizedRows::new();
    let mut shortest = vec![[f64::INFINITY; 3]; layers.len()];
    for _ in 0..ROUNDS {
        // Between the rounds of reading, the products need the processors.
        let turn = Turn::default();
        std::thread::scope(|scope| {
            for index in 1..threads {
                let turn = &turn;
                scope.spawn(move || turn.follow(layers, (index, threads)));
            }
            for (index, shortest) in shortest.iter_mut().enumerate() {
                let once = seconds(|| turn.read(layers, index, threads));
                shortest[0] = once.min(shortest[0]);
            }
            turn.end();
        });
        for (kind, count) in [(1, 1), (2, BATCH)] {
            for (weight, shortest) in layers.iter().zip(&mut shortest) {
                let (outputs, columns) = (weight.shape.rows(), weight.shape.columns());
                let once = seconds(|| {
                    rows.set(cpu, &input[..count * columns], columns);
                    let output = &mut output[..count * outputs];
                    matmul_packed(cpu, &rows, weight.packed(), output);
                });
                shortest[kind] = once.min(shortest[kind]);
            }
        }
    }
    [0, 1, 2].map(|kind| shortest.iter().map(|shortest| shortest[kind]).sum())
}

/// Threads that read their parts of one weight at a time.
#[derive(Default)]
struct Turn {
    /// One more than the index of the weight to read.
    asked: AtomicUsize,
    done: AtomicUsize,
}

impl Turn {
    const END: usize = usize::MAX;

    fn read(&self, layers: &[Weight], index: usize, threads: usize) {
        self.done.store(1, Ordering::Relaxed);
        self.asked.store(index + 1, Ordering::Release);
        black_box(sum(part(&layers[index].bytes, (0, threads))));
        while self.done.load(Ordering::Acquire) < threads {
            std::hint::spin_loop();
        }
    }

    fn follow(&self, layers: &[Weight], part_of: (usize, usize)) {
        let mut seen = 0;
        loop {
            let asked = self.asked.load(Ordering::Acquire);
            if asked == Self::END {
                return;
            }
            if asked == seen {
                std::hint::spin_loop();
                continue;
            }
            seen = asked;
            let weight = &layers[asked - 1];
            black_box(sum(part(&weight.bytes, part_of)));
            self.done.fetch_add(1, Ordering::Release);
        }
    }

    fn end(&self) {
        self.asked.store(Self::END, Ordering::Release);
    }
}

fn part(bytes: &[u8], (index, parts): (usize, usize)) -> &[u8] {
    let length = bytes.len() / parts;
    &bytes[index * length..][..length]
}

/// By lines, eight at a time, so that nothing but memory is waited for.
fn sum(bytes: &[u8]) -> u64 {
    let mut sums = [0u64; 64];
    for lines in bytes.as_chunks::<8>().0.as_chunks::<64>().0 {
        for (sum, number) in sums.iter_mut().zip(lines) {
            *sum = sum.wrapping_add(u64::from_ne_bytes(*number));
        }
    }
    sums.iter().fold(0, |so_far, sum| so_far.wrapping_add(*sum))
}

/// GFLOP/s of many rows through one layer.
fn prefill(cpu: &Cpu, layer: &[Weight]) -> f64 {
    let mut rows = QuantizedRows::new();
    let mut output = vec![0.0; PREFILL_ROWS * 16384];
    let input: Vec<f32> = (0..PREFILL_ROWS * 8192)
        .map(|at| (at % 97) as f32 - 48.0)
        .collect();
    let (mut operations, mut shortest) = (0, 0.0);
    for weight in layer {
        let (outputs, columns) = (weight.shape.rows(), weight.shape.columns());
        operations += 2 * outputs * columns * PREFILL_ROWS;
        let times = (0..ROUNDS).map(|_| {
            seconds(|| {
                rows.set(cpu, &input[..PREFILL_ROWS * columns], columns);
                let output = &mut output[..PREFILL_ROWS * outputs];
                matmul_packed(cpu, &rows, weight.packed(), output);
            })
        });
        shortest += times.fold(f64::INFINITY, f64::min);
    }
    operations as f64 / shortest / 1e9
}

fn seconds(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_secs_f64()
}
