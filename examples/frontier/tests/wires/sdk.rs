//! The real SDKs as clients.
//!
//! They are fetched by name through pip, as it is set up on this machine, into the build folder, once.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use tokio::task::spawn_blocking;

use crate::Provider;

/// Releases that the tests speak to, so that a new one does not surprise them.
const PACKAGES: [&str; 2] = ["openai==3.54.*", "anthropic==2.12.*"];

/// Tests run beside each other, and only one of them may fetch.
static FETCHING: Mutex<()> = Mutex::new(());

/// A Python that has the packages.
///
/// # Panics
/// Where they cannot be had, since a check that is skipped in silence is none.
fn python() -> PathBuf {
    let _one = FETCHING.lock().unwrap_or_else(PoisonError::into_inner);
    let build = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = build.join(PACKAGES.join("-").replace(['=', '.', '*'], "-"));
    let python = folder.join("bin/python");
    let whole = folder.join("whole");
    if !whole.exists() {
        fs::remove_dir_all(&folder).ok();
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        let pip = ["-m", "pip", "install", "--quiet"];
        run(Command::new(&python).args(pip).args(PACKAGES));
        fs::write(whole, "").unwrap();
    }
    python
}

fn run(command: &mut Command) -> String {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}{failed}");
    said
}

/// Runs a program of this folder against a stand-in of its own.
async fn holds(program: &'static str) {
    let provider = Provider::start().await;
    let address = provider.address.to_string();
    let asked = spawn_blocking(move || {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wires");
        // Nothing that the machine is set up with for other clients.
        let mut python = Command::new(python());
        let python = python.env_clear().arg("-I").arg(folder.join(program));
        run(python.arg(address))
    });
    let said = asked.await.unwrap();
    assert!(said.ends_with("all hold\n"), "{said}");
}

#[tokio::test]
async fn the_openai_sdk_finds_what_it_expects_of_a_chat() {
    holds("chat.py").await;
}

#[tokio::test]
async fn the_openai_sdk_finds_what_it_expects_of_responses_and_the_older_apis() {
    holds("responses.py").await;
}

#[tokio::test]
async fn the_anthropic_sdk_finds_what_it_expects_of_messages() {
    holds("messages.py").await;
}
