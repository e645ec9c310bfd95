//! Deployments whose server is not ours: asked as an endpoint is, and balanced, judged and private as a deployment.
//!
//! The stand-in for a frontier stands in for their servers. Not imitated: one that loads, that knows one model only,
//! or that drains; a test on real nodes has a server of which that is true.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use reqwest::Client;
use serde_json::{Value, json};
use weir_process::{Process, ProcessArgs};
use weir_router::World;

use crate::rig::{QUESTION, Rig, asked, header, json_of, merge, streamed, world};
use crate::tiers::{record, tier_of};
use crate::worker::{Scripted, sure};

/// A server of its own, beside the frontier.
struct Server {
    address: SocketAddr,
    client: Client,
    _process: Process,
}

impl Server {
    async fn start() -> Self {
        // Fails if another test of this binary was first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let process = Process::start("weir-stand-in", &ProcessArgs::embedded()).unwrap();
        let address = weir_stand_in::serve(&weir_stand_in::Args::embedded(), &process).await;
        Self {
            address: address.unwrap(),
            client: Client::new(),
            _process: process,
        }
    }

    /// The asks that it got.
    async fn asked(&self) -> Vec<Value> {
        let url = format!("http://{}/control/requests", self.address);
        let said = self.client.get(url).send().await.unwrap();
        let said: Value = serde_json::from_str(&said.text().await.unwrap()).unwrap();
        let requests = said["requests"].as_array().unwrap().clone();
        let asks = requests
            .into_iter()
            .filter(|request| request["path"] != "/v1/models");
        asks.collect()
    }

    async fn fails(&self, fault: &str, count: usize) {
        let url = format!("http://{}/control/faults", self.address);
        let plan = json!({ "fault": fault, "count": count }).to_string();
        let post = self
            .client
            .post(url)
            .header("content-type", "application/json");
        assert!(post.body(plan).send().await.unwrap().status().is_success());
    }
}

/// The world of a rig, where these servers are the replicas of the deployment.
fn served_by(rig: &Rig, policy: Value, servers: &[SocketAddr]) -> World {
    let mut world = world(policy, &rig.frontier, servers);
    world.deployments = vec![Arc::new(foreign(&world))];
    world.foreign = servers.iter().copied().collect();
    world
}

fn foreign(world: &World) -> weir_crds::SLMDeployment {
    let mut deployment = serde_json::to_value(&*world.deployments[0]).unwrap();
    let spec = json!({ "engine": { "image": "a:1", "protocol": "OpenAI" }, "adapters": null });
    merge(&mut deployment["spec"], spec);
    deployment["spec"]
        .as_object_mut()
        .unwrap()
        .remove("adapters");
    serde_json::from_value(deployment).unwrap()
}

async fn rig(policy: Value, servers: &[&Server]) -> Rig {
    let rig = Rig::with(json!({}), &[]).await;
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    let world = served_by(&rig, policy, &addresses);
    rig.follow(world).await;
    rig
}

/// The first tier takes what is at least as sure as this.
fn accepting(threshold: &str) -> Value {
    json!({ "tiers": [{ "accept": { "task": "Choice", "threshold": threshold } }] })
}

fn saying(text: &str) -> Value {
    json!({ "messages": [{ "role": "user", "content": format!("Say: {text}") }] })
}

#[tokio::test]
async fn a_server_that_is_not_ours_is_asked_by_the_name_that_it_has_without_a_key_and_its_evidence_is_judged()
 {
    let server = Server::start().await;
    let rig = rig(accepting("0.1"), &[&server]).await;
    for stream in [false, true] {
        let mut ask = saying("to billing");
        ask["stream"] = stream.into();
        let response = rig.ask(ask).await;
        assert_eq!(tier_of(&response), "small");
        assert!(header(&response, "x-weir-score").parse::<f64>().unwrap() > 0.1);
        let id = header(&response, "x-weir-decision");
        let text = match stream {
            true => streamed(response).await.text,
            false => json_of(response).await["choices"][0]["message"]["content"]
                .as_str()
                .unwrap()
                .to_owned(),
        };
        assert_eq!(text, "to billing");
        let attempt = record(&rig, &id).await["attempts"][0].clone();
        assert_eq!(attempt["provider"], "openai_compatible");
        assert_eq!(attempt["replica"], server.address.to_string());
        assert_eq!(attempt["revision"], "11111111");
        assert_eq!(attempt["outcome"], "committed");
        assert!(attempt["tokensOut"].as_u64().unwrap() > 0, "{attempt}");
    }
    for sent in server.asked().await {
        assert_eq!(sent["path"], "/v1/chat/completions");
        assert_eq!(sent["body"]["model"], weir_stand_in::MODEL);
        assert_eq!(sent["body"]["logprobs"], true);
        assert_eq!(sent["headers"]["authorization"], Value::Null);
    }
    assert!(rig.sent_to_frontier().await.is_empty());
}

#[tokio::test]
async fn an_unsure_answer_of_a_server_that_is_not_ours_is_dropped_unseen() {
    let server = Server::start().await;
    let rig = rig(accepting("0.999"), &[&server]).await;
    let response = rig.ask(json!({})).await;
    assert_eq!(tier_of(&response), "frontier");
    assert_eq!(server.asked().await.len(), 1);
    let id = header(&response, "x-weir-decision");
    assert_eq!(record(&rig, &id).await["attempts"][0]["outcome"], "dropped");
}

#[tokio::test]
async fn an_ask_that_must_stay_in_the_cluster_goes_to_a_server_of_anothers_as_it_came() {
    let server = Server::start().await;
    let mut policy = accepting("0.999");
    policy["privacy"] = json!({
        "denyWhen": { "header": { "name": "x-data-class", "values": ["restricted"] } },
        "redact": { "kinds": ["Email"] },
    });
    let rig = rig(policy, &[&server]).await;
    let mut headers = HeaderMap::new();
    headers.insert("x-data-class", "restricted".parse().unwrap());
    let response = rig
        .ask_with(saying("write to ann@example.com"), headers)
        .await;
    assert_eq!(tier_of(&response), "small");
    let asked = server.asked().await;
    let said = &asked[0]["body"]["messages"][0]["content"];
    assert_eq!(said, "Say: write to ann@example.com");
    assert!(rig.sent_to_frontier().await.is_empty());
}

#[tokio::test]
async fn a_replica_that_breaks_off_before_anything_was_shown_is_replaced_by_another() {
    let servers = [Server::start().await, Server::start().await];
    let rig = rig(json!({}), &[&servers[0], &servers[1]]).await;
    // Until each has said what it calls its model.
    for number in 0..20 {
        rig.ask(alone(number)).await;
    }
    let before = servers[0].asked().await.len();
    assert!(before > 0 && !servers[1].asked().await.is_empty());
    servers[0].fails("reset-after-bytes=0", 99).await;
    for number in 0..20 {
        let response = rig.ask(alone(number)).await;
        assert_eq!(response.status(), StatusCode::OK, "{number}");
    }
    let tried = servers[0].asked().await.len() - before;
    assert!(
        (1..20).contains(&tried),
        "it is left alone for a while: {tried}"
    );
}

/// Another conversation for each number, with the deployment alone.
fn alone(number: usize) -> Value {
    let mut ask = asked(number);
    ask["model"] = "triage".into();
    ask
}

#[tokio::test]
async fn a_stream_that_breaks_off_after_it_was_shown_ends_in_one_error() {
    let server = Server::start().await;
    let rig = rig(json!({}), &[&server]).await;
    rig.ask(json!({ "model": "triage" })).await;
    server.fails("cut-after=2", 9).await;
    let response = rig.ask(json!({ "model": "triage", "stream": true })).await;
    assert_eq!(response.status(), StatusCode::OK);
    let seen = streamed(response).await;
    let errors: Vec<_> = seen
        .chunks
        .iter()
        .filter(|chunk| chunk.get("error").is_some())
        .collect();
    assert_eq!(errors.len(), 1, "{:?}", seen.chunks);
    assert!(!seen.text.is_empty());
}

#[tokio::test]
async fn what_a_request_may_ask_for_follows_from_who_answers_it() {
    let server = Server::start().await;
    let rig = rig(json!({}), &[&server]).await;
    let image =
        json!({ "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } });
    let seeing = json!({ "model": "triage", "messages": [{ "role": "user", "content": [image] }] });
    assert_eq!(rig.ask(seeing.clone()).await.status(), StatusCode::OK);
    // A replica of the revision before, which is our worker, is not asked for what it cannot do.
    let ours = Scripted::start([sure()]).await;
    let mut world = served_by(&rig, json!({}), &[ours.address]);
    world.foreign.clear();
    rig.follow(world).await;
    assert!(!rig.ask(seeing).await.status().is_success());
    assert!(ours.asked().is_empty());
    let response = rig.ask(json!({ "model": "triage" })).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(ours.asked().len(), 1);
}

#[tokio::test]
async fn every_wire_is_answered_and_the_length_of_a_prompt_is_an_estimate() {
    let server = Server::start().await;
    let rig = rig(json!({}), &[&server]).await;
    let messages = json!([{ "role": "user", "content": QUESTION }]);
    for (path, body) in [
        ("responses", json!({ "input": QUESTION })),
        ("completions", json!({ "prompt": QUESTION })),
        ("embeddings", json!({ "input": QUESTION })),
        (
            "messages",
            json!({ "messages": messages, "max_tokens": 50 }),
        ),
    ] {
        let mut body = body;
        body["model"] = "triage".into();
        let post = rig.client.post(format!("{}/v1/{path}", rig.url));
        let response = post.body(body.to_string()).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
    }
    let body = json!({ "model": "triage", "messages": messages }).to_string();
    let url = format!("{}/v1/messages/count_tokens", rig.url);
    let counted = rig.client.post(url).body(body).send().await.unwrap();
    assert_eq!(header(&counted, "x-weir-estimated"), "true");
}

#[tokio::test]
async fn what_came_of_a_server_that_is_not_ours_counts_for_its_revision() {
    let server = Server::start().await;
    let rig = rig(accepting("0.999"), &[&server]).await;
    rig.ask(json!({})).await;
    server.fails("status=500", 1).await;
    rig.ask(json!({})).await;
    rig.until("both are counted", |load| {
        let mut counts = load["revisions"]["triage"]["11111111"].clone();
        counts["first_token"].take();
        counts["scores"].take();
        counts
            == json!({
                "asks": 2, "errors": 1, "judged": 1, "escalations": 1,
                "first_token": null, "scores": null,
            })
    })
    .await;
}
