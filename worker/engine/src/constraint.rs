//! Holds answers to a form: a JSON schema, an expression, a choice, a grammar.
//!
//! A form is compiled once, outside the model thread and within bounds of time and memory. Each
//! sequence then has a matcher of its own, which says what may come next, token by token.

mod bounds;
mod compile;
mod environment;
mod mask;
mod masks;
mod matching;

pub use self::compile::{Constraint, ConstraintError, Constraints, Form, in_one_line};
pub(crate) use self::{mask::Mask, masks::Masks, matching::Matching};

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod walks;
