//! What router, operator, worker and CLI must agree on, as pure functions and plain values.
//!
//! * [`table`]: from the policies and deployments of a namespace to what every model name means.
//! * [`mod@validate`]: one policy, checked: settings, or every problem at once.
//! * [`rules`]: which rule of a policy an ask matches first, and where that sends it.
//! * [`language`]: the languages that rules may name.
//! * [`honoured`]: which fields of a spec some code honours; the rest is refused by name.
//! * [`last_good`]: how the last valid policies are kept.
//! * [`tier`] and [`plan`]: what may answer an ask; inside and outside the cluster are different
//!   types, and a private plan holds only the first.
//! * [`budget`]: what endpoints may cost, and how much of that each router may spend.
//! * [`cidr`]: the networks that count as the cluster's.
//! * [`ending`]: how long a router that leaves goes on.
//! * [`load`]: the shape of a report of load.
//! * [`proxy`]: how the proxy for what leaves the cluster is written.
//! * [`redact`]: private values out of what leaves the cluster, and back into the answer.
//! * [`scale`]: how many replicas a deployment is to have.
//! * [`rollout`]: how a new revision takes over: steps, guard, replicas.
//! * [`source`]: where the files of a model source lie.

pub mod budget;
mod calibration;
pub mod cidr;
pub mod ending;
pub mod honoured;
pub mod json;
pub mod language;
pub mod last_good;
pub mod load;
pub mod plan;
pub mod proxy;
pub mod records;
pub mod redact;
pub mod rollout;
pub mod rules;
pub mod scale;
pub mod source;
pub mod table;
#[cfg(test)]
mod testing;
pub mod tier;
pub mod validate;

pub use plan::{Egress, Plan};
pub use table::{Table, compile};
pub use validate::{Problem, validate};
