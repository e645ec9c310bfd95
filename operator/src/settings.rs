//! What whoever installs Weir decides: arguments of the operator, and what it hands on to pods.

mod exact;
pub mod network;
pub mod profiles;

use std::time::Duration;

use clap::Args;
use network::NetworkPolicies;
use profiles::Profiles;
use weir_crds::Quantity;
use weir_crds::value::QuantityError;
use weir_policy::cidr::Cidr;
use weir_policy::proxy;
use weir_process::{parse_collector, parse_log_level};

/// What the objects that we make depend on besides the users' objects.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "What is made")]
pub struct Settings {
    /// The operator's own namespace: its Lease is there, and replicas and routers let it in.
    #[arg(long, env = "WEIR_NAMESPACE", default_value = SYSTEM)]
    pub namespace: String,

    /// Image of the workers.
    #[arg(
        long,
        env = "WEIR_WORKER_IMAGE",
        default_value_t = image("worker")
    )]
    pub worker_image: String,

    /// Image of the workers of deployments with an Nvidia accelerator. Without it those are refused.
    #[arg(long, env = "WEIR_WORKER_CUDA_IMAGE", value_name = "IMAGE")]
    pub worker_cuda_image: Option<String>,

    /// How many deployments of an older operator's pods are replaced at a time. None are with 0, until their
    /// spec changes.
    #[arg(
        long,
        env = "WEIR_UPGRADES_AT_ONCE",
        value_name = "COUNT",
        default_value_t = UPGRADES_AT_ONCE
    )]
    pub upgrades_at_once: usize,

    /// Image of the routers.
    #[arg(
        long,
        env = "WEIR_ROUTER_IMAGE",
        default_value_t = image("router")
    )]
    pub router_image: String,

    /// When nodes pull the images.
    #[arg(long, env = "WEIR_IMAGE_PULL_POLICY", default_value = "IfNotPresent")]
    pub image_pull_policy: String,

    /// Secrets with the credentials of the registry, for routers; a deployment names its own.
    #[arg(long, env = "WEIR_IMAGE_PULL_SECRETS", value_delimiter = ',')]
    pub image_pull_secrets: Vec<String>,

    /// Routers per namespace.
    #[arg(long, env = "WEIR_ROUTER_REPLICAS", default_value_t = 1)]
    pub router_replicas: i32,

    /// CPU that a router asks for.
    #[arg(
        long,
        env = "WEIR_ROUTER_CPU",
        default_value = "100m",
        value_parser = parse_cpu
    )]
    pub router_cpu: String,

    /// Memory that a router asks for and may use.
    #[arg(
        long,
        env = "WEIR_ROUTER_MEMORY",
        default_value = "512Mi",
        value_parser = parse_bytes
    )]
    pub router_memory: String,

    // Not named as the operator's own collector and level, which it has among its process' flags.
    /// OpenTelemetry collector that routers and workers send traces to over gRPC. A worker's
    /// revision keeps the one it began with.
    #[arg(
        long,
        env = "WEIR_PODS_OTLP_ENDPOINT",
        value_name = "URL",
        value_parser = parse_collector
    )]
    pub pods_otlp_endpoint: Option<String>,

    /// Proxy that routers ask for everything that leaves the cluster.
    #[arg(
        long,
        env = "WEIR_EGRESS_PROXY",
        value_name = "URL",
        value_parser = proxy::parse
    )]
    pub egress_proxy: Option<String>,

    /// What routers log: a level, or directives such as `info,weir_router=debug`.
    #[arg(
        long,
        env = "WEIR_ROUTER_LOG_LEVEL",
        value_name = "LEVEL",
        value_parser = parse_log_level
    )]
    pub router_log_level: Option<String>,

    /// What workers log, likewise. A revision keeps the one it began with.
    #[arg(
        long,
        env = "WEIR_WORKER_LOG_LEVEL",
        value_name = "LEVEL",
        value_parser = parse_log_level
    )]
    pub worker_log_level: Option<String>,

    /// Address ranges of the cluster: what counts as inside has to resolve into one of them.
    // Parsed here as the router parses them: one that it would not take never gets there.
    #[arg(
        long,
        env = "WEIR_CLUSTER_CIDRS",
        value_name = "CIDR",
        value_delimiter = ','
    )]
    pub cluster_cidrs: Vec<Cidr>,

    /// Who may speak to routers and workers, and to whom these may speak: the chart's
    /// `networkPolicies`, as JSON.
    #[arg(
        long,
        env = "WEIR_NETWORK_POLICIES",
        value_name = "JSON",
        default_value = "{}"
    )]
    pub network_policies: NetworkPolicies,

    /// The kinds of machine that deployments name in `spec.resources.profile`: the chart's `profiles`, as
    /// JSON.
    #[arg(long, env = "WEIR_PROFILES", value_name = "JSON", default_value = "{}")]
    pub profiles: Profiles,
}

impl Default for Settings {
    /// What the flags default to.
    fn default() -> Self {
        Self {
            namespace: SYSTEM.into(),
            worker_image: image("worker"),
            worker_cuda_image: None,
            upgrades_at_once: UPGRADES_AT_ONCE,
            router_image: image("router"),
            image_pull_policy: "IfNotPresent".into(),
            image_pull_secrets: Vec::new(),
            router_replicas: 1,
            router_cpu: "100m".into(),
            router_memory: "512Mi".into(),
            pods_otlp_endpoint: None,
            egress_proxy: None,
            router_log_level: None,
            worker_log_level: None,
            cluster_cidrs: Vec::new(),
            network_policies: NetworkPolicies::default(),
            profiles: Profiles::default(),
        }
    }
}

fn parse_cpu(text: &str) -> Result<String, QuantityError> {
    let cpu = Quantity::from(text).milli_cpu();
    cpu.map(|_| text.to_owned())
}

fn parse_bytes(text: &str) -> Result<String, QuantityError> {
    let bytes = Quantity::from(text).bytes();
    bytes.map(|_| text.to_owned())
}

const UPGRADES_AT_ONCE: usize = 2;
/// Where the operator is usually installed.
const SYSTEM: &str = "weir-system";

/// The published image of a component, of this very version.
fn image(component: &str) -> String {
    format!("ghcr.io/weir-dev/{component}:{}", weir_process::VERSION)
}

/// After the switch to a new revision the old one stays this long, so that every router has seen
/// the switch before the pods it knew begin to go.
pub const RETIRE_AFTER: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        settings: Settings,
    }

    #[test]
    fn settings_default_to_what_the_flags_default_to() {
        let flags = Flags::parse_from(["weir-operator"]).settings;
        assert_eq!(format!("{flags:?}"), format!("{:?}", Settings::default()));
    }

    #[test]
    fn what_no_router_and_no_worker_starts_with_is_refused_by_its_value() {
        for wrong in [
            "--pods-otlp-endpoint=https://collector:4317",
            "--router-log-level=weir=loud",
            "--worker-log-level=weir=loud",
            "--egress-proxy=proxy:3128",
            "--router-cpu=a lot",
            "--router-memory=1Gib",
        ] {
            let refused = Flags::try_parse_from(["weir-operator", wrong]);
            let message = refused.err().map(|error| error.to_string());
            let value = wrong.split_once('=').unwrap().1;
            assert!(message.is_some_and(|text| text.contains(value)), "{wrong}");
        }
    }

    #[test]
    fn a_network_that_no_router_takes_is_refused_by_its_value() {
        for wrong in ["10.0.0.0/33", "300.0.0.0/8", "10.0.0.0"] {
            let ranges = format!("--cluster-cidrs=10.244.0.0/16,{wrong}");
            let refused = Flags::try_parse_from(["weir-operator", &ranges]);
            let message = refused.err().map(|error| error.to_string());
            let first = message.as_deref().and_then(|text| text.lines().next());
            assert!(
                first.is_some_and(|line| line.contains(wrong)),
                "{message:?}"
            );
        }
    }
}
