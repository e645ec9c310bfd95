//! The operator that leads, and what it counts.

use anyhow::{Context, Result};

use crate::installing::SYSTEM;
use crate::stage::Stage;

/// The pod that leads, at one moment.
#[derive(Debug)]
pub struct Operator(String);

impl Operator {
    /// Whoever holds the Lease.
    pub fn leading(stage: &Stage) -> Result<Self> {
        let lease = stage.json(&format!("get lease weir-operator --namespace {SYSTEM}"))?;
        let holder = lease["spec"]["holderIdentity"].as_str();
        Ok(Self(holder.context("nobody leads")?.to_owned()))
    }

    /// Objects that it has sent, since it started.
    pub fn applied(&self, stage: &Stage) -> Result<u64> {
        self.metric(stage, r#"weir_operator_writes_total{step="apply"}"#)
    }

    /// Passes that failed, since it started.
    pub fn failed_passes(&self, stage: &Stage) -> Result<u64> {
        let of = |of| format!(r#"weir_operator_reconciles_total{{of="{of}",outcome="failed"}}"#);
        let deployments = self.metric(stage, &of("deployment"))?;
        Ok(deployments + self.metric(stage, &of("namespace"))?)
    }

    /// What it said of late.
    pub fn log(&self, stage: &Stage) -> Result<String> {
        stage.kubectl(&format!("logs {} --namespace {SYSTEM} --tail=20", self.0))
    }

    /// Nothing was counted yet where it is not there.
    fn metric(&self, stage: &Stage, name: &str) -> Result<u64> {
        let path = format!(
            "/api/v1/namespaces/{SYSTEM}/pods/{}:9090/proxy/metrics",
            self.0
        );
        let text = stage.kubectl(&format!("get --raw {path}"))?;
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        Ok(value.unwrap_or(0))
    }
}
