//! What is kept of a cluster in which a test failed.

use std::fs;
use std::path::{Path, PathBuf};

use super::addresses::PLACES;
use crate::kubectl::Kubectl;
use crate::settings::target_folder;

/// Kinds whose objects are written down, ours first.
const KINDS: &str = "slmdeployments,routepolicies,deployments,pods,services,endpointslices,\
                     configmaps,networkpolicies,poddisruptionbudgets,leases,nodes";

/// Writes Events, objects as YAML, the logs of all pods and of all programs into a folder
/// under the build folder. What cannot be had is left out: the test has failed already.
pub(crate) fn keep(kubectl: &Kubectl, cluster: &Path, name: &str) -> PathBuf {
    let folder = logs().join(name);
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder).ok();
    let note = |file: &str, arguments: &str| {
        if let Ok(text) = kubectl.run(arguments) {
            fs::write(folder.join(file), text).ok();
        }
    };
    note(
        "events.txt",
        "get events --all-namespaces --sort-by=.lastTimestamp",
    );
    note("pods.txt", "get pods --all-namespaces --output=wide");
    for kind in KINDS.split(',') {
        note(
            &format!("{kind}.yaml"),
            &format!("get {kind} --all-namespaces --output=yaml"),
        );
    }
    let pods = kubectl.run(
        "get pods --all-namespaces --no-headers --output=custom-columns=:metadata.namespace,:metadata.name",
    );
    for line in pods.unwrap_or_default().lines() {
        let mut words = line.split_whitespace();
        let (Some(namespace), Some(pod)) = (words.next(), words.next()) else {
            continue;
        };
        let logs = format!("logs --namespace {namespace} {pod} --all-containers --prefix");
        note(&format!("{namespace}.{pod}.log"), &logs);
        note(
            &format!("{namespace}.{pod}.previous.log"),
            &format!("{logs} --previous"),
        );
    }
    copy_logs(cluster, &folder);
    folder
}

/// Keeps the logs of programs only, of a cluster that did not come up.
pub(crate) fn keep_program_logs(cluster: &Path) {
    let folder = logs().join("start");
    fs::create_dir_all(&folder).ok();
    copy_logs(cluster, &folder);
}

fn copy_logs(cluster: &Path, folder: &Path) {
    let nodes = PLACES.map(|place| place.name());
    for node in std::iter::once("").chain(nodes.iter().map(String::as_str)) {
        for entry in fs::read_dir(cluster.join(node))
            .into_iter()
            .flatten()
            .flatten()
        {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let name = format!("{node}.{}", entry.file_name().to_string_lossy());
                fs::copy(&path, folder.join(name.trim_start_matches('.'))).ok();
            }
        }
    }
}

fn logs() -> PathBuf {
    target_folder().join("e2e-logs")
}
