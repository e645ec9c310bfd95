//! What router, operator, worker and CLI must agree on, as pure functions and plain values.
//!
//! * [`load`]: the shape of a report of load.
//! * [`source`]: where the files of a model source lie.

pub mod load;
pub mod source;
