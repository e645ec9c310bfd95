//! What replicas report at `/load` comes into the status, and what the first one found is pinned.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::process::{TRIAGE, World, until};

/// The admin port of a pod, which says what the test wants it to: nothing else of a worker's.
struct Replica {
    name: &'static str,
    address: &'static str,
    says: Arc<Mutex<Value>>,
}

impl Replica {
    /// Has an address of loopback for itself, where the operator asks for a port that is fixed.
    fn at(address: &'static str, name: &'static str) -> Self {
        let listener = TcpListener::bind((address, 9090)).unwrap();
        let says = Arc::new(Mutex::new(json!({})));
        let said = says.clone();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let head = BufReader::new(connection.try_clone().unwrap()).lines();
                let read = head
                    .map_while(Result::ok)
                    .take_while(|line| !line.is_empty());
                read.for_each(drop);
                let mut worker = json!({ "running": 0, "waiting": 0, "max_sequences": 8 });
                let more = said.lock().unwrap().clone();
                worker
                    .as_object_mut()
                    .unwrap()
                    .extend(more.as_object().unwrap().clone());
                let body = json!({ "version": 1, "worker": worker }).to_string();
                let length = body.len();
                // Whoever asked may have left.
                let _ = write!(
                    connection,
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
                );
            }
        });
        Self {
            name,
            address,
            says,
        }
    }

    fn says(&self, worker: Value) {
        *self.says.lock().unwrap() = worker;
    }

    /// Makes it a pod of the deployment's one revision, as its controller and a kubelet would.
    fn run(&self, world: &World) {
        let revision = revision(world);
        let replicas = world.get(&format!("deployment/triage-{revision}")).unwrap();
        let mut pod = replicas["spec"]["template"].clone();
        pod["apiVersion"] = json!("v1");
        pod["kind"] = json!("Pod");
        pod["metadata"]["name"] = json!(self.name);
        world.apply(&pod.to_string());
        let status = json!({ "status": {
            "phase": "Running", "podIP": self.address, "podIPs": [{ "ip": self.address }],
            "conditions": [{ "type": "Ready", "status": "True" }],
        } });
        let pod = format!("pod/{}", self.name);
        world.patch(&pod, "--subresource=status", &status);
    }
}

fn revision(world: &World) -> String {
    let deployment = world.get("slm/triage").unwrap_or_default();
    let stable = deployment["status"]["rollout"]["stable"].as_str();
    stable.unwrap_or_default().to_owned()
}

fn model(digest: &str) -> Value {
    json!({
        "digest": digest, "revision": "5f1c2ab", "architecture": "Llama", "parameters": 1,
        "bytes": 1, "quantization": "None", "context_tokens": 512,
    })
}

#[tokio::test]
async fn what_the_first_ready_replica_found_is_pinned_and_another_is_told() {
    let world = World::new("pins").await;
    let _operator = world.operator("one");
    world.apply(TRIAGE);
    until(false, || revision(&world).is_empty()).await;
    let config = format!("configmap/triage-{}", revision(&world));
    let pinned = || {
        let data = world.get(&config).unwrap_or_default()["data"].clone();
        [data["digest"].clone(), data["resolved"].clone()]
    };
    assert_eq!(pinned(), [json!(null), json!(null)]);
    let first = Replica::at("127.93.0.1", "first");
    first.says(json!({ "model": model("sha256:abc") }));
    first.run(&world);
    let found = [json!("sha256:abc"), json!("5f1c2ab")];
    until(found.clone(), pinned).await;
    let deployment = world.get("slm/triage").unwrap();
    assert_eq!(deployment["status"]["model"]["revision"], "5f1c2ab");

    let second = Replica::at("127.93.0.2", "second");
    second.says(json!({ "model": model("sha256:def") }));
    second.run(&world);
    let ready = || world.condition("slm/triage", "Ready");
    until("False/DigestMismatch".to_owned(), ready).await;
    assert_eq!(pinned(), found);
    second.says(json!({ "model": model("sha256:abc") }));
    until("False/Starting".to_owned(), ready).await;
}
