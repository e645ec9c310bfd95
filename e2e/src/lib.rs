//! Real Kubernetes control planes, and whole clusters, for tests.
//!
//! [`ApiServer`] is etcd and an API server alone: enough for whatever only needs the
//! API, and most tests use it. [`Cluster`] has nodes that run pods.
//!
//! What the environment says: `KUBEBUILDER_ASSETS` is a folder with `etcd`,
//! `kube-apiserver` and `kubectl` to use instead of what we build; `KUBECONFIG` is an API
//! server to use instead of one that we start; `WEIR_E2E_PROGRAMS` is a folder with our own
//! programs to put into images; with `WEIR_E2E_REQUIRE_NODES` leaving out the tests that need
//! nodes is a failure; with `WEIR_E2E_FAULTS` those tests are what goes wrong in a cluster, in full length.

mod api_server;
pub mod cluster;
mod control_plane;
mod crds;
mod kubectl;
mod ours;
mod programs;
pub mod rights;
mod run;
mod running;
mod settings;

pub use api_server::ApiServer;
pub use cluster::Cluster;
pub use kubectl::Kubectl;
pub use ours::build_programs;
pub use programs::{HEALTH, HELM, METRICS_SERVER, SERVERS};
pub use run::{Said, output, output_of, said, succeed, tool};
pub use settings::{
    cache_folder, faults_asked_for, given_programs, profile_folder, repository, target_folder,
};
