//! The kinds of machine that deployments name: the chart's `profiles`, as they are written there.

use std::collections::BTreeMap;
use std::str::FromStr;

use k8s_openapi::api::core::v1::Toleration;
use serde::Deserialize;
use weir_crds::{Accelerator, Quantity};

use super::exact;

/// What one kind of machine gives a replica, and where it is found. What is left out is the
/// deployment's own.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Profile {
    /// The image of its workers.
    pub image: Option<String>,
    pub cpu: Option<Quantity>,
    pub memory: Option<Quantity>,
    pub ephemeral_storage: Option<Quantity>,
    pub accelerator: Accelerator,
    pub count: Option<u32>,
    pub node_selector: BTreeMap<String, String>,
    #[serde(deserialize_with = "exact::list")]
    pub tolerations: Vec<Toleration>,
}

/// By name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Profiles(pub BTreeMap<String, Profile>);

impl FromStr for Profiles {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_in_a_toleration_is_refused_and_does_not_tolerate_everything() {
        let right = r#"{ "gpu": { "tolerations": [{ "key": "gpu", "operator": "Exists" }] } }"#;
        assert!(right.parse::<Profiles>().is_ok());
        let wrong = right.replace("key", "ky").parse::<Profiles>();
        let error = wrong.unwrap_err().to_string();
        assert!(error.contains("unknown field `ky`"), "{error}");
    }
}
