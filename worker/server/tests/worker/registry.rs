//! A registry on loopback with one artefact, whose last file comes when the test says so. It has no
//! tokens, no uploads and no other errors than 404 and 401; those of real ones are tried where models are
//! fetched.

use std::{collections::HashMap, net::SocketAddr, path::Path, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path as Segment, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures::{StreamExt, stream};
use serde_json::json;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use weir_sources::Digest;

/// The file that waits.
const LAST: &str = "model.safetensors";

pub struct Registry {
    pub address: SocketAddr,
    /// Of the artefact's manifest, with its algorithm.
    pub digest: String,
    open: watch::Sender<bool>,
    _serving: JoinSet<()>,
}

struct Artefact {
    manifest: String,
    digest: String,
    blobs: HashMap<String, (String, Bytes)>,
    open: watch::Receiver<bool>,
    /// Who may ask, if not everybody.
    authorization: Option<String>,
}

impl Registry {
    /// With the files of `folder` as `acme/triage:v1`, for whoever sends `authorization`.
    pub async fn with(folder: &Path, authorization: Option<&str>) -> Self {
        let mut blobs = HashMap::new();
        let mut layers = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let body = Bytes::from(std::fs::read(entry.path()).unwrap());
            let digest = format!("sha256:{}", Digest::of(&body));
            layers.push(json!({
                "mediaType": "application/octet-stream", "digest": digest, "size": body.len(),
                "annotations": { "org.opencontainers.image.title": name },
            }));
            blobs.insert(digest, (name, body));
        }
        let manifest = json!({ "schemaVersion": 2, "layers": layers }).to_string();
        let digest = format!("sha256:{}", Digest::of(manifest.as_bytes()));
        let open = watch::Sender::new(false);
        let artefact = Arc::new(Artefact {
            manifest,
            digest: digest.clone(),
            blobs,
            open: open.subscribe(),
            authorization: authorization.map(str::to_owned),
        });
        let routes = Router::new()
            .route("/v2/acme/triage/manifests/{name}", get(manifest_of))
            .route("/v2/acme/triage/blobs/{digest}", get(blob))
            .with_state(artefact);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self {
            address,
            digest,
            open,
            _serving: serving,
        }
    }

    pub fn source(&self) -> String {
        format!("oci://localhost:{}/acme/triage:v1", self.address.port())
    }

    /// Lets the last file come whole.
    pub fn open(&self) {
        self.open.send_replace(true);
    }
}

impl Artefact {
    fn refuses(&self, headers: &HeaderMap) -> bool {
        let sent = headers.get(header::AUTHORIZATION);
        self.authorization
            .as_deref()
            .is_some_and(|wanted| sent.is_none_or(|sent| sent != wanted))
    }
}

fn unauthorized() -> Response {
    let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"registry\"")];
    (StatusCode::UNAUTHORIZED, challenge).into_response()
}

async fn manifest_of(
    State(artefact): State<Arc<Artefact>>,
    Segment(name): Segment<String>,
    headers: HeaderMap,
) -> Response {
    if artefact.refuses(&headers) {
        return unauthorized();
    }
    if name != "v1" && name != artefact.digest {
        return StatusCode::NOT_FOUND.into_response();
    }
    let kind = [(
        header::CONTENT_TYPE,
        "application/vnd.oci.image.manifest.v1+json",
    )];
    (kind, artefact.manifest.clone()).into_response()
}

async fn blob(
    State(artefact): State<Arc<Artefact>>,
    Segment(digest): Segment<String>,
    headers: HeaderMap,
) -> Response {
    if artefact.refuses(&headers) {
        return unauthorized();
    }
    let Some((name, body)) = artefact.blobs.get(&digest) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let length = [(header::CONTENT_LENGTH, body.len())];
    if name != LAST {
        return (length, body.clone()).into_response();
    }
    let (first, rest) = (body.slice(..body.len() / 2), body.slice(body.len() / 2..));
    let mut open = artefact.open.clone();
    let rest = stream::once(async move {
        let _ = open.wait_for(|open| *open).await;
        Ok::<_, std::convert::Infallible>(rest)
    });
    let body = stream::iter([Ok(first)]).chain(rest);
    (length, Body::from_stream(body)).into_response()
}
