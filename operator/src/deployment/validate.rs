//! From a deployment as it was written to one that can be made: every problem, or a proof.

mod engine;

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};
use weir_crds::value::duration;
use weir_crds::{SLMDeployment, SLMDeploymentSpec, Source, reasons};
use weir_policy::honoured::Honoured;
use weir_policy::rollout::settings::Settings;
use weir_policy::scale::Bounds;
use weir_policy::source::claim;
use weir_policy::validate::Problem;

use super::asked;
use super::entry::Entry;
pub use engine::{Foreign, with_image};

/// What of `spec` has the effect that its documentation promises. All else is refused by name
/// until it does.
pub const HONOURED: Honoured = Honoured {
    fields: &[
        "spec.model.source",
        "spec.model.revision",
        "spec.model.sha256",
        "spec.model.contextTokens",
        "spec.model.quantization",
        "spec.model.credentialsSecretRef",
        "spec.model.caBundle",
        "spec.model.chatTemplate",
        "spec.cache.persistentVolumeClaim",
        "spec.cache.hostPath",
        "spec.adapters",
        "spec.resources.cpu",
        "spec.resources.memory",
        "spec.resources.ephemeralStorage",
        "spec.resources.accelerator",
        "spec.resources.count",
        "spec.resources.profile",
        "spec.replicas",
        "spec.placement",
        "spec.engine.maxSequences",
        "spec.engine.prefixCache",
        "spec.engine.keyValueType",
        "spec.engine.image",
        "spec.engine.protocol",
        "spec.engine.args",
        "spec.drain",
        "spec.price",
        "spec.scaling",
        "spec.rollout",
    ],
    values: &[],
};

/// A deployment that has been looked at: what is parsed here cannot fail later.
#[derive(Clone, Debug)]
pub struct Valid<'a> {
    pub name: String,
    pub namespace: String,
    /// The one owner of everything that is made for it; absent on a laptop, where nothing has a
    /// UID.
    pub owner: Option<OwnerReference>,
    pub spec: &'a SLMDeploymentSpec,
    /// The hash of what the spec says of the revision, before a profile fills it.
    pub spec_hash: String,
    pub source: Source,
    /// The server in its pods, where that is not our worker.
    pub foreign: Option<Foreign<'a>>,
    /// What demand may make of the count; nothing where somebody else owns it.
    pub scaled: Option<Bounds>,
    /// How many there are to be: where they are scaled, until demand is known.
    pub replicas: u32,
    /// How a new revision takes over.
    pub rollout: Settings,
    pub drain: Duration,
    /// Its text, where the model's own is not to be used.
    pub chat_template: Option<&'a str>,
}

/// Everything that is wrong with `deployment`, or what can be made of it; `template` is what its
/// chat template is to be read from.
pub fn validate<'a>(
    deployment: &'a SLMDeployment,
    template: Option<&'a Entry>,
) -> Result<Valid<'a>, Vec<Problem>> {
    let spec = &deployment.spec;
    let mut problems = HONOURED.problems(&as_json(spec));
    let source = keep(source(spec), &mut problems);
    let drain = keep(drain(spec), &mut problems);
    let chat_template = keep(chat_template(spec, template), &mut problems);
    problems.extend(adapters(spec, source.as_ref()));
    problems.extend(quantities(spec));
    let foreign = engine::foreign(&deployment.name_any(), spec, source.as_ref());
    let foreign = foreign.map_err(|found| problems.extend(found)).ok();
    let rollout = Settings::read(&spec.rollout);
    let rollout = rollout.map_err(|found| problems.extend(found)).ok();
    match (source, drain, chat_template, foreign.zip(rollout)) {
        (Some(source), Some(drain), Some(chat_template), Some((foreign, rollout)))
            if problems.is_empty() =>
        {
            Ok(Valid {
                name: deployment.name_any(),
                namespace: deployment.namespace().unwrap_or_default(),
                owner: deployment.controller_owner_ref(&()),
                spec_hash: asked::spec_hash(&asked::said(spec), chat_template),
                spec,
                source,
                foreign,
                scaled: spec.replicas.is_none().then(|| Bounds::of(&spec.scaling)),
                // One shows whether the model comes, also where there may be none.
                replicas: spec.replicas.unwrap_or(spec.scaling.min.max(1)),
                rollout,
                drain,
                chat_template,
            })
        }
        _ => Err(problems),
    }
}

fn as_json(spec: &SLMDeploymentSpec) -> serde_json::Value {
    serde_json::to_value(spec).expect("a spec is JSON")
}

fn keep<T>(result: Result<T, Problem>, problems: &mut Vec<Problem>) -> Option<T> {
    result.map_err(|problem| problems.push(problem)).ok()
}

fn source(spec: &SLMDeploymentSpec) -> Result<Source, Problem> {
    let field = "spec.model.source";
    let source = spec.model.source.parse();
    source.map_err(|error| invalid(field, format!("{field}: {error}")))
}

/// Adapters come without a new pod, so that a claim is of use to them only where pods have it.
fn adapters(spec: &SLMDeploymentSpec, model: Option<&Source>) -> Vec<Problem> {
    let mounted = model.and_then(claim);
    let adapters = spec.adapters.iter().enumerate();
    let problems = adapters.filter_map(|(index, adapter)| {
        let field = format!("spec.adapters[{index}].source");
        let source: Source = match adapter.source.parse() {
            Ok(source) => source,
            Err(error) => return Some(invalid(&field, format!("{field}: {error}"))),
        };
        let wanted = claim(&source).filter(|wanted| mounted != Some(*wanted))?;
        let message = format!(
            "{field}: claim {wanted} is not the model's own, and mounting another would restart every \
             replica: put the adapter on the model's claim, or at an address"
        );
        Some(invalid(&field, message))
    });
    problems.collect()
}

fn chat_template<'a>(
    spec: &SLMDeploymentSpec,
    entry: Option<&'a Entry>,
) -> Result<Option<&'a str>, Problem> {
    let Some(template) = &spec.model.chat_template else {
        return Ok(None);
    };
    let entry = entry.unwrap_or(&Entry::NoConfigMap);
    let text = entry.text("spec.model.chatTemplate", &template.config_map_ref);
    text.map(Some)
}

fn drain(spec: &SLMDeploymentSpec) -> Result<Duration, Problem> {
    duration(&spec.drain).map_err(|error| invalid("spec.drain", format!("spec.drain: {error}")))
}

fn quantities(spec: &SLMDeploymentSpec) -> Vec<Problem> {
    let resources = &spec.resources;
    let cpu = resources.cpu.milli_cpu().err();
    let memory = resources.memory.bytes().err();
    let storage = resources
        .ephemeral_storage
        .as_ref()
        .and_then(|storage| storage.bytes().err());
    [
        ("spec.resources.cpu", cpu),
        ("spec.resources.memory", memory),
        ("spec.resources.ephemeralStorage", storage),
    ]
    .into_iter()
    .filter_map(|(field, error)| Some(invalid(field, format!("{field}: {}", error?))))
    .collect()
}

fn invalid(field: &str, message: String) -> Problem {
    problem(reasons::INVALID, field, message)
}

fn problem(reason: &'static str, field: &str, message: String) -> Problem {
    Problem {
        reason,
        field: field.into(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::testing::deployment;
    use serde_json::{Value, json};

    fn problems(spec: Value) -> Vec<(&'static str, String)> {
        match validate(&deployment(spec), None) {
            Ok(_) => Vec::new(),
            Err(problems) => problems
                .into_iter()
                .map(|problem| (problem.reason, problem.field))
                .collect(),
        }
    }

    #[test]
    fn a_model_on_a_volume_or_in_the_image_is_all_it_takes() {
        assert_eq!(problems(json!({})), []);
        assert_eq!(
            problems(json!({ "model": { "source": "pvc://models/triage" } })),
            []
        );
    }

    #[test]
    fn a_model_from_anywhere_is_taken_with_all_that_fetching_it_needs() {
        for source in [
            "hf://Qwen/Qwen3-0.6B",
            "s3://bucket/path",
            "https://host/model.gguf",
            "oci://registry/image:1",
        ] {
            let model = json!({
                "source": source, "revision": "main", "credentialsSecretRef": { "name": "hub" },
                "caBundle": { "configMapRef": { "name": "ca", "key": "ca.pem" } },
            });
            let cache = json!({ "persistentVolumeClaim": { "name": "models" } });
            let found = problems(json!({ "model": model, "cache": cache }));
            assert_eq!(found, [], "{source}");
        }
    }

    #[test]
    fn adapters_come_from_addresses_the_image_and_the_claim_of_the_model() {
        let of = |model: &str, adapter: &str| {
            problems(json!({
                "model": { "source": model },
                "adapters": [{ "name": "a", "source": "s3://m/a" }, { "name": "b", "source": adapter }],
            }))
        };
        assert_eq!(of("pvc://models/triage", "pvc://models/b"), []);
        assert_eq!(of("file:///models/triage", "file:///models/b"), []);
        let second = [("Invalid", "spec.adapters[1].source".to_owned())];
        assert_eq!(of("pvc://models/triage", "pvc://others/b"), second);
        assert_eq!(of("file:///models/triage", "pvc://models/b"), second);
        assert_eq!(of("file:///models/triage", "b"), second);
    }

    #[test]
    fn a_source_that_is_none_is_invalid() {
        let found = problems(json!({ "model": { "source": "triage" } }));
        assert_eq!(found, [("Invalid", "spec.model.source".into())]);
    }

    #[test]
    fn replicas_follow_demand_from_the_minimum_on_until_somebody_sets_them() {
        let of = |spec| {
            let deployment = deployment(spec);
            let valid = validate(&deployment, None).unwrap();
            let bounds = valid.scaled.map(|bounds| (bounds.min, bounds.max));
            (valid.replicas, bounds)
        };
        let scaling = json!({ "min": 3, "max": 8, "utilization": "0.5" });
        assert_eq!(of(json!({ "scaling": scaling })), (3, Some((3, 8))));
        let to_zero = json!({ "min": 0, "max": 2 });
        assert_eq!(of(json!({ "scaling": to_zero })), (1, Some((0, 2))));
        assert_eq!(of(json!({ "scaling": scaling, "replicas": 0 })), (0, None));
    }

    #[test]
    fn a_rollout_that_cannot_be_is_named_by_its_field() {
        let steps = json!([{ "weight": 5, "pause": "1m" }, { "weight": 5, "pause": "1m" }]);
        assert_eq!(
            problems(json!({ "rollout": { "steps": steps, "guard": { "errorRate": "1 %" } } })),
            [
                ("Invalid", "spec.rollout.steps[1].weight".to_owned()),
                ("Invalid", "spec.rollout.guard.errorRate".to_owned()),
            ]
        );
        assert_eq!(
            problems(json!({ "rollout": { "strategy": "Recreate" } })),
            []
        );
    }

    #[test]
    fn a_chat_template_is_its_text_or_refused_by_its_field() {
        let template = json!({ "configMapRef": { "name": "t", "key": "k" } });
        let spec = json!({ "model": { "source": "file:///m", "chatTemplate": template } });
        let named = deployment(spec);
        let entry = Entry::Text("{{ x }}".into());
        let valid = validate(&named, Some(&entry)).unwrap();
        assert_eq!(valid.chat_template, Some("{{ x }}"));
        for entry in [None, Some(&Entry::NoKey)] {
            let problems = validate(&named, entry).unwrap_err();
            assert_eq!(problems[0].reason, "ConfigMapNotFound");
            assert_eq!(problems[0].field, "spec.model.chatTemplate");
        }
    }

    #[test]
    fn a_quantity_that_cannot_be_had_is_invalid() {
        let found = problems(json!({ "resources": { "cpu": 0, "memory": "0" } }));
        assert_eq!(
            found,
            [
                ("Invalid", "spec.resources.cpu".into()),
                ("Invalid", "spec.resources.memory".into())
            ]
        );
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let found = problems(json!({
            "model": { "source": "a/b" }, "drain": "soon", "rollout": { "steps": [] },
        }));
        assert_eq!(found.len(), 3);
    }
}
