//! What the SDKs ask: one `weir up` with a deployment, and a policy for each kind of provider.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use weir_process::Process;

/// The upstreams by their names in the table, and what they are to a policy.
const PROVIDERS: [(&str, &str, &str); 3] = [
    ("compatible", "OpenAICompatible", "/v1"),
    ("openai", "OpenAI", "/v1"),
    ("anthropic", "Anthropic", ""),
];
/// The key of the one policy that asks for one.
const KEY: &str = "sk-of-this-test";

const PRICE: &str = "price: { inputPerMillion: '3', outputPerMillion: '15' }";
/// What policies are called, what stands before their endpoint, and what else they say.
const POLICIES: [(&str, &str, &str); 6] = [
    ("by", "", ""),
    ("keyed", "", "auth: { keysSecretRef: { name: keys } }, "),
    ("limited", "", "limits: { asksPerMinute: 20 }, "),
    ("cached", "", "cache: { exact: 10m }, "),
    (
        "broke",
        "",
        "budget: [{ period: Month, limit: '0', onExhausted: Reject }], ",
    ),
    (
        "thrifty",
        "{ name: small, deployment: { name: triage } }, ",
        "budget: [{ period: Month, limit: '0' }], \
         rules: [{ name: all, when: {}, then: { start: one } }], ",
    ),
];

/// Everything that runs; killed if the test fails before it ended.
pub struct Up {
    child: Child,
    address: SocketAddr,
    stand_ins: Vec<SocketAddr>,
    _process: Process,
    _state: TempDir,
}

impl Up {
    pub async fn start() -> Self {
        // The default client brings a TLS provider, which nobody has installed here.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let args = weir_stand_in::Args::embedded();
        let process = Process::start("weir-stand-in", &args.process).unwrap();
        let mut stand_ins = Vec::new();
        for _ in PROVIDERS {
            stand_ins.push(weir_stand_in::serve(&args, &process).await.unwrap());
        }
        let state = tempfile::tempdir().unwrap();
        let (child, address) = weir_up(state.path(), &files(&stand_ins));
        Self {
            child,
            address,
            stand_ins,
            _process: process,
            _state: state,
        }
    }

    /// Where the router is, the key, and what each upstream is asked for and controlled by.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            format!("http://{}", self.address),
            KEY.to_owned(),
            "worker=triage".to_owned(),
        ];
        let stand_ins = PROVIDERS.iter().zip(&self.stand_ins);
        arguments.extend(stand_ins.map(|((name, ..), at)| format!("{name}=by-{name}@{at}")));
        arguments
    }
}

impl Up {
    /// The answers of one provider take their time from now on.
    pub async fn drip(&self, provider: &str) {
        let mut names = PROVIDERS.iter().map(|(name, ..)| *name);
        let place = names.position(|name| name == provider).unwrap();
        let faults = format!("http://{}/control/faults", self.stand_ins[place]);
        let plan = r#"{"fault": "drip=1ms", "count": 100}"#;
        let request = reqwest::Client::new().post(faults).body(plan);
        let request = request.header("content-type", "application/json");
        assert!(request.send().await.unwrap().status().is_success());
    }

    /// Ends the router without a word.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.kill();
    }
}

fn files(stand_ins: &[SocketAddr]) -> String {
    let mut files =
        "apiVersion: weir.dev/v1alpha1\nkind: SLMDeployment\nmetadata: { name: triage }\n\
                     spec: { model: { source: 'file:///models/triage' } }\n"
            .to_owned();
    for ((name, provider, base), at) in PROVIDERS.iter().zip(stand_ins) {
        let endpoint = format!(
            "{{ name: one, endpoint: {{ provider: {provider}, model: any, baseUrl: 'http://{at}{base}', {PRICE} }} }}"
        );
        for (policy, before, more) in POLICIES {
            let policy = format!("{policy}-{name}");
            files.push_str(&format!(
                "---\napiVersion: weir.dev/v1alpha1\nkind: RoutePolicy\nmetadata: {{ name: {policy} }}\n\
                 spec: {{ models: [{policy}], {more}tiers: [{before}{endpoint}] }}\n"
            ));
        }
    }
    files
}

/// Starts it, and waits until the deployment answers.
fn weir_up(state: &Path, files: &str) -> (Child, SocketAddr) {
    let file = state.join("app.yaml");
    fs::write(&file, files).unwrap();
    let key = state.join("key");
    fs::write(&key, format!("plain:{KEY}")).unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/triage/model");
    let mut child = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["up", "--listen=127.0.0.1:0", "--file"])
        .arg(file)
        .arg(format!("--state={}", state.join("state").display()))
        .arg(format!("--mount=/models/triage={}", model.display()))
        .arg(format!("--secret=keys/acme=file:{}", key.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = said.find_map(|line| {
        let line = line.unwrap();
        let url = line.split_once("http://")?.1;
        url.trim_end_matches("/v1").parse().ok()
    });
    let ready = said.find(|line| {
        let line = line.as_ref().unwrap();
        assert!(!line.starts_with("ended "), "{line}");
        line.starts_with("ready ")
    });
    assert!(ready.is_some(), "no replica");
    (child, address.expect("it says where it listens"))
}

/// Whether generated files are written again.
#[expect(
    clippy::disallowed_methods,
    reason = "a switch of the test, not of a program"
)]
pub fn is_rewriting() -> bool {
    std::env::var_os("WEIR_REWRITE").is_some()
}
