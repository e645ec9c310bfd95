//! The stand-in as a client meets it: both wires, each fault, and the record of what came.

#![allow(
    clippy::unwrap_used,
    reason = "a test that panics has failed, and says so"
)]

mod anthropic;
mod control;
mod damage;
mod faults;
mod openai;
mod raw;
mod sdk;

use std::net::SocketAddr;

use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use weir_process::Process;
use weir_stand_in::{Args, serve};

const CLEAR: &str = "Hello, I was charged twice for my subscription this month. Please help!";

/// A running stand-in and a client for it; dropped with its process.
struct Provider {
    address: SocketAddr,
    client: reqwest::Client,
    _process: Process,
}

impl Provider {
    async fn start() -> Self {
        Self::with(Args::embedded()).await
    }

    async fn with(args: Args) -> Self {
        // The default client brings a TLS provider, which nobody has installed here.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let process = Process::start("weir-stand-in", &args.process).unwrap();
        Self {
            address: serve(&args, &process).await.unwrap(),
            client: reqwest::Client::new(),
            _process: process,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.client.post(self.url(path)).json(body)
    }

    fn chat(&self, body: &Value) -> RequestBuilder {
        self.post("/v1/chat/completions", body)
    }

    fn messages(&self, body: &Value) -> RequestBuilder {
        self.post("/v1/messages", body)
            .header("anthropic-version", "2023-06-01")
    }
}

/// A chat request, or an Anthropic one: they agree on these fields.
fn ask(text: &str) -> Value {
    json!({
        "model": "any",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": text}],
    })
}

fn streamed(text: &str) -> Value {
    let mut body = ask(text);
    body["stream"] = true.into();
    body
}

async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// The data of every event, as JSON where it is JSON.
async fn events(response: Response) -> Vec<Value> {
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    data(&response.text().await.unwrap())
}

fn data(text: &str) -> Vec<Value> {
    text.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap_or_else(|_| data.into()))
        .collect()
}

/// What arrived before the stream broke, and whether it did break.
async fn until_broken(mut response: Response) -> (String, bool) {
    let mut text = String::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => text.push_str(std::str::from_utf8(&chunk).unwrap()),
            Ok(None) => return (text, false),
            Err(_) => return (text, true),
        }
    }
}
