//! Real servers, built from the Go modules in `../servers`, once per content. The router's tests use this
//! file too.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

pub const USER: &str = "anna";
pub const PASSWORD: &str = "a-password-of-tests";

/// A server, until it is dropped.
pub struct Program {
    process: Child,
    pub address: String,
}

impl Drop for Program {
    fn drop(&mut self) {
        // It also ends by itself when its input does.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The server of that kind; built first, if need be.
///
/// # Panics
/// Where it cannot be built: a check that is skipped in silence is none.
pub fn start(arguments: &[&str]) -> Program {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    // For the clients that a test makes itself; an error means that another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut process = Command::new(BUILT.get_or_init(built))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut address = String::new();
    let output = process.stdout.take().unwrap();
    BufReader::new(output).read_line(&mut address).unwrap();
    assert!(!address.is_empty(), "the server ended before it served");
    let address = address.trim().to_owned();
    Program { process, address }
}

fn built() -> PathBuf {
    let mut above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let source = above.find_map(|folder| {
        let source = folder.join("worker/sources/tests/servers");
        source.is_dir().then_some(source)
    });
    let source = source.expect("the servers lie in the repository");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("weir-sources-servers");
    // Go keeps what it built by content, so that this is quick when nothing changed.
    let built = Command::new("go")
        .current_dir(source)
        .args([
            "build",
            "-mod=readonly",
            "-trimpath",
            "-buildvcs=false",
            "-o",
        ])
        .arg(&program)
        .arg(".")
        .env_remove("GOFLAGS")
        .output();
    let built = built.expect("the tests need Go: .ci/needs go");
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(
        built.status.success(),
        "the servers cannot be built: {said}"
    );
    program
}
