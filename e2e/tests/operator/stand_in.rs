//! Pods that do not run: what answers at their admin port, and what a controller and a kubelet would say of
//! them.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::process::{World, until};

/// The admin port of a pod, which says what the test wants it to, at once: nothing else of a worker's or a
/// router's.
pub struct StandIn {
    name: &'static str,
    address: &'static str,
    /// What it says; nothing where it does not answer.
    says: Arc<Mutex<Option<Value>>>,
}

impl StandIn {
    pub fn worker(address: &'static str, name: &'static str) -> Self {
        let idle = json!({ "running": 0, "waiting": 0, "max_sequences": 8 });
        Self::at(address, name, ("worker", idle))
    }

    pub fn router(address: &'static str, name: &'static str) -> Self {
        Self::at(address, name, ("router", json!({ "run": name })))
    }

    /// Has an address of loopback for itself, where the operator asks for a port that is fixed.
    fn at(address: &'static str, name: &'static str, (half, idle): (&'static str, Value)) -> Self {
        let listener = TcpListener::bind((address, 9090)).unwrap();
        let stand_in = Self {
            name,
            address,
            says: Arc::new(Mutex::new(Some(json!({})))),
        };
        let says = stand_in.says.clone();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let head = BufReader::new(connection.try_clone().unwrap()).lines();
                let read = head
                    .map_while(Result::ok)
                    .take_while(|line| !line.is_empty());
                read.for_each(drop);
                let Some(more) = says.lock().unwrap().clone() else {
                    continue;
                };
                let mut said = idle.clone();
                let all = said.as_object_mut().unwrap();
                all.extend(more.as_object().unwrap().clone());
                let body = json!({ "version": 1, half: said }).to_string();
                let length = body.len();
                // Whoever asked may have left.
                let _ = write!(
                    connection,
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
                );
            }
        });
        stand_in
    }

    pub fn says(&self, more: Value) {
        *self.says.lock().unwrap() = Some(more);
    }

    /// From now on whoever asks is hung up on.
    pub fn says_nothing(&self) {
        *self.says.lock().unwrap() = None;
    }

    /// Makes it a pod of the deployment's one revision, as its controller and a kubelet would.
    pub fn run_replica(&self, world: &World) {
        self.run_as(world, &format!("triage-{}", world.revision()));
    }

    /// Makes it one of the namespace's routers.
    pub fn run_router(&self, world: &World) {
        self.run_as(world, "weir-router");
    }

    /// The same, once the operator has made them.
    pub async fn run_router_soon(&self, world: &World) {
        until(true, || world.get("deployment/weir-router").is_some()).await;
        self.run_router(world);
    }

    fn run_as(&self, world: &World, deployment: &str) {
        let deployment = world.get(&format!("deployment/{deployment}")).unwrap();
        let mut pod = deployment["spec"]["template"].clone();
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
