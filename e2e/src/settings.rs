//! What the environment says to the harness, read in one place.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A folder with `etcd`, `kube-apiserver` and `kubectl` to use instead of what we build.
pub(crate) const ASSETS: &str = "KUBEBUILDER_ASSETS";
/// A cluster to use instead of one that we start.
pub(crate) const KUBECONFIG: &str = "KUBECONFIG";
/// Set where leaving out the node tests is a failure.
pub(crate) const REQUIRE_NODES: &str = "WEIR_E2E_REQUIRE_NODES";

/// A folder with our own programs to use instead of what cargo builds.
const PROGRAMS: &str = "WEIR_E2E_PROGRAMS";

/// Set where the node tests are to be those of faults, in full length.
const FAULTS: &str = "WEIR_E2E_FAULTS";

/// Whether the node tests are to be those of faults, in full length.
pub fn faults_asked_for() -> bool {
    variable(FAULTS).is_some_and(|value| value != "0")
}

/// The folder of programs that somebody else built and wants tested, if there is one.
pub fn given_programs() -> Option<PathBuf> {
    variable(PROGRAMS).map(PathBuf::from)
}

/// The value of a variable that is set to something.
#[allow(
    clippy::disallowed_methods,
    reason = "the one place where the harness reads it"
)]
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The folder that holds the repository's `Cargo.toml`.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies one folder below the repository's root")
}

/// The folder of the binaries that cargo built with this one, `target/debug` for most.
pub fn profile_folder() -> PathBuf {
    let program = std::env::current_exe().expect("the system knows its own programs");
    let folder = program.parent().expect("a program lies in a folder");
    match folder.file_name() {
        Some(name) if name == "deps" || name == "examples" => {
            folder.parent().unwrap_or(folder).to_path_buf()
        }
        _ => folder.to_path_buf(),
    }
}

/// The build folder, `target` for most.
pub fn target_folder() -> PathBuf {
    let profile = profile_folder();
    profile.parent().unwrap_or(&profile).to_path_buf()
}

/// Where things that outlive a clone are kept.
pub fn cache_folder() -> PathBuf {
    let base = variable("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".cache")))
        .unwrap_or_else(target_folder);
    base.join("weir")
}
