//! Container images without a registry: a Debian base from the distribution's mirror,
//! the rest built on it by buildah, all handed to the nodes in one archive.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::remains::unmount_at;
use crate::run::{output, succeed, tool};
use crate::settings::cache_folder;

/// Stands in for `debian:bookworm-slim`, in the builds of our images too.
pub const BASE: &str = "weir.test/base:bookworm";
/// The base with Python and tinyproxy, for pods that ask and for those that pass things on.
pub const PYTHON: &str = "weir.test/python:bookworm-2";
/// What holds a pod's namespaces open: the base, asleep.
pub(crate) const PAUSE: &str = "weir.test/pause:1";
pub(crate) const COREDNS: &str = "weir.test/coredns:1";

/// A store of images that outlives the cluster, so that the base is made once.
#[derive(Debug)]
pub struct Images {
    store: PathBuf,
    _lock: File,
}

/// An image to build.
#[derive(Debug)]
pub struct Recipe<'a> {
    /// The image's name with its tag.
    pub name: &'a str,
    pub dockerfile: &'a Path,
    /// The folder that the build sees.
    pub context: &'a Path,
    /// `NAME=VALUE` each.
    pub arguments: Vec<String>,
    /// Other folders that the build sees: `NAME=FOLDER` each.
    pub folders: Vec<String>,
}

impl Images {
    /// Opens the store. One process at a time has it.
    ///
    /// # Errors
    /// When its folder cannot be made.
    pub fn open() -> Result<Self> {
        let store = cache_folder().join("images");
        fs::create_dir_all(&store).context("making the store of images")?;
        let lock = File::create(store.join("lock")).context("making the lock of the images")?;
        lock.lock()
            .context("waiting for another user of the images")?;
        // buildah writes down which program of which package it would make networks with, and
        // fails once that is another one; our builds have no network.
        fs::remove_file(store.join("root/defaultNetworkBackend")).ok();
        let images = Self { store, _lock: lock };
        images.sweep();
        Ok(images)
    }

    /// Removes what builds leave behind that nobody asked for: containers of stages, mounts,
    /// and images that lost their name to a newer one.
    fn sweep(&self) {
        for words in ["rm --all", "rmi --prune --force"] {
            succeed(&mut self.buildah(words)).ok();
        }
        unmount_at(&self.store).ok();
    }

    /// Makes what every cluster needs: bases, pause, and CoreDNS from its program.
    ///
    /// # Errors
    /// When Debian's packages cannot be had, or a build fails.
    pub fn make_bases(&self, coredns: &Path) -> Result<()> {
        self.bootstrap(BASE, "ca-certificates")?;
        self.bootstrap(
            PYTHON,
            "ca-certificates,python3-minimal,libpython3-stdlib,tinyproxy-bin",
        )?;
        self.build_lines(
            PAUSE,
            coredns,
            &format!("FROM {BASE}\nCMD [\"sleep\", \"infinity\"]\n"),
        )?;
        let coredns_lines = "FROM scratch\nCOPY coredns /coredns\nENTRYPOINT [\"/coredns\"]\n";
        self.build_lines(COREDNS, coredns, coredns_lines)
    }

    /// Builds an image from a Dockerfile.
    ///
    /// # Errors
    /// When the build fails; with what it said.
    pub fn build(&self, recipe: &Recipe<'_>) -> Result<()> {
        let mut build = self.buildah("build --isolation chroot --pull-never --layers=false");
        build
            .args(["--tag", recipe.name, "--file"])
            .arg(recipe.dockerfile);
        for argument in &recipe.arguments {
            build.args(["--build-arg", argument]);
        }
        for folder in &recipe.folders {
            build.args(["--build-context", folder]);
        }
        succeed(build.arg(recipe.context)).with_context(|| format!("building {}", recipe.name))
    }

    /// Writes images into one archive that containerd imports under their names.
    /// Layers that they share are in it once.
    ///
    /// # Errors
    /// When one of them is not in the store.
    pub fn archive(&self, names: &[&str], file: &Path) -> Result<()> {
        let layout = tempfile::tempdir_in(&self.store).context("making a folder for an archive")?;
        for name in names {
            let target = format!("oci:{}:{name}", layout.path().display());
            let mut push = self.buildah("push --quiet --format oci --disable-compression");
            succeed(push.arg(name).arg(target)).with_context(|| format!("writing {name}"))?;
        }
        name_for_containerd(&layout.path().join("index.json"))?;
        let mut tar = tool("tar --create --file");
        succeed(tar.arg(file).arg("--directory").arg(layout.path()).arg("."))
            .context("packing an archive of images")
    }

    /// A minimal Debian with some packages, made once.
    fn bootstrap(&self, name: &str, packages: &str) -> Result<()> {
        if output(self.buildah("inspect --type image").arg(name)).is_ok() {
            return Ok(());
        }
        let folder = tempfile::tempdir_in(&self.store).context("making a folder for a base")?;
        let packed = folder.path().join("base.tar");
        let mut debian = tool("mmdebstrap --quiet --mode=root --variant=essential");
        debian
            .arg(format!("--include={packages}"))
            .arg("bookworm")
            .arg(&packed);
        succeed(&mut debian).context("making a minimal Debian")?;
        self.build_lines(name, folder.path(), "FROM scratch\nADD base.tar /\n")
    }

    /// Builds an image from the lines of a Dockerfile.
    ///
    /// # Errors
    /// As [`Images::build`].
    pub fn build_lines(&self, name: &str, context: &Path, lines: &str) -> Result<()> {
        let file = tempfile::NamedTempFile::new_in(&self.store).context("making a Dockerfile")?;
        fs::write(file.path(), lines).context("writing a Dockerfile")?;
        self.build(&Recipe {
            name,
            dockerfile: file.path(),
            context,
            arguments: Vec::new(),
            folders: Vec::new(),
        })
    }

    fn buildah(&self, words: &str) -> Command {
        let mut buildah = tool("buildah --storage-driver overlay --root");
        buildah
            .arg(self.store.join("root"))
            .arg("--runroot")
            .arg(self.store.join("runroot"))
            .args(words.split_whitespace());
        buildah
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        self.sweep();
    }
}

/// containerd reads an image's full name from an annotation that buildah does not write.
fn name_for_containerd(index: &Path) -> Result<()> {
    let text = fs::read_to_string(index).context("reading an index of images")?;
    let mut value: Value =
        serde_json::from_str(&text).context("understanding an index of images")?;
    let manifests = value["manifests"]
        .as_array_mut()
        .context("an index lists manifests")?;
    for manifest in manifests {
        let name = manifest["annotations"]["org.opencontainers.image.ref.name"].clone();
        manifest["annotations"]["io.containerd.image.name"] = name;
    }
    fs::write(index, value.to_string()).context("writing an index of images")
}
