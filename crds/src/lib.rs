//! The two kinds of Weir, `SLMDeployment` and `RoutePolicy`, as Rust types, and everything that
//! the API server needs to know about them.
//!
//! - The types here are the source; the YAML under `crds/yaml` is generated from them
//!   ([`crds`], `make generate`) and a test proves it fresh.
//! - A default that the schema has is the default that serde has, so that an object reads the same
//!   from an API server and from a file on a laptop.
//! - What is text in the API (durations, money, quantities, addresses) is text in the types, so
//!   that one bad field never makes an object unreadable; [`value`] parses it.

pub mod conditions;
pub mod deployment;
pub mod labels;
pub mod policy;
pub mod reasons;
pub mod reference;
mod schema;
pub mod value;

pub use deployment::*;
pub use policy::*;
pub use reference::*;
pub use schema::publish::{crds, manifests, unknown_fields};
pub use value::{Fraction, MilliCpu, Money, Quantity, Source};

/// The API group of both kinds.
pub const GROUP: &str = "weir.dev";
/// The one version of both kinds.
pub const VERSION: &str = "v1alpha1";
