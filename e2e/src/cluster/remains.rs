//! What a cluster leaves behind on the machine, and how it goes away.
//!
//! There is one cluster on a machine at a time. Where it lives is noted in [`STATE`], so
//! that another clone, or the next run after a kill, finds it.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use sha2::{Digest, Sha256};

use super::addresses::{PLACES, Place};
use super::node::Node;
use super::{cgroups, network};
use crate::run::{succeed, tool};
use crate::running::{end_left_overs, signal};

/// Sockets, mounts of network namespaces, and the note of the cluster's folder.
pub(crate) const STATE: &str = "/run/weir-cluster";
/// What the network plugins remember of each pod.
const CNI_NOTES: &str = "/var/lib/cni/results";
/// Links that kubelet makes to the logs of pods.
const LOG_LINKS: &str = "/var/log/containers";

/// Notes where the cluster lives that is about to be started.
///
/// # Errors
/// When the note cannot be written.
pub(crate) fn note(folder: &Path) -> Result<()> {
    fs::create_dir_all(STATE).context("making the state folder of the cluster")?;
    fs::write(note_file(), folder.to_string_lossy().as_bytes())
        .context("noting the cluster's folder")
}

/// The folder of the cluster that was started last and not taken down.
pub(crate) fn noted() -> Option<PathBuf> {
    fs::read_to_string(note_file()).ok().map(PathBuf::from)
}

/// Takes down all that is left of a cluster, whoever started it and however it ended.
///
/// # Errors
/// When something of it cannot be removed.
pub(crate) fn take_down() -> Result<()> {
    let folder = noted();
    if let Some(folder) = &folder {
        for place in PLACES {
            end_left_overs(&folder.join(place.name()));
        }
    }
    end_shims();
    for place in PLACES {
        cgroups::remove(place);
    }
    if let Some(folder) = &folder {
        end_left_overs(folder);
    }
    if let Some(folder) = &folder {
        remove_notes_of_others(folder);
    }
    for place in [Some(Path::new(STATE)), folder.as_deref()]
        .into_iter()
        .flatten()
    {
        unmount_at(place)?;
    }
    network::lift();
    // The note goes last: until then the next run tries again.
    for place in [folder.as_deref(), Some(Path::new(STATE))]
        .into_iter()
        .flatten()
    {
        if place.exists() {
            fs::remove_dir_all(place).with_context(|| format!("removing {}", place.display()))?;
        }
    }
    Ok(())
}

/// Each pod has a process that containerd started and that outlives it.
fn end_shims() {
    let Ok(processes) = fs::read_dir("/proc") else {
        return;
    };
    for process in processes.flatten() {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        if line.contains("containerd-shim") && line.contains(STATE) {
            signal(pid, Signal::SIGKILL);
        }
    }
}

/// Unmounts everything at and below a folder, so that removing the folder removes no more than it.
pub(crate) fn unmount_at(folder: &Path) -> Result<()> {
    for _ in 0..50 {
        let mounts = mounts_at(folder)?;
        if mounts.is_empty() {
            return Ok(());
        }
        for mount in mounts {
            succeed(tool("umount --lazy").arg(&mount)).ok();
        }
        sleep(Duration::from_millis(50));
    }
    bail!("something stays mounted below {}", folder.display())
}

/// The mount points at and below a folder, the deepest first.
fn mounts_at(folder: &Path) -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("reading the mounts")?;
    let mut below: Vec<PathBuf> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(PathBuf::from)
        .filter(|mount| mount.starts_with(folder))
        .collect();
    below.sort_by_key(|mount| std::cmp::Reverse(mount.components().count()));
    Ok(below)
}

/// Removes what programs keep about our pods in places that they do not let us choose.
fn remove_notes_of_others(folder: &Path) {
    for place in PLACES {
        let pods = folder
            .join(place.name())
            .join("containerd/io.containerd.grpc.v1.cri/sandboxes");
        let pods: Vec<String> = names(&pods);
        for note in names(Path::new(CNI_NOTES)) {
            if pods.iter().any(|pod| note.contains(pod)) {
                fs::remove_file(Path::new(CNI_NOTES).join(note)).ok();
            }
        }
        for pod in pods {
            fs::remove_file(shim_socket(place, &pod)).ok();
        }
    }
    for log in names(Path::new(LOG_LINKS)) {
        let link = Path::new(LOG_LINKS).join(log);
        if fs::read_link(&link).is_ok_and(|target| target.starts_with(folder)) {
            fs::remove_file(link).ok();
        }
    }
}

/// Where a pod's shim listens, by containerd's own rule.
fn shim_socket(place: Place, pod: &str) -> PathBuf {
    let address = Node::socket(place).join("k8s.io").join(pod);
    let digest = Sha256::digest(address.as_os_str().as_encoded_bytes());
    let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Path::new("/run/containerd/s").join(name)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn note_file() -> PathBuf {
    Path::new(STATE).join("folder")
}
