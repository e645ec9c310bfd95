//! What rows are multiplied by: in full precision, or packed.

use std::ops::Range;
use std::sync::Arc;

use weir_kernels::packed::{AlignedBytes, Format, Packed, PackedShape};

use crate::mapped::Mapped;
use crate::tensor::{Plain, Tensor};

#[derive(Debug)]
pub(crate) enum Weight {
    Plain(Tensor),
    Packed(PackedWeight),
}

/// Cheap to clone: the bytes are shared.
#[derive(Clone, Debug)]
pub(crate) struct PackedWeight {
    shape: PackedShape,
    bytes: Bytes,
}

#[derive(Clone, Debug)]
enum Bytes {
    Owned(Arc<AlignedBytes>),
    /// On a boundary, where products are fastest.
    Mapped(Arc<Mapped>, Range<usize>),
}

impl PackedWeight {
    /// # Panics
    /// Where the shape takes another number of bytes.
    pub(crate) fn new(shape: PackedShape, bytes: AlignedBytes) -> Self {
        assert_eq!(bytes.len(), shape.bytes(), "a packed weight is whole");
        let bytes = Bytes::Owned(Arc::new(bytes));
        Self { shape, bytes }
    }

    /// What was packed by an earlier start.
    ///
    /// # Panics
    /// Where the shape takes another number of bytes.
    pub(crate) fn mapped(shape: PackedShape, map: &Arc<Mapped>, range: Range<usize>) -> Self {
        assert_eq!(range.len(), shape.bytes(), "a packed weight is whole");
        let bytes = Bytes::Mapped(Arc::clone(map), range);
        Self { shape, bytes }
    }

    pub(crate) fn shape(&self) -> PackedShape {
        self.shape
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Owned(bytes) => bytes,
            Bytes::Mapped(map, range) => &map[range.clone()],
        }
    }

    pub(crate) fn view(&self) -> Packed<'_> {
        Packed::new(self.shape, self.bytes())
    }

    fn is_mapped(&self) -> bool {
        matches!(self.bytes, Bytes::Mapped(..))
    }
}

impl Weight {
    /// The place of a weight that was not read.
    pub(crate) fn without_rows(columns: usize) -> Self {
        Self::Plain(Tensor::copied(&[], Plain::F32, columns))
    }

    /// How many numbers an input row has.
    pub(crate) fn columns(&self) -> usize {
        match self {
            Self::Plain(tensor) => tensor.matrix().columns(),
            Self::Packed(packed) => packed.shape.columns(),
        }
    }

    /// How many numbers an output row has.
    pub(crate) fn outputs(&self) -> usize {
        match self {
            Self::Plain(tensor) => tensor.matrix().rows(),
            Self::Packed(packed) => packed.shape.rows(),
        }
    }

    /// What it takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Plain(tensor) => tensor.bytes(),
            Self::Packed(packed) => packed.shape.bytes(),
        }
    }

    /// How much of that lies in a file that is mapped.
    pub(crate) fn mapped_bytes(&self) -> u64 {
        let is_mapped = match self {
            Self::Plain(tensor) => tensor.is_mapped(),
            Self::Packed(packed) => packed.is_mapped(),
        };
        if is_mapped { self.bytes() as u64 } else { 0 }
    }

    /// The format it is packed in; none in full precision.
    pub(crate) fn format(&self) -> Option<Format> {
        match self {
            Self::Plain(_) => None,
            Self::Packed(packed) => Some(packed.shape.format()),
        }
    }

    /// Writes one row as f32.
    pub(crate) fn copy_row(&self, row: usize, to: &mut [f32]) {
        match self {
            Self::Plain(tensor) => tensor.matrix().copy_row(row, to),
            Self::Packed(packed) => packed.view().copy_row(row, to),
        }
    }
}
