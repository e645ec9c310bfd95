//! Our two kinds, put into a cluster from the committed YAML.

use anyhow::{Context, Result};

use crate::kubectl::Kubectl;
use crate::settings::repository;

/// Applies the committed definitions and waits until the API server serves them.
///
/// # Errors
/// When the API server refuses one, or does not serve it in time.
pub fn apply(kubectl: &Kubectl) -> Result<()> {
    let folder = repository().join("crds/yaml");
    let mut command = kubectl.command("apply --server-side --force-conflicts --filename");
    crate::run::succeed(command.arg(&folder)).context("applying the two kinds")?;
    let mut command = kubectl.command("wait --for=condition=Established --timeout=60s --filename");
    crate::run::succeed(command.arg(&folder)).context("waiting for the two kinds to be served")
}
