//! A worker process, and short ways to ask it.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    ops::Deref,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, Once, mpsc},
    thread,
    time::{Duration, Instant},
};

use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use weir_worker_api::worker_client::WorkerClient;

/// Long enough for a loaded machine, short enough to find out that something hangs.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A process that serves the example's model; it is killed when it is dropped.
pub struct Worker {
    child: Child,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    pub client: Client,
    /// Lines on standard error.
    said: Arc<Mutex<Vec<String>>>,
    hearing: Option<thread::JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

/// A process that may not serve yet.
pub struct Starting {
    worker: Worker,
    lines: mpsc::Receiver<String>,
}

impl Starting {
    fn new(source: &str, model: &Path, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("termination-log");
        let mut child = spawn(source, model, &log, args);
        let stderr = child.stderr.take().unwrap();
        let (tx, lines) = mpsc::channel();
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = said.clone();
        let hearing = thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                heard.lock().unwrap().push(line.clone());
                // Kept flowing to the end, so that the worker never waits for its reader.
                let _ = tx.send(line);
            }
        });
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            rustls::crypto::ring::default_provider()
                .install_default()
                .unwrap();
        });
        let admin = address(&lines, "admin");
        let worker = Worker {
            child,
            address: admin,
            admin,
            client: Client::new(),
            said,
            hearing: Some(hearing),
            _folder: folder,
        };
        Self { worker, lines }
    }

    /// Waits until its port is there, served or not.
    pub fn opened(&mut self) {
        self.worker.address = address(&self.lines, "opened");
    }

    /// Waits until it serves.
    pub fn listening(&mut self) {
        self.worker.address = address(&self.lines, "address");
    }

    pub fn worker(self) -> Worker {
        self.worker
    }
}

impl Deref for Starting {
    type Target = Worker;

    fn deref(&self) -> &Worker {
        &self.worker
    }
}

/// The address that a log line says under `name`.
fn address(lines: &mpsc::Receiver<String>, name: &str) -> SocketAddr {
    loop {
        let line = lines.recv_timeout(PATIENCE);
        let line = line.expect("the worker says where it is");
        let line: Value = serde_json::from_str(&line).unwrap_or_default();
        let field = line.pointer(&format!("/fields/{name}"));
        let field = field.or(line.get(name)).and_then(Value::as_str);
        if let Some(address) = field.and_then(|field| field.parse().ok()) {
            return address;
        }
    }
}

/// What a worker said that did not start.
pub struct Failed {
    pub status: ExitStatus,
    /// Lines on standard error that are no log entries.
    pub said: Vec<String>,
    pub termination_log: String,
}

impl Worker {
    pub async fn start(args: &[&str]) -> Self {
        Self::serving(&triage(), args).await
    }

    /// With another model than the example's.
    pub async fn serving(model: &Path, args: &[&str]) -> Self {
        let mut starting = Starting::new("file:///model", model, args);
        starting.listening();
        starting.worker()
    }

    /// With a model from elsewhere, as soon as its admin port is there.
    pub fn fetching(source: &str, args: &[&str]) -> Starting {
        Starting::new(source, &triage(), args)
    }
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("http://{}{path}", self.address))
    }

    pub fn post(&self, body: &Value) -> RequestBuilder {
        let url = format!("http://{}/v1/chat/completions", self.address);
        self.client.post(url).json(body)
    }

    /// A whole answer, which must be one.
    pub async fn chat(&self, body: &Value) -> Value {
        let response = self.post(body).send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{status}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// The pieces of a streamed answer, and whether it ended with its mark.
    pub async fn stream(&self, body: &Value) -> (Vec<Value>, bool) {
        pieces(self.post(body).send().await.unwrap()).await
    }

    /// Status and error of a request that must be refused.
    pub async fn refused(&self, body: &Value) -> (u16, Value) {
        error_of(self.post(body).send().await.unwrap()).await
    }

    pub async fn grpc(&self) -> WorkerClient<tonic::transport::Channel> {
        let url = format!("http://{}", self.address);
        WorkerClient::connect(url).await.unwrap()
    }

    pub async fn admin(&self, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.admin);
        let response = self.client.get(url).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub async fn report(&self) -> Value {
        serde_json::from_str(&self.admin("/load").await.1).unwrap()
    }

    /// Waits until the worker's own report is as wanted.
    pub async fn until(&self, wanted: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut report = self.report().await;
        while !wanted(&report["worker"]) {
            assert!(Instant::now() < deadline, "never reached: {report}");
            let after = report["version"].as_u64().unwrap();
            let (_, text) = self.admin(&format!("/load?after={after}")).await;
            report = serde_json::from_str(&text).unwrap();
        }
    }

    pub async fn until_idle(&self) {
        self.until(|load| load["running"] == 0 && load["waiting"] == 0)
            .await;
    }

    /// Waits for a line on standard error that has all of these in it.
    pub async fn until_said(&self, parts: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = self.said.lock().unwrap().clone();
            let is_it = |line: &&String| parts.iter().all(|part| line.contains(part));
            if let Some(line) = said.iter().find(is_it) {
                return line.clone();
            }
            assert!(Instant::now() < deadline, "{parts:?} not said: {said:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// After the process has ended, and its last words with it.
    pub fn expect_unsaid(&mut self, part: &str) {
        self.hearing.take().unwrap().join().unwrap();
        let said = self.said.lock().unwrap();
        assert!(!said.iter().any(|line| line.contains(part)), "{said:#?}");
    }

    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks the process to end.
    pub fn terminate(&self) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the end without blocking the connections that this runtime drives.
    pub async fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the worker does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a worker that must not start.
pub fn fail_to_start(source: &str, model: &Path, args: &[&str]) -> Failed {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("termination-log");
    let mut child = spawn(source, model, &log, args);
    let mut text = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('{'));
    Failed {
        status: child.wait().unwrap(),
        said: lines.map(str::to_owned).collect(),
        termination_log: std::fs::read_to_string(log).unwrap_or_default(),
    }
}

/// `model` appears as `/model` below the root of files.
fn spawn(source: &str, model: &Path, termination_log: &Path, args: &[&str]) -> Child {
    let root = termination_log.with_file_name("root");
    std::fs::create_dir(&root).unwrap();
    std::os::unix::fs::symlink(model, root.join("model")).unwrap();
    Command::new(env!("CARGO_BIN_EXE_weir-worker"))
        .args(["--model-name", "triage", "--source", source])
        // As variables, so that a test's own flags win.
        .env("WEIR_LISTEN", "127.0.0.1:0")
        .env("WEIR_ADMIN", "127.0.0.1:0")
        .args(["--log-format", "json", "--threads", "1"])
        .arg("--file-root")
        .arg(&root)
        .arg("--volumes-root")
        .arg(&root)
        .arg("--termination-log")
        .arg(termination_log)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

pub fn triage() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.join("../../examples/triage/model")
        .canonicalize()
        .unwrap()
}

/// A copy of the example's model, to be damaged.
pub fn copy() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(triage()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    folder
}

/// A request about one ticket, with more fields.
pub fn about(ticket: &str, more: Value) -> Value {
    let mut body = json!({
        "model": "triage",
        "messages": [{ "role": "user", "content": ticket }],
    });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// A request whose answer goes on to the end of the context.
pub fn endless(more: Value) -> Value {
    let mut body = about(
        "hello",
        json!({ "temperature": 2, "repetition_penalty": 3, "seed": 1, "ignore_eos": true }),
    );
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

pub async fn pieces(response: Response) -> (Vec<Value>, bool) {
    assert_eq!(response.status(), 200);
    let kind = response.headers()["content-type"].to_str().unwrap();
    assert!(kind.starts_with("text/event-stream"), "{kind}");
    let text = response.text().await.unwrap();
    let mut pieces = Vec::new();
    let mut ended = false;
    for frame in text.split_terminator("\n\n") {
        let data = frame.strip_prefix("data: ").expect("every event is data");
        assert!(!ended, "nothing follows the end mark");
        if data == "[DONE]" {
            ended = true;
        } else {
            pieces.push(serde_json::from_str(data).unwrap());
        }
    }
    (pieces, ended)
}

pub async fn error_of(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let again = response.headers()["x-should-retry"].to_str().unwrap();
    assert_eq!(again == "true", [429, 500, 503].contains(&status));
    let body: Value = response.json().await.unwrap();
    let error = body["error"].clone();
    assert!(
        error["message"].is_string() && error["type"].is_string(),
        "{body}"
    );
    (status, error)
}
