//! From blocks, row by row, to panels.

use super::block::{Header, codes, header};
use super::format::{Format, GROUP};
use super::panel::{PackedShape, PanelMut};
use crate::Cpu;
use crate::simd::LANES;
use crate::simd::dot::Line;

/// What packing one weight costs, in multiplications.
const EACH: usize = 8;

/// Packs a weight whose rows of blocks `row` writes: called once for each row, by several threads
/// at a time, with its index and where to. Beyond `to`, memory is taken for sixteen rows a thread.
///
/// # Panics
/// Where `to` is not as long as the shape takes.
pub fn pack(cpu: &Cpu, shape: PackedShape, row: impl Fn(usize, &mut [u8]) + Sync, to: &mut [u8]) {
    assert_eq!(to.len(), shape.bytes(), "a packed weight is whole");
    if to.is_empty() {
        return;
    }
    let format = shape.format();
    let each = LANES * shape.columns() * EACH;
    cpu.pool()
        .run_chunks(to, (shape.panel_bytes(), each), |index, panel| {
            panel.fill(0);
            let mut panel = PanelMut::of(&shape, panel);
            let mut blocks = vec![0; format.row_bytes(shape.columns())];
            let rows = LANES.min(shape.rows() - index * LANES);
            for lane in 0..rows {
                row(index * LANES + lane, &mut blocks);
                panel.put(format, lane, &blocks);
            }
        });
}

impl PanelMut<'_> {
    /// Puts one row into its lane, which is zero.
    fn put(&mut self, format: Format, lane: usize, blocks: &[u8]) {
        let heads = self.heads.chunks_exact_mut(format.head_bytes());
        let groups = format.block_weights() / GROUP;
        let lines = self.lines.chunks_exact_mut(groups * format.lines());
        let blocks = blocks.chunks_exact(format.block_bytes());
        for ((block, head), lines) in blocks.zip(heads).zip(lines) {
            put_header(format, &header(format, block), (lane, head));
            for (group, lines) in lines.chunks_exact_mut(format.lines()).enumerate() {
                put_codes(&codes(format, block, group), (lane, lines));
            }
        }
    }
}

fn put_header(format: Format, header: &Header, (lane, head): (usize, &mut [u8])) {
    let (halves, bytes) = header[..format.header_bytes()].split_at(2 * format.halves());
    let (to_halves, to_bytes) = head.split_at_mut(2 * format.halves() * LANES);
    for (half, to) in halves
        .chunks_exact(2)
        .zip(to_halves.chunks_exact_mut(2 * LANES))
    {
        to[2 * lane..][..2].copy_from_slice(half);
    }
    for (byte, to) in bytes.iter().zip(to_bytes.chunks_exact_mut(LANES)) {
        to[lane] = *byte;
    }
}

fn put_codes(codes: &[u8; GROUP], (lane, lines): (usize, &mut [Line])) {
    let (quads, _) = codes.as_chunks::<4>();
    if lines.len() == quads.len() {
        for (quad, line) in quads.iter().zip(lines) {
            line[4 * lane..][..4].copy_from_slice(quad);
        }
        return;
    }
    let (high, nibbles) = lines.split_at_mut(lines.len() - quads.len() / 2);
    let (first, second) = quads.split_at(quads.len() / 2);
    for ((low, high), line) in first.iter().zip(second).zip(nibbles) {
        for ((low, high), to) in low.iter().zip(high).zip(&mut line[4 * lane..][..4]) {
            *to = low & 0x0f | (high & 0x0f) << 4;
        }
    }
    put_high_bits(quads, (lane, high));
}

/// The bits above the nibble: one of each quad in one line, or two of each in two.
fn put_high_bits(quads: &[[u8; 4]], (lane, lines): (usize, &mut [Line])) {
    let width = lines.len();
    for (line, quads) in lines.iter_mut().zip(quads.chunks(8 / width.max(1))) {
        for (at, quad) in quads.iter().enumerate() {
            for (code, to) in quad.iter().zip(&mut line[4 * lane..][..4]) {
                *to |= code >> 4 << (width * at);
            }
        }
    }
}
