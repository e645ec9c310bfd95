//! Conversations are rendered in a process that a template may take along, and the worker goes on.

use std::{fs, process::Command, time::Duration};

use futures::future::join_all;
use serde_json::{Value, json};
use weir_worker_api as api;

use crate::harness::{PATIENCE, Worker, about, copy};

async fn still_serves(worker: &Worker) {
    let answer = worker.chat(&about("Where is my parcel?", json!({}))).await;
    assert!(answer["choices"][0]["message"]["content"].is_string());
}

/// The processes that this one started and that have not been asked for since.
fn children(id: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{id}/task")).unwrap();
    let of_task = tasks.flat_map(|task| {
        let children = fs::read_to_string(task.unwrap().path().join("children"));
        let children = children.unwrap_or_default();
        let ids = children.split_whitespace().map(|id| id.parse().unwrap());
        ids.collect::<Vec<u32>>()
    });
    of_task.collect()
}

/// The most memory that a process ever had at once.
fn peak_bytes(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes: u64 = peak
        .unwrap()
        .trim()
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    kilobytes << 10
}

fn kill(id: u32) {
    let id = id.to_string();
    assert!(
        Command::new("kill")
            .args(["-KILL", &id])
            .status()
            .unwrap()
            .success()
    );
}

/// None of these words is in what a trial tries.
const WAITING: &str = "{% set said = messages[-1].content %}\
    {% if said == 'grow' %}{% set ns = namespace(x=said) %}\
    {% for i in range(40) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{% endif %}\
    {% if said == 'linger' %}{% for i in range(99999) %}{% set x = ('x' * 9999999)|upper %}\
    {% endfor %}{% endif %}\
    {% if said == 'sink' %}{% set ns = namespace(x=1) %}{% set ns.x = ns %}{{ ns }}{% endif %}\
    {{ said }}";

#[tokio::test]
async fn a_template_that_waited_for_a_conversation_is_refused_with_it_and_takes_nobody_along() {
    let model = copy();
    fs::write(model.path().join("chat_template.jinja"), WAITING).unwrap();
    let worker = Worker::serving(model.path(), &[]).await;
    for (said, why) in [
        ("grow", "takes more than 256 MiB of memory"),
        ("linger", "does not end within some 2 s of processor time"),
        ("sink", "nests or calls itself too deep"),
    ] {
        let (status, error): (u16, Value) = worker.refused(&about(said, json!({}))).await;
        assert_eq!((status, &error["param"]), (400, &json!("messages")));
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(why), "{said}: {message}");
        still_serves(&worker).await;
    }
    // The worker itself has grown by none of it.
    assert!(peak_bytes(worker.id()) < 200 << 20);
}

#[tokio::test]
async fn many_conversations_at_once_and_long_ones_get_their_own_texts() {
    let model = copy();
    let echo = "{{ messages[-1].content | length }}";
    fs::write(model.path().join("chat_template.jinja"), echo).unwrap();
    let path = model.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    // Long conversations fit.
    config["max_position_embeddings"] = json!(1 << 20);
    fs::write(path, config.to_string()).unwrap();
    let worker = Worker::serving(model.path(), &[]).await;
    let mut client = worker.grpc().await;
    let lengths = (0..24).map(|power| 1_usize << (power % 21));
    let mut asked = Vec::new();
    for length in lengths {
        let message = api::Message {
            role: "user".to_owned(),
            content: "x".repeat(length),
            ..api::Message::default()
        };
        let chat = api::Chat {
            messages: vec![message],
            ..api::Chat::default()
        };
        let request = api::TokenizeRequest {
            prompt: Some(api::Prompt {
                form: Some(api::prompt::Form::Chat(chat)),
            }),
            ..api::TokenizeRequest::default()
        };
        let mut client = client.clone();
        asked.push(async move {
            let ids = client.tokenize(request).await.unwrap().into_inner().ids;
            (length, ids)
        });
    }
    for (length, ids) in join_all(asked).await {
        let text = api::Prompt {
            form: Some(api::prompt::Form::Text(length.to_string())),
        };
        let request = api::TokenizeRequest {
            prompt: Some(text),
            ..api::TokenizeRequest::default()
        };
        let expected = client.tokenize(request).await.unwrap().into_inner().ids;
        // A text begins as the tokenizer has it begin, and a chat as its template does.
        assert!(expected.ends_with(&ids), "{length}: {ids:?}, {expected:?}");
    }
}

#[tokio::test]
async fn what_no_context_holds_is_not_rendered_and_what_explodes_is_not_parsed() {
    let worker = Worker::start(&[]).await;
    let long = about(&"x".repeat(7 << 20), json!({}));
    let asked = join_all((0..8).map(|_| worker.refused(&long))).await;
    for (status, error) in asked {
        let message = error["message"].as_str().unwrap();
        assert_eq!(status, 400);
        assert!(message.contains("more text than"), "{message}");
    }
    let kwargs = format!("{{\"x\":[0{}]}}", ",0".repeat(5 << 20));
    let chat = api::Chat {
        messages: vec![api::Message {
            role: "user".to_owned(),
            content: "hello".to_owned(),
            ..api::Message::default()
        }],
        template_kwargs_json: kwargs,
        ..api::Chat::default()
    };
    let request = api::TokenizeRequest {
        prompt: Some(api::Prompt {
            form: Some(api::prompt::Form::Chat(chat)),
        }),
        ..api::TokenizeRequest::default()
    };
    let refused = worker.grpc().await.tokenize(request).await.unwrap_err();
    assert!(refused.message().contains("JSON values"), "{refused}");
    assert!(peak_bytes(children(worker.id())[0]) < 64 << 20);
    // The bodies themselves, and no more.
    assert!(peak_bytes(worker.id()) < 400 << 20);
    still_serves(&worker).await;
}

#[tokio::test]
async fn clients_that_leave_while_they_are_rendered_for_leave_nothing_behind() {
    let model = copy();
    fs::write(model.path().join("chat_template.jinja"), WAITING).unwrap();
    let worker = Worker::serving(model.path(), &[]).await;
    let body = about("linger", json!({}));
    for _ in 0..5 {
        let request = worker
            .post(&body)
            .timeout(Duration::from_millis(300))
            .send();
        assert!(request.await.unwrap_err().is_timeout());
    }
    still_serves(&worker).await;
    assert_eq!(children(worker.id()).len(), 1);
}

#[tokio::test]
async fn a_process_that_is_gone_is_replaced_and_nobody_notices() {
    let worker = Worker::start(&[]).await;
    for _ in 0..3 {
        let before = children(worker.id());
        assert_eq!(before.len(), 1);
        kill(before[0]);
        still_serves(&worker).await;
        assert_ne!(children(worker.id()), before);
    }
}

#[tokio::test]
async fn a_worker_that_is_killed_leaves_no_process_behind() {
    let mut worker = Worker::start(&[]).await;
    let child = children(worker.id())[0];
    kill(worker.id());
    worker.wait().await;
    let gone = async {
        // Where nobody asks for it any more, it may stay as the shell of one.
        let lives = || fs::read_to_string(format!("/proc/{child}/stat"));
        while lives().is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
}
