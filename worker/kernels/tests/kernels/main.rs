//! Every kernel against a plain one in f64, on sizes that fit no register, for every class; and
//! the same bits whatever else is computed beside.
#![allow(clippy::unwrap_used, reason = "in a test the panic is the report")]

mod alone;
mod attention;
mod blocks;
mod e4m3;
mod finite;
mod low_rank;
mod matmul;
mod numbers;
mod packed;
mod quantise;
mod rows;
mod summary;
mod version;
