//! From a panel back to the numbers of one row.

use super::Packed;
use super::block::{Header, Meaning};
use super::format::{Format, GROUP};
use super::panel::Panel;
use crate::simd::LANES;
use crate::simd::dot::Line;

impl Packed<'_> {
    /// Writes one row as the numbers that its blocks stand for, to the bit.
    ///
    /// # Panics
    /// Where there is no such row, or `to` has another length.
    pub fn copy_row(&self, row: usize, to: &mut [f32]) {
        assert!(
            row < self.rows() && to.len() == self.columns(),
            "a row has one number per column"
        );
        let format = self.format();
        let panel = Panel::of(&self.shape, self.bytes, row / LANES);
        let lane = row % LANES;
        let heads = panel.heads.chunks_exact(format.head_bytes());
        let mut lines = panel.lines.chunks_exact(format.lines());
        for (head, numbers) in heads.zip(to.chunks_exact_mut(format.block_weights())) {
            let header = header_at(format, lane, head);
            let groups = numbers.chunks_exact_mut(GROUP).enumerate();
            for ((group, numbers), lines) in groups.zip(&mut lines) {
                Meaning::of(format, &header, group).write(&codes_at(lane, lines), numbers);
            }
        }
    }
}

fn header_at(format: Format, lane: usize, head: &[u8]) -> Header {
    let mut header = Header::default();
    let (to_halves, to_bytes) = header[..format.header_bytes()].split_at_mut(2 * format.halves());
    let (halves, bytes) = head.split_at(2 * format.halves() * LANES);
    for (to, half) in to_halves
        .chunks_exact_mut(2)
        .zip(halves.chunks_exact(2 * LANES))
    {
        to.copy_from_slice(&half[2 * lane..][..2]);
    }
    for (to, bytes) in to_bytes.iter_mut().zip(bytes.chunks_exact(LANES)) {
        *to = bytes[lane];
    }
    header
}

fn codes_at(lane: usize, lines: &[Line]) -> [u8; GROUP] {
    std::array::from_fn(|at| {
        let (quad, byte) = (at / 4, 4 * lane + at % 4);
        if lines.len() == 8 {
            return lines[quad][byte];
        }
        let (high, nibbles) = lines.split_at(lines.len() - 4);
        let low = nibbles[quad % 4][byte] >> (quad / 4 * 4) & 0x0f;
        let width = high.len();
        if width == 0 {
            return low;
        }
        let quads = 8 / width;
        let bits = high[quad / quads][byte] >> (width * (quad % quads));
        low | (bits & ((1 << width) - 1)) << 4
    })
}
