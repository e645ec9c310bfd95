//! The command line of `weir`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::laptop::{Mount, Service};
use crate::secrets;

/// Small language models that answer first, and a bigger one for what they cannot hold.
#[derive(Debug, Parser)]
#[command(name = "weir", version = weir_process::VERSION)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What a reader of `weir up --help` could take for granted.
const DIFFERS: &str = "\
What differs from a cluster:
  resources.cpu       a replica starts as many threads, at most one for each core; nothing holds it to them
  resources.memory    no limit, as for ephemeralStorage
  resources.accelerator  none: replicas compute on the processor
  scaling             by demand, as there; but replicas share the cores of this machine, so that more of them
                      than it has cores for bring no more tokens
  rollout             nothing rolls out: what the files say at the start is served
  engine.image        refused: images run in a cluster only
  resources.profile   there are no profiles of a chart: the deployment's own cpu counts
  placement           only env counts
  placement.env       plain values are passed, without $(NAME) in them being replaced; what has a
                      valueFrom is left out, and said
  pvc://              a folder that --mount names
  model.revision      asked for anew at each start: what it was at the first one is not pinned
  a contradiction     ends the start, where a cluster would go on with what ran before";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the deployments and policies of YAML files with processes on this machine.
    #[command(after_help = DIFFERS)]
    Up(UpArgs),
    /// Ask the model that comes with Weir two questions, then yours.
    Demo(DemoArgs),
    /// Look at a model before it is served.
    #[command(subcommand)]
    Model(ModelCommand),
    /// See how a new revision takes over in a cluster, or say what becomes of it.
    #[command(subcommand)]
    Rollout(RolloutCommand),
    /// One replica; what `up` and `demo` start.
    #[command(hide = true)]
    Worker(Box<weir_worker::Args>),
}

#[derive(Debug, Subcommand)]
pub(crate) enum RolloutCommand {
    /// Say which revision serves, which is on trial, and why it stands where it stands.
    Show(OfDeployment),
    /// Let the revision on trial take over, whatever its guard says.
    Promote(OrderArgs),
    /// End the trial: what serves stays.
    Rollback(OrderArgs),
}

/// A deployment in a cluster.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct OfDeployment {
    /// The SLMDeployment.
    pub(crate) name: String,

    /// Its namespace. The context's own where it is left out.
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,

    /// The context of the kubeconfig. The current one where it is left out.
    #[arg(long)]
    pub(crate) context: Option<String>,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct OrderArgs {
    #[command(flatten)]
    pub(crate) of: OfDeployment,

    /// Which revision is meant. The one on trial where it is left out.
    #[arg(long)]
    pub(crate) revision: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// Say what a model is, what is special about it, and what it would take in memory. Reads no
    /// weight.
    Inspect {
        /// A folder as Hugging Face lays it out, a GGUF file, or a `file://` address of either.
        source: String,
    },
    /// Compute a prompt with our model and with candle's own, and say where they first differ and by
    /// how much. Fails where they differ by more than rounding does.
    Verify(VerifyArgs),
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// A folder as Hugging Face lays it out, a GGUF file, or a `file://` address of either.
    pub(crate) source: String,

    /// The text that both read; special tokens are put around it as for a completion.
    #[arg(
        long,
        default_value = "The ship came in with the evening tide, and nobody on the pier knew who had sent it."
    )]
    pub(crate) prompt: String,

    /// How many tokens are written after the prompt, by our model.
    #[arg(long, default_value_t = 16)]
    pub(crate) tokens: usize,

    /// Another copy for candle to read: the folder that a GGUF file was made of, say.
    #[arg(long, value_name = "SOURCE")]
    pub(crate) reference: Option<String>,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct UpArgs {
    /// YAML file, or folder of them, with SLMDeployments and RoutePolicies; other kinds are left alone.
    #[arg(short, long = "file", required = true, num_args = 1.., value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// Address that clients connect to.
    #[arg(
        long,
        env = "WEIR_LISTEN",
        default_value = "127.0.0.1:8080",
        value_name = "ADDRESS"
    )]
    pub(crate) listen: SocketAddr,

    /// A path that a `file://` source names, or a claim or a path on it that a `pvc://` source
    /// names, and the folder that it is here.
    #[arg(
        long = "mount",
        value_name = "/PATH/IN/IMAGE=FOLDER|pvc://CLAIM[/PATH]=FOLDER"
    )]
    pub(crate) mounts: Vec<Mount>,

    /// The host of a Service in an endpoint's `baseUrl`, and the address that answers for it here.
    #[arg(long = "service", value_name = "HOST=ADDRESS:PORT")]
    pub(crate) services: Vec<Service>,

    /// An entry of a Secret, from the environment or from a file.
    #[arg(long = "secret", value_name = "NAME/KEY=env:VARIABLE|file:PATH")]
    pub(crate) secrets: Vec<secrets::Entry>,

    /// Folder for logs of replicas and for packed weights, which the next start maps; made if it is
    /// not there.
    #[arg(
        long,
        env = "WEIR_STATE",
        default_value = ".weir",
        value_name = "FOLDER"
    )]
    pub(crate) state: PathBuf,

    /// Address of the admin port: /livez, /readyz, /metrics, /load. Port 0 takes a free one.
    #[arg(
        long,
        env = "WEIR_ADMIN",
        default_value = "127.0.0.1:0",
        value_name = "ADDRESS"
    )]
    pub(crate) admin: SocketAddr,

    /// What is logged: a level, or directives such as `info,weir_router=debug`.
    #[arg(
        long,
        env = "WEIR_LOG_LEVEL",
        default_value = "warn",
        value_name = "LEVEL"
    )]
    pub(crate) log_level: String,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Address that the router listens on while the demo runs; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    pub(crate) listen: SocketAddr,

    /// What is logged beside the demo's own words: a level, or directives.
    #[arg(
        long,
        env = "WEIR_LOG_LEVEL",
        default_value = "error",
        value_name = "LEVEL"
    )]
    pub(crate) log_level: String,
}
