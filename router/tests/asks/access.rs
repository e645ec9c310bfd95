//! Keys, credentials, and what may leave the cluster.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::rig::{Rig, Setup, header, json_of, world};
use crate::worker::{Play, Scripted, sure, unsure};

fn bearer(key: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let value = HeaderValue::from_str(&format!("Bearer {key}")).unwrap();
    headers.insert("authorization", value);
    headers
}

fn with_auth() -> Value {
    json!({ "auth": { "keysSecretRef": { "name": "keys" } } })
}

fn with_api_key() -> Value {
    let reference = json!({ "name": "frontier", "key": "api-key" });
    json!({ "tiers": [{}, { "endpoint": { "apiKeySecretRef": reference } }] })
}

#[tokio::test]
async fn a_model_with_keys_is_open_to_its_tenants_only() {
    let worker = Scripted::start([sure()]).await;
    let rig = Rig::start(Setup {
        policy: with_auth(),
        workers: vec![worker],
        secrets: &[("keys", "alice", "plain:open-sesame")],
        ..Setup::default()
    })
    .await;
    // The deployment is used by the policy, so its own name asks for the same keys.
    for model in ["assistant", "triage"] {
        for (headers, status) in [
            (HeaderMap::new(), StatusCode::UNAUTHORIZED),
            (bearer("wrong"), StatusCode::UNAUTHORIZED),
            (bearer("open-sesame"), StatusCode::OK),
        ] {
            let response = rig.ask_with(json!({ "model": model }), headers).await;
            assert_eq!(response.status(), status, "{model}");
        }
    }
    let models =
        async |headers| json_of(rig.get("/v1/models", headers).await).await["data"].clone();
    assert_eq!(models(HeaderMap::new()).await, json!([]));
    assert_eq!(models(bearer("open-sesame")).await[0]["id"], "assistant");
    let unknown = rig
        .ask_with(json!({ "model": "x" }), HeaderMap::new())
        .await;
    assert_eq!(unknown.status(), StatusCode::UNAUTHORIZED);
    let error = json_of(unknown).await["error"].to_string();
    assert!(!error.contains("assistant"), "names are not for everybody");
    // Where every model needs a key, nobody without one has their body read.
    let unread = rig.post("{".into(), HeaderMap::new()).await;
    assert_eq!(unread.status(), StatusCode::UNAUTHORIZED);
    let read = rig.post("{".into(), bearer("open-sesame")).await;
    assert_eq!(read.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn replicas_tell_tenants_apart_without_their_names() {
    let worker = Scripted::start([sure()]).await;
    let rig = Rig::start(Setup {
        policy: with_auth(),
        workers: vec![worker.clone()],
        secrets: &[
            ("keys", "alice", "plain:open-sesame"),
            ("keys", "bob", "plain:abracadabra"),
        ],
        ..Setup::default()
    })
    .await;
    for key in ["open-sesame", "abracadabra", "open-sesame"] {
        let response = rig.ask_with(json!({}), bearer(key)).await;
        assert_eq!(response.status(), StatusCode::OK);
    }
    let asked = worker.asked();
    let salts: Vec<&str> = asked
        .iter()
        .map(|asked| asked.cache_salt.as_str())
        .collect();
    assert_eq!(salts[0], salts[2]);
    assert_ne!(salts[0], salts[1]);
    for salt in salts {
        assert!(!salt.is_empty() && !salt.contains("alice") && !salt.contains("bob"));
    }
}

/// Secrets are files: an ask must not meet a policy before they are read.
#[tokio::test]
async fn a_policy_that_names_another_secret_refuses_nobody_meanwhile() {
    let rig = Rig::start(Setup {
        policy: with_auth(),
        secrets: &[
            ("keys", "alice", "plain:open-sesame"),
            ("other-keys", "alice", "plain:open-sesame"),
        ],
        ..Setup::default()
    })
    .await;
    let has_models = async || {
        let models = rig.get("/v1/models", bearer("open-sesame")).await;
        assert_eq!(json_of(models).await["data"][0]["id"], "assistant");
    };
    for secret in ["other-keys", "keys"].repeat(10) {
        let policy = json!({ "auth": { "keysSecretRef": { "name": secret } } });
        let turned = rig.follow(world(policy, &rig.frontier, &[]));
        let asking = async {
            loop {
                has_models().await;
            }
        };
        tokio::select! {
            () = turned => {}
            () = asking => {}
        }
        // Also where the turn was over sooner than anybody could ask.
        has_models().await;
    }
}

#[tokio::test]
async fn a_new_key_opens_within_seconds_and_missing_keys_open_nothing() {
    let worker = Scripted::start([sure()]).await;
    let rig = Rig::start(Setup {
        policy: with_auth(),
        workers: vec![worker],
        ..Setup::default()
    })
    .await;
    let missing = &rig.load().await["missing_credentials"][0];
    assert_eq!(*missing, json!({ "policy": "support", "secret": "keys" }));
    let ask = async || rig.ask_with(json!({}), bearer("late")).await.status();
    assert_eq!(ask().await, StatusCode::UNAUTHORIZED);
    rig.write_secret("keys", "bob", "plain:late");
    rig.until("the key is found", |load| {
        load["missing_credentials"] == json!([])
    })
    .await;
    assert_eq!(ask().await, StatusCode::OK);
}

#[tokio::test]
async fn the_clients_credentials_do_not_go_upstream_and_ours_do() {
    let worker = Scripted::start([unsure()]).await;
    let rig = Rig::start(Setup {
        policy: with_api_key(),
        workers: vec![worker],
        secrets: &[("frontier", "api-key", "sk-ours\n")],
        ..Setup::default()
    })
    .await;
    let mut headers = bearer("sk-clients");
    headers.insert("x-custom", HeaderValue::from_static("private"));
    headers.insert("cookie", HeaderValue::from_static("session=1"));
    let response = rig.ask_with(json!({}), headers).await;
    assert_eq!(header(&response, "x-weir-tier"), "frontier");
    let sent = rig.sent_to_frontier().await.remove(0)["headers"].to_string();
    assert!(sent.contains("Bearer sk-ours"), "{sent}");
    for ours in ["sk-clients", "x-custom", "cookie"] {
        assert!(!sent.contains(ours), "{sent}");
    }
}

#[tokio::test]
async fn an_ask_in_hand_shows_the_key_that_it_came_with_and_never_a_later_one() {
    let mut script = vec![Play::Wait];
    script.extend(unsure());
    let worker = Scripted::start([script]).await;
    let mut policy = with_api_key();
    policy["retries"] = json!({ "max": 0 });
    let up = json!({ "header": { "name": "x-way", "values": ["up"] } });
    policy["rules"] = json!([{ "name": "up", "when": up, "then": { "only": "frontier" } }]);
    let rig = Rig::start(Setup {
        policy,
        workers: vec![worker.clone()],
        secrets: &[("frontier", "api-key", "sk-old")],
        ..Setup::default()
    })
    .await;
    let shown = async || {
        let sent = rig.sent_to_frontier().await.pop();
        sent.map(|sent| sent["headers"].to_string())
            .unwrap_or_default()
    };
    let later = async {
        while worker.asked().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        rig.write_secret("frontier", "api-key", "sk-new");
        while !shown().await.contains("Bearer sk-new") {
            let mut headers = HeaderMap::new();
            headers.insert("x-way", HeaderValue::from_static("up"));
            rig.ask_with(json!({}), headers).await.text().await.unwrap();
        }
        worker.go_on();
    };
    let (answer, ()) = tokio::join!(rig.ask(json!({})), later);
    assert_eq!(header(&answer, "x-weir-tier"), "frontier");
    let shown = shown().await;
    assert!(shown.contains("Bearer sk-old"), "{shown}");
}

#[tokio::test]
async fn a_tier_without_its_credential_is_out_until_it_appears() {
    let worker = Scripted::start([unsure()]).await;
    let mut policy = with_api_key();
    policy["onAllUnsure"] = "Error".into();
    let rig = Rig::start(Setup {
        policy,
        workers: vec![worker],
        ..Setup::default()
    })
    .await;
    let expected = json!([{
        "policy": "support", "tier": "frontier", "secret": "frontier", "key": "api-key",
    }]);
    assert_eq!(rig.load().await["missing_credentials"], expected);
    let response = rig.ask(json!({})).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let error = json_of(response).await["error"].clone();
    assert_eq!(error["code"], "no_credential");
    assert_eq!(
        error["attempts"][1],
        json!({ "tier": "frontier", "outcome": "no_credential" })
    );
    rig.write_secret("frontier", "api-key", "sk-ours");
    rig.until("the key is found", |load| {
        load["missing_credentials"] == json!([])
    })
    .await;
    assert_eq!(header(&rig.ask(json!({})).await, "x-weir-tier"), "frontier");
}

#[tokio::test]
async fn a_private_ask_never_reaches_the_frontier() {
    let worker = Scripted::start([unsure(), sure(), unsure(), unsure()]).await;
    let when = json!({ "header": { "name": "x-data-class", "values": ["restricted"] } });
    let policy =
        json!({ "privacy": { "denyWhen": when }, "idleTimeout": "200ms", "timeout": "2s" });
    let rig = Rig::start(Setup {
        policy,
        workers: vec![worker],
        ..Setup::default()
    })
    .await;
    let mut headers = HeaderMap::new();
    headers.insert("x-data-class", HeaderValue::from_static("restricted"));
    // Unsure and broken off, then sure: neither the score nor the failure lets it out.
    let failed = rig.ask_with(json!({}), headers.clone()).await;
    assert_eq!(failed.status(), StatusCode::GATEWAY_TIMEOUT);
    let answered = rig.ask_with(json!({}), headers.clone()).await;
    assert_eq!(header(&answered, "x-weir-tier"), "small");
    let refused = rig.ask_with(json!({ "audio": {} }), headers).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(rig.sent_to_frontier().await.is_empty());
}

#[tokio::test]
async fn an_endpoint_on_this_machine_is_dialled_only_where_that_is_allowed() {
    let worker = Scripted::start([unsure()]).await;
    let rig = Rig::start(Setup {
        policy: json!({ "onAllUnsure": "Error" }),
        workers: vec![worker],
        args: |args| args.allow_loopback = false,
        ..Setup::default()
    })
    .await;
    let response = rig.ask(json!({})).await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(json_of(response).await["error"]["code"], "address_refused");
    assert!(rig.sent_to_frontier().await.is_empty());
}
