//! Real Kubernetes control planes, and whole clusters, for tests.
//!
//! [`ApiServer`] is etcd and an API server alone: enough for whatever only needs the
//! API, and most tests use it.

mod api_server;
mod control_plane;
mod crds;
mod kubectl;
mod programs;
mod run;
mod running;
mod settings;

pub use api_server::ApiServer;
pub use kubectl::Kubectl;
pub use run::Said;
