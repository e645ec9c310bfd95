//! The Kubernetes programs of the tests, an S3 server, and what judges our objects, built from Go modules of the repository.
//!
//! Each module is built once per content: what it built lies in the user's cache
//! folder under the hash of its files, so that a fresh clone finds it too. A lock
//! keeps test binaries that start together from building the same thing twice.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::run::{output, succeed};
use crate::settings::{self, cache_folder, repository};

/// One Go module and the program that it builds.
#[derive(Debug, Clone, Copy)]
pub struct Module {
    /// The name of the program, and of the module's folder.
    pub name: &'static str,
    /// Where that lies in the repository.
    above: &'static str,
    package: &'static str,
    linker: &'static str,
    /// The names that the program answers to.
    links: &'static [&'static str],
    static_only: bool,
}

/// Every program of Kubernetes itself, etcd and kubectl.
pub const KUBERNETES: Module = Module {
    name: "kubernetes",
    above: "e2e/cluster",
    package: ".",
    // Without these, clients are told that they speak to v0.0.0.
    linker: "-s -w -X k8s.io/component-base/version.gitVersion=v1.35.4 \
             -X k8s.io/component-base/version.gitMajor=1 \
             -X k8s.io/component-base/version.gitMinor=35",
    links: &[
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-proxy",
        "kube-scheduler",
        "kubectl",
        "kubelet",
    ],
    static_only: false,
};

/// Helm, in a module of its own because it wants other versions of the same libraries.
pub const HELM: Module = Module {
    name: "helm",
    above: "e2e/cluster",
    package: "helm.sh/helm/v4/cmd/helm",
    linker: "-s -w -X helm.sh/helm/v4/internal/version.version=v4.3.1",
    links: &[],
    static_only: false,
};

/// CoreDNS. Its image holds nothing else, so it must not need a C library.
pub const COREDNS: Module = Module {
    name: "coredns",
    above: "e2e/cluster",
    package: ".",
    linker: "-s -w",
    links: &[],
    static_only: true,
};

/// What Flux and Argo CD think of objects: `health ARGOCD_CM < LIST`.
pub const HEALTH: Module = Module {
    name: "health",
    above: "e2e/cluster",
    package: ".",
    linker: "-s -w",
    links: &[],
    static_only: false,
};

/// metrics-server, in a module of its own because it wants other versions of the same libraries. Its image holds nothing
/// else.
pub const METRICS_SERVER: Module = Module {
    name: "metrics-server",
    above: "e2e/cluster",
    package: "sigs.k8s.io/metrics-server/cmd/metrics-server",
    linker: "-s -w",
    links: &[],
    static_only: true,
};

/// The servers that the tests of sources and of records speak to as well: `servers s3 ADDRESS`.
pub const SERVERS: Module = Module {
    name: "servers",
    above: "worker/sources/tests",
    package: ".",
    linker: "-s -w",
    links: &[],
    // As the other tests build it, so that Go compiles it once.
    static_only: false,
};

impl Module {
    /// The folder with the module's program and its links, building them if need be.
    ///
    /// # Errors
    /// When there is no Go toolchain, or the build fails; the compiler's words are in the error.
    pub fn built(&self) -> Result<PathBuf> {
        let source = repository().join(self.above).join(self.name);
        let programs = cache_folder().join("programs");
        let folder = programs.join(format!("{}-{}", self.name, self.key(&source)?));
        if folder.exists() {
            return Ok(folder);
        }
        fs::create_dir_all(&programs)
            .with_context(|| format!("making the folder {}", programs.display()))?;
        let lock = File::create(programs.join(format!("{}.lock", self.name)))
            .context("making the lock of a build")?;
        lock.lock().context("waiting for another build")?;
        if !folder.exists() {
            self.build(&source, &folder)?;
        }
        Ok(folder)
    }

    fn build(&self, source: &Path, folder: &Path) -> Result<()> {
        if output(Command::new("go").arg("version")).is_err() {
            bail!(
                "building {} needs Go 1.26 or later (https://go.dev/dl), or set {} to a folder \
                 with etcd, kube-apiserver and kubectl",
                self.name,
                settings::ASSETS
            );
        }
        let unfinished = folder.with_extension("building");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).context("removing an unfinished build")?;
        }
        fs::create_dir_all(&unfinished).context("making the folder of a build")?;
        let mut go = Command::new("go");
        go.current_dir(source)
            .args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false"])
            .args(["-ldflags", self.linker, "-o"])
            .arg(unfinished.join(self.name))
            .arg(self.package)
            .env_remove("GOFLAGS");
        if self.static_only {
            go.env("CGO_ENABLED", "0");
        }
        succeed(&mut go).with_context(|| format!("building the Go module {}", self.name))?;
        for link in self.links {
            std::os::unix::fs::symlink(self.name, unfinished.join(link))
                .with_context(|| format!("linking {link}"))?;
        }
        fs::rename(&unfinished, folder).context("keeping what was built")
    }

    /// What the program is made from, in 16 hex digits.
    fn key(&self, source: &Path) -> Result<String> {
        let files: BTreeSet<PathBuf> = fs::read_dir(source)
            .with_context(|| format!("reading {}", source.display()))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        let mut hash = Sha256::new();
        hash.update(std::env::consts::OS);
        hash.update(std::env::consts::ARCH);
        hash.update(self.linker);
        hash.update(self.links.join(" "));
        for file in files.iter().filter(|file| file.is_file()) {
            hash.update(file.file_name().unwrap_or_default().as_encoded_bytes());
            hash.update(fs::read(file).with_context(|| format!("reading {}", file.display()))?);
        }
        let digest = hash.finalize();
        Ok(digest[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect())
    }
}

/// Where `etcd`, `kube-apiserver` and `kubectl` are: the user's, or ours.
///
/// # Errors
/// When ours have to be built and cannot be.
pub fn assets() -> Result<PathBuf> {
    match settings::variable(settings::ASSETS) {
        Some(folder) => Ok(PathBuf::from(folder)),
        None => KUBERNETES.built(),
    }
}
