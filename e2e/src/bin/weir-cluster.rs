//! Brings the tests' cluster up for a person, and takes it down.

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use weir_e2e::cluster::{self, Cluster};

#[derive(Debug, Parser)]
#[command(about = "A two-node Kubernetes cluster on this machine")]
struct Args {
    #[command(subcommand)]
    command: Step,
}

#[derive(Debug, Subcommand)]
enum Step {
    /// Start a cluster and leave it running.
    Up,
    /// Take down what is left of any cluster.
    Down {
        /// Only once the standard input ends: that of a process that may be killed.
        #[arg(long, hide = true)]
        when_input_ends: bool,
    },
    /// Keep the nodes' rules as the NetworkPolicies say.
    #[command(hide = true)]
    Enforce {
        #[arg(long)]
        kubeconfig: PathBuf,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    match Args::parse().command {
        Step::Up => up().await,
        Step::Down { when_input_ends } => {
            if when_input_ends {
                std::io::stdin()
                    .read_to_end(&mut Vec::new())
                    .context("waiting for the input to end")?;
            }
            cluster::take_down()
        }
        Step::Enforce { kubeconfig } => cluster::enforce(&kubeconfig).await,
    }
}

#[allow(clippy::print_stdout, reason = "it answers a person at a terminal")]
async fn up() -> Result<()> {
    let helper = std::env::current_exe().context("finding this program")?;
    let cluster = Cluster::up(&helper).await?;
    println!("export KUBECONFIG={}", cluster.kubeconfig().display());
    println!("alias kubectl={}", cluster.kubectl().program().display());
    println!("# make cluster-down ends it");
    cluster.leave();
    Ok(())
}
