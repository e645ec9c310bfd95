//! The operator as a process, and what tests ask the API server.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use weir_e2e::{ApiServer, succeed};

/// How long anything may take to come about: far more than it takes.
const PATIENCE: Duration = Duration::from_secs(40);

/// A running operator, which ends when it is dropped.
pub struct Operator {
    child: Child,
    admin: String,
    log: PathBuf,
}

impl Operator {
    /// Starts an operator for one namespace, where its Lease is as well.
    fn start(server: &ApiServer, namespace: &str, as_whom: (&str, &str)) -> Self {
        Self::start_by((server, server.kubeconfig()), namespace, as_whom, &[])
    }

    fn start_by(
        (server, kubeconfig): (&ApiServer, &Path),
        namespace: &str,
        (identity, lease): (&str, &str),
        more: &[&str],
    ) -> Self {
        let port = free_port();
        let folder = server
            .folder()
            .map_or_else(std::env::temp_dir, PathBuf::from);
        let log = folder.join(format!("operator-{namespace}-{identity}.log"));
        let file = File::create(&log).unwrap();
        let child = Command::new(program("weir-operator"))
            .env("KUBECONFIG", kubeconfig)
            .args(["--watch-namespaces", namespace, "--namespace", namespace])
            .args([
                "--identity",
                identity,
                "--log-level=weir_operator=debug,info",
            ])
            .args(more)
            .args(["--lease", lease])
            .arg(format!("--admin=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self {
            child,
            admin: format!("http://127.0.0.1:{port}"),
            log,
        }
    }

    /// Ends it as Kubernetes does, and waits for the end.
    pub fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        assert!(self.child.wait().unwrap().success(), "{}", self.said());
    }

    /// Ends it without a chance to clean up.
    pub fn crash(mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().unwrap();
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// The sum of a metric over its labels; nothing while the operator does not answer.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let answer = reqwest::get(format!("{}/metrics", self.admin)).await.ok()?;
        let text = answer.text().await.ok()?;
        let lines = text.lines().filter(|line| line.starts_with(name));
        Some(
            lines
                .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
                .sum(),
        )
    }

    /// Waits until it leads.
    pub async fn leads(&self) {
        let began = Instant::now();
        while self.metric("weir_operator_leading").await != Some(1.0) {
            assert!(began.elapsed() < PATIENCE, "it never led: {}", self.said());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until it has made some passes, and no write for a second.
    pub async fn quiet(&self) {
        let began = Instant::now();
        let mut writes = None;
        while self.metric("weir_operator_reconciles_total").await < Some(1.0)
            || self.metric("weir_operator_writes_total").await != writes
        {
            assert!(
                began.elapsed() < PATIENCE,
                "it never rests: {}",
                self.said()
            );
            writes = self.metric("weir_operator_writes_total").await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Its log, for a test that fails.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
        if std::thread::panicking() {
            #[allow(clippy::print_stderr, reason = "evidence beside a failed test")]
            {
                eprintln!("operator said:\n{}", self.said());
            }
        }
    }
}

/// A namespace of an API server, as one test sees it.
pub struct World {
    pub server: &'static ApiServer,
    pub namespace: String,
}

impl World {
    pub async fn new(prefix: &str) -> Self {
        let server = ApiServer::shared().await;
        Self {
            server,
            namespace: server.namespace(prefix).await,
        }
    }

    pub fn operator(&self, identity: &str) -> Operator {
        Operator::start(self.server, &self.namespace, (identity, "weir-operator"))
    }

    /// One with more flags, which waits for nobody: only after one that is surely gone.
    pub fn operator_with(&self, identity: &str, more: &[&str]) -> Operator {
        let names = (identity, identity);
        let by = (self.server, self.server.kubeconfig());
        Operator::start_by(by, &self.namespace, names, more)
    }

    /// One that finds the API server by another kubeconfig.
    pub fn operator_by(&self, kubeconfig: &Path, identity: &str) -> Operator {
        let as_whom = (identity, "weir-operator");
        Operator::start_by((self.server, kubeconfig), &self.namespace, as_whom, &[])
    }

    /// One that waits for nobody: only after one that is surely gone.
    pub fn operator_at_once(&self, identity: &str) -> Operator {
        Operator::start(self.server, &self.namespace, (identity, identity))
    }

    /// kubectl in the namespace, with arguments on one line.
    pub fn kubectl(&self, arguments: &str) -> String {
        self.try_kubectl(arguments).unwrap()
    }

    fn try_kubectl(&self, arguments: &str) -> anyhow::Result<String> {
        let arguments = format!("--namespace {} {arguments}", self.namespace);
        self.server.kubectl().run(&arguments)
    }

    /// `weir` in the namespace, with arguments on one line.
    pub fn weir(&self, arguments: &str) -> anyhow::Result<String> {
        let mut weir = Command::new(program("weir"));
        weir.env("KUBECONFIG", self.server.kubeconfig())
            .args(arguments.split(' '))
            .args(["--namespace", &self.namespace]);
        weir_e2e::output(&mut weir)
    }

    /// Applies YAML into the namespace.
    pub fn apply(&self, yaml: &str) {
        let arguments = format!("--namespace {} apply -f -", self.namespace);
        let said = self.server.kubectl().said(&arguments, yaml).unwrap();
        assert!(said.ok, "{}", said.stderr);
    }

    pub fn patch(&self, object: &str, arguments: &str, patch: &Value) {
        let line = format!(
            "--namespace {} patch {object} {arguments} --type=merge",
            self.namespace
        );
        let mut command = self.server.kubectl().command(&line);
        succeed(command.arg("--patch").arg(patch.to_string())).unwrap();
    }

    pub fn get(&self, object: &str) -> Option<Value> {
        let text = self
            .try_kubectl(&format!("get {object} --output=json"))
            .ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Names of all objects of a kind that the operator manages, sorted.
    pub fn managed(&self, kind: &str) -> Vec<String> {
        let selector = "app.kubernetes.io/managed-by=weir";
        let text = self.kubectl(&format!("get {kind} --selector {selector} --output=name"));
        let mut names: Vec<String> = text
            .lines()
            .filter_map(|line| Some(line.split_once('/')?.1.to_owned()))
            .collect();
        names.sort();
        names
    }

    /// `status/reason` of a condition; empty while it is not there.
    pub fn condition(&self, object: &str, type_: &str) -> String {
        let object = self.get(object).unwrap_or_default();
        let condition = condition(&object, type_);
        let status = condition.split_once(':').map(|(status, _)| status);
        status.unwrap_or_default().to_owned()
    }

    /// The revision of the deployment that serves; empty while there is none.
    pub fn revision(&self) -> String {
        let deployment = self.get("slm/triage").unwrap_or_default();
        let stable = deployment["status"]["rollout"]["stable"].as_str();
        stable.unwrap_or_default().to_owned()
    }

    /// Says in the status of a Deployment that its replicas are ready, as its controller would.
    pub fn make_ready(&self, deployment: &str, replicas: u32) {
        let status = serde_json::json!({ "status": {
            "observedGeneration": 1_000, "replicas": replicas, "updatedReplicas": replicas,
            "readyReplicas": replicas, "availableReplicas": replicas,
        }});
        self.patch(
            &format!("deployment/{deployment}"),
            "--subresource=status",
            &status,
        );
    }

    /// Makes a pod of the namespace's routers and says that it is ready, as a kubelet would.
    pub fn run_router(&self) {
        let router = self.get("deployment/weir-router").unwrap();
        let mut pod = router["spec"]["template"].clone();
        pod["apiVersion"] = "v1".into();
        pod["kind"] = "Pod".into();
        pod["metadata"]["name"] = "weir-router-pod".into();
        self.apply(&pod.to_string());
        let ready = serde_json::json!({ "status": { "conditions": [
            { "type": "Ready", "status": "True" },
        ] } });
        self.patch("pod/weir-router-pod", "--subresource=status", &ready);
    }
}

/// `status/reason: message` of a condition; empty while it is not there.
pub fn condition(object: &Value, type_: &str) -> String {
    let conditions = object["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    let found = conditions.find(|condition| condition["type"] == type_);
    found.map_or_else(String::new, |found| {
        let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
        format!("{}/{}: {}", text("status"), text("reason"), text("message"))
    })
}

/// Waits until `look` sees what is expected.
pub async fn until<T: PartialEq + std::fmt::Debug>(expected: T, mut look: impl FnMut() -> T) {
    let began = Instant::now();
    loop {
        let seen = look();
        if seen == expected {
            return;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "in {PATIENCE:?} it did not become {expected:?}, it is {seen:?}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A program of ours, built once as this test was.
fn program(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| match weir_e2e::given_programs() {
            Some(folder) => folder,
            None => weir_e2e::build_programs().unwrap(),
        })
        .join(name)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A deployment that is served from the image of its workers.
pub const TRIAGE: &str = "
apiVersion: weir.dev/v1alpha1
kind: SLMDeployment
metadata: { name: triage }
spec: { model: { source: file:///models/triage } }
";

/// A policy over it and a frontier.
pub const SUPPORT: &str = "
apiVersion: weir.dev/v1alpha1
kind: RoutePolicy
metadata: { name: support }
spec:
  models: [assistant]
  tiers:
    - { name: small, deployment: { name: triage } }
    - name: frontier
      endpoint:
        provider: OpenAI
        model: big
        apiKeySecretRef: { name: keys, key: openai }
";
