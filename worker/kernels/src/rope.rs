//! Rotary position embedding, halves against each other (as GPT-NeoX and Hugging Face do).

use crate::Cpu;

/// Rotates every head of every row in place: dimension i against i + `head_dim` / 2, by the angle
/// whose cosine and sine are `cosines[row][i]` and `sines[row][i]`.
///
/// # Panics
/// Where the lengths do not fit together.
pub fn rotate_halves(cpu: &Cpu, rows: &mut [f32], head_dim: usize, angles: (&[f32], &[f32])) {
    rotate_first_halves(cpu, rows, (head_dim, head_dim), angles);
}

/// Rotates the first `rotary_dim` dimensions of every head in place, as [`rotate_halves`] rotates
/// all of them; the others stay as they are.
///
/// # Panics
/// Where the lengths do not fit together.
pub fn rotate_first_halves(
    cpu: &Cpu,
    rows: &mut [f32],
    (head_dim, rotary_dim): (usize, usize),
    (cosines, sines): (&[f32], &[f32]),
) {
    assert!(
        rotary_dim <= head_dim && rotary_dim.is_multiple_of(2),
        "two halves of a head, or of its first dimensions"
    );
    let half = rotary_dim / 2;
    let count = cosines.len().checked_div(half).unwrap_or(0);
    if count == 0 {
        return;
    }
    assert!(
        cosines.len() == sines.len() && cosines.len() == count * half,
        "an angle has a cosine and a sine, a row has an angle for each pair"
    );
    assert!(
        rows.len().is_multiple_of(count * head_dim),
        "rows are whole heads, one row per angle"
    );
    let width = rows.len() / count;
    cpu.pool()
        .run_chunks(rows, (width, 2 * width), |row, heads| {
            let cosines = &cosines[row * half..][..half];
            let sines = &sines[row * half..][..half];
            for head in heads.chunks_exact_mut(head_dim) {
                let (low, high) = head[..rotary_dim].split_at_mut(half);
                for (((low, high), cosine), sine) in
                    low.iter_mut().zip(high).zip(cosines).zip(sines)
                {
                    (*low, *high) = (*low * cosine - *high * sine, *high * cosine + *low * sine);
                }
            }
        });
}
