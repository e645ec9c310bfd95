//! Values that are text in the API, parsed in one place into types that cannot be wrong.
//!
//! Each parser accepts what the CEL rules of the schema accept; its error says what was read and
//! what to write instead.

mod duration;
mod money;
mod quantity;
mod source;

pub use duration::{DurationError, duration, duration_text};
pub use money::{DecimalError, Fraction, Money, decimal};
pub use quantity::{MilliCpu, Quantity, QuantityError};
pub use source::{Source, SourceError};
