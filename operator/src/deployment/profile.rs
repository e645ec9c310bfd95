//! What a deployment's profile gives it. Pure.

use weir_crds::{Accelerator, Resources, SLMDeployment, reasons};
use weir_policy::validate::Problem;

use super::asked::{said, spec_hash};
use super::entry::Entry;
use super::validate::{Valid, validate};
use crate::settings::profiles::{Profile, Profiles};

/// A deployment with what its profile gives wherever it says nothing itself.
#[derive(Clone, Debug)]
pub struct Filled {
    deployment: SLMDeployment,
    /// What its own spec says of its revision.
    said: String,
    /// There is no profile of that name.
    missing: Option<Problem>,
}

impl Filled {
    pub fn of(deployment: &SLMDeployment, profiles: &Profiles) -> Self {
        let said = said(&deployment.spec);
        let mut deployment = deployment.clone();
        let mut missing = None;
        if let Some(name) = deployment.spec.resources.profile.clone() {
            match profiles.0.get(&name) {
                Some(profile) => fill(&mut deployment, profile),
                None => missing = Some(unknown(&name, profiles)),
            }
        }
        Self {
            deployment,
            said,
            missing,
        }
    }

    /// Everything that is wrong with it, or what can be made of it.
    pub fn validate<'a>(&'a self, template: Option<&'a Entry>) -> Result<Valid<'a>, Vec<Problem>> {
        let valid = validate(&self.deployment, template).map(|valid| Valid {
            spec_hash: spec_hash(&self.said, valid.chat_template),
            ..valid
        });
        let Some(missing) = self.missing.clone() else {
            return valid;
        };
        let others = valid.err().unwrap_or_default();
        Err([missing].into_iter().chain(others).collect())
    }
}

/// What is at its default counts as not said: admission fills defaults in before anybody looks.
fn fill(deployment: &mut SLMDeployment, profile: &Profile) {
    let (spec, default) = (&mut deployment.spec, Resources::default());
    let resources = &mut spec.resources;
    if let Some(cpu) = profile.cpu.clone().filter(|_| resources.cpu == default.cpu) {
        resources.cpu = cpu;
    }
    let memory = profile.memory.clone();
    if let Some(memory) = memory.filter(|_| resources.memory == default.memory) {
        resources.memory = memory;
    }
    if resources.ephemeral_storage.is_none() {
        resources.ephemeral_storage = profile.ephemeral_storage.clone();
    }
    if resources.accelerator == Accelerator::None {
        resources.accelerator = profile.accelerator;
    }
    resources.count = resources.count.or(profile.count);
    let placement = &mut spec.placement;
    for (key, value) in &profile.node_selector {
        let theirs = placement.node_selector.entry(key.clone());
        theirs.or_insert_with(|| value.clone());
    }
    for toleration in &profile.tolerations {
        if !placement.tolerations.contains(toleration) {
            placement.tolerations.push(toleration.clone());
        }
    }
}

fn unknown(name: &str, profiles: &Profiles) -> Problem {
    let field = "spec.resources.profile";
    let names: Vec<&str> = profiles.0.keys().map(String::as_str).collect();
    let there = match names.as_slice() {
        [] => "have none".to_owned(),
        names => format!("have {}", names.join(", ")),
    };
    Problem {
        reason: reasons::INVALID,
        field: field.into(),
        message: format!("{field}: there is no profile {name}: the chart's values {there}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::testing::deployment;
    use serde_json::{Value, json};

    fn profiles() -> Profiles {
        let large = json!({
            "cpu": "8", "memory": "32Gi", "ephemeralStorage": "50Gi",
            "nodeSelector": { "pool": "large", "arch": "amd64" },
            "tolerations": [{ "key": "large", "operator": "Exists" }],
        });
        let gpu = json!({ "accelerator": "Nvidia", "count": 2 });
        let profiles = json!({ "large": large, "gpu": gpu });
        profiles.to_string().parse().unwrap()
    }

    fn problems(spec: Value, profiles: &Profiles) -> Vec<(String, String)> {
        let filled = Filled::of(&deployment(spec), profiles);
        let problems = filled.validate(None).map(|_| ()).err().unwrap_or_default();
        let problems = problems.into_iter();
        problems
            .map(|problem| (problem.field, problem.message))
            .collect()
    }

    #[test]
    fn a_profile_gives_what_the_spec_left_at_its_default_and_nothing_else() {
        let plain = deployment(json!({ "resources": { "profile": "large" } }));
        let filled = Filled::of(&plain, &profiles());
        let spec = filled.validate(None).unwrap().spec;
        let resources = &spec.resources;
        assert_eq!(
            (&resources.cpu, &resources.memory),
            (&"8".into(), &"32Gi".into())
        );
        assert_eq!(resources.ephemeral_storage, Some("50Gi".into()));
        assert_eq!(spec.placement.node_selector["pool"], "large");
        assert_eq!(spec.placement.tolerations.len(), 1);

        let own = deployment(json!({
            "resources": { "profile": "large", "cpu": "3", "ephemeralStorage": "1Gi" },
            "placement": {
                "nodeSelector": { "arch": "arm64" },
                "tolerations": [{ "key": "large", "operator": "Exists" }, { "key": "mine" }],
            },
        }));
        let filled = Filled::of(&own, &profiles());
        let spec = filled.validate(None).unwrap().spec;
        let resources = &spec.resources;
        assert_eq!(
            (&resources.cpu, &resources.memory),
            (&"3".into(), &"32Gi".into())
        );
        assert_eq!(resources.ephemeral_storage, Some("1Gi".into()));
        assert_eq!(spec.placement.node_selector["arch"], "arm64");
        assert_eq!(spec.placement.node_selector["pool"], "large");
        assert_eq!(spec.placement.tolerations.len(), 2);
    }

    #[test]
    fn without_a_profile_nothing_is_filled_in() {
        let plain = deployment(json!({}));
        assert_eq!(Filled::of(&plain, &profiles()).deployment, plain);
    }

    #[test]
    fn an_unknown_profile_is_told_with_those_there_are_and_with_all_else_that_is_wrong() {
        let spec = json!({ "resources": { "profile": "small" }, "drain": "soon" });
        let found = problems(spec, &profiles());
        let fields: Vec<&str> = found.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, ["spec.resources.profile", "spec.drain"]);
        assert_eq!(
            found[0].1,
            "spec.resources.profile: there is no profile small: the chart's values have gpu, large"
        );
        let none = problems(
            json!({ "resources": { "profile": "small" } }),
            &Profiles::default(),
        );
        assert_eq!(none.len(), 1);
        assert!(
            none[0].1.ends_with("the chart's values have none"),
            "{none:?}"
        );
    }

    /// What a profile gives is looked at as if the spec said it.
    #[test]
    fn what_cannot_be_is_refused_from_a_profile_too() {
        let found = problems(json!({ "resources": { "profile": "gpu" } }), &profiles());
        assert_eq!(found[0].0, "spec.resources.count");
    }
}
