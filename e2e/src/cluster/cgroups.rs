//! The cgroups that hold the nodes' pods, in either version.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::addresses::Place;
use crate::running::signal;

const ROOT: &str = "/sys/fs/cgroup";

/// Makes a node's cgroup, which the kubelet wants to find.
///
/// # Errors
/// When a hierarchy refuses it.
pub(crate) fn make(place: Place) -> Result<()> {
    for hierarchy in hierarchies() {
        let group = hierarchy.join(place.cgroup());
        fs::create_dir_all(&group).with_context(|| format!("making {}", group.display()))?;
        // Version 1 does not let a group have pods before it has processors and memory.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if hierarchy.ends_with("cpuset") {
                let above = fs::read_to_string(hierarchy.join(file)).context("reading a cpuset")?;
                fs::write(group.join(file), above.trim()).context("writing a cpuset")?;
            }
        }
        delegate(&hierarchy)?;
        delegate(&group)?;
    }
    Ok(())
}

/// Kills what still runs in a node's cgroups, and removes them.
pub(crate) fn remove(place: Place) {
    let groups: Vec<PathBuf> = hierarchies()
        .iter()
        .map(|root| root.join(place.cgroup()))
        .collect();
    for _ in 0..100 {
        let pids: Vec<u32> = groups.iter().flat_map(|group| processes(group)).collect();
        if pids.is_empty() {
            break;
        }
        for pid in pids {
            signal(pid, Signal::SIGKILL);
        }
        sleep(Duration::from_millis(50));
    }
    for group in groups {
        remove_tree(&group);
    }
}

/// The group that bounds the memory of a process.
///
/// # Errors
/// When there is no such process.
pub(crate) fn memory_of(pid: &str) -> Result<PathBuf> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).context("reading cgroups")?;
    let group = groups.lines().find_map(|line| {
        let (_, line) = line.split_once(':')?;
        let (controllers, group) = line.split_once(':')?;
        let is_it = controllers.is_empty() || controllers.split(',').any(|name| name == "memory");
        let root = Path::new(ROOT).join(controllers);
        is_it.then(|| root.join(group.trim_start_matches('/')))
    });
    group.context("nothing bounds the memory of a process")
}

/// In version 2, lets the groups below have controllers.
fn delegate(group: &Path) -> Result<()> {
    let Ok(controllers) = fs::read_to_string(group.join("cgroup.controllers")) else {
        return Ok(());
    };
    for controller in controllers.split_whitespace() {
        fs::write(
            group.join("cgroup.subtree_control"),
            format!("+{controller}"),
        )
        .with_context(|| format!("delegating {controller} in {}", group.display()))?;
    }
    Ok(())
}

/// The roots of all hierarchies: one in version 2, one per controller in version 1.
fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").exists() {
        return vec![root.to_path_buf()];
    }
    let Ok(entries) = fs::read_dir(root) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .filter(|path| path.join("cgroup.procs").exists())
        .collect()
}

fn processes(group: &Path) -> Vec<u32> {
    let own = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let mut pids: Vec<u32> = own.lines().filter_map(|line| line.parse().ok()).collect();
    pids.extend(below(group).iter().flat_map(|group| processes(group)));
    pids
}

fn remove_tree(group: &Path) {
    for group in below(group) {
        remove_tree(&group);
    }
    fs::remove_dir(group).ok();
}

fn below(group: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(group) else {
        return Vec::new();
    };
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}
