//! Quantised weights, laid out for products.
//!
//! Sixteen rows make a panel: their codes lie interleaved by four, so that one 64-byte line meets
//! one quad of activations for sixteen outputs, and their scales lie side by side. Packing moves
//! bits and changes none: a packed row reads as exactly the numbers that its blocks stand for.

mod activations;
mod block;
mod bytes;
mod format;
mod gather;
mod layout;
mod pack;
mod panel;
mod product;
mod quantise;
mod stream;
mod tiles;

pub use self::activations::QuantizedRows;
pub use self::block::{dequantise_row, is_finite};
pub use self::bytes::AlignedBytes;
pub use self::format::Format;
pub use self::pack::pack;
pub use self::panel::PackedShape;
pub use self::product::{matmul_packed, matmul_packed_many};
pub use self::quantise::quantise_row;

/// Of what [`pack`] and [`quantise_row`] write: another one wherever the same weights become other
/// bytes, so that what was packed before is packed again. The bytes are the same for every kernel
/// class.
pub const PACK_VERSION: u32 = 1;

/// A packed weight, in bytes that belong to somebody else: memory, or a file that is mapped.
#[derive(Clone, Copy)]
pub struct Packed<'a> {
    shape: PackedShape,
    bytes: &'a [u8],
}

impl<'a> Packed<'a> {
    /// Bytes that [`pack`] wrote for this shape. Products are fastest where they begin on a
    /// 64-byte boundary.
    ///
    /// # Panics
    /// Where the shape takes another number of bytes.
    pub fn new(shape: PackedShape, bytes: &'a [u8]) -> Self {
        assert_eq!(bytes.len(), shape.bytes(), "a packed weight is whole");
        Self { shape, bytes }
    }

    pub fn shape(&self) -> PackedShape {
        self.shape
    }

    pub fn format(&self) -> Format {
        self.shape.format()
    }

    /// One per output.
    pub fn rows(&self) -> usize {
        self.shape.rows()
    }

    pub fn columns(&self) -> usize {
        self.shape.columns()
    }

    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

impl std::fmt::Debug for Packed<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Packed")
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}
