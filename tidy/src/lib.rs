//! What a tool can check about this repository, a tool checks: `cargo test -p weir-tidy`.
//!
//! Each check is a function from the tree of files to the problems it finds, one line each, so
//! that a check can be shown a tree that is wrong. The tests in `tests/tidy.rs` show each of them
//! one, and then the repository.

pub mod clocks;
pub mod graph;
pub mod licences;
pub mod manifests;
pub mod names;
pub mod project;
pub mod reach;
pub mod sizes;
pub mod tree;
pub mod words;

pub use tree::Tree;
