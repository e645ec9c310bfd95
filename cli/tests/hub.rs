//! `weir up` with a model of a hub, and one with a chat template that is not its model's own.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::fs;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

const COMMIT: &str = "5f1c2ab05f1c2ab05f1c2ab05f1c2ab05f1c2ab0";
const TOKEN: &str = "hf_only_for_this_test";

fn triage() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/triage/model")
}

/// A hub on loopback with the example's model as `acme/triage`, for whoever has the token. It has one
/// branch, knows no ranges, and never redirects.
struct Hub {
    address: SocketAddr,
    /// Paths that were asked for, with the token and without.
    asked: Arc<Mutex<Vec<(String, bool)>>>,
}

impl Hub {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let hub = Self {
            address: listener.local_addr().unwrap(),
            asked: Arc::default(),
        };
        let asked = hub.asked.clone();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let asked = asked.clone();
                thread::spawn(move || answer(connection.unwrap(), &asked));
            }
        });
        hub
    }

    /// How many files were sent.
    fn sent(&self) -> usize {
        let asked = self.asked.lock().unwrap();
        let files = asked.iter().filter(|(path, _)| path.contains("/resolve/"));
        files.filter(|(_, may)| *may).count()
    }
}

fn answer(mut connection: TcpStream, asked: &Mutex<Vec<(String, bool)>>) {
    let mut lines = BufReader::new(connection.try_clone().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let path = first.split(' ').nth(1).unwrap().to_owned();
    let head: Vec<String> = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .collect();
    let shown = format!("authorization: Bearer {TOKEN}");
    let may = head.iter().any(|line| line.eq_ignore_ascii_case(&shown));
    asked.lock().unwrap().push((path.clone(), may));
    let (status, body) = match path.split_once(&format!("/acme/triage/resolve/{COMMIT}/")) {
        _ if !may => ("401 Unauthorized", Vec::new()),
        Some((_, file)) => ("200 OK", fs::read(triage().join(file)).unwrap()),
        None if path.starts_with("/api/models/acme/triage/revision/main") => ("200 OK", list()),
        None => ("404 Not Found", Vec::new()),
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    // Whoever asked may have left.
    let _ = connection
        .write_all(head.as_bytes())
        .and_then(|()| connection.write_all(&body));
}

fn list() -> Vec<u8> {
    let files = fs::read_dir(triage()).unwrap().flatten();
    let siblings: Vec<Value> = files
        .map(|file| json!({ "rfilename": file.file_name().to_str().unwrap(), "size": file.metadata().unwrap().len() }))
        .collect();
    let list = json!({ "sha": COMMIT, "siblings": siblings });
    list.to_string().into_bytes()
}

/// `weir up` over one file, killed if the test fails before it ended.
struct Up {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
    /// Where clients connect.
    address: SocketAddr,
}

impl Up {
    fn start(state: &Path, yaml: &str, more: &[String]) -> Self {
        let file = state.join("app.yaml");
        fs::write(&file, yaml).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["up", "--listen=127.0.0.1:0", "--file"])
            .arg(file)
            .arg(format!("--state={}", state.join("state").display()))
            .arg(format!("--mount=/models/triage={}", triage().display()))
            .args(more)
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
        Self {
            child,
            said,
            address: address.expect("it says where it listens"),
        }
    }

    /// Reads on until so many replicas are ready.
    fn ready(&mut self, replicas: usize) {
        let said = self.said.by_ref().map(Result::unwrap).filter(|line| {
            assert!(!line.starts_with("ended "), "{line}");
            line.starts_with("ready ")
        });
        assert_eq!(said.take(replicas).count(), replicas);
    }

    fn chat(&self, model: &str) -> Value {
        let messages = json!([{ "role": "user", "content": "Where is my parcel?" }]);
        let body = json!({ "model": model, "messages": messages, "temperature": 0 }).to_string();
        let mut connection = TcpStream::connect(self.address).unwrap();
        write!(
            connection,
            "POST /v1/chat/completions HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        serde_json::from_str(body).unwrap()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_model_of_a_hub_is_downloaded_with_a_secret_served_and_kept() {
    let hub = Hub::open();
    let state = tempfile::tempdir().unwrap();
    let secret = |key: &str, text: &str| {
        let file = state.path().join(key);
        fs::write(&file, text).unwrap();
        format!("--secret=hub/{key}=file:{}", file.display())
    };
    let secrets = [
        secret("token", TOKEN),
        secret("endpoint", &format!("http://{}", hub.address)),
    ];
    let yaml = "apiVersion: weir.dev/v1alpha1\nkind: SLMDeployment\nmetadata: { name: triage }\n\
                spec: { model: { source: 'hf://acme/triage', credentialsSecretRef: { name: hub } }, replicas: 2 }\n";
    let mut up = Up::start(state.path(), yaml, &secrets);
    up.ready(2);
    let files = hub.sent();
    let weights = hub
        .asked
        .lock()
        .unwrap()
        .iter()
        .filter(|(path, _)| path.ends_with("/model.safetensors"))
        .count();
    assert_eq!(
        weights, 1,
        "the second replica takes what the first one brought"
    );
    let answer = up.chat("triage")["choices"][0]["message"]["content"].clone();
    assert!(
        answer.as_str().is_some_and(|text| !text.is_empty()),
        "{answer}"
    );
    drop(up);

    let mut again = Up::start(state.path(), yaml, &secrets);
    again.ready(2);
    assert_eq!(
        again.chat("triage")["choices"][0]["message"]["content"],
        answer
    );
    assert_eq!(hub.sent(), files, "nothing is downloaded twice");
}

#[test]
fn a_chat_template_in_a_config_map_beside_the_deployment_takes_the_place_of_the_models() {
    let deployment = |name: &str, template: &str| {
        format!(
            "apiVersion: weir.dev/v1alpha1\nkind: SLMDeployment\nmetadata: {{ name: {name} }}\n\
             spec: {{ model: {{ source: 'file:///models/triage'{template} }} }}\n---\n"
        )
    };
    let yaml = deployment("own", "")
        + &deployment(
            "ours",
            ", chatTemplate: { configMapRef: { name: templates, key: chat } }",
        )
        + "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: templates }\n\
           data: { chat: '{{ messages[0].content }}' }\n";
    let state = tempfile::tempdir().unwrap();
    let mut up = Up::start(state.path(), &yaml, &[]);
    up.ready(2);
    let prompt = |model: &str| up.chat(model)["usage"]["prompt_tokens"].as_u64().unwrap();
    let (own, ours) = (prompt("own"), prompt("ours"));
    assert!(
        ours > 0 && ours < own,
        "{ours} tokens of the text alone, {own} with roles"
    );
}
