//! The pod of a router. It passes the *restricted* Pod Security standard; its token may read what
//! its Role says. Secrets, and ConfigMaps with authorities, come as optional volumes, so that a
//! missing one stops nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, Container, EmptyDirVolumeSource, EnvVar, PodSpec, PodTemplateSpec,
    ResourceRequirements, SecretVolumeSource, TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use weir_crds::value::duration_argument;
use weir_crds::{RoutePolicySpec, labels};
use weir_policy::ending::longest_answer;
use weir_policy::last_good::LastGood;

use crate::object::short_hash;
use crate::pod::{container_security, notice, pod_security, port, probe, registry_secrets};
use crate::settings::Settings;

/// Where a router finds the entries of the Secret `<name>`: `<root>/<name>/<key>`.
const SECRETS_ROOT: &str = "/etc/weir/secrets";
/// Where it finds the entries of a ConfigMap, likewise.
const CONFIG_MAPS_ROOT: &str = "/etc/weir/config-maps";
/// What a router keeps for its next run in the same pod.
const STATE: &str = "/var/lib/weir";
/// Between leaving its Service and taking nothing new: as long as kube-proxies may take to notice.
const NOTICE: Duration = Duration::from_secs(5);
/// After the last answer, before the kubelet kills.
const CLOSING: Duration = Duration::from_secs(10);

/// The pod template of the namespace's routers.
pub fn template(
    namespace: &str,
    last_good: &BTreeMap<String, LastGood>,
    settings: &Settings,
) -> PodTemplateSpec {
    let files: BTreeSet<Files> = last_good
        .values()
        .flat_map(|policy| of_spec(&policy.spec))
        .collect();
    let longest = longest_answer(last_good.values().map(|policy| &policy.spec));
    let grace = (NOTICE + longest + CLOSING).as_secs();
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels::of_router()),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            containers: vec![container(namespace, &files, longest, settings)],
            volumes: Some(files.iter().map(Files::volume).chain([state()]).collect()),
            service_account_name: Some(labels::ROUTER_NAME.into()),
            enable_service_links: Some(false),
            security_context: Some(pod_security()),
            termination_grace_period_seconds: i64::try_from(grace).ok(),
            topology_spread_constraints: Some(vec![spread()]),
            image_pull_secrets: Some(registry_secrets(settings).collect::<Vec<_>>())
                .filter(|all| !all.is_empty()),
            ..PodSpec::default()
        }),
    }
}

fn container(
    namespace: &str,
    files: &BTreeSet<Files>,
    longest: Duration,
    settings: &Settings,
) -> Container {
    let mounts = files.iter().map(Files::mount).chain([state_mount()]);
    Container {
        name: labels::ROUTER.into(),
        image: Some(settings.router_image.clone()),
        image_pull_policy: Some(settings.image_pull_policy.clone()),
        args: Some(arguments(namespace, settings)),
        env: Some(vec![
            variable("WEIR_LOG_FORMAT", "json".into()),
            variable("WEIR_SHUTDOWN_DEADLINE", duration_argument(longest)),
        ]),
        ports: Some(vec![
            port("http", labels::ROUTER_PORT),
            port("admin", labels::ADMIN_PORT),
        ]),
        lifecycle: Some(notice(NOTICE.as_secs())),
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
        volume_mounts: Some(mounts.collect()),
        ..Container::default()
    }
}

/// The end of a node takes as few routers of a namespace along as can be; two on one node are better
/// than one.
fn spread() -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".into(),
        when_unsatisfiable: "ScheduleAnyway".into(),
        label_selector: Some(LabelSelector {
            match_labels: Some(labels::of_router()),
            ..LabelSelector::default()
        }),
        match_label_keys: Some(vec!["pod-template-hash".into()]),
        ..TopologySpreadConstraint::default()
    }
}

fn arguments(namespace: &str, settings: &Settings) -> Vec<String> {
    let mut arguments = vec![
        format!("--namespace={namespace}"),
        format!("--listen=0.0.0.0:{}", labels::ROUTER_PORT),
        format!("--admin=0.0.0.0:{}", labels::ADMIN_PORT),
        format!("--secrets-root={SECRETS_ROOT}"),
        format!("--config-maps-root={CONFIG_MAPS_ROOT}"),
        format!("--world-file={STATE}/world.json"),
    ];
    if let Some(proxy) = &settings.egress_proxy {
        arguments.push(format!("--egress-proxy={proxy}"));
    }
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

fn state() -> Volume {
    Volume {
        name: "state".into(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(Quantity("64Mi".into())),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn state_mount() -> VolumeMount {
    VolumeMount {
        name: "state".into(),
        mount_path: STATE.into(),
        ..VolumeMount::default()
    }
}

/// What a policy names and its router reads as files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Files<'a> {
    Secret(&'a str),
    ConfigMap(&'a str),
}

fn of_spec(spec: &RoutePolicySpec) -> impl Iterator<Item = Files<'_>> {
    let keys = spec.auth.iter();
    let keys = keys.map(|auth| Files::Secret(&auth.keys_secret_ref.name));
    let endpoints = spec.tiers.iter().filter_map(|tier| tier.endpoint.as_ref());
    let of_endpoints = endpoints.flat_map(|endpoint| {
        let key = endpoint.api_key_secret_ref.as_ref();
        let bundle = endpoint.ca_bundle.as_ref();
        let bundle = bundle.map(|bundle| Files::ConfigMap(&bundle.config_map_ref.name));
        key.map(|key| Files::Secret(&key.name))
            .into_iter()
            .chain(bundle)
    });
    let records = spec.records.credentials_secret_ref.iter();
    let records = records.map(|secret| Files::Secret(&secret.name));
    keys.chain(of_endpoints).chain(records)
}

impl Files<'_> {
    fn volume(&self) -> Volume {
        let mut volume = Volume {
            name: self.volume_name(),
            ..Volume::default()
        };
        match self {
            Files::Secret(name) => {
                volume.secret = Some(SecretVolumeSource {
                    secret_name: Some((*name).into()),
                    optional: Some(true),
                    ..SecretVolumeSource::default()
                });
            }
            Files::ConfigMap(name) => {
                volume.config_map = Some(ConfigMapVolumeSource {
                    name: (*name).into(),
                    optional: Some(true),
                    ..ConfigMapVolumeSource::default()
                });
            }
        }
        volume
    }

    fn mount(&self) -> VolumeMount {
        VolumeMount {
            name: self.volume_name(),
            mount_path: match self {
                Files::Secret(name) => format!("{SECRETS_ROOT}/{name}"),
                Files::ConfigMap(name) => format!("{CONFIG_MAPS_ROOT}/{name}"),
            },
            read_only: Some(true),
            ..VolumeMount::default()
        }
    }

    /// An object's name may be longer than a volume's, and have dots.
    fn volume_name(&self) -> String {
        let (kind, name) = match self {
            Files::Secret(name) => ("secret", name),
            Files::ConfigMap(name) => ("config-map", name),
        };
        format!("{kind}-{}", short_hash(name.as_bytes(), 16))
    }
}

fn variable(name: &str, value: String) -> EnvVar {
    EnvVar {
        name: name.into(),
        value: Some(value),
        ..EnvVar::default()
    }
}
