//! Weights that follow from a seed and a name, the same bits as `fixtures/tiny.py` draws.

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |value, byte| {
        (value ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// A number in [-1, 1) with 24 bits: splitmix64 at a counter.
fn uniform(start: u64, index: u64) -> f32 {
    let mut z = start.wrapping_add((index + 1).wrapping_mul(GOLDEN));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    ((z >> 40) as i64 - (1 << 23)) as f32 / (1 << 23) as f32
}

/// Unit embeddings, matrices that raise the scale a little, norms around one.
pub(super) fn values(seed: u64, name: &str, shape: &[usize], plus_one: bool) -> Vec<f32> {
    let start = fnv(name).wrapping_add(seed.wrapping_mul(GOLDEN));
    let (scale, offset) = if name.contains("norm") {
        (0.25, if plus_one { 0.0 } else { 1.0 })
    } else if name.ends_with("bias") {
        (0.5, 0.0)
    } else if name.contains("embed") {
        (1.0, 0.0)
    } else {
        let gain = if name.contains("lm_head") { 4.0 } else { 2.5 };
        let columns = shape.last().copied().unwrap_or(1);
        ((gain / (columns as f64).sqrt()) as f32, 0.0)
    };
    (0..shape.iter().product::<usize>() as u64)
        .map(|index| uniform(start, index) * scale + offset)
        .collect()
}
