//! The pod of a replica. It passes the *restricted* Pod Security standard and has no token for the
//! API server.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, EnvVar, LocalObjectReference, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
    ResourceRequirements, TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use weir_crds::value::duration_argument;
use weir_crds::{Accelerator, KeyValueType, PrefixCache, Quantization, TopologySpread, labels};

use super::super::began::Began;
use super::super::validate::Valid;
use super::engine;
use super::files::{Files, GROUP, files, files_of_others};
use crate::pod::{container_security, notice, pod_security, port, probe, registry_secrets};
use crate::settings::Settings;

/// After the drain a replica closes and is gone; this much more before the kubelet kills it.
const CLOSING_SECONDS: u64 = 10;
/// Between leaving its Service and beginning to drain: as long as routers may take to notice.
const NOTICE_SECONDS: u64 = 3;
/// How often it is asked whether it is ready.
const READINESS_SECONDS: i32 = 2;
/// How long a start may take, downloads included. One that goes wrong ends by itself and says why.
const LONGEST_START_SECONDS: i32 = 24 * 60 * 60;

/// The pod template of every replica of the revision, without the label that names the revision.
pub fn template(valid: &Valid<'_>, settings: &Settings, began: &Began) -> PodTemplateSpec {
    let placement = &valid.spec.placement;
    let mut pod_labels = placement.pod_labels.clone();
    pod_labels.extend([
        (labels::MANAGED_BY.to_owned(), labels::MANAGER.to_owned()),
        (labels::COMPONENT.to_owned(), labels::WORKER.to_owned()),
        (labels::DEPLOYMENT.to_owned(), valid.name.clone()),
    ]);
    let service_account = placement.service_account_name.as_deref();
    let files = match &valid.foreign {
        None => files(valid),
        Some(_) => files_of_others(valid),
    };
    // Whom the image of another's server would run as nobody knows.
    let user = valid.foreign.is_some().then_some(GROUP);
    let security = PodSecurityContext {
        run_as_user: user,
        run_as_group: user,
        fs_group: files.writes_to_a_claim.then_some(GROUP),
        fs_group_change_policy: files.writes_to_a_claim.then(|| "OnRootMismatch".to_owned()),
        ..pod_security()
    };
    let grace = NOTICE_SECONDS + valid.drain.as_secs() + CLOSING_SECONDS;
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(pod_labels),
            annotations: some(placement.pod_annotations.clone()),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            volumes: Some(files.volumes.clone()).filter(|all| !all.is_empty()),
            containers: vec![match &valid.foreign {
                None => container(valid, settings, began, files),
                Some(foreign) => engine::container(valid, foreign, settings, files),
            }],
            service_account_name: Some(
                service_account
                    .unwrap_or(labels::WORKER_SERVICE_ACCOUNT)
                    .to_owned(),
            ),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            security_context: Some(security),
            termination_grace_period_seconds: i64::try_from(grace).ok(),
            node_selector: some(placement.node_selector.clone()),
            tolerations: Some(placement.tolerations.clone()).filter(|all| !all.is_empty()),
            topology_spread_constraints: spread(valid),
            runtime_class_name: placement.runtime_class_name.clone(),
            priority_class_name: placement.priority_class_name.clone(),
            image_pull_secrets: pull_secrets(valid, settings),
            ..PodSpec::default()
        }),
    }
}

fn container(valid: &Valid<'_>, settings: &Settings, began: &Began, files: Files) -> Container {
    Container {
        name: labels::WORKER.into(),
        image: Some(began.image.clone()),
        image_pull_policy: Some(settings.image_pull_policy.clone()),
        args: Some(arguments(valid, files.arguments, began)),
        env: Some(environment(valid)),
        ports: Some(vec![
            port(labels::WEIR_PORT, labels::WORKER_PORT),
            port("admin", labels::ADMIN_PORT),
        ]),
        lifecycle: Some(notice(NOTICE_SECONDS)),
        startup_probe: Some(startup()),
        readiness_probe: Some(probe("/readyz", READINESS_SECONDS)),
        liveness_probe: Some(probe("/livez", 10)),
        resources: Some(resources(valid)),
        security_context: Some(container_security()),
        // The last words of a worker that cannot start are the reason of a condition.
        termination_message_path: Some("/dev/termination-log".into()),
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        volume_mounts: Some(files.mounts).filter(|all| !all.is_empty()),
        ..Container::default()
    }
}

/// Until it succeeds nobody asks whether the replica lives: one that unpacks weights with all the CPU it
/// was given may answer late.
fn startup() -> Probe {
    Probe {
        failure_threshold: Some(LONGEST_START_SECONDS / READINESS_SECONDS),
        ..probe("/readyz", READINESS_SECONDS)
    }
}

fn arguments(valid: &Valid<'_>, of_files: Vec<String>, began: &Began) -> Vec<String> {
    let mut arguments = vec![
        format!("--model-name={}", valid.name),
        format!("--source={}", valid.spec.model.source),
        format!("--listen=0.0.0.0:{}", labels::WORKER_PORT),
        format!("--admin=0.0.0.0:{}", labels::ADMIN_PORT),
        format!("--drain={}", duration_argument(valid.drain)),
        "--termination-log=/dev/termination-log".to_owned(),
    ];
    if let Some(tokens) = valid.spec.model.context_tokens {
        arguments.push(format!("--context-tokens={tokens}"));
    }
    // What is at its default is left out, so that a new flag here is no new revision of anything.
    let quantization = valid.spec.model.quantization;
    if quantization != Quantization::default() {
        arguments.push(format!("--quantization={quantization:?}"));
    }
    let key_value_type = valid.spec.engine.key_value_type;
    if key_value_type != KeyValueType::default() {
        arguments.push(format!("--key-value-type={key_value_type:?}"));
    }
    if let Some(sequences) = valid.spec.engine.max_sequences {
        arguments.push(format!("--max-sequences={sequences}"));
    }
    let prefix_cache = valid.spec.engine.prefix_cache;
    if prefix_cache != PrefixCache::default() {
        arguments.push(format!("--prefix-cache={prefix_cache:?}"));
    }
    arguments.extend(of_files);
    arguments.extend(began.arguments());
    arguments
}

/// The user's variables, without those that ours take the place of.
fn environment(valid: &Valid<'_>) -> Vec<EnvVar> {
    let ours = [("WEIR_LOG_FORMAT", "json")];
    let theirs = valid.spec.placement.env.iter();
    theirs
        .filter(|variable| !ours.iter().any(|(name, _)| *name == variable.name))
        .cloned()
        .chain(ours.map(|(name, value)| EnvVar {
            name: name.into(),
            value: Some(value.into()),
            ..EnvVar::default()
        }))
        .collect()
}

/// Requests and limits are the same: a replica computes with what it was given and no more, so
/// that what is measured of one holds for all.
pub(super) fn resources(valid: &Valid<'_>) -> ResourceRequirements {
    let given = &valid.spec.resources;
    let mut amounts = BTreeMap::from([
        ("cpu".to_owned(), Quantity(given.cpu.to_string())),
        ("memory".to_owned(), Quantity(given.memory.to_string())),
    ]);
    if let Some(storage) = &given.ephemeral_storage {
        amounts.insert("ephemeral-storage".into(), Quantity(storage.to_string()));
    }
    if given.accelerator == Accelerator::Nvidia {
        let count = given.count.unwrap_or(1);
        amounts.insert("nvidia.com/gpu".into(), Quantity(count.to_string()));
    }
    ResourceRequirements {
        limits: Some(amounts.clone()),
        requests: Some(amounts),
        ..ResourceRequirements::default()
    }
}

fn spread(valid: &Valid<'_>) -> Option<Vec<TopologySpreadConstraint>> {
    let key = match valid.spec.placement.topology_spread {
        TopologySpread::Zone => "topology.kubernetes.io/zone",
        TopologySpread::Node => "kubernetes.io/hostname",
        TopologySpread::None => return None,
    };
    let of_deployment = BTreeMap::from([(labels::DEPLOYMENT.to_owned(), valid.name.clone())]);
    Some(vec![TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key.into(),
        // A replica in a full zone is better than none.
        when_unsatisfiable: "ScheduleAnyway".into(),
        label_selector: Some(LabelSelector {
            match_labels: Some(of_deployment),
            ..LabelSelector::default()
        }),
        match_label_keys: Some(vec!["pod-template-hash".into()]),
        ..TopologySpreadConstraint::default()
    }])
}

fn pull_secrets(valid: &Valid<'_>, settings: &Settings) -> Option<Vec<LocalObjectReference>> {
    let theirs = valid.spec.placement.image_pull_secrets.iter().cloned();
    let all: Vec<LocalObjectReference> = theirs.chain(registry_secrets(settings)).collect();
    Some(all).filter(|all| !all.is_empty())
}

fn some(map: BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    Some(map).filter(|map| !map.is_empty())
}
