//! What a machine must have before nodes can be started on it.

use crate::run::tool;

/// Programs, and the Debian packages that bring them.
const PROGRAMS: [(&str, &str); 8] = [
    ("buildah", "buildah"),
    ("mmdebstrap", "mmdebstrap"),
    ("containerd", "containerd"),
    ("runc", "runc"),
    ("/usr/lib/cni/ptp", "containernetworking-plugins"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("conntrack", "conntrack"),
];

/// One line on what is missing, if anything is.
pub(crate) fn missing() -> Option<String> {
    if !cfg!(target_os = "linux") {
        return Some("a cluster with nodes needs Linux".to_owned());
    }
    if !nix::unistd::geteuid().is_root() {
        return Some("a cluster with nodes needs root".to_owned());
    }
    let packages: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| !exists(program))
        .map(|(_, package)| *package)
        .collect();
    (!packages.is_empty()).then(|| {
        format!(
            "a cluster with nodes needs packages: apt-get install {}",
            packages.join(" ")
        )
    })
}

fn exists(program: &str) -> bool {
    // `command` is the shell's own, so it needs one.
    let mut shell = tool("sh -c");
    crate::run::succeed(shell.arg(format!("command -v {program}"))).is_ok()
}
