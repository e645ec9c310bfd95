//! The fields of OpenAI's embeddings. Vectors of two models have nothing in common, so the first
//! tier that can make them is the only one that is asked.

use super::row::{Row, row};

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    //                                        worker, compatible, OpenAI, Anthropic
    row("model",                  &[],          b"mmmr"),
    row("input",                  &[],          b"mccr"),
    row("dimensions",             &[],          b"cccr"),
    row("encoding_format",        &[],          b"mmmr"),
    row("cache_salt",             &["\"\""],    b"mcar"),
    row("user",                   &[],          b"accr"),
];
