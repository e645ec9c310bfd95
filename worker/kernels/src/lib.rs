//! Arithmetic of the model on CPUs: plain functions over slices.
//!
//! Batch invariance: a row of output is a function of its own row of input alone, the same bits
//! for any number of rows beside it, any number of threads and any chunking. There is one order
//! over the inner dimension and one set of partial sums. Across kernel classes nothing is promised.

pub mod attention;
mod cap;
mod class;
mod cpu;
pub mod e4m3;
mod elements;
mod exp;
mod finite;
mod gated;
mod low_rank;
mod matmul;
mod norm;
pub mod packed;
mod pool;
mod quota;
mod rope;
mod simd;
mod summary;

pub use self::class::KernelClass;
pub use self::cpu::Cpu;
pub use self::elements::Elements;
pub use self::finite::first_not_finite;
pub use self::gated::{gelu_tanh_times, silu_times};
pub use self::low_rank::{LowRank, LowRankScratch, Panels, Share, add_low_rank};
pub use self::matmul::{Matrix, NarrowedRows, matmul, matmul_many};
pub use self::norm::rms_norm;
pub use self::quota::available_threads;
pub use self::rope::{rotate_first_halves, rotate_halves};
pub use self::summary::{Finish, Summary, finish_rows};
