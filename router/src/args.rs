//! What a router is told on its command line or in its environment.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use reqwest::Url;
use weir_policy::cidr::Cidr;
use weir_process::{ProcessArgs, parse_duration};

/// The data plane of one namespace: routes every ask to the tier that should answer it.
#[derive(Clone, Debug, Parser)]
#[command(name = "weir-router", version = weir_process::VERSION)]
pub struct Args {
    #[command(flatten)]
    pub process: ProcessArgs,

    /// The namespace whose policies and deployments are served.
    #[arg(long, env = "WEIR_NAMESPACE", default_value = "default")]
    pub namespace: String,

    /// Address that clients connect to. Port 0 takes a free one.
    #[arg(long, env = "WEIR_LISTEN", value_name = "ADDRESS", default_value_t = Args::default().listen)]
    pub listen: SocketAddr,

    /// Folder with a folder for each Secret and in it a file for each entry.
    #[arg(
        long,
        env = "WEIR_SECRETS_ROOT",
        value_name = "DIR",
        default_value = "/etc/weir/secrets"
    )]
    pub secrets_root: PathBuf,

    /// Likewise for the ConfigMaps that endpoints' CA bundles are in.
    #[arg(
        long,
        env = "WEIR_CONFIG_MAPS_ROOT",
        value_name = "DIR",
        default_value = "/etc/weir/config-maps"
    )]
    pub config_maps_root: PathBuf,

    /// Networks of the cluster's pods and Services: endpoints that count as inside must resolve
    /// into one of them.
    #[arg(
        long,
        env = "WEIR_CLUSTER_CIDRS",
        value_name = "CIDR",
        value_delimiter = ','
    )]
    pub cluster_cidrs: Vec<Cidr>,

    /// Name or address of the cluster's API server, which is dialled for no endpoint. Kubernetes
    /// tells it to every pod.
    #[arg(long, env = "KUBERNETES_SERVICE_HOST", value_name = "HOST")]
    pub api_server: Option<String>,

    /// Proxy for everything that leaves the cluster, as in `http://proxy.egress.svc:3128`. No other is
    /// asked, whatever the environment says.
    #[arg(long, env = "WEIR_EGRESS_PROXY", value_name = "URL", value_parser = parse_proxy)]
    pub egress_proxy: Option<Url>,

    /// File in which the world is kept as it was last seen, so that a router that starts while the
    /// API server is away serves it.
    #[arg(long, env = "WEIR_WORLD_FILE", value_name = "FILE")]
    pub world_file: Option<PathBuf>,

    /// The largest request body in bytes.
    #[arg(
        long,
        env = "WEIR_MAX_BODY_BYTES",
        value_name = "BYTES",
        default_value_t = Args::default().max_body_bytes
    )]
    pub max_body_bytes: usize,

    /// The most memory that all request bodies in hand may take in bytes; beyond that the answer is
    /// 429. Each byte of a body counts twice, and each JSON value in it as 128 more. Whoever would have more than seven
    /// times as much of it as there is free gets no more.
    #[arg(
        long,
        env = "WEIR_MAX_BODIES_BYTES",
        value_name = "BYTES",
        default_value_t = Args::default().max_bodies_bytes
    )]
    pub max_bodies_bytes: usize,

    /// The most memory that answers may take together in bytes, while they are held back or gathered for clients
    /// that want them whole; beyond that the answer is 429.
    #[arg(
        long,
        env = "WEIR_MAX_ANSWERS_BYTES",
        value_name = "BYTES",
        default_value_t = Args::default().max_answers_bytes
    )]
    pub max_answers_bytes: usize,

    /// The most memory that answers take which policies with a `cache` may give again, in bytes; a quarter of it is
    /// for those that are still written.
    #[arg(
        long,
        env = "WEIR_MAX_CACHE_BYTES",
        value_name = "BYTES",
        default_value_t = Args::default().max_cache_bytes
    )]
    pub max_cache_bytes: usize,

    /// The most asks in hand at once; beyond that the answer is 429. Whoever has more than seven times as many of them
    /// as there are places free gets no more.
    #[arg(
        long,
        env = "WEIR_MAX_ASKS",
        value_name = "COUNT",
        default_value_t = Args::default().max_asks
    )]
    pub max_asks: usize,

    /// The most asks in hand at one endpoint; more wait for a place as long as they have time.
    #[arg(
        long,
        env = "WEIR_MAX_ENDPOINT_ASKS",
        value_name = "COUNT",
        default_value_t = Args::default().max_endpoint_asks
    )]
    pub max_endpoint_asks: usize,

    /// The most connections of clients at once; beyond that they are answered by 503 and closed.
    #[arg(
        long,
        env = "WEIR_MAX_CONNECTIONS",
        value_name = "COUNT",
        default_value_t = Args::default().max_connections
    )]
    pub max_connections: usize,

    /// How long a client may read nothing of an answer before that is given up, and its ask with it.
    #[arg(long, env = "WEIR_READER_PATIENCE", value_name = "DURATION", value_parser = parse_duration, default_value = "1m")]
    pub reader_patience: Duration,

    /// How long a client may take for a request's line and headers, and keep a connection without
    /// asking.
    #[arg(long, env = "WEIR_CONNECTION_PATIENCE", value_name = "DURATION", value_parser = parse_duration, default_value = "2m")]
    pub connection_patience: Duration,

    /// How long an ask waits for a replica to become ready where a tier above can be asked. Where none can, the
    /// deployment's `scaling.hold.wait` says it.
    #[arg(long, env = "WEIR_REPLICA_WAIT", value_name = "DURATION", value_parser = parse_duration, default_value = "2s")]
    pub replica_wait: Duration,

    /// How long an ask waits for the next slice of a budget where the last one is used up.
    #[arg(long, env = "WEIR_SLICE_WAIT", value_name = "DURATION", value_parser = parse_duration, default_value = "5s")]
    pub slice_wait: Duration,

    /// File with the ledger of budgets, out of which the router grants itself what it may spend: where no
    /// operator does. For one router alone.
    #[arg(long, env = "WEIR_LEDGER_FILE", value_name = "FILE")]
    pub ledger_file: Option<PathBuf>,

    /// Endpoints may be on this machine: for a laptop and for tests.
    #[arg(long, env = "WEIR_ALLOW_LOOPBACK")]
    pub allow_loopback: bool,
}

/// An address of a proxy that is asked in plain HTTP or over TLS.
fn parse_proxy(text: &str) -> Result<Url, String> {
    let url = weir_policy::proxy::parse(text)?;
    url.parse().map_err(|error| format!("{error}"))
}

impl Default for Args {
    /// What the flags default to.
    fn default() -> Self {
        Self {
            process: ProcessArgs::default(),
            namespace: "default".to_owned(),
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)),
            secrets_root: PathBuf::from("/etc/weir/secrets"),
            config_maps_root: PathBuf::from("/etc/weir/config-maps"),
            cluster_cidrs: Vec::new(),
            api_server: None,
            egress_proxy: None,
            world_file: None,
            max_body_bytes: 10 << 20,
            max_bodies_bytes: 64 << 20,
            max_answers_bytes: 64 << 20,
            max_cache_bytes: 64 << 20,
            max_asks: 1024,
            max_endpoint_asks: 512,
            max_connections: 4096,
            reader_patience: Duration::from_secs(60),
            connection_patience: Duration::from_secs(120),
            replica_wait: Duration::from_secs(2),
            slice_wait: Duration::from_secs(5),
            ledger_file: None,
            allow_loopback: false,
        }
    }
}

impl Args {
    /// For a router inside another process: everything on loopback and on free ports, endpoints on
    /// this machine allowed.
    pub fn embedded(secrets_root: impl Into<PathBuf>) -> Self {
        Self {
            process: ProcessArgs::embedded(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            secrets_root: secrets_root.into(),
            allow_loopback: true,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_default_to_what_default_says() {
        let mut parsed = Args::parse_from(["weir-router"]);
        // Tests may run in a pod, too.
        parsed.api_server = None;
        assert_eq!(format!("{parsed:?}"), format!("{:?}", Args::default()));
    }
}
