//! Blocks as files have them: what each weight's code is, and what number it stands for.

use half::f16;

use super::format::{Format, GROUP};

/// The longest header: the scale and the sixteen scales of `Q6_K`.
const LONGEST_HEADER: usize = 18;

/// All of a block but the codes: its numbers in f16, then the bytes with scales.
pub(super) type Header = [u8; LONGEST_HEADER];

/// What the codes of a group stand for: (code - offset) · scale + minimum.
pub(super) struct Meaning {
    /// Of the first sixteen weights and of the others.
    scales: [f32; 2],
    offset: i32,
    minimum: f32,
}

/// Writes a row as the numbers that its blocks stand for.
///
/// # Panics
/// Where the row is not whole blocks, or the numbers have another length.
pub fn dequantise_row(format: Format, blocks: &[u8], to: &mut [f32]) {
    assert_eq!(
        blocks.len(),
        format.row_bytes(to.len()),
        "a row has one number per weight"
    );
    let numbers = to.chunks_exact_mut(format.block_weights());
    for (block, numbers) in blocks.chunks_exact(format.block_bytes()).zip(numbers) {
        let header = header(format, block);
        for (group, numbers) in numbers.chunks_exact_mut(GROUP).enumerate() {
            Meaning::of(format, &header, group).write(&codes(format, block, group), numbers);
        }
    }
}

/// Whether every weight of these blocks is a finite number.
pub fn is_finite(format: Format, blocks: &[u8]) -> bool {
    blocks.chunks_exact(format.block_bytes()).all(|block| {
        let header = header(format, block);
        (0..format.halves()).all(|index| half_at(&header, index).is_finite())
    })
}

fn half_at(header: &Header, index: usize) -> f32 {
    f16::from_le_bytes([header[2 * index], header[2 * index + 1]]).to_f32()
}

pub(super) fn header(format: Format, block: &[u8]) -> Header {
    let mut header = [0; LONGEST_HEADER];
    match format {
        // The one format that keeps it at the end, and the scales before the scale.
        Format::Q6_K => {
            header[..2].copy_from_slice(&block[208..210]);
            header[2..].copy_from_slice(&block[192..208]);
        }
        _ => {
            let length = format.header_bytes();
            header[..length].copy_from_slice(&block[..length]);
        }
    }
    header
}

/// The codes of one group of a block, none of them negative.
pub(super) fn codes(format: Format, block: &[u8], group: usize) -> [u8; GROUP] {
    let body = &block[format.header_bytes()..];
    match format {
        Format::Q4_0 | Format::Q4_1 => nibbles(body),
        Format::Q5_0 | Format::Q5_1 => {
            let fifth = u32::from_le_bytes([body[0], body[1], body[2], body[3]]);
            let low = nibbles(&body[4..]);
            std::array::from_fn(|at| low[at] | ((fifth >> at & 1) as u8) << 4)
        }
        Format::Q8_0 => std::array::from_fn(|at| body[at] ^ 0x80),
        Format::Q4_K => nibbles_of_pair(body, group),
        Format::Q5_K => {
            let low = nibbles_of_pair(&body[GROUP..], group);
            std::array::from_fn(|at| low[at] | (body[at] >> group & 1) << 4)
        }
        Format::Q6_K => {
            // Two halves of four groups each: a byte of `low` has codes of two groups, a byte of
            // `high` of all four.
            let (half, part) = (group / 4, group % 4);
            let low = &block[half * 64 + part % 2 * 32..][..GROUP];
            let high = &block[128 + half * 32..][..GROUP];
            std::array::from_fn(|at| {
                low[at] >> (part / 2 * 4) & 0x0f | (high[at] >> (2 * part) & 3) << 4
            })
        }
    }
}

/// Of 32-weight blocks: the low nibbles are the first half, the high ones the second.
fn nibbles(bytes: &[u8]) -> [u8; GROUP] {
    std::array::from_fn(|at| bytes[at % 16] >> (at / 16 * 4) & 0x0f)
}

/// Of K-blocks: the low nibbles of 32 bytes are an even group, the high ones the odd one after.
fn nibbles_of_pair(bytes: &[u8], group: usize) -> [u8; GROUP] {
    let pair = &bytes[group / 2 * GROUP..][..GROUP];
    std::array::from_fn(|at| pair[at] >> (group % 2 * 4) & 0x0f)
}

impl Meaning {
    pub(super) fn of(format: Format, header: &Header, group: usize) -> Self {
        let scale = half_at(header, 0);
        let (scales, offset, minimum) = match format {
            Format::Q4_0 => ([scale; 2], 8, 0.0),
            Format::Q5_0 => ([scale; 2], 16, 0.0),
            Format::Q8_0 => ([scale; 2], 128, 0.0),
            Format::Q4_1 | Format::Q5_1 => ([scale; 2], 0, half_at(header, 1)),
            Format::Q4_K | Format::Q5_K => {
                let (part, least) = six_bits(&header[4..16], group);
                let minimum = -half_at(header, 1) * f32::from(least);
                ([scale * f32::from(part); 2], 0, minimum)
            }
            Format::Q6_K => {
                let part = |at: usize| scale * f32::from(header[2 + 2 * group + at] as i8);
                ([part(0), part(1)], 32, 0.0)
            }
        };
        Self {
            scales,
            offset,
            minimum,
        }
    }

    pub(super) fn write(&self, codes: &[u8; GROUP], to: &mut [f32]) {
        for (at, (to, code)) in to.iter_mut().zip(codes).enumerate() {
            let scale = self.scales[at / 16];
            *to = (i32::from(*code) - self.offset) as f32 * scale + self.minimum;
        }
    }
}

/// Scale and minimum of one of eight groups, six bits each, as K-blocks hide them in 12 bytes.
fn six_bits(bytes: &[u8], group: usize) -> (u8, u8) {
    if group < 4 {
        return (bytes[group] & 63, bytes[group + 4] & 63);
    }
    let low = bytes[group + 4];
    (
        low & 0x0f | (bytes[group - 4] >> 6) << 4,
        low >> 4 | (bytes[group] >> 6) << 4,
    )
}
