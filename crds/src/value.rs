//! Values that are text in the API, parsed in one place into types that cannot be wrong.
//!
//! Each parser takes whatever the schema's rules let pass, so that an object from an API server
//! always parses; its error says what was read and what to write instead.

mod duration;
mod money;
mod quantity;
mod source;

pub use duration::{DurationError, duration, duration_argument, duration_text};
pub use money::{DecimalError, Fraction, Money, decimal};
pub use quantity::{MilliCpu, Quantity, QuantityError};
pub use source::{Source, SourceError};
