//! What is kept of a deployment: its rollout's state, and the spec that was made last, as JSON in a ConfigMap of
//! its own.
//!
//! It is read only where it is ours, and written only onto the version that was seen: an old leader's write,
//! or one that has not seen the last, is refused.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use weir_crds::{SLMDeployment, labels};
use weir_policy::rollout::state::State;

use super::validate::Valid;
use crate::apply::NO_VERSION;
use crate::object::ownership::{self, Claim};
use crate::object::{Kind, Live, Wanted};

/// The entries of the ConfigMap.
const STATE: &str = "state.json";
const GOOD: &str = "spec.json";
/// A longer spec, with its chat template, is not kept: a ConfigMap holds 1 MiB.
const LONGEST_SPEC: usize = 256 << 10;

/// What is in the ConfigMap, as last seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// Nothing where there is none.
    pub version: Option<String>,
    /// Nothing where it cannot be read.
    pub state: Option<State>,
    pub good: Option<Good>,
}

/// A spec that could be made. It goes on where the one that follows cannot be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Good {
    /// The hash of what it says of its revision.
    pub hash: String,
    /// With what its profile gave it.
    pub spec: Value,
    /// Its text, where the model's own is not to be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_template: Option<String>,
}

impl Good {
    pub fn of(valid: &Valid<'_>) -> Option<Self> {
        let mut spec = valid.spec.clone();
        spec.resources.profile = None;
        let spec = serde_json::to_value(spec).ok()?;
        let text = valid.chat_template.unwrap_or_default();
        let is_short = spec.to_string().len() + text.len() <= LONGEST_SPEC;
        is_short.then(|| Self {
            hash: valid.spec_hash.clone(),
            chat_template: valid.chat_template.map(str::to_owned),
            spec,
        })
    }
}

/// The name of the ConfigMap. It is none of a revision's, whose hash has no such letters.
pub fn name(deployment: &str) -> String {
    format!("{deployment}-rollout")
}

/// Whether it is the ConfigMap.
pub fn is_kept(live: &Live, deployment: &str) -> bool {
    live.kind == Kind::ConfigMap && live.name() == name(deployment)
}

impl Kept {
    /// What is kept of `deployment`, out of what was made for it.
    pub fn of(deployment: &SLMDeployment, owned: &[Live]) -> Self {
        let owners: Vec<_> = deployment.controller_owner_ref(&()).into_iter().collect();
        let mut owned = owned.iter();
        let live = owned.find(|live| is_kept(live, &deployment.name_any()));
        let live =
            live.filter(|live| ownership::claim(&live.object.metadata, &owners) == Claim::Ours);
        let config = live.and_then(Live::parse::<ConfigMap>);
        config.map(Self::read).unwrap_or_default()
    }

    fn read(config: ConfigMap) -> Self {
        let data = config.data.unwrap_or_default();
        Self {
            version: config.metadata.resource_version,
            state: read(&data, STATE),
            good: read(&data, GOOD),
        }
    }
}

fn read<T: DeserializeOwned>(data: &BTreeMap<String, String>, entry: &str) -> Option<T> {
    serde_json::from_str(data.get(entry)?).ok()
}

/// The ConfigMap with these, to be written onto `version` of it, or where there is none.
pub fn wanted(
    valid: &Valid<'_>,
    (state, good): (&State, Option<&Good>),
    version: Option<&str>,
) -> Wanted {
    let of_deployment = [
        (labels::MANAGED_BY, labels::MANAGER),
        (labels::COMPONENT, labels::WORKER),
        (labels::DEPLOYMENT, &valid.name),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()));
    let state = serde_json::to_string(state).expect("a state is JSON");
    let good = good.map(|good| serde_json::to_string(good).expect("a spec is JSON"));
    let entries = [(STATE, Some(state)), (GOOD, good)].into_iter();
    let entries = entries.filter_map(|(entry, text)| Some((entry.to_owned(), text?)));
    let config = ConfigMap {
        metadata: ObjectMeta {
            name: Some(name(&valid.name)),
            namespace: Some(valid.namespace.clone()),
            labels: Some(of_deployment.into()),
            owner_references: valid.owner.clone().map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some(entries.collect()),
        ..ConfigMap::default()
    };
    Wanted {
        onto_version: Some(version.unwrap_or(NO_VERSION).to_owned()),
        ..Wanted::new(&config)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::deployment::validate::validate;

    fn deployment(uid: &str) -> SLMDeployment {
        serde_json::from_value(json!({
            "apiVersion": "weir.dev/v1alpha1", "kind": "SLMDeployment",
            "metadata": { "name": "triage", "namespace": "support", "uid": uid },
            "spec": { "model": { "source": "file:///models/triage" } },
        }))
        .unwrap()
    }

    fn live(of: &Wanted, version: &str) -> Live {
        let mut body = of.body.clone();
        body["metadata"]["resourceVersion"] = json!(version);
        Live {
            kind: of.kind,
            object: Arc::new(serde_json::from_value(body).unwrap()),
        }
    }

    #[test]
    fn it_is_read_as_it_was_written_and_a_namesakes_is_not() {
        let deployment_now = deployment("u1");
        let valid = validate(&deployment_now, None).unwrap();
        let state = State {
            stable: "4f0c9a2b".into(),
            has_served: true,
            ..State::default()
        };
        let good = Good::of(&valid).unwrap();
        let first = wanted(&valid, (&state, Some(&good)), None);
        assert_eq!(first.onto_version.as_deref(), Some(NO_VERSION));
        let kept = Kept::of(&deployment_now, &[live(&first, "7")]);
        assert_eq!((kept.state, kept.good), (Some(state.clone()), Some(good)));
        let next = wanted(&valid, (&state, None), kept.version.as_deref());
        assert_eq!(next.onto_version.as_deref(), Some("7"));
        let of_another = Kept::of(&deployment("u2"), &[live(&first, "7")]);
        assert_eq!(of_another, Kept::default());
    }

    #[test]
    fn what_cannot_be_read_is_known_by_its_version_so_that_it_can_be_replaced() {
        let now = deployment("u1");
        let valid = validate(&now, None).unwrap();
        let mut broken = wanted(&valid, (&State::default(), None), None);
        broken.body["data"][STATE] = json!("{");
        let kept = Kept::of(&now, &[live(&broken, "9")]);
        assert_eq!((kept.version.as_deref(), kept.state), (Some("9"), None));
    }
}
