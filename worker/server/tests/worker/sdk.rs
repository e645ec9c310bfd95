//! The real `openai` SDK and LangChain as clients.
//!
//! They are fetched by name through pip, as it is set up on this machine, into the build folder, once.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tokio::task::spawn_blocking;

use crate::harness::Worker;

/// Releases that the tests speak to, so that a new one does not surprise them.
const PACKAGES: [&str; 2] = ["openai==3.52.*", "langchain-openai==1.7.*"];

/// A Python that has the packages.
///
/// # Panics
/// Where they cannot be had, since a check that is skipped in silence is none.
fn python() -> PathBuf {
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

#[tokio::test]
async fn the_openai_sdk_and_langchain_find_what_they_expect() {
    let worker = Worker::start(&[]).await;
    let url = format!("http://{}/v1", worker.address);
    let asked = spawn_blocking(move || {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/worker/sdk.py");
        let mut program = Command::new(python());
        // Nothing that the machine is set up with for other clients.
        program
            .env_clear()
            .arg("-I")
            .arg(script)
            .args([&url, "512"]);
        run(&mut program)
    });
    let said = asked.await.unwrap();
    assert!(said.ends_with("all hold\n"), "{said}");
}
