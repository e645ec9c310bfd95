//! `weir up` scales by demand, with real workers: to zero and back, up and down, and no ask is lost.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Four places for each replica, so that a few asks are more than one can take.
const SCALED: &str = "
apiVersion: weir.dev/v1alpha1
kind: SLMDeployment
metadata: { name: triage }
spec:
  model: { source: 'file:///models/triage' }
  scaling: { min: 0, max: 2, concurrency: 4, utilization: '1', downAfter: 2s, zeroAfter: 3s }
";
const LOST: &str = "
---
apiVersion: weir.dev/v1alpha1
kind: SLMDeployment
metadata: { name: lost }
spec: { model: { source: 'file:///nowhere/lost' } }
";
const READERS: usize = 12;
/// Those of them that go on while a replica goes: by themselves they need one, and it goes from under them.
const LATE_READERS: usize = 2;
const TOKENS: usize = 200;
/// Far longer than anything here takes on any machine that can run it.
const WITHIN: Duration = Duration::from_secs(120);

struct Up {
    child: Child,
    router: SocketAddr,
    /// What it says, from where it listens on.
    lines: Mutex<Receiver<String>>,
    _state: tempfile::TempDir,
}

impl Up {
    fn start(files: &str) -> Self {
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join("app.yaml");
        fs::write(&file, files).unwrap();
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/triage/model");
        let mut child = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["up", "--listen=127.0.0.1:0", "--file"])
            .arg(file)
            .arg(format!("--state={}", state.path().join("state").display()))
            .arg(format!("--mount=/models/triage={}", model.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let router = said.find_map(|line| {
            let line = line.unwrap();
            let url = line.split_once("http://")?.1;
            url.trim_end_matches("/v1").parse().ok()
        });
        let (tell, lines) = channel();
        thread::spawn(move || {
            // Whoever stops listening has seen enough.
            said.map_while(Result::ok)
                .all(|line| tell.send(line).is_ok())
        });
        Self {
            child,
            router: router.expect("it says where it listens"),
            lines: Mutex::new(lines),
            _state: state,
        }
    }

    /// Waits until it says something that begins so.
    fn says(&self, beginning: &str) {
        let (began, mut said) = (Instant::now(), Vec::new());
        let lines = self.lines.lock().unwrap();
        while let Ok(line) = lines.recv_timeout(WITHIN.saturating_sub(began.elapsed())) {
            // Columns are for people.
            let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
            if line.starts_with(beginning) {
                return;
            }
            said.push(line);
        }
        panic!("nothing begins with {beginning:?} in {said:#?}");
    }

    fn workers(&self) -> usize {
        let mut listed = Command::new("ps");
        let listed = listed.args(["--no-headers", "-o", "args", "--ppid"]);
        let listed = listed.arg(self.child.id().to_string()).output().unwrap();
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let workers = listed.lines().filter(|line| line.contains(" worker "));
        workers.count()
    }

    fn has_workers_soon(&self, count: usize) {
        let began = Instant::now();
        while self.workers() != count {
            assert!(began.elapsed() < WITHIN, "{} workers", self.workers());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// The text of one answer, which is whole.
    fn read(&self) -> String {
        let body = format!(
            r#"{{"model": "triage", "stream": true, "temperature": 0, "max_tokens": {TOKENS}, "ignore_eos": true,
                "messages": [{{"role": "user", "content": "My invoice is wrong"}}]}}"#
        );
        let mut socket = TcpStream::connect(self.router).unwrap();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.0\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        socket.write_all((head + &body).as_bytes()).unwrap();
        let mut said = String::new();
        socket.read_to_string(&mut said).unwrap();
        assert!(said.contains("data: [DONE]"), "it was cut: {said}");
        let pieces = said.lines().filter_map(|line| {
            let chunk: serde_json::Value =
                serde_json::from_str(line.strip_prefix("data: ")?).ok()?;
            assert!(chunk.get("error").is_none(), "{chunk}");
            Some(chunk["choices"][0]["delta"]["content"].as_str()?.to_owned())
        });
        pieces.collect()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let id = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        let _ = nix::sys::signal::kill(id, nix::sys::signal::SIGTERM);
        let _ = self.child.wait();
    }
}

#[test]
fn replicas_come_with_the_asks_and_go_with_them_and_no_ask_is_lost() {
    let up = Up::start(SCALED);
    up.says("ready triage");
    up.says("scaled triage from 1 to 0: ToZero");
    up.has_workers_soon(0);
    let expected = up.read();
    assert!(!expected.is_empty());
    up.says("scaled triage from 0 to 1: FromZero");

    let (is_over, is_quiet) = (AtomicBool::new(false), AtomicBool::new(false));
    let answers = AtomicUsize::new(0);
    thread::scope(|threads| {
        for reader in 0..READERS {
            let enough = match reader < LATE_READERS {
                true => &is_quiet,
                false => &is_over,
            };
            let (up, expected, answers) = (&up, &expected, &answers);
            threads.spawn(move || {
                while !enough.load(Ordering::Relaxed) {
                    assert_eq!(up.read(), *expected);
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let watched = threads.spawn(|| {
            up.says("scaled triage from 1 to 2");
            up.says("ready triage");
            assert_eq!(up.workers(), 2);
            is_over.store(true, Ordering::Relaxed);
            up.says("scaled triage from 2 to 1: Quiet");
            up.has_workers_soon(1);
        });
        let watched = watched.join();
        is_over.store(true, Ordering::Relaxed);
        is_quiet.store(true, Ordering::Relaxed);
        assert!(watched.is_ok(), "see above");
    });
    assert!(answers.into_inner() > READERS);
    up.says("scaled triage from 1 to 0: ToZero");
    up.has_workers_soon(0);
}

#[test]
fn a_replica_that_cannot_start_is_tried_again_while_others_serve() {
    let up = Up::start(&(SCALED.replace("min: 0", "min: 1") + LOST));
    for _ in 0..3 {
        up.says("ended lost: ModelNotFound");
    }
    assert!(!up.read().is_empty());
}
