//! What signals do to a whole operating system process: this test binary, started again.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that panics has failed, and says so"
)]

use std::future::pending;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use weir_process::{Process, ProcessArgs};

/// Names the behaviour of the process that a test starts. Where it is not set, nobody did.
const BEHAVIOUR: &str = "WEIR_TEST_BEHAVIOUR";

#[allow(
    clippy::disallowed_methods,
    reason = "a switch of the test, not of a program"
)]
#[test]
fn started_by_the_other_tests() {
    let Some(behaviour) = std::env::var_os(BEHAVIOUR) else {
        return;
    };
    let args = ProcessArgs {
        log_level: "info".to_owned(),
        log_format: weir_process::LogFormat::Json,
        shutdown_deadline: Duration::from_secs(60),
        ..ProcessArgs::embedded()
    };
    let code = weir_process::run("weir-test", &args, async |process: Process| {
        match behaviour.to_str() {
            Some("orderly") => {}
            Some("stuck") => process.tasks().spawn("stuck", pending()),
            Some("failing") => anyhow::bail!("no such model\nat all"),
            Some("deaf") => pending().await,
            other => panic!("{other:?}"),
        }
        tracing::info!("running");
        process.finish().await
    });
    // The harness of a test exits with 0 whatever this returns, so the code goes out as text.
    eprintln!("code {}", if code == ExitCode::SUCCESS { 0 } else { 1 });
}

/// The started process, and what it has written.
struct Started {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Started {
    fn new(behaviour: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "started_by_the_other_tests", "--nocapture"])
            .env(BEHAVIOUR, behaviour)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr }
    }

    fn wait_for(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(
                self.stderr.read_line(&mut line).unwrap(),
                0,
                "ended without `{text}`"
            );
        }
    }

    fn send(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    fn rest(mut self) -> String {
        let mut text = String::new();
        self.stderr.read_to_string(&mut text).unwrap();
        self.child.wait().unwrap();
        text
    }
}

#[test]
fn a_signal_ends_the_process_in_order() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut started = Started::new("orderly");
        started.wait_for("running");
        started.send(signal);
        let text = started.rest();
        assert!(text.contains(&format!("\"reason\":\"{signal}\"")), "{text}");
        assert!(text.contains("\"message\":\"stopped\""), "{text}");
        assert!(text.contains("code 0"), "{text}");
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    for behaviour in ["stuck", "deaf"] {
        let mut started = Started::new(behaviour);
        if behaviour == "stuck" {
            started.wait_for("running");
        } else {
            started.wait_for("started");
        }
        started.send(Signal::SIGTERM);
        // Two signals at the same moment are one, to the kernel and to us.
        thread::sleep(Duration::from_millis(100));
        started.send(Signal::SIGTERM);
        let text = started.rest();
        assert!(text.contains("ending at once"), "{behaviour}: {text}");
        assert!(text.contains("code 1"), "{behaviour}: {text}");
    }
}

#[test]
fn an_error_at_the_start_is_one_line_and_a_code() {
    let text = Started::new("failing").rest();
    assert!(
        text.contains("\nweir-test: no such model at all\n"),
        "{text}"
    );
    assert!(text.contains("code 1"), "{text}");
}
