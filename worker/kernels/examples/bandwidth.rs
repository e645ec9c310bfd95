//! How much of the memory's read bandwidth products with packed weights reach, and how many
//! operations a second they do on many rows.
//!
//! `cargo run --release -p weir-kernels --example bandwidth`, then, if wanted, names of formats.
#![allow(
    clippy::print_stdout,
    reason = "a report on the terminal is what this is for"
)]

use std::hint::black_box;
use std::time::Instant;

use weir_kernels::packed::{
    AlignedBytes, Format, Packed, PackedShape, QuantizedRows, matmul_packed, matmul_packed_many,
    pack,
};
use weir_kernels::{Cpu, KernelClass, available_threads};

/// Far above any cache, for each thread.
const READ_BYTES: usize = 512 << 20;
/// A layer of a model of a billion weights: outputs and columns.
const LAYER: [(usize, usize); 4] = [(3072, 2048), (2048, 2048), (16384, 2048), (2048, 8192)];
/// Layers in turn, so that no weight is in a cache when its turn comes.
const LAYERS: usize = 8;
const PREFILL_ROWS: usize = 512;
const ROUNDS: usize = 7;

fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    let threads = available_threads();
    let cpu = Cpu::new(KernelClass::detect(), threads);
    let bandwidth = read_bandwidth(threads.get());
    println!(
        "{} on {threads} threads: {bandwidth:.1} GB/s read",
        cpu.class()
    );
    println!("format  layers MB  one row GB/s  share  {PREFILL_ROWS} rows GFLOP/s");
    for format in Format::ALL {
        if !chosen.is_empty() && chosen.iter().all(|name| name != format.name()) {
            continue;
        }
        let layers: Vec<Vec<Weight>> = (0..LAYERS).map(|_| layer(&cpu, format)).collect();
        let bytes: usize = layers
            .iter()
            .flatten()
            .map(|weight| weight.bytes.len())
            .sum();
        // Memory differs by the minute: measured again beside what is compared with it.
        let bandwidth = read_bandwidth(threads.get());
        let decode = bytes as f64 / best(|| decode(&cpu, &layers)) / 1e9;
        let operations: usize = LAYER.iter().map(|(rows, columns)| 2 * rows * columns).sum();
        let prefill = best(|| prefill(&cpu, &layers[0]));
        println!(
            "{format}    {:8.0}  {decode:12.1}  {:4.0}%  {:14.0}",
            bytes as f64 / 1e6,
            100.0 * decode / bandwidth,
            (operations * PREFILL_ROWS) as f64 / prefill / 1e9,
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

fn layer(cpu: &Cpu, format: Format) -> Vec<Weight> {
    LAYER
        .into_iter()
        .map(|(rows, columns)| {
            let shape = PackedShape::new(format, rows, columns);
            let mut bytes = AlignedBytes::zeros(shape.bytes()).expect("there is memory");
            let fill = |row: usize, blocks: &mut [u8]| blocks.fill(row as u8 & 0x3f);
            pack(cpu, shape, fill, &mut bytes);
            Weight { shape, bytes }
        })
        .collect()
}

/// One row through every layer.
fn decode(cpu: &Cpu, layers: &[Vec<Weight>]) {
    let mut output = vec![0.0; 16384];
    let mut rows = QuantizedRows::new();
    let input: Vec<f32> = (0..8192).map(|at| (at % 97) as f32 - 48.0).collect();
    for weight in layers.iter().flatten() {
        let (outputs, columns) = (weight.shape.rows(), weight.shape.columns());
        rows.set(cpu, &input[..columns], columns);
        matmul_packed(cpu, &rows, weight.packed(), &mut output[..outputs]);
    }
    black_box(&output);
}

/// Many rows through one layer.
fn prefill(cpu: &Cpu, layer: &[Weight]) {
    let mut rows = QuantizedRows::new();
    let input: Vec<f32> = (0..PREFILL_ROWS * 8192)
        .map(|at| (at % 97) as f32 - 48.0)
        .collect();
    let mut output = vec![0.0; PREFILL_ROWS * 16384];
    for weight in layer {
        let (outputs, columns) = (weight.shape.rows(), weight.shape.columns());
        rows.set(cpu, &input[..PREFILL_ROWS * columns], columns);
        let output = &mut output[..PREFILL_ROWS * outputs];
        matmul_packed_many(cpu, &rows, &mut [(weight.packed(), output)]);
    }
    black_box(&output);
}

/// The shortest of several times, in seconds, after one that warms up.
fn best(mut run: impl FnMut()) -> f64 {
    run();
    let times = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    times.fold(f64::INFINITY, f64::min)
}

/// GB/s of all threads, each of which adds up memory of its own.
fn read_bandwidth(threads: usize) -> f64 {
    let buffers: Vec<Vec<u64>> = (0..threads)
        .map(|at| vec![at as u64; READ_BYTES / 8])
        .collect();
    let seconds = best(|| {
        std::thread::scope(|scope| {
            for buffer in &buffers {
                scope.spawn(|| black_box(sum(buffer)));
            }
        });
    });
    (threads * READ_BYTES) as f64 / seconds / 1e9
}

/// By lines, four at a time, so that nothing but memory is waited for.
fn sum(numbers: &[u64]) -> u64 {
    let mut sums = [0u64; 32];
    for lines in numbers.as_chunks::<32>().0 {
        for (sum, number) in sums.iter_mut().zip(lines) {
            *sum = sum.wrapping_add(*number);
        }
    }
    sums.iter().fold(0, |so_far, sum| so_far.wrapping_add(*sum))
}
