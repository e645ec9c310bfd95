//! Objects for the tests of this crate.

use serde_json::json;
use weir_crds::{RoutePolicy, SLMDeployment};

use crate::validate::{self, Settings};

/// A valid policy: `small` is the deployment `triage`, `frontier` is outside; its one model name
/// is its own.
pub(crate) fn policy(name: &str) -> RoutePolicy {
    serde_json::from_value(json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "RoutePolicy",
        "metadata": { "name": name, "uid": name, "generation": 1 },
        "spec": {
            "models": [name],
            "tiers": [
                {
                    "name": "small", "deployment": { "name": "triage" },
                    "accept": { "threshold": "0.9" },
                },
                {
                    "name": "frontier",
                    "endpoint": {
                        "provider": "OpenAI", "model": "big",
                        "price": { "inputPerMillion": "3", "outputPerMillion": "15" },
                    },
                },
            ],
        },
    }))
    .unwrap()
}

pub(crate) fn deployment(name: &str) -> SLMDeployment {
    serde_json::from_value(json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "SLMDeployment",
        "metadata": { "name": name },
        "spec": { "model": { "source": "file:///models/triage" }, "price": { "replicaHour": "0.36" } },
    }))
    .unwrap()
}

/// The settings of [`policy`]; the text is for the reader of the test.
pub(crate) fn settings(_what: &str) -> Settings {
    validate::settings(&policy("support").spec).unwrap()
}
