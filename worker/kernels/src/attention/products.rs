//! A run of keys and values against several heads of queries: each is read once for all of them.

use super::RUN;
use crate::simd::{Element, LANES, Simd, padded};

/// The most heads of queries that are computed together; their sums stay in registers.
pub(super) const HEADS: usize = 4;

/// Keys whose products are in flight at once.
const KEYS: usize = 4;

/// The products of each head of `queries` with the keys of a part of a run that begins at `first`.
#[inline(always)]
pub(super) fn products<S: Simd, T: Element, const H: usize>(
    simd: S,
    queries: &[f32],
    (keys, first): (&[T], usize),
) -> [[f32; RUN]; H] {
    let dim = queries.len() / H;
    let queries: [&[f32]; H] = std::array::from_fn(|h| &queries[h * dim..][..dim]);
    let mut products = [[0.0; RUN]; H];
    let mut at = first;
    let mut fours = keys.chunks_exact(KEYS * dim);
    for keys in &mut fours {
        let keys = std::array::from_fn(|k| &keys[k * dim..][..dim]);
        let sums = dots::<S, T, H, KEYS>(simd, queries, keys);
        for (products, sums) in products.iter_mut().zip(sums) {
            products[at..at + KEYS].copy_from_slice(&simd.sums(sums));
        }
        at += KEYS;
    }
    for key in fours.remainder().chunks_exact(dim) {
        let sums = dots::<S, T, H, 1>(simd, queries, [key]);
        for (products, [sum]) in products.iter_mut().zip(sums) {
            products[at] = simd.sum(sum);
        }
        at += 1;
    }
    products
}

#[inline(always)]
fn dots<S: Simd, T: Element, const H: usize, const K: usize>(
    simd: S,
    queries: [&[f32]; H],
    keys: [&[T]; K],
) -> [[S::Vector; K]; H] {
    let dim = queries[0].len();
    let mut sums = [[simd.splat(0.0); K]; H];
    let mut lanes = [simd.splat(0.0); K];
    for step in 0..dim / LANES {
        for k in 0..K {
            lanes[k] = T::load(simd, &keys[k].as_chunks().0[step]);
        }
        for h in 0..H {
            let query = simd.load(&queries[h].as_chunks().0[step]);
            for k in 0..K {
                sums[h][k] = simd.fma(query, lanes[k], sums[h][k]);
            }
        }
    }
    let tail = dim / LANES * LANES;
    if tail < dim {
        for k in 0..K {
            lanes[k] = T::load(simd, &padded(&keys[k][tail..]));
        }
        for h in 0..H {
            let query = simd.load(&padded(&queries[h][tail..]));
            for k in 0..K {
                sums[h][k] = simd.fma(query, lanes[k], sums[h][k]);
            }
        }
    }
    sums
}

/// `output = output · shrink + Σ weights[j] · values[j]` for each head, in order of j.
#[inline(always)]
pub(super) fn accumulate<S: Simd, T: Element, const H: usize>(
    simd: S,
    (weights, shrinks): ([&[f32]; H], [f32; H]),
    values: &[T],
    output: &mut [f32],
) {
    let dim = output.len() / H;
    let weights = weights.map(|of_head| &of_head[..weights[0].len()]);
    for start in (0..dim).step_by(LANES) {
        let width = LANES.min(dim - start);
        let mut sums = [simd.splat(0.0); H];
        for h in 0..H {
            let so_far = load(simd, &output[h * dim + start..][..width]);
            sums[h] = simd.mul(so_far, simd.splat(shrinks[h]));
        }
        for (j, value) in values.chunks_exact(dim).enumerate() {
            let value = load(simd, &value[start..][..width]);
            for h in 0..H {
                sums[h] = simd.fma(simd.splat(weights[h][j]), value, sums[h]);
            }
        }
        for (h, sum) in sums.into_iter().enumerate() {
            store(simd, sum, &mut output[h * dim + start..][..width]);
        }
    }
}

/// `to = row · scale`
#[inline(always)]
pub(super) fn widen<S: Simd, T: Element>(simd: S, row: &[T], scale: S::Vector, to: &mut [f32]) {
    for (row, to) in row.chunks(LANES).zip(to.chunks_mut(LANES)) {
        store(simd, simd.mul(load(simd, row), scale), to);
    }
}

/// Sixteen elements, or the last of a row.
#[inline(always)]
fn load<S: Simd, T: Element>(simd: S, from: &[T]) -> S::Vector {
    match from.first_chunk() {
        Some(lanes) => T::load(simd, lanes),
        None => T::load(simd, &padded(from)),
    }
}

#[inline(always)]
fn store<S: Simd>(simd: S, vector: S::Vector, to: &mut [f32]) {
    match to.first_chunk_mut() {
        Some(lanes) => simd.store(vector, lanes),
        None => {
            let mut lanes = [0.0; LANES];
            simd.store(vector, &mut lanes);
            to.copy_from_slice(&lanes[..to.len()]);
        }
    }
}
