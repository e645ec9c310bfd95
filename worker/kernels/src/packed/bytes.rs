//! Memory that begins on a cache line.
#![allow(
    unsafe_code,
    reason = "the standard library allocates lines, and what is packed is bytes"
)]

use std::collections::TryReserveError;
use std::ops::{Deref, DerefMut};

/// Bytes that begin on a 64-byte boundary.
#[derive(Debug, Default)]
pub struct AlignedBytes {
    lines: Vec<Line>,
    length: usize,
}

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl AlignedBytes {
    /// So many zeros.
    ///
    /// # Errors
    /// Where there is not that much memory.
    pub fn zeros(length: usize) -> Result<Self, TryReserveError> {
        let count = length.div_ceil(size_of::<Line>());
        let mut lines = Vec::new();
        lines.try_reserve_exact(count)?;
        lines.resize(count, Line([0; 64]));
        Ok(Self { lines, length })
    }
}

impl Deref for AlignedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the lines are initialised bytes without gaps, and `length` is within them.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.length) }
    }
}

impl DerefMut for AlignedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; any bytes make a line.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length) }
    }
}
