//! `weir up` as a process, what it says, and what it answers.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Far longer than anything here takes on any machine that can run it.
const WITHIN: Duration = Duration::from_secs(120);

/// It runs until it is dropped.
pub struct Up {
    child: Mutex<Child>,
    id: u32,
    router: SocketAddr,
    admin: SocketAddr,
    /// What it says, from where it tells its admin port on.
    lines: Mutex<Receiver<String>>,
    _state: tempfile::TempDir,
}

/// One whole answer.
pub struct Answer {
    pub text: String,
    /// Of its decision.
    pub id: String,
}

impl Up {
    /// Serves these files, with the triage model at `/models/triage`.
    pub fn start(files: &str) -> Self {
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
        let mut address = |beginning: &str| {
            let line =
                said.find_map(|line| line.unwrap().strip_prefix(beginning).map(str::to_owned));
            let url = line.expect("it says its addresses");
            let url = url.trim().trim_start_matches("http://");
            url.trim_end_matches("/v1").parse().unwrap()
        };
        let (router, admin) = (address("OpenAI base URL"), address("admin"));
        let (tell, lines) = channel();
        thread::spawn(move || {
            // It goes on talking, and has to be heard, also by nobody.
            said.map_while(Result::ok)
                .for_each(|line| drop(tell.send(line)));
        });
        Self {
            id: child.id(),
            child: Mutex::new(child),
            router,
            admin,
            lines: Mutex::new(lines),
            _state: state,
        }
    }

    /// Waits until it says something that begins so.
    pub fn says(&self, beginning: &str) {
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

    /// The worker processes there are.
    pub fn workers(&self) -> Vec<i32> {
        let mut listed = Command::new("ps");
        let listed = listed.args(["--no-headers", "-o", "pid,args", "--ppid"]);
        let listed = listed.arg(self.id.to_string()).output().unwrap();
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let workers = listed.lines().filter(|line| line.contains(" worker "));
        let ids = workers.map(|line| line.split_whitespace().next().unwrap().parse().unwrap());
        ids.collect()
    }

    pub fn has_workers_soon(&self, count: usize) {
        let began = Instant::now();
        while self.workers().len() != count {
            let workers = self.workers();
            assert!(began.elapsed() < WITHIN, "{} workers", workers.len());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// An answer of so many tokens as a stream, which is whole.
    pub fn read(&self, model: &str, ticket: usize, tokens: usize) -> Answer {
        let body = format!(
            r#"{{"model": "{model}", "stream": true, "temperature": 0, "max_tokens": {tokens}, "ignore_eos": true,
                "messages": [{{"role": "user", "content": "Ticket {ticket}: my invoice is wrong"}}]}}"#
        );
        let head = format!(
            "POST /v1/chat/completions HTTP/1.0\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let said = asked(self.router, &(head + &body));
        assert!(said.contains("data: [DONE]"), "it was cut: {said}");
        let mut lines = said.lines();
        let id = lines.find_map(|line| line.strip_prefix("x-weir-decision: "));
        let pieces = said.lines().filter_map(|line| {
            let chunk: Value = serde_json::from_str(line.strip_prefix("data: ")?).ok()?;
            assert!(chunk.get("error").is_none(), "{chunk}");
            Some(chunk["choices"][0]["delta"]["content"].as_str()?.to_owned())
        });
        Answer {
            text: pieces.collect(),
            id: id.unwrap().to_owned(),
        }
    }

    /// How often another replica went on with the answer.
    pub fn resumed(&self, answer: &Answer) -> u64 {
        let head = format!(
            "GET /v1/decisions/{} HTTP/1.0\r\nhost: x\r\n\r\n",
            answer.id
        );
        let said = asked(self.router, &head);
        let record: Value = serde_json::from_str(said.split_once("\r\n\r\n").unwrap().1).unwrap();
        let attempts = record["attempts"].as_array().unwrap().iter();
        let resumed = attempts.filter_map(|attempt| attempt["resumed"].as_u64());
        resumed.sum()
    }

    /// What `/readyz` answers.
    pub fn readiness(&self) -> String {
        asked(self.admin, "GET /readyz HTTP/1.0\r\nhost: x\r\n\r\n")
    }

    pub fn interrupt(&self) {
        kill(Pid::from_raw(self.id as i32), Signal::SIGTERM).unwrap();
    }

    pub fn ended(&self) -> ExitStatus {
        self.child.lock().unwrap().wait().unwrap()
    }
}

fn asked(address: SocketAddr, request: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut said = String::new();
    socket.read_to_string(&mut said).unwrap();
    said
}

impl Drop for Up {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        // One that is waited for already has no id of its own any more.
        if child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = kill(Pid::from_raw(self.id as i32), Signal::SIGTERM);
            let _ = child.wait();
        }
    }
}
