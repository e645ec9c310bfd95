//! Rows of keys and values in memory: numbers, and in one type an exponent of each row.

use super::RUN;
use crate::e4m3;
use crate::simd::{Element, Simd};

/// Rows of which each is one head's key or value at one position.
pub(super) trait Rows<'a>: Copy {
    type Number: Element + 'a;

    /// Whether it takes less to read a number that was widened and stored than to read it anew.
    const ARE_DEAR: bool;

    /// One row after the other.
    fn numbers(self) -> &'a [Self::Number];

    /// Multiplies the number of each row of a run, which begins with row `first`, by what the row's
    /// numbers are to be multiplied by.
    fn scale(self, first: usize, run: &mut [f32; RUN]);

    /// Asks for what [`Rows::scale`] needs.
    fn prefetch<S: Simd>(self, simd: S, first: usize);
}

impl<'a, T: Element> Rows<'a> for &'a [T] {
    type Number = T;

    const ARE_DEAR: bool = false;

    #[inline(always)]
    fn numbers(self) -> &'a [T] {
        self
    }

    #[inline(always)]
    fn scale(self, _: usize, _: &mut [f32; RUN]) {}

    #[inline(always)]
    fn prefetch<S: Simd>(self, _: S, _: usize) {}
}

/// Numbers of eight bits, and the exponent of each row.
#[derive(Clone, Copy)]
pub(super) struct Scaled<'a>(pub(super) &'a [u8], pub(super) &'a [u8]);

impl<'a> Rows<'a> for Scaled<'a> {
    type Number = u8;

    const ARE_DEAR: bool = true;

    #[inline(always)]
    fn numbers(self) -> &'a [u8] {
        self.0
    }

    #[inline(always)]
    fn scale(self, first: usize, run: &mut [f32; RUN]) {
        for (number, exponent) in run.iter_mut().zip(&self.1[first..][..RUN]) {
            *number *= e4m3::scale(*exponent);
        }
    }

    #[inline(always)]
    fn prefetch<S: Simd>(self, simd: S, first: usize) {
        simd.prefetch(self.1[first..].as_ptr());
    }
}
