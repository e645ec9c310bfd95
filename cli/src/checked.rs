//! What the files ask for, checked as a whole, and the processes that it takes.
//!
//! Pure: the objects go through the operator's validation and its `desired`, and through the
//! table that routers follow. In a cluster a contradiction is a condition and what ran before
//! goes on; here nothing runs yet, so every one of them is an error before anything starts.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Container;
use weir_crds::{Accelerator, SLMDeployment, Source};
use weir_operator::deployment::desired::{Given, LIST, desired};
use weir_operator::deployment::entry::Entry;
use weir_operator::deployment::validate::{Valid, validate};
use weir_operator::settings::Settings;
use weir_policy::ending::longest_answer;
use weir_policy::scale::Bounds;
use weir_policy::source::claim;
use weir_policy::tier::model_name;

use crate::container::Local;
use crate::manifests::Manifests;

/// Beyond answers and drains: closing ports, sending the last traces, and processes that go.
const CLOSING: Duration = Duration::from_secs(15);

/// What can be started.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Checked {
    /// By deployment.
    pub(crate) replicas: Vec<Replicas>,
    /// The names that clients may put into `model`: those of policies first.
    pub(crate) models: Vec<String>,
    /// What was asked for and is not done here, each in words.
    pub(crate) left_out: Vec<String>,
    /// How long the router may take at the end over what it has in hand.
    pub(crate) answers: Duration,
}

impl Checked {
    /// How long the end may take as a whole: replicas begin theirs when the router is done.
    pub(crate) fn ending(&self) -> Duration {
        let drains = self.replicas.iter().map(|replicas| replicas.drain);
        self.answers + drains.max().unwrap_or_default() + CLOSING
    }
}

/// The replicas of one deployment.
#[derive(Debug, PartialEq)]
pub(crate) struct Replicas {
    pub(crate) deployment: String,
    pub(crate) revision: String,
    /// How many there are at first.
    pub(crate) count: u32,
    /// What demand may make of the count; nothing where it is fixed.
    pub(crate) scaled: Option<Bounds>,
    pub(crate) local: Local,
    /// The Secret with what its download may need to show.
    pub(crate) credentials: Option<String>,
    pub(crate) drain: Duration,
    /// The list of adapters as workers read it; nothing where there are none.
    pub(crate) adapters: Option<String>,
    /// The chat template, where the model's own is not to be used.
    pub(crate) chat_template: Option<String>,
}

/// Everything that the files ask for, or why that cannot be had, each object and field by name.
/// `cores` is what this machine computes with.
pub(crate) fn check(manifests: &Manifests, cores: NonZeroUsize) -> anyhow::Result<Checked> {
    let mut checked = Checked::default();
    for deployment in &manifests.deployments {
        let template = manifests.chat_template(deployment)?;
        let replicas = replicas(deployment, template.as_ref(), cores)?;
        for variable in &replicas.local.left_out {
            checked.left_out.push(format!(
                "the variable {variable} of SLMDeployment/{}, whose value a cluster has",
                replicas.deployment
            ));
        }
        if deployment.spec.resources.accelerator != Accelerator::None {
            checked.left_out.push(format!(
                "spec.resources.accelerator of SLMDeployment/{}: replicas compute on the processor here",
                replicas.deployment
            ));
        }
        if let Some(bundle) = &deployment.spec.model.ca_bundle {
            checked.left_out.push(format!(
                "spec.model.caBundle of SLMDeployment/{}: this machine's own certificates are \
                 trusted, not those of ConfigMap/{}",
                replicas.deployment, bundle.config_map_ref.name
            ));
        }
        checked.replicas.push(replicas);
    }
    checked.models = models(manifests)?;
    checked.answers = longest_answer(manifests.policies.iter().map(|policy| &policy.spec));
    Ok(checked)
}

fn replicas(
    deployment: &SLMDeployment,
    template: Option<&Entry>,
    cores: NonZeroUsize,
) -> anyhow::Result<Replicas> {
    let name = deployment.metadata.name.clone().unwrap_or_default();
    let here = || format!("SLMDeployment/{name}");
    let valid = validate(deployment, template)
        .map_err(|problems| anyhow!("{}: {}", here(), all(&problems)))?;
    refuse_image(&valid).with_context(here)?;
    refuse_claim(&valid.source).with_context(here)?;
    let made = desired(&valid, &Settings::default(), Given::default());
    let Some(container) = container(&made.deployment) else {
        bail!("{}: its pod has no container", here());
    };
    let cpu = valid.spec.resources.cpu.milli_cpu().with_context(here)?;
    Ok(Replicas {
        deployment: valid.name,
        revision: made.revision,
        count: valid.replicas,
        scaled: valid.scaled,
        local: Local::new(container, cpu.0, cores),
        credentials: valid
            .spec
            .model
            .credentials_secret_ref
            .as_ref()
            .map(|secret| secret.name.clone()),
        drain: valid.drain,
        chat_template: valid.chat_template.map(str::to_owned),
        adapters: match valid.spec.adapters.is_empty() {
            true => None,
            false => made.adapters.data.and_then(|mut data| data.remove(LIST)),
        },
    })
}

/// Replicas are processes of this program.
fn refuse_image(valid: &Valid<'_>) -> anyhow::Result<()> {
    match &valid.foreign {
        None => Ok(()),
        Some(foreign) => bail!(
            "spec.engine.image: {} is an image, and images run in a cluster only: start that server yourself and \
             name it as an endpoint of the policy, or leave engine.image, protocol and args out",
            foreign.image
        ),
    }
}

/// A claim is a folder only where somebody said which.
fn refuse_claim(source: &Source) -> anyhow::Result<()> {
    match claim(source) {
        None => Ok(()),
        Some(claim) => bail!(
            "spec.model.source: {source} is on a claim: say which folder that is here with \
             --mount pvc://{claim}=FOLDER"
        ),
    }
}

/// The model names, where the policies agree with each other and with the deployments.
fn models(manifests: &Manifests) -> anyhow::Result<Vec<String>> {
    let (policies, deployments) = (&manifests.policies, &manifests.deployments);
    let table = weir_policy::compile(policies, deployments, &BTreeMap::new());
    let mut problems: Vec<String> = table
        .refused()
        .map(|(policy, problems)| format!("RoutePolicy/{policy}: {}", all(problems)))
        .collect();
    for policy in table.policies() {
        for missing in table.missing_deployments(&policy.name) {
            problems.push(format!(
                "RoutePolicy/{}: no file has the deployment {missing:?} that it names",
                policy.name
            ));
        }
    }
    for policy in table.policies() {
        for missing in table.missing_adapters(&policy.name) {
            problems.push(format!(
                "RoutePolicy/{}: no file has the adapter {missing:?} that a tier names",
                policy.name
            ));
        }
    }
    if !problems.is_empty() {
        bail!("{}", problems.join("; "));
    }
    let mut models: Vec<String> = Vec::new();
    for model in policies.iter().flat_map(|policy| &policy.spec.models) {
        models.push(model.clone());
    }
    for deployment in table.deployments() {
        let adapters = deployment.adapters.iter().map(|name| Some(name.as_str()));
        for adapter in [None].into_iter().chain(adapters) {
            let name = model_name(&deployment.name, adapter);
            // A policy may have claimed that name.
            if !models.contains(&name) {
                models.push(name);
            }
        }
    }
    Ok(models)
}

fn all(problems: &[weir_policy::Problem]) -> String {
    let messages = problems.iter().map(|problem| problem.message.as_str());
    messages.collect::<Vec<_>>().join("; ")
}

fn container(deployment: &Deployment) -> Option<&Container> {
    let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
    pod.containers.first()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(yaml: &str) -> Result<Checked, String> {
        let mut manifests = Manifests::default();
        manifests.add("app.yaml", yaml).unwrap();
        let checked = super::check(&manifests, NonZeroUsize::new(8).unwrap());
        checked.map_err(|error| format!("{error:#}"))
    }

    fn deployment(name: &str, rest: &str) -> String {
        format!(
            "---\napiVersion: weir.dev/v1alpha1\nkind: SLMDeployment\nmetadata: {{ name: {name} }}\n\
             spec: {{ model: {{ source: 'file:///m' }}, {rest} }}\n"
        )
    }

    fn policy(name: &str, model: &str, deployment: &str) -> String {
        format!(
            "---\napiVersion: weir.dev/v1alpha1\nkind: RoutePolicy\nmetadata: {{ name: {name} }}\n\
             spec: {{ models: [{model}], tiers: [{{ name: small, deployment: {{ name: {deployment} }} }}] }}\n"
        )
    }

    #[test]
    fn adapters_are_models_with_a_list_for_workers_and_a_tier_needs_one_that_is_there() {
        let adapted = "adapters: [{ name: tickets, source: 's3://m/tickets' }]";
        let checked = check(&deployment("triage", adapted)).unwrap();
        assert_eq!(checked.models, ["triage", "triage:tickets"]);
        let list = r#"[{"name":"tickets","source":"s3://m/tickets"}]"#;
        assert_eq!(checked.replicas[0].adapters.as_deref(), Some(list));
        assert_eq!(
            check(&deployment("triage", "")).unwrap().replicas[0].adapters,
            None
        );
        let tier = |adapter: &str| {
            let policy = policy("support", "assistant", "triage");
            policy.replace(
                "name: triage }",
                &format!("name: triage, adapter: {adapter} }}"),
            )
        };
        let with = |adapter: &str| check(&(deployment("triage", adapted) + &tier(adapter)));
        assert!(with("tickets").is_ok());
        assert_eq!(
            with("other").unwrap_err(),
            "RoutePolicy/support: no file has the adapter \"triage:other\" that a tier names"
        );
    }

    #[test]
    fn two_policies_that_claim_one_model_are_both_named() {
        let yaml = deployment("triage", "")
            + &policy("first", "assistant", "triage")
            + &policy("second", "assistant", "triage");
        let error = check(&yaml).unwrap_err();
        let expected = "RoutePolicy/second: spec.models[0]: \"assistant\" belongs already to the policy \"first\"";
        assert_eq!(error, expected);
    }

    #[test]
    fn every_deployment_that_no_file_has_is_named() {
        let yaml = policy("support", "assistant", "triage") + &policy("sales", "seller", "sales");
        assert_eq!(
            check(&yaml).unwrap_err(),
            "RoutePolicy/sales: no file has the deployment \"sales\" that it names; \
             RoutePolicy/support: no file has the deployment \"triage\" that it names"
        );
    }

    #[test]
    fn a_name_that_a_policy_took_from_its_deployment_is_told_once() {
        let yaml = deployment("triage", "") + &policy("support", "triage", "triage");
        assert_eq!(check(&yaml).unwrap().models, ["triage"]);
    }

    #[test]
    fn certificates_that_are_not_here_are_named_and_credentials_are_known() {
        let yaml = "---\napiVersion: weir.dev/v1alpha1\nkind: SLMDeployment\nmetadata: { name: triage }\n\
                    spec: { model: { source: 'hf://a/b', credentialsSecretRef: { name: hub }, \
                    caBundle: { configMapRef: { name: ours, key: ca.pem } } } }\n";
        let checked = check(yaml).unwrap();
        assert_eq!(checked.replicas[0].credentials.as_deref(), Some("hub"));
        assert_eq!(
            checked.left_out,
            [
                "spec.model.caBundle of SLMDeployment/triage: this machine's own certificates are \
              trusted, not those of ConfigMap/ours"
            ]
        );
    }

    #[test]
    fn what_the_deployment_says_of_cpu_and_variables_holds_here() {
        let rest = "resources: { cpu: '3' }, placement: { env: [{ name: RUST_BACKTRACE, value: '1' }, \
                    { name: TOKEN, valueFrom: { secretKeyRef: { name: hub, key: token } } }] }";
        let checked = check(&deployment("triage", rest)).unwrap();
        let local = &checked.replicas[0].local;
        assert!(local.args.contains(&"--threads=3".to_owned()), "{local:?}");
        assert_eq!(local.variables, [("RUST_BACKTRACE".into(), "1".into())]);
        assert_eq!(
            checked.left_out,
            ["the variable TOKEN of SLMDeployment/triage, whose value a cluster has"]
        );
    }

    #[test]
    fn a_deployment_is_scaled_within_its_bounds_unless_its_count_is_fixed() {
        let of = |rest: &str| {
            let checked = check(&deployment("triage", rest)).unwrap();
            let replicas = &checked.replicas[0];
            let bounds = replicas.scaled.map(|bounds| (bounds.min, bounds.max));
            (replicas.count, bounds)
        };
        assert_eq!(of("scaling: { min: 2, max: 4 }"), (2, Some((2, 4))));
        // One shows whether the model comes.
        assert_eq!(of("scaling: { min: 0, max: 4 }"), (1, Some((0, 4))));
        assert_eq!(of("scaling: { min: 0, max: 4 }, replicas: 3"), (3, None));
    }

    #[test]
    fn the_end_has_time_for_the_longest_answer_and_then_for_the_longest_drain() {
        let limited = policy("support", "assistant", "triage")
            .replace("models:", "maxDuration: 90s, models:");
        let yaml = deployment("triage", "drain: 5m") + &deployment("other", "drain: 1m") + &limited;
        let checked = check(&yaml).unwrap();
        assert_eq!(checked.answers, Duration::from_secs(90));
        assert_eq!(checked.ending(), Duration::from_secs(90 + 300) + CLOSING);
    }

    #[test]
    fn an_image_of_anothers_server_is_refused_and_an_accelerator_left_out() {
        let foreign = "engine: { image: 'a:1', protocol: OpenAI }";
        assert_eq!(
            check(&deployment("triage", foreign)).unwrap_err(),
            "SLMDeployment/triage: spec.engine.image: a:1 is an image, and images run in a cluster only: start that \
             server yourself and name it as an endpoint of the policy, or leave engine.image, protocol and args out"
        );
        let accelerated = check(&deployment("triage", "resources: { accelerator: Nvidia }"));
        assert_eq!(
            accelerated.unwrap().left_out,
            [
                "spec.resources.accelerator of SLMDeployment/triage: replicas compute on the processor here"
            ]
        );
    }

    #[test]
    fn a_claim_that_nobody_mounted_is_asked_for() {
        let yaml = deployment("triage", "").replace("file:///m", "pvc://models/triage");
        assert_eq!(
            check(&yaml).unwrap_err(),
            "SLMDeployment/triage: spec.model.source: pvc://models/triage is on a claim: say which \
             folder that is here with --mount pvc://models=FOLDER"
        );
    }
}
