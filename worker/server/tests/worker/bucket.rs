//! What is pinned of a source whose names for files are tags: the same files may come with others.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path as Segment, State},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    fetching::pins,
    harness::{Worker, triage},
};

const SOURCE: &str = "s3://models/triage";
const MODIFIED: &str = "Sat, 21 Nov 2026 12:00:00 GMT";

/// An S3 server on loopback with the example's model, which looks at no signature and lists one page.
struct Bucket {
    url: String,
    state: Arc<Tags>,
    _serving: JoinSet<()>,
}

#[derive(Default)]
struct Tags {
    /// How often the same files were put there again.
    puts: AtomicUsize,
    lists: AtomicUsize,
}

impl Tags {
    fn tag(&self) -> String {
        format!("\"t{}\"", self.puts.load(Ordering::SeqCst))
    }
}

impl Bucket {
    async fn open() -> Self {
        let state = Arc::new(Tags::default());
        let routes = Router::new()
            .route("/models", get(list))
            .route("/models/triage/{file}", get(object))
            .with_state(state.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self {
            url,
            state,
            _serving: serving,
        }
    }

    fn lists(&self) -> usize {
        self.state.lists.load(Ordering::SeqCst)
    }

    /// A worker that has this cache and these pins, and what it says of its model.
    async fn worker(&self, cache: &tempfile::TempDir, pinned: &[(&str, &str)]) -> Value {
        let (pinned, secret) = (pins(pinned), self.secret());
        let folder = |folder: &tempfile::TempDir| folder.path().to_str().unwrap().to_owned();
        let [cache, pinned, secret] = [cache, &pinned, &secret].map(folder);
        let args = [
            "--cache",
            &cache,
            "--pins",
            &pinned,
            "--credentials",
            &secret,
        ];
        let mut worker = Worker::fetching(SOURCE, &args);
        worker.listening();
        worker.report().await["worker"]["model"].clone()
    }

    fn secret(&self) -> tempfile::TempDir {
        pins(&[
            ("aws_access_key_id", "id"),
            ("aws_secret_access_key", "key"),
            ("region", "us-east-1"),
            ("endpoint", &self.url),
        ])
    }
}

async fn list(State(tags): State<Arc<Tags>>) -> String {
    tags.lists.fetch_add(1, Ordering::SeqCst);
    let files = std::fs::read_dir(triage()).unwrap().flatten();
    let files: String = files
        .map(|file| {
            let (name, size) = (file.file_name(), file.metadata().unwrap().len());
            format!(
                "<Contents><Key>triage/{}</Key><Size>{size}</Size><ETag>{}</ETag>\
                 <LastModified>2026-11-21T12:00:00.000Z</LastModified></Contents>",
                name.to_str().unwrap(),
                tags.tag()
            )
        })
        .collect();
    format!("<ListBucketResult><IsTruncated>false</IsTruncated>{files}</ListBucketResult>")
}

async fn object(State(tags): State<Arc<Tags>>, Segment(file): Segment<String>) -> Response {
    let body = Bytes::from(std::fs::read(triage().join(file)).unwrap());
    let head = [("etag", tags.tag()), ("last-modified", MODIFIED.to_owned())];
    (head, body).into_response()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_files_under_another_tag_are_what_was_pinned() {
    let bucket = Bucket::open().await;
    let cache = tempfile::tempdir().unwrap();
    let first = bucket.worker(&cache, &[]).await;
    let text = |field: &str| first[field].as_str().unwrap().to_owned();
    let (digest, resolved) = (text("digest"), text("revision"));
    let pinned = [("digest", digest.as_str()), ("resolved", resolved.as_str())];

    bucket.state.puts.fetch_add(1, Ordering::SeqCst);
    let lists = bucket.lists();
    assert_eq!(bucket.worker(&cache, &pinned).await, first);
    assert_eq!(bucket.lists(), lists, "the cache has what is pinned");

    let empty = tempfile::tempdir().unwrap();
    let other = bucket.worker(&empty, &pinned).await;
    assert_eq!(other["digest"], digest);
    assert_ne!(other["revision"], resolved);
}
