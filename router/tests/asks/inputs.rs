//! Requests that are wrong, on every wire: each is told in the wire's own form what is wrong and where.

use serde_json::{Value, json};

use crate::rig::{QUESTION, Rig, Setup};
use crate::wires::{Seen, Wire};

/// Sends a text as it is.
async fn refused(rig: &Rig, wire: Wire, body: String) -> (u16, Value) {
    let url = format!("{}{}", rig.url, wire.path());
    let response = rig.client.post(url).body(body).send().await.unwrap();
    match wire.see(response, false).await {
        Seen::Refused(status, error) => (status, error),
        other => panic!("{wire:?}: {other:?}"),
    }
}

fn with(wire: Wire, field: &str, value: Value) -> Value {
    let mut body = wire.body(QUESTION, false);
    body[field] = value;
    body
}

/// Where this wire has what was said.
fn turns(wire: Wire) -> &'static str {
    match wire {
        Wire::Responses => "input",
        _ => "messages",
    }
}

/// Bodies, and the fields that are at fault.
fn wrong(wire: Wire) -> Vec<(Value, String)> {
    let said = turns(wire);
    let turn = |role: &str, content: Value| json!([{ "role": role, "content": content }]);
    let limit = match wire {
        Wire::Chat => "max_tokens",
        Wire::Responses => "max_output_tokens",
        Wire::Messages => "max_tokens",
    };
    let mut wrong = vec![
        (with(wire, "model", json!(null)), "model".to_owned()),
        (with(wire, "model", json!(7)), "model".to_owned()),
        (
            with(wire, "temperature", json!("warm")),
            "temperature".to_owned(),
        ),
        (
            with(wire, "temperature", json!(1e300)),
            "temperature".to_owned(),
        ),
        (with(wire, "stream", json!("yes")), "stream".to_owned()),
        (with(wire, "tools", json!({})), "tools".to_owned()),
        (with(wire, "metadata", json!([])), "metadata".to_owned()),
        (with(wire, limit, json!(0)), limit.to_owned()),
        (with(wire, limit, json!(-1)), limit.to_owned()),
        (with(wire, limit, json!(1.5)), limit.to_owned()),
    ];
    for (value, at) in [
        (json!(null), ""),
        (json!([]), ""),
        (json!({}), ""),
        (json!([7]), "[0]"),
        (turn("king", json!("hi")), "[0].role"),
        (json!([{ "content": "hi" }]), "[0].role"),
        (turn("user", json!(7)), "[0].content"),
        (turn("user", json!([7])), "[0].content[0]"),
    ] {
        wrong.push((with(wire, said, value), format!("{said}{at}")));
    }
    wrong
}

#[tokio::test]
async fn a_field_that_is_wrong_is_named_on_every_wire() {
    let rig = Rig::start(Setup::default()).await;
    for wire in Wire::ALL {
        for (body, field) in wrong(wire) {
            let (status, error) = refused(&rig, wire, body.to_string()).await;
            assert_eq!(status, 400, "{body}: {error}");
            let message = error["message"].as_str().unwrap();
            assert!(message.contains(&field), "{wire:?} {body}: {error}");
            assert!(message.len() < 400, "{message}");
            if wire != Wire::Messages {
                let param = error["param"].as_str().unwrap_or_default();
                assert!(param.starts_with(&field), "{body}: {error}");
            }
        }
    }
    rig.until_counted("weir_router_asks_running 0").await;
    assert!(rig.sent_to_frontier().await.is_empty());
}

#[tokio::test]
async fn what_is_not_json_is_told_where_and_what_is_too_large_how_much_it_may_be() {
    let rig = Rig::start(Setup {
        args: |args| args.max_body_bytes = 100_000,
        ..Setup::default()
    })
    .await;
    for wire in Wire::ALL {
        let whole = wire.body(QUESTION, false).to_string();
        let cut = (0..whole.len()).map(|at| whole[..at].to_owned());
        let deep = "[".repeat(5000);
        let odd = [
            "null",
            "[]",
            "7",
            "{} {}",
            "\u{feff}{}",
            "{\"a\":\"\\ud800\"}",
            &deep,
        ];
        for body in cut.chain(odd.map(str::to_owned)) {
            let (status, error) = refused(&rig, wire, body.clone()).await;
            assert_eq!(status, 400, "{body}");
            let message = error["message"].as_str().unwrap();
            assert!(
                message.starts_with("the body is not JSON"),
                "{body}: {message}"
            );
        }
        let giant = wire.body(&"x".repeat(100_000), false).to_string();
        let (status, error) = refused(&rig, wire, giant).await;
        assert_eq!(status, 413, "{error}");
        assert!(
            error["message"].as_str().unwrap().contains("100000"),
            "{error}"
        );
    }
}
