//! Real workers that are killed while they write: no answer is lost, cut or repeated.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

const FILES: &str = "
apiVersion: weir.dev/v1alpha1
kind: SLMDeployment
metadata: { name: triage }
spec: { model: { source: 'file:///models/triage' }, replicas: 3 }
---
apiVersion: weir.dev/v1alpha1
kind: RoutePolicy
metadata: { name: alone }
spec: { models: [alone], tiers: [{ name: small, deployment: { name: triage } }], idleTimeout: 20s }
";
/// A worker is killed so often, so many times.
const EVERY: Duration = Duration::from_millis(600);
const KILLED: usize = 6;
/// Streams at once.
const READERS: usize = 6;
const TOKENS: usize = 300;

struct Up {
    child: Child,
    router: SocketAddr,
    _state: tempfile::TempDir,
}

impl Up {
    fn start() -> Self {
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join("app.yaml");
        fs::write(&file, FILES).unwrap();
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
        for _ in 0..3 {
            let ready = said.find(|line| line.as_ref().unwrap().starts_with("ready "));
            assert!(ready.is_some(), "no replica");
        }
        // It goes on talking, and has to be heard.
        thread::spawn(move || said.for_each(drop));
        Self {
            child,
            router: router.expect("it says where it listens"),
            _state: state,
        }
    }

    /// The worker processes there are.
    fn workers(&self) -> Vec<i32> {
        let mut listed = Command::new("ps");
        let listed = listed.args(["--no-headers", "-o", "pid,args", "--ppid"]);
        let listed = listed.arg(self.child.id().to_string()).output().unwrap();
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let workers = listed.lines().filter(|line| line.contains(" worker "));
        let ids = workers.map(|line| line.split_whitespace().next().unwrap().parse().unwrap());
        ids.collect()
    }

    /// One answer as a stream: its text, and the id of its decision.
    fn read(&self, ticket: usize) -> (String, String) {
        let body = format!(
            r#"{{"model": "alone", "stream": true, "temperature": 0, "max_tokens": {TOKENS}, "ignore_eos": true,
                "messages": [{{"role": "user", "content": "Ticket {ticket}: my invoice is wrong"}}]}}"#
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
        let id = said
            .lines()
            .find_map(|line| line.strip_prefix("x-weir-decision: "));
        let pieces = said.lines().filter_map(|line| {
            let chunk: serde_json::Value =
                serde_json::from_str(line.strip_prefix("data: ")?).ok()?;
            assert!(chunk.get("error").is_none(), "{chunk}");
            Some(chunk["choices"][0]["delta"]["content"].as_str()?.to_owned())
        });
        (pieces.collect(), id.unwrap().to_owned())
    }

    /// How often another replica went on with the answer.
    fn resumed(&self, id: &str) -> u64 {
        let mut socket = TcpStream::connect(self.router).unwrap();
        let head = format!("GET /v1/decisions/{id} HTTP/1.0\r\nhost: x\r\n\r\n");
        socket.write_all(head.as_bytes()).unwrap();
        let mut said = String::new();
        socket.read_to_string(&mut said).unwrap();
        let body = said.split_once("\r\n\r\n").unwrap().1;
        let record: serde_json::Value = serde_json::from_str(body).unwrap();
        let attempts = record["attempts"].as_array().unwrap();
        attempts
            .iter()
            .filter_map(|attempt| attempt["resumed"].as_u64())
            .sum()
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
fn streams_are_the_same_whoever_is_killed_meanwhile() {
    let up = Up::start();
    let expected: Vec<String> = (0..READERS).map(|ticket| up.read(ticket).0).collect();
    let (is_over, answers, resumed) = (
        AtomicBool::new(false),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    thread::scope(|threads| {
        for (ticket, expected) in expected.iter().enumerate() {
            let (up, is_over, answers, resumed) = (&up, &is_over, &answers, &resumed);
            threads.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let (text, id) = up.read(ticket);
                    assert_eq!(text, *expected);
                    answers.fetch_add(1, Ordering::Relaxed);
                    resumed.fetch_add(up.resumed(&id) as usize, Ordering::Relaxed);
                }
            });
        }
        let mut killed = 0;
        while killed < KILLED {
            thread::sleep(EVERY);
            let workers = up.workers();
            // One is always left to go on.
            if workers.len() < 2 {
                continue;
            }
            let id = nix::unistd::Pid::from_raw(workers[killed % workers.len()]);
            let _ = nix::sys::signal::kill(id, nix::sys::signal::SIGKILL);
            killed += 1;
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let (answers, resumed) = (answers.into_inner(), resumed.into_inner());
    assert!(answers > READERS, "{answers} answers");
    assert!(resumed > 0, "none of {answers} answers was resumed");
}
