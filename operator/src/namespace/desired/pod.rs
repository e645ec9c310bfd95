//! The pod of a router. It passes the *restricted* Pod Security standard; its token may read what
//! its Role says. Secrets come as optional volumes, so that a missing one stops nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    Container, EnvVar, PodSpec, PodTemplateSpec, ResourceRequirements, SecretVolumeSource, Volume,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use weir_crds::value::{duration, duration_argument};
use weir_crds::{RoutePolicySpec, labels};
use weir_policy::last_good::LastGood;

use crate::object::short_hash;
use crate::pod::{container_security, pod_security, port, probe, registry_secrets};
use crate::settings::Settings;

/// Where a router finds the entries of the Secret `<name>`: `<root>/<name>/<key>`.
const SECRETS_ROOT: &str = "/etc/weir/secrets";
/// Between "not ready" and "nothing new": as long as kube-proxies may take to notice.
const NOTICE: Duration = Duration::from_secs(5);
/// After the last answer, before the kubelet kills.
const CLOSING: Duration = Duration::from_secs(10);
/// The longest answer where no policy says: the default of `maxDuration`.
const LONGEST_ANSWER: Duration = Duration::from_secs(600);

/// The pod template of the namespace's routers.
pub fn template(
    namespace: &str,
    last_good: &BTreeMap<String, LastGood>,
    settings: &Settings,
) -> PodTemplateSpec {
    let secrets = secrets(last_good);
    let longest = longest_answer(last_good);
    let grace = (NOTICE + longest + CLOSING).as_secs();
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels::of_router()),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            containers: vec![container(namespace, &secrets, longest, settings)],
            volumes: Some(secrets.iter().map(|name| volume(name)).collect::<Vec<_>>())
                .filter(|volumes| !volumes.is_empty()),
            service_account_name: Some(labels::ROUTER_NAME.into()),
            enable_service_links: Some(false),
            security_context: Some(pod_security()),
            termination_grace_period_seconds: i64::try_from(grace).ok(),
            image_pull_secrets: Some(registry_secrets(settings).collect::<Vec<_>>())
                .filter(|all| !all.is_empty()),
            ..PodSpec::default()
        }),
    }
}

fn container(
    namespace: &str,
    secrets: &BTreeSet<&str>,
    longest: Duration,
    settings: &Settings,
) -> Container {
    let mounts: Vec<VolumeMount> = secrets.iter().map(|name| mount(name)).collect();
    Container {
        name: labels::ROUTER.into(),
        image: Some(settings.router_image.clone()),
        image_pull_policy: Some(settings.image_pull_policy.clone()),
        args: Some(arguments(namespace, settings)),
        env: Some(vec![
            variable("WEIR_LOG_FORMAT", "json".into()),
            variable("WEIR_SHUTDOWN_DELAY", duration_argument(NOTICE)),
            variable("WEIR_SHUTDOWN_DEADLINE", duration_argument(longest)),
        ]),
        ports: Some(vec![
            port("http", labels::ROUTER_PORT),
            port("admin", labels::ADMIN_PORT),
        ]),
        readiness_probe: Some(probe("/readyz", 2)),
        liveness_probe: Some(probe("/livez", 10)),
        resources: Some(ResourceRequirements {
            requests: Some(BTreeMap::from([
                ("cpu".to_owned(), Quantity(settings.router_cpu.clone())),
                (
                    "memory".to_owned(),
                    Quantity(settings.router_memory.clone()),
                ),
            ])),
            // No limit on CPU: a router that is throttled delays every answer of the namespace.
            limits: Some(BTreeMap::from([(
                "memory".to_owned(),
                Quantity(settings.router_memory.clone()),
            )])),
            ..ResourceRequirements::default()
        }),
        security_context: Some(container_security()),
        volume_mounts: Some(mounts).filter(|mounts| !mounts.is_empty()),
        ..Container::default()
    }
}

fn arguments(namespace: &str, settings: &Settings) -> Vec<String> {
    let mut arguments = vec![
        format!("--namespace={namespace}"),
        format!("--listen=0.0.0.0:{}", labels::ROUTER_PORT),
        format!("--admin=0.0.0.0:{}", labels::ADMIN_PORT),
        format!("--secrets-root={SECRETS_ROOT}"),
    ];
    if !settings.cluster_cidrs.is_empty() {
        let ranges = settings.cluster_cidrs.iter().map(ToString::to_string);
        let ranges: Vec<String> = ranges.collect();
        arguments.push(format!("--cluster-cidrs={}", ranges.join(",")));
    }
    if let Some(endpoint) = &settings.pods_otlp_endpoint {
        arguments.push(format!("--otlp-endpoint={endpoint}"));
    }
    if let Some(level) = &settings.router_log_level {
        arguments.push(format!("--log-level={level}"));
    }
    arguments
}

/// Every Secret that a policy which is served names.
fn secrets(last_good: &BTreeMap<String, LastGood>) -> BTreeSet<&str> {
    last_good
        .values()
        .flat_map(|policy| of_spec(&policy.spec))
        .collect()
}

fn of_spec(spec: &RoutePolicySpec) -> impl Iterator<Item = &str> {
    let keys = spec.auth.iter().map(|auth| &auth.keys_secret_ref.name);
    let endpoints = spec.tiers.iter().filter_map(|tier| {
        let endpoint = tier.endpoint.as_ref()?;
        Some(&endpoint.api_key_secret_ref.as_ref()?.name)
    });
    let records = spec.records.credentials_secret_ref.iter();
    let records = records.map(|secret| &secret.name);
    keys.chain(endpoints).chain(records).map(String::as_str)
}

/// A router that leaves goes on for as long as the longest answer of its namespace may take.
fn longest_answer(last_good: &BTreeMap<String, LastGood>) -> Duration {
    last_good
        .values()
        .filter_map(|policy| duration(&policy.spec.max_duration).ok())
        .max()
        .unwrap_or(LONGEST_ANSWER)
}

fn volume(secret: &str) -> Volume {
    Volume {
        name: volume_name(secret),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.into()),
            optional: Some(true),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn mount(secret: &str) -> VolumeMount {
    VolumeMount {
        name: volume_name(secret),
        mount_path: format!("{SECRETS_ROOT}/{secret}"),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}

/// A Secret's name may be longer than a volume's, and have dots.
fn volume_name(secret: &str) -> String {
    format!("secret-{}", short_hash(secret.as_bytes(), 16))
}

fn variable(name: &str, value: String) -> EnvVar {
    EnvVar {
        name: name.into(),
        value: Some(value),
        ..EnvVar::default()
    }
}
