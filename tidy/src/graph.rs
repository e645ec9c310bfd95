//! Who may use whom.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

/// What `cargo metadata` says of the workspace, as far as it matters here.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    /// The crates of the workspace.
    pub packages: Vec<Package>,
}

/// One crate.
#[derive(Debug, Deserialize)]
pub struct Package {
    /// As in its manifest.
    pub name: String,
    /// Everything it uses, of ours and of others.
    pub dependencies: Vec<Dependency>,
    /// Libraries, binaries, tests, examples.
    pub targets: Vec<Target>,
}

/// One use of a crate.
#[derive(Debug, Deserialize)]
pub struct Dependency {
    /// The crate that is used.
    pub name: String,
    /// None, `dev` or `build`.
    pub kind: Option<String>,
    /// Where it is, if it is ours.
    pub path: Option<String>,
}

/// One root of a crate.
#[derive(Debug, Deserialize)]
pub struct Target {
    /// Its first file, as an absolute path.
    pub src_path: String,
}

impl Metadata {
    /// Asks cargo, without the network.
    pub fn read(root: &Path) -> io::Result<Self> {
        let asked = Command::new(env!("CARGO"))
            .current_dir(root)
            .args([
                "metadata",
                "--no-deps",
                "--offline",
                "--format-version",
                "1",
            ])
            .output()?;
        if !asked.status.success() {
            return Err(io::Error::other(
                String::from_utf8_lossy(&asked.stderr).into_owned(),
            ));
        }
        serde_json::from_slice(&asked.stdout).map_err(io::Error::other)
    }
}

/// A crate of ours, and those of ours that it may use.
pub type Arrows<'a> = (&'a str, &'a [&'a str]);

/// Made for tests to talk to: any crate's tests may use it.
const FOR_TESTS: &str = "weir-stand-in";

fn is_for_tests(dependency: &Dependency) -> bool {
    dependency.name == FOR_TESTS && dependency.kind.as_deref() == Some("dev")
}

/// Crates and arrows that the map does not have, and those that only the map has.
///
/// What tests use counts too, but for the stand-in: a test that reaches across the graph ties
/// crates together as well.
pub fn strays(metadata: &Metadata, map: &[Arrows]) -> Vec<String> {
    let map: BTreeMap<&str, BTreeSet<&str>> = map
        .iter()
        .map(|(user, used)| (*user, used.iter().copied().collect()))
        .collect();
    let mut problems = Vec::new();
    for package in &metadata.packages {
        let ours = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.path.is_some() && !is_for_tests(dependency));
        let used: BTreeSet<&str> = ours.map(|dependency| dependency.name.as_str()).collect();
        let Some(may) = map.get(package.name.as_str()) else {
            problems.push(format!("{} is not on the map", package.name));
            continue;
        };
        for stray in used.difference(may) {
            problems.push(format!(
                "{} uses {stray}, which the map does not allow",
                package.name
            ));
        }
        for idle in may.difference(&used) {
            problems.push(format!(
                "{} does not use {idle}, though the map says so",
                package.name
            ));
        }
    }
    let there: BTreeSet<&str> = metadata
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let missing = map.keys().filter(|name| !there.contains(**name));
    problems.extend(missing.map(|name| format!("{name} is on the map and not in the workspace")));
    problems
}
