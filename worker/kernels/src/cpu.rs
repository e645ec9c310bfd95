//! What kernels run on: a class and some threads.

use std::num::NonZeroUsize;

use crate::KernelClass;
use crate::pool::Pool;

/// Given to every kernel that is worth more than one thread.
#[derive(Debug)]
pub struct Cpu {
    class: KernelClass,
    pool: Pool,
}

impl Cpu {
    /// Computes with `class`, or portably where the processor lacks it, on `threads` threads of
    /// which the caller of a kernel is one.
    pub fn new(class: KernelClass, threads: NonZeroUsize) -> Self {
        let class = if class.is_available() {
            class
        } else {
            KernelClass::Portable
        };
        Self {
            class,
            pool: Pool::new(threads),
        }
    }

    pub fn class(&self) -> KernelClass {
        self.class
    }

    /// Calls `piece` once for each of `0..pieces`, on all threads where the pieces, at so many
    /// multiplications each, are worth it; returns when all are done.
    ///
    /// # Panics
    /// Where a piece panics, after the others have ended.
    pub fn share(&self, (pieces, each): (usize, usize), piece: &(dyn Fn(usize) + Sync)) {
        self.pool.run((pieces, each), piece);
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }
}
