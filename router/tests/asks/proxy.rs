//! A proxy for what leaves the cluster.

use std::sync::{Arc, Mutex};

use http::StatusCode;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::rig::{Rig, Setup, header};
use crate::worker::{Scripted, unsure};

/// A proxy that opens tunnels and passes plain requests on, and what it was asked for.
struct Proxy {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
    _server: JoinSet<()>,
}

impl Proxy {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let seen = asked.clone();
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(serve(client, seen.clone()));
            }
        });
        Self {
            url,
            asked,
            _server: server,
        }
    }
}

/// Plain requests come with the whole address in their first line.
async fn serve(client: TcpStream, asked: Arc<Mutex<Vec<String>>>) {
    let mut client = BufReader::new(client);
    let mut first = String::new();
    client.read_line(&mut first).await.unwrap();
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    asked.lock().unwrap().push(target.to_owned());
    let rest = target.strip_prefix("http://").expect("plain requests only");
    let (host, path) = rest.split_once('/').unwrap();
    let mut upstream = TcpStream::connect(host).await.unwrap();
    let line = format!("{method} /{path} HTTP/1.1\r\n");
    upstream.write_all(line.as_bytes()).await.unwrap();
    // Ends with either side, which is no failure here.
    let _ = copy_bidirectional(&mut client, &mut upstream).await;
}

#[tokio::test]
async fn what_leaves_the_cluster_goes_by_the_proxy() {
    let proxy = Proxy::start().await;
    let worker = Scripted::start([unsure()]).await;
    let rig = Rig::start(Setup {
        workers: vec![worker],
        egress_proxy: Some(proxy.url.clone()),
        ..Setup::default()
    })
    .await;
    let response = rig.ask(json!({})).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, "x-weir-tier"), "frontier");
    let asked = proxy.asked.lock().unwrap().clone();
    assert_eq!(asked, [format!("{}/v1/chat/completions", rig.frontier)]);
}
