//! What a worker or a router reports at `GET /load?after=VERSION` on its admin port.
//!
//! One JSON shape for both, so that the operator has one reader: exactly one of `worker` and
//! `router` is present. `version` grows with every change; a request with `after=VERSION` is
//! answered when the version is past that, or after the server's own waiting time with the same.

mod revision;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use weir_crds::Period;

use crate::budget::PurseLoad;
pub use revision::{
    Buckets, RevisionLoad, latency_bucket, latency_edge, latency_steps, score_bucket, score_edge,
};

/// One report. Unknown fields are ignored, so that an older reader understands a newer writer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    pub version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerLoad>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<RouterLoad>,
}

/// What one replica is doing and what it serves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerLoad {
    pub running: u32,
    pub waiting: u32,
    pub max_sequences: u32,
    /// Blocks of key-value memory, each of one layer: those that sequences hold, and all.
    #[serde(default)]
    pub blocks_used: u32,
    #[serde(default)]
    pub blocks_total: u32,
    /// Since the start: sequences whose blocks were taken from them before they were done.
    #[serde(default)]
    pub preemptions: u64,
    /// Since the start: tokens of sequences that began, and how many of them were found computed.
    #[serde(default)]
    pub queried_tokens: u64,
    #[serde(default)]
    pub hit_tokens: u64,
    /// Absent until the model is loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelFacts>,
    /// Absent until the replica is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cold_start: Option<ColdStart>,
    /// As measured when the replica got ready; absent until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
    /// Those that are listed, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adapters: Vec<AdapterLoad>,
    /// Present while the model's files are on their way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arriving: Option<Arriving>,
}

/// One adapter of a replica's list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdapterLoad {
    pub name: String,
    /// `sha256:<hex>` over the files that answers are written with; empty where there is nothing yet.
    #[serde(default)]
    pub digest: String,
    /// Why what is listed is not served, as a condition's reason; empty where it is.
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    pub message: String,
    /// [`source_sha256`] of the list's entry. The digest is of its files where there is no reason, and
    /// otherwise of what was listed under the name before.
    #[serde(default)]
    pub source_sha256: String,
}

/// Tells addresses apart in a report, which anybody in a cluster may ask for: an address may hold what
/// is not for all of them.
pub fn source_sha256(address: &str) -> String {
    let hash = Sha256::digest(address.as_bytes());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How far the model's files are on their way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arriving {
    /// For people, with percent and rate.
    pub said: String,
    pub done_bytes: u64,
    /// Absent where the source does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
    /// Over the last ten seconds.
    pub bytes_per_second: u64,
}

/// The model as it was found in its files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// `sha256:<hex>` over all files that were read.
    pub digest: String,
    /// What the source resolved to; empty for files that lay there.
    #[serde(default)]
    pub revision: String,
    pub architecture: String,
    pub parameters: u64,
    /// Of the weights as they lie in memory.
    pub bytes: u64,
    pub quantization: String,
    pub context_tokens: u32,
}

/// What the time from process start to ready went into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColdStart {
    pub download_ms: u64,
    pub load_ms: u64,
    pub warm_up_ms: u64,
    /// Waiting for the adapters that are listed; 0 where none are.
    #[serde(default)]
    pub adapters_ms: u64,
}

/// What a replica can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// So many at once bring the most tokens, or nearly so, of what was tried.
    pub sequences: u32,
    /// Over all of them, when none is long.
    pub tokens_per_second: u64,
}

/// What one router has in hand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterLoad {
    /// By deployment: every deployment that the router routes to, also at rest.
    #[serde(default)]
    pub deployments: BTreeMap<String, DeploymentLoad>,
    #[serde(default)]
    pub missing_credentials: Vec<MissingCredential>,
    /// By policy: the generation that is served now, which is the last good one where the live
    /// one is refused.
    #[serde(default)]
    pub policies: BTreeMap<String, i64>,
    /// The name of this run, which no other has, not even of the same pod.
    #[serde(default)]
    pub run: String,
    /// By policy and period: what is needed and spent of its budgets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub purses: BTreeMap<String, BTreeMap<Period, PurseLoad>>,
    /// By deployment and revision: what came of attempts since this run began, for every revision that has
    /// replicas, or had some in the last minutes. A change of these alone is no new version.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub revisions: BTreeMap<String, BTreeMap<String, RevisionLoad>>,
}

/// Asks at one deployment, seen from one router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentLoad {
    /// Attempts that are at a replica.
    pub running: u32,
    /// Asks that wait for a replica to exist.
    pub held: u32,
    /// Attempts that began since this run of the router did.
    #[serde(default)]
    pub asked: u64,
}

/// A Secret, or one entry of it or of a ConfigMap, that a policy names and that is not there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MissingCredential {
    pub policy: String,
    /// The tier that is out; absent where the policy's own keys are missing, or what its records need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    pub secret: String,
    /// Absent where every entry counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// `secret` names a ConfigMap: the one with the authorities that the tier's endpoint is trusted by.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_config_map: bool,
    /// It is for the store of the policy's records: they are not written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_for_records: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_survives_the_way_through_json() {
        let purse = PurseLoad {
            begins: Some("2026-11-22T00:00:00Z".parse().unwrap()),
            granted: "1.50".parse().unwrap(),
            ..PurseLoad::default()
        };
        let revision = RevisionLoad {
            asks: 9,
            errors: 1,
            ..RevisionLoad::default()
        };
        let load = Load {
            version: 7,
            router: Some(RouterLoad {
                deployments: [(
                    "triage".into(),
                    DeploymentLoad {
                        running: 2,
                        held: 1,
                        asked: 9,
                    },
                )]
                .into(),
                missing_credentials: vec![MissingCredential {
                    policy: "support".into(),
                    tier: Some("frontier".into()),
                    secret: "anthropic".into(),
                    key: Some("api-key".into()),
                    is_config_map: false,
                    is_for_records: false,
                }],
                policies: [("support".into(), 3)].into(),
                run: "9f3c".into(),
                purses: [("support".into(), [(Period::Day, purse)].into())].into(),
                revisions: [("triage".into(), [("4f0c9a2b".into(), revision)].into())].into(),
            }),
            worker: None,
        };
        let json = serde_json::to_value(&load).unwrap();
        assert_eq!(json["router"]["deployments"]["triage"]["running"], 2);
        assert_eq!(json["router"]["purses"]["support"]["Day"]["granted"], "1.5");
        assert_eq!(json["router"]["revisions"]["triage"]["4f0c9a2b"]["asks"], 9);
        assert!(json.get("worker").is_none());
        assert_eq!(serde_json::from_value::<Load>(json).unwrap(), load);
    }

    #[test]
    fn a_report_of_an_amount_that_no_budget_has_is_not_understood() {
        let with = |spent: &str| {
            let purse = serde_json::json!({
                "granted": "1", "returned": spent, "spent": spent, "reserved": "0",
                "per_minute": "0", "call": "0.1", "waiting": "0",
            });
            let router = serde_json::json!({
                "deployments": {}, "policies": {}, "run": "9f3c",
                "purses": { "support": { "Day": purse } },
            });
            let load = serde_json::json!({ "version": 1, "router": router });
            serde_json::from_value::<Load>(load)
        };
        assert!(with("999999999999").is_ok());
        let error = with("79228162514264337593543950335").unwrap_err();
        assert!(error.to_string().contains("no such amount"), "{error}");
    }

    #[test]
    fn a_report_of_a_newer_writer_is_still_read() {
        let load: Load = serde_json::from_str(
            r#"{"version":1,"shape":"new","worker":{"running":1,"waiting":0,"max_sequences":1,"heat":9}}"#,
        )
        .unwrap();
        assert_eq!(load.worker.unwrap().running, 1);
    }
}
