//! What was packed before is read again only where the bytes would be the same.

use std::num::NonZeroUsize;

use weir_kernels::packed::{Format, PACK_VERSION, PackedShape, pack, quantise_row};
use weir_kernels::{Cpu, KernelClass};

use crate::blocks::blocks;
use crate::numbers::{classes, numbers};

/// FNV-1a, whose author spells it out in two lines.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Seeded weights, as they are packed and as they are rounded.
fn written(class: KernelClass) -> u64 {
    let (rows, columns) = (21, 512);
    let cpu = Cpu::new(class, NonZeroUsize::MIN);
    let mut all = Vec::new();
    for format in Format::ALL {
        let blocks = blocks(3, format, rows, columns);
        let shape = PackedShape::new(format, rows, columns);
        let mut packed = vec![0; shape.bytes()];
        let length = format.row_bytes(columns);
        let row = |row: usize, to: &mut [u8]| to.copy_from_slice(&blocks[row * length..][..length]);
        pack(&cpu, shape, row, &mut packed);
        all.extend(packed);
    }
    let weights = numbers(7, columns);
    for format in [Format::Q8_0, Format::Q4_0] {
        let mut rounded = vec![0; format.row_bytes(columns)];
        quantise_row(class, format, &weights, &mut rounded);
        all.extend(rounded);
    }
    sum(&all)
}

/// Where this fails because packing was changed: count `PACK_VERSION` up, and write the new sum.
#[test]
fn packed_bytes_change_only_with_their_version_and_with_no_kernel_class() {
    assert_eq!(PACK_VERSION, 1);
    for class in classes() {
        assert_eq!(written(class), 0xc99f_35ab_28d2_808e, "{class}");
    }
}
