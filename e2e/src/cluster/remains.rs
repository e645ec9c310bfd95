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

use super::addresses::PLACES;
use super::{cgroups, network};
use crate::run::{succeed, tool};
use crate::running::{end_left_overs, signal};

/// Sockets, mounts of network namespaces, and the note of the cluster's folder.
pub(crate) const STATE: &str = "/run/weir-cluster";

/// Notes where the cluster lives that is about to be started.
///
/// # Errors
/// When the note cannot be written.
pub(crate) fn note(folder: &Path) -> Result<()> {
    fs::create_dir_all(STATE).context("making the state folder of the cluster")?;
    fs::write(note_file(), folder.to_string_lossy().as_bytes()).context("noting the cluster's folder")
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
    for place in [Some(Path::new(STATE)), folder.as_deref()].into_iter().flatten() {
        unmount_below(place)?;
    }
    network::lift();
    remove_notes_of_others(folder.as_deref());
    // The note goes last: until then the next run tries again.
    for place in [folder.as_deref(), Some(Path::new(STATE))].into_iter().flatten() {
        if place.exists() {
            fs::remove_dir_all(place).with_context(|| format!("removing {}", place.display()))?;
        }
    }
    Ok(())
}

/// Each pod has a process that containerd started and that outlives it.
fn end_shims() {
    let Ok(processes) = fs::read_dir("/proc") else { return };
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        if line.contains("containerd-shim") && line.contains(STATE) {
            signal(pid, Signal::SIGKILL);
        }
    }
}

/// Unmounts everything below a folder, so that removing the folder removes no more than it.
fn unmount_below(folder: &Path) -> Result<()> {
    for _ in 0..50 {
        let mounts = mounts_below(folder)?;
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

/// The mount points below a folder, the deepest first.
fn mounts_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("reading the mounts")?;
    let mut below: Vec<PathBuf> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(PathBuf::from)
        .filter(|mount| mount.starts_with(folder) && mount != folder)
        .collect();
    below.sort_by_key(|mount| std::cmp::Reverse(mount.components().count()));
    Ok(below)
}

/// Removes what programs note about our pods in places that they do not let us choose.
fn remove_notes_of_others(folder: Option<&Path>) {
    for entry in fs::read_dir("/var/lib/cni/results").into_iter().flatten().flatten() {
        let name = entry.file_name();
        if PLACES.iter().any(|place| name.to_string_lossy().starts_with(&place.network())) {
            fs::remove_file(entry.path()).ok();
        }
    }
    for entry in fs::read_dir("/var/log/containers").into_iter().flatten().flatten() {
        let target = fs::read_link(entry.path()).unwrap_or_default();
        if folder.is_some_and(|folder| target.starts_with(folder)) {
            fs::remove_file(entry.path()).ok();
        }
    }
}

fn note_file() -> PathBuf {
    Path::new(STATE).join("folder")
}
