//! kubectl, pointed at one cluster.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::programs;
use crate::run::{self, Said};

/// The real kubectl with the kubeconfig of a cluster.
#[derive(Debug, Clone)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    cache: PathBuf,
}

impl Kubectl {
    pub(crate) fn new(assets: &Path, kubeconfig: &Path, folder: &Path) -> Self {
        Self {
            program: assets.join("kubectl"),
            kubeconfig: kubeconfig.to_path_buf(),
            cache: folder.join("kubectl-cache"),
        }
    }

    /// The user's kubectl where there is one, for a cluster of the user's.
    pub(crate) fn of_the_user(kubeconfig: &Path, folder: &Path) -> Result<Self> {
        let installed = run::output(&mut run::tool("kubectl version --client"));
        let program = match installed {
            Ok(_) => PathBuf::from("kubectl"),
            Err(_) => programs::assets()?.join("kubectl"),
        };
        Ok(Self {
            program,
            ..Self::new(Path::new(""), kubeconfig, folder)
        })
    }

    /// Where the program is.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The command with arguments written on one line, for those who add to it.
    pub fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .arg("--cache-dir")
            .arg(&self.cache)
            .args(arguments.split_whitespace());
        command
    }

    /// Runs kubectl with arguments written on one line, and returns what it printed.
    ///
    /// # Errors
    /// When it fails; with its message.
    pub fn run(&self, arguments: &str) -> Result<String> {
        run::output(&mut self.command(arguments))
    }

    /// Runs kubectl with a text on its standard input (`apply -f -`), whatever comes of it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn said(&self, arguments: &str, input: &str) -> Result<Said> {
        run::said(&mut self.command(arguments), input)
    }

    /// Applies a YAML text.
    ///
    /// # Errors
    /// When the API server refuses it; with its message.
    pub fn apply(&self, yaml: &str) -> Result<String> {
        run::output_of(&mut self.command("apply -f -"), yaml).context("applying a text")
    }

    /// Applies a file, or every file of a folder.
    ///
    /// # Errors
    /// When the API server refuses one of them; with its message.
    pub fn apply_path(&self, path: &Path) -> Result<String> {
        run::output(self.command("apply -f").arg(path))
            .with_context(|| format!("applying {}", path.display()))
    }
}
