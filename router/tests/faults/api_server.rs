//! An API server that keeps what a test wrote, and can go away: lists and watches over plain HTTP, on one port for good.
//!
//! Not imitated: writes by others, rights, selectors beyond one label or one name, bookmarks, versions that are
//! too old. The tests of `weir-e2e` have a real one.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener as Listener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use futures::stream;
use http::{Uri, header};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

/// One object as it was at one version, which is its place in the list of all.
#[derive(Clone)]
struct Written {
    /// The kind as paths have it, such as `routepolicies`.
    plural: &'static str,
    object: Value,
    is_new: bool,
}

type Store = Arc<Mutex<Vec<Written>>>;

#[derive(Clone)]
struct Serving {
    store: Store,
    news: watch::Sender<usize>,
}

pub struct ApiServer {
    address: SocketAddr,
    serving: Serving,
    /// Nothing while it is away.
    runtime: Option<Runtime>,
    files: TempDir,
}

impl ApiServer {
    pub fn start() -> Self {
        let files = tempfile::tempdir().unwrap();
        let serving = Serving {
            store: Store::default(),
            news: watch::Sender::new(0),
        };
        let listener = Listener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "only",
            "clusters": [{ "name": "only", "cluster": { "server": format!("http://{address}") } }],
            "contexts": [{ "name": "only", "context": { "cluster": "only", "user": "any" } }],
            "users": [{ "name": "any", "user": {} }],
        });
        std::fs::write(files.path().join("kubeconfig"), config.to_string()).unwrap();
        let runtime = Some(serve(listener, &serving));
        Self {
            address,
            serving,
            runtime,
            files,
        }
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.files.path().join("kubeconfig")
    }

    /// Writes an object, over the one of its name.
    pub fn write(&self, plural: &'static str, mut object: Value) {
        let mut store = self.serving.store.lock().unwrap();
        let name = object["metadata"]["name"].clone();
        let mut same = store.iter().filter(|written| written.plural == plural);
        let is_new = same.all(|written| written.object["metadata"]["name"] != name);
        object["metadata"]["resourceVersion"] = (store.len() + 1).to_string().into();
        object["metadata"]["namespace"] = "default".into();
        store.push(Written {
            plural,
            object,
            is_new,
        });
        self.serving.news.send_replace(store.len());
    }

    pub fn is_away(&self) -> bool {
        self.runtime.is_none()
    }

    /// Its connections break, and nobody listens any more.
    pub fn go_away(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    pub fn come_back(&mut self) {
        let listener = Listener::bind(self.address).unwrap();
        self.runtime = Some(serve(listener, &self.serving));
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.go_away();
    }
}

fn serve(listener: Listener, serving: &Serving) -> Runtime {
    listener.set_nonblocking(true).unwrap();
    let mut runtime = Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
    let routes = Router::new().fallback(answer).with_state(serving.clone());
    runtime.spawn(async move {
        let listener = TcpListener::from_std(listener).unwrap();
        axum::serve(listener, routes).await.unwrap();
    });
    runtime
}

async fn answer(
    State(serving): State<Serving>,
    uri: Uri,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let plural = uri.path().rsplit('/').next().unwrap_or_default().to_owned();
    let selector = Selector::of(&query);
    let is_watch = query.get("watch").is_some_and(|watch| watch == "true");
    let body = match is_watch {
        true => {
            let version = query.get("resourceVersion").map(|version| version.parse());
            let seen = version.and_then(Result::ok).unwrap_or_default();
            let news = serving.news.subscribe();
            let watching = (serving, news, seen, plural, selector);
            Body::from_stream(stream::unfold(watching, |mut watching| async move {
                let event = next(&mut watching).await?;
                Some((Ok::<_, Infallible>(event), watching))
            }))
        }
        false => list(&serving, &plural, &selector).to_string().into(),
    };
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

type Watching = (Serving, watch::Receiver<usize>, usize, String, Selector);

/// The next event behind what was seen, as a line.
async fn next((serving, news, seen, plural, selector): &mut Watching) -> Option<String> {
    loop {
        news.wait_for(|version| version > seen).await.ok()?;
        let written = serving.store.lock().unwrap()[*seen].clone();
        *seen += 1;
        if written.plural == plural && selector.takes(&written.object) {
            let kind = if written.is_new { "ADDED" } else { "MODIFIED" };
            let event = json!({ "type": kind, "object": written.object });
            return Some(format!("{event}\n"));
        }
    }
}

fn list(serving: &Serving, plural: &str, selector: &Selector) -> Value {
    let store = serving.store.lock().unwrap();
    let mut objects = BTreeMap::new();
    for written in store.iter().filter(|written| written.plural == plural) {
        let name = written.object["metadata"]["name"].to_string();
        objects.insert(name, &written.object);
    }
    let objects = objects.into_values();
    let items: Vec<&Value> = objects.filter(|object| selector.takes(object)).collect();
    json!({
        "kind": "List", "apiVersion": "v1", "items": items,
        "metadata": { "resourceVersion": store.len().to_string() },
    })
}

/// Which objects are wanted.
#[derive(Default)]
struct Selector {
    name: Option<String>,
    label: Option<(String, String)>,
}

impl Selector {
    fn of(query: &BTreeMap<String, String>) -> Self {
        let pair = |name: &str| {
            let (key, value) = query.get(name)?.split_once('=')?;
            Some((key.to_owned(), value.to_owned()))
        };
        Self {
            name: pair("fieldSelector").map(|(_, name)| name),
            label: pair("labelSelector"),
        }
    }

    fn takes(&self, object: &Value) -> bool {
        let metadata = &object["metadata"];
        let is_named = |name: &String| metadata["name"] == name.as_str();
        let has = |(key, value): &(String, String)| metadata["labels"][key] == value.as_str();
        self.name.as_ref().is_none_or(is_named) && self.label.as_ref().is_none_or(has)
    }
}
