//! Real Kubernetes control planes, and whole clusters, for tests.
//!
//! [`ApiServer`] is etcd and an API server alone: enough for whatever only needs the
//! API, and most tests use it. [`cluster::Cluster`] has nodes that run pods.

mod api_server;
pub mod cluster;
mod control_plane;
mod crds;
mod kubectl;
mod programs;
mod run;
mod running;
mod settings;

pub use api_server::ApiServer;
pub use cluster::Cluster;
pub use kubectl::Kubectl;
pub use run::{Said, output, output_of, said, succeed, tool};
pub use settings::{cache_folder, given_programs, profile_folder, repository, target_folder};
