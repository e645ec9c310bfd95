//! A proxy between an operator and the API server that answers some requests itself, as an API server in trouble would.
//!
//! Plain HTTP, one request a connection. Not imitated: an API server that is slow, or cuts connections.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result};
use futures::AsyncReadExt;
use http::{Method, Request};
use kube::Client;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt as _, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::process::World;

/// What one request of two is answered with while there is trouble, in turn. Only who writes can meet somebody.
const TROUBLE: [(u16, &str); 3] = [
    (409, "Conflict"),
    (429, "TooManyRequests"),
    (500, "InternalError"),
];

/// The proxy; it ends with the test.
pub struct Between {
    state: Arc<State>,
    kubeconfig: PathBuf,
}

struct State {
    client: Client,
    troubled: AtomicBool,
    asked: AtomicUsize,
    refused: [AtomicUsize; TROUBLE.len()],
}

impl Between {
    /// Starts one on loopback, with no trouble yet.
    pub async fn start(world: &World) -> Self {
        let state = Arc::new(State {
            client: world.server.client().await,
            troubled: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
            refused: Default::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let folder = world
            .server
            .folder()
            .map_or_else(std::env::temp_dir, PathBuf::from);
        let kubeconfig = folder.join(format!("{}.between", world.namespace));
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "only",
            "clusters": [{ "name": "only", "cluster": { "server": format!("http://{address}") } }],
            "contexts": [{ "name": "only", "context": { "cluster": "only", "user": "any" } }],
            "users": [{ "name": "any", "user": {} }],
        });
        std::fs::write(&kubeconfig, config.to_string()).unwrap();
        let serving = state.clone();
        #[allow(
            clippy::disallowed_methods,
            reason = "it ends with the runtime of its test"
        )]
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let state = serving.clone();
                // Who asked may leave before it is answered.
                tokio::spawn(async move { state.answer(connection).await.ok() });
            }
        });
        Self { state, kubeconfig }
    }

    /// What an operator finds the API server by.
    pub fn kubeconfig(&self) -> &std::path::Path {
        &self.kubeconfig
    }

    pub fn trouble(&self, troubled: bool) {
        self.state.troubled.store(troubled, Ordering::Relaxed);
    }

    /// How many requests came.
    pub fn asked(&self) -> usize {
        self.state.asked.load(Ordering::Relaxed)
    }

    /// How many of them were answered with each code.
    pub fn refused(&self) -> [(u16, usize); TROUBLE.len()] {
        std::array::from_fn(|which| {
            let refused = self.state.refused[which].load(Ordering::Relaxed);
            (TROUBLE[which].0, refused)
        })
    }
}

impl State {
    async fn answer(&self, mut connection: TcpStream) -> Result<()> {
        let request = read(&mut connection).await?;
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        if self.troubled.load(Ordering::Relaxed) && asked.is_multiple_of(2) {
            let mut which = asked / 2 % TROUBLE.len();
            if which == 0 && *request.method() == Method::GET {
                which += 1;
            }
            self.refused[which].fetch_add(1, Ordering::Relaxed);
            let (code, reason) = TROUBLE[which];
            let status = json!({
                "apiVersion": "v1", "kind": "Status", "status": "Failure",
                "code": code, "reason": reason, "message": "trouble between",
            });
            return said(&mut connection, code, status.to_string().as_bytes()).await;
        }
        match self.client.request_stream(request).await {
            Ok(mut body) => {
                said(&mut connection, 200, b"").await?;
                let mut piece = vec![0; 16 * 1024];
                loop {
                    let read = body.read(&mut piece).await.context("reading on")?;
                    if read == 0 {
                        return Ok(());
                    }
                    connection.write_all(&piece[..read]).await?;
                }
            }
            Err(kube::Error::Api(status)) => {
                let body = serde_json::to_vec(&status)?;
                said(&mut connection, status.code, &body).await
            }
            Err(error) => Err(error).context("asking on"),
        }
    }
}

/// A request's first part, and all of its body.
async fn read(connection: &mut TcpStream) -> Result<Request<Vec<u8>>> {
    let mut reader = BufReader::new(connection);
    let mut line = String::new();
    reader.read_line(&mut line).await?;
    let mut words = line.split_whitespace();
    let (method, path) = words.next().zip(words.next()).context("a request line")?;
    let mut request = Request::builder().method(method).uri(path);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().context("a length")?,
            name @ ("accept" | "content-type") => request = request.header(name, value),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await?;
    request.body(body).context("a request")
}

/// The end of the connection is the end of the body.
async fn said(connection: &mut TcpStream, code: u16, body: &[u8]) -> Result<()> {
    let retry = if code == 429 {
        "retry-after: 1\r\n"
    } else {
        ""
    };
    let head = format!(
        "HTTP/1.1 {code} Said\r\nconnection: close\r\ncontent-type: application/json\r\n{retry}\r\n"
    );
    connection.write_all(head.as_bytes()).await?;
    connection.write_all(body).await?;
    Ok(())
}
