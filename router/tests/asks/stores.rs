//! Records in object storage, over real sockets: a server that others wrote, and one that fails on
//! request.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use futures::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::programs::{PASSWORD, USER, start};
use crate::rig::{Rig, json_of};
use crate::worker::{Scripted, sure};

const WRITTEN: &str = "weir_router_records_total{policy=\"support\",outcome=\"written\"}";
const DROPPED: &str = "weir_router_records_total{policy=\"support\",outcome=\"dropped\"}";

/// What a store does with an object.
#[derive(Clone, Copy)]
pub enum Manner {
    Takes,
    /// Refuses this many, and then takes them.
    Refuses(usize),
    Hangs,
}

/// An S3 server that takes every object, or does not. Not imitated: signatures, and all but PUT.
pub struct Bucket {
    pub url: String,
    seen: Arc<Seen>,
    _serving: JoinSet<()>,
}

struct Seen {
    manner: Mutex<Manner>,
    puts: Mutex<Vec<(String, String)>>,
}

impl Bucket {
    pub async fn open(manner: Manner) -> Self {
        let seen = Arc::new(Seen {
            manner: Mutex::new(manner),
            puts: Mutex::default(),
        });
        let routes = Router::new().fallback(put).with_state(seen.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self {
            url,
            seen,
            _serving: serving,
        }
    }

    /// Every object that came, refused ones too: name and text.
    pub fn puts(&self) -> Vec<(String, String)> {
        self.seen.puts.lock().unwrap().clone()
    }

    pub fn lines(&self) -> Vec<Value> {
        let puts = self.puts();
        let lines = puts.iter().flat_map(|(_, text)| text.lines());
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

async fn put(
    State(seen): State<Arc<Seen>>,
    headers: HeaderMap,
    uri: Uri,
    body: Bytes,
) -> (StatusCode, [(&'static str, &'static str); 1]) {
    assert!(
        headers["authorization"]
            .to_str()
            .unwrap()
            .starts_with("AWS4-HMAC-SHA256")
    );
    let text = String::from_utf8(body.to_vec()).unwrap();
    seen.puts
        .lock()
        .unwrap()
        .push((uri.path().to_owned(), text));
    let manner = *seen.manner.lock().unwrap();
    let status = match manner {
        Manner::Takes | Manner::Refuses(0) => StatusCode::OK,
        Manner::Refuses(more) => {
            *seen.manner.lock().unwrap() = Manner::Refuses(more - 1);
            StatusCode::SERVICE_UNAVAILABLE
        }
        Manner::Hangs => std::future::pending().await,
    };
    (status, [("etag", "\"1\"")])
}

/// A router whose policy sends records to `records/weir`, with text or without.
async fn rig(text: &str) -> Rig {
    let worker = Scripted::start([sure()]).await;
    let records = json!({
        "to": "s3://records/weir", "text": text, "credentialsSecretRef": { "name": "s3" },
    });
    Rig::with(json!({ "records": records }), &[&worker]).await
}

pub async fn give_credentials(rig: &Rig, url: &str) {
    for (entry, value) in [
        ("endpoint", url),
        ("aws_access_key_id", USER),
        ("aws_secret_access_key", PASSWORD),
    ] {
        rig.write_secret("s3", entry, value);
    }
    let none = json!([]);
    rig.until("the store's credentials are found", |load| {
        load["missing_credentials"] == none
    })
    .await;
}

/// Asks with so much text that the records fill an object.
async fn fill(rig: &Rig) {
    for _ in 0..5 {
        let messages = json!([{ "role": "user", "content": "long ".repeat(60_000) }]);
        let answer = rig.ask(json!({ "messages": messages })).await;
        assert_eq!(answer.status(), StatusCode::OK);
        answer.text().await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_checks_signatures_gets_a_line_for_each_ask() {
    let server = start(&["s3"]);
    let url = format!("http://{}", server.address);
    let worker = Scripted::start([sure()]).await;
    let records = json!({ "to": "s3://models/a/b/", "credentialsSecretRef": { "name": "s3" } });
    let rig = Rig::with(json!({ "records": records }), &[&worker]).await;
    give_credentials(&rig, &url).await;
    for _ in 0..2 {
        rig.ask(json!({})).await.text().await.unwrap();
    }
    rig.begin_end();
    rig.ended().await;
    let store = AmazonS3Builder::new()
        .with_endpoint(&url)
        .with_allow_http(true)
        .with_bucket_name("models")
        .with_access_key_id(USER)
        .with_secret_access_key(PASSWORD)
        .build()
        .unwrap();
    let objects: Vec<_> = store.list(None).try_collect().await.unwrap();
    let mut lines = Vec::new();
    for object in objects {
        let name = object.location.to_string();
        assert!(
            name.starts_with("a/b/support/20") && name.ends_with(".jsonl"),
            "{name}"
        );
        let body = store
            .get(&object.location)
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        lines.extend(
            String::from_utf8(body.to_vec())
                .unwrap()
                .lines()
                .map(str::to_owned),
        );
    }
    assert_eq!(lines.len(), 2, "{lines:?}");
    for line in lines {
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["outcome"], "answered");
        assert!(line.get("text").is_none());
    }
}

#[tokio::test]
async fn an_object_that_is_refused_is_tried_again_under_its_name_and_has_text_where_that_is_wanted()
{
    let bucket = Bucket::open(Manner::Refuses(1)).await;
    let rig = rig("Include").await;
    give_credentials(&rig, &bucket.url).await;
    fill(&rig).await;
    rig.until_counted(&format!("{WRITTEN} ")).await;
    let puts = bucket.puts();
    assert_eq!(puts.len(), 2);
    assert_eq!(puts[0], puts[1]);
    assert!(
        puts[0].0.starts_with("/records/weir/support/20"),
        "{}",
        puts[0].0
    );
    let line = &bucket.lines()[0];
    assert_eq!(line["text"]["answer"][0]["text"], "billing");
    assert_eq!(line["text"]["promptCut"], true);
}

#[tokio::test]
async fn records_without_a_credential_are_dropped_counted_and_reported_until_it_comes() {
    let bucket = Bucket::open(Manner::Takes).await;
    let rig = rig("Include").await;
    let missing = &rig.load().await["missing_credentials"];
    let expected = json!([{
        "policy": "support", "secret": "s3", "key": "aws_access_key_id", "is_for_records": true,
    }]);
    assert_eq!(*missing, expected);
    fill(&rig).await;
    rig.until_counted(&format!("{DROPPED} ")).await;
    assert!(bucket.puts().is_empty());
    give_credentials(&rig, &bucket.url).await;
    fill(&rig).await;
    rig.until_counted(&format!("{WRITTEN} ")).await;
}

#[tokio::test]
async fn a_store_that_never_answers_holds_up_neither_an_ask_nor_the_end() {
    let bucket = Bucket::open(Manner::Hangs).await;
    let rig = rig("Include").await;
    give_credentials(&rig, &bucket.url).await;
    // More than may wait: it is dropped.
    for _ in 0..16 {
        fill(&rig).await;
    }
    rig.until_counted(&format!("{DROPPED} ")).await;
    rig.begin_end();
    rig.ended().await;
    assert_eq!(bucket.puts().len(), 1);
}

#[tokio::test]
async fn a_verdict_is_with_its_record_or_follows_it() {
    let bucket = Bucket::open(Manner::Takes).await;
    let rig = rig("Include").await;
    give_credentials(&rig, &bucket.url).await;
    let say = async |id: &Value, comment: &str| {
        let body = json!({ "id": id, "verdict": "bad", "comment": comment }).to_string();
        let said = rig
            .client
            .post(format!("{}/v1/feedback", rig.url))
            .body(body)
            .send()
            .await;
        assert_eq!(said.unwrap().status(), StatusCode::OK);
    };
    let first = json_of(rig.ask(json!({})).await).await;
    rig.until_counted("weir_router_asks_running 0").await;
    say(&first["id"], "at once").await;
    fill(&rig).await;
    rig.until_counted(&format!("{WRITTEN} ")).await;
    say(&first["id"], "later").await;
    rig.begin_end();
    rig.ended().await;
    let lines = bucket.lines();
    assert_eq!(lines[0]["labels"][0]["comment"], "at once");
    let follows: Vec<&Value> = lines
        .iter()
        .filter(|line| line.get("feedback").is_some())
        .collect();
    assert_eq!(follows.len(), 1);
    assert_eq!(follows[0]["feedback"]["label"]["comment"], "later");
    let id = first["id"].as_str().unwrap();
    assert_eq!(
        follows[0]["feedback"]["id"],
        id.trim_start_matches("chatcmpl-")
    );
}
