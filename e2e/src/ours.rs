//! Our own programs, built by cargo as the tests were.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::run::succeed;
use crate::settings::{profile_folder, repository, target_folder};

/// Builds our programs and returns their folder. After `cargo test --workspace` there is
/// next to nothing to do: cargo is asked for the same features, and with the same
/// environment, as when it built the tests. Either would have it build all libraries anew.
#[allow(
    clippy::disallowed_methods,
    reason = "cargo says by it where it is, to the tests that it runs"
)]
pub fn build_programs() -> Result<PathBuf> {
    let profile = profile_folder();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build
        .current_dir(repository())
        .args([
            "build",
            "--quiet",
            "--workspace",
            "--bins",
            "--tests",
            "--target-dir",
        ])
        .arg(target_folder());
    match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => {}
        Some(name) => {
            build.args(["--profile", name]);
        }
    }
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_one_package(name)) {
        build.env_remove(name);
    }
    succeed(&mut build).context("building our programs")?;
    Ok(profile)
}

/// Whether cargo sets a variable to tell a test about its own package.
fn is_of_one_package(variable: &OsStr) -> bool {
    let variable = variable.to_string_lossy();
    [
        "CARGO_BIN_",
        "CARGO_CRATE_",
        "CARGO_MANIFEST_",
        "CARGO_PKG_",
        "CARGO_PRIMARY_",
    ]
    .iter()
    .any(|prefix| variable.starts_with(prefix))
}
