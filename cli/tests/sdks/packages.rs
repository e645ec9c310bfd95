//! The SDKs, fetched by name through pip and npm as they are set up on this machine, into the build
//! folder, once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Releases that the tests speak to, so that a new one does not surprise them.
const PYTHON: [&str; 5] = [
    "openai==3.54.*",
    "anthropic==2.12.*",
    "openai-agents==0.24.*",
    "langchain-openai==1.7.*",
    "pydantic-ai-slim[anthropic]==2.68.*",
];
/// The last that run on the Node of Debian 12.
const NODE: [&str; 2] = ["openai@6.49", "@anthropic-ai/sdk@1.12"];

/// Of setting packages up.
static TURN: Mutex<()> = Mutex::new(());

/// Where packages of these versions are kept.
fn build_folder(packages: &[&str]) -> PathBuf {
    let build = Path::new(env!("CARGO_TARGET_TMPDIR"));
    build.join(
        packages
            .join("-")
            .replace(['=', '.', '*', '@', '/', '[', ']'], "-"),
    )
}

/// A Python that has the packages, and nothing that the machine is set up with for other clients.
///
/// # Panics
/// Where they cannot be had, since a check that is skipped in silence is none.
pub fn python() -> Command {
    // Whoever comes second finds it whole.
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
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

/// A folder with the modules of Node.
///
/// # Panics
/// As [`python`] does.
pub fn modules() -> PathBuf {
    let folder = build_folder(&NODE);
    let whole = folder.join("whole");
    if !whole.exists() {
        fs::remove_dir_all(&folder).ok();
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("package.json"), r#"{"private": true}"#).unwrap();
        let install = ["install", "--no-audit", "--no-fund", "--ignore-scripts"];
        let mut npm = Command::new("npm");
        said_by(npm.current_dir(&folder).args(install).args(NODE));
        fs::write(whole, "").unwrap();
    }
    folder
}

/// Node, as it is on this machine.
pub fn node() -> Command {
    Command::new("node")
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
