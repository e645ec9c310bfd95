//! What tests of this folder begin with.

use serde_json::{Value, json};
use weir_crds::SLMDeployment;

/// The deployment `triage` with this spec, and a model in its image where the spec names none.
pub fn deployment(mut spec: Value) -> SLMDeployment {
    if spec.get("model").is_none() {
        spec["model"] = json!({ "source": "file:///models/triage" });
    }
    serde_json::from_value(json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "SLMDeployment",
        "metadata": { "name": "triage", "namespace": "support", "uid": "u1" },
        "spec": spec,
    }))
    .unwrap()
}
