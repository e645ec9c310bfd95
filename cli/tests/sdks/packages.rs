//! The SDKs, fetched by name through pip and npm as they are set up on this machine, into the build
//! folder, once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Releases that the tests speak to, so that a new one does not surprise them.
const PYTHON: [&str; 2] = ["openai==3.54.*", "anthropic==2.12.*"];

fn build_folder(packages: &[&str]) -> PathBuf {
    let build = Path::new(env!("CARGO_TARGET_TMPDIR"));
    build.join(packages.join("-").replace(['=', '.', '*', '@', '/'], "-"))
}

/// A Python that has the packages, and nothing that the machine is set up with for other clients.
///
/// # Panics
/// Where they cannot be had, since a check that is skipped in silence is none.
pub fn python() -> Command {
    let folder = build_folder(&PYTHON);
    let python = folder.join("bin/python");
    let whole = folder.join("whole");
    if !whole.exists() {
        fs::remove_dir_all(&folder).ok();
        said_by(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        let pip = ["-m", "pip", "install", "--quiet"];
        said_by(Command::new(&python).args(pip).args(PYTHON));
        fs::write(whole, "").unwrap();
    }
    let mut python = Command::new(python);
    python.env_clear().args(["-s", "-B"]);
    python
}

/// What a program says that ends well.
pub fn said_by(command: &mut Command) -> String {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}{failed}");
    said
}
