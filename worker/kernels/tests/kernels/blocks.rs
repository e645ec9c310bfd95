//! Random blocks of each format, and what they stand for, spelled out one format at a time as the
//! format's authors do.

use half::f16;
use weir_kernels::packed::Format;

/// Where a block keeps its numbers in f16.
fn halves(format: Format) -> &'static [usize] {
    match format {
        Format::Q4_0 | Format::Q5_0 | Format::Q8_0 => &[0],
        Format::Q4_1 | Format::Q5_1 | Format::Q4_K | Format::Q5_K => &[0, 2],
        Format::Q6_K => &[208],
    }
}

/// Seeded rows of blocks: any bits, but for scales of a sensible size and either sign.
pub fn blocks(seed: u32, format: Format, rows: usize, columns: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32.wrapping_mul(seed + 1) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state >> 8
    };
    let mut blocks: Vec<u8> = (0..rows * format.row_bytes(columns))
        .map(|_| next() as u8)
        .collect();
    for block in blocks.chunks_exact_mut(format.block_bytes()) {
        for at in halves(format) {
            let number = (next() as f32 / (1 << 23) as f32 - 1.0) / 16.0;
            block[*at..at + 2].copy_from_slice(&f16::from_f32(number).to_le_bytes());
        }
    }
    blocks
}

/// The numbers that rows of blocks stand for.
pub fn numbers_of(format: Format, blocks: &[u8]) -> Vec<f32> {
    let of_block = match format {
        Format::Q4_0 => q4_0,
        Format::Q4_1 => q4_1,
        Format::Q5_0 => q5_0,
        Format::Q5_1 => q5_1,
        Format::Q8_0 => q8_0,
        Format::Q4_K => q4_k,
        Format::Q5_K => q5_k,
        Format::Q6_K => q6_k,
    };
    let blocks = blocks.chunks_exact(format.block_bytes());
    blocks.flat_map(of_block).collect()
}

fn half(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn q4_0(block: &[u8]) -> Vec<f32> {
    let (d, qs) = (half(block, 0), &block[2..18]);
    let mut y = vec![0.0; 32];
    for j in 0..16 {
        y[j] = (i32::from(qs[j] & 0x0f) - 8) as f32 * d;
        y[j + 16] = (i32::from(qs[j] >> 4) - 8) as f32 * d;
    }
    y
}

fn q4_1(block: &[u8]) -> Vec<f32> {
    let (d, m, qs) = (half(block, 0), half(block, 2), &block[4..20]);
    let mut y = vec![0.0; 32];
    for j in 0..16 {
        y[j] = f32::from(qs[j] & 0x0f) * d + m;
        y[j + 16] = f32::from(qs[j] >> 4) * d + m;
    }
    y
}

fn q5_0(block: &[u8]) -> Vec<f32> {
    let (d, qs) = (half(block, 0), &block[6..22]);
    let qh = u32::from_le_bytes(block[2..6].try_into().unwrap());
    let mut y = vec![0.0; 32];
    for j in 0..16 {
        let high_0 = ((qh >> j) << 4) as u8 & 0x10;
        let high_1 = (qh >> (j + 12)) as u8 & 0x10;
        y[j] = (i32::from(qs[j] & 0x0f | high_0) - 16) as f32 * d;
        y[j + 16] = (i32::from(qs[j] >> 4 | high_1) - 16) as f32 * d;
    }
    y
}

fn q5_1(block: &[u8]) -> Vec<f32> {
    let (d, m, qs) = (half(block, 0), half(block, 2), &block[8..24]);
    let qh = u32::from_le_bytes(block[4..8].try_into().unwrap());
    let mut y = vec![0.0; 32];
    for j in 0..16 {
        let high_0 = ((qh >> j) << 4) as u8 & 0x10;
        let high_1 = (qh >> (j + 12)) as u8 & 0x10;
        y[j] = f32::from(qs[j] & 0x0f | high_0) * d + m;
        y[j + 16] = f32::from(qs[j] >> 4 | high_1) * d + m;
    }
    y
}

fn q8_0(block: &[u8]) -> Vec<f32> {
    let d = half(block, 0);
    let qs = block[2..34].iter();
    qs.map(|q| f32::from(*q as i8) * d).collect()
}

fn scale_and_minimum(j: usize, q: &[u8]) -> (f32, f32) {
    let (scale, minimum) = if j < 4 {
        (q[j] & 63, q[j + 4] & 63)
    } else {
        (
            (q[j + 4] & 0x0f) | ((q[j - 4] >> 6) << 4),
            (q[j + 4] >> 4) | ((q[j] >> 6) << 4),
        )
    };
    (f32::from(scale), f32::from(minimum))
}

fn q4_k(block: &[u8]) -> Vec<f32> {
    let (d, least, scales) = (half(block, 0), half(block, 2), &block[4..16]);
    let mut y = Vec::new();
    for (pair, q) in block[16..144].chunks_exact(32).enumerate() {
        let (scale, minimum) = scale_and_minimum(2 * pair, scales);
        let (d1, m1) = (d * scale, least * minimum);
        let (scale, minimum) = scale_and_minimum(2 * pair + 1, scales);
        let (d2, m2) = (d * scale, least * minimum);
        y.extend(q.iter().map(|q| d1 * f32::from(q & 0x0f) - m1));
        y.extend(q.iter().map(|q| d2 * f32::from(q >> 4) - m2));
    }
    y
}

fn q5_k(block: &[u8]) -> Vec<f32> {
    let (d, least, scales) = (half(block, 0), half(block, 2), &block[4..16]);
    let high = &block[16..48];
    let (mut u1, mut u2) = (1, 2);
    let mut y = Vec::new();
    for (pair, low) in block[48..176].chunks_exact(32).enumerate() {
        let (scale, minimum) = scale_and_minimum(2 * pair, scales);
        let (d1, m1) = (d * scale, least * minimum);
        let (scale, minimum) = scale_and_minimum(2 * pair + 1, scales);
        let (d2, m2) = (d * scale, least * minimum);
        for (l, h) in low.iter().zip(high) {
            let q = (l & 0x0f) + if h & u1 != 0 { 16 } else { 0 };
            y.push(d1 * f32::from(q) - m1);
        }
        for (l, h) in low.iter().zip(high) {
            let q = (l >> 4) + if h & u2 != 0 { 16 } else { 0 };
            y.push(d2 * f32::from(q) - m2);
        }
        (u1, u2) = (u1 << 2, u2 << 2);
    }
    y
}

fn q6_k(block: &[u8]) -> Vec<f32> {
    let d = half(block, 208);
    let mut y = vec![0.0; 256];
    for n in 0..2 {
        let (low, high) = (&block[n * 64..][..64], &block[128 + n * 32..][..32]);
        let scales = &block[192 + n * 8..][..8];
        for l in 0..32 {
            let q = [
                (low[l] & 0x0f) | ((high[l] & 3) << 4),
                (low[l + 32] & 0x0f) | (((high[l] >> 2) & 3) << 4),
                (low[l] >> 4) | (((high[l] >> 4) & 3) << 4),
                (low[l + 32] >> 4) | (((high[l] >> 6) & 3) << 4),
            ];
            for (part, q) in q.into_iter().enumerate() {
                let scale = f32::from(scales[l / 16 + 2 * part] as i8);
                y[n * 128 + part * 32 + l] = d * scale * (i32::from(q) - 32) as f32;
            }
        }
    }
    y
}
