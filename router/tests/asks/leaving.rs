//! Clients that leave, or do not read, in each phase of their ask: nothing is left in hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderMap;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::rig::{QUESTION, Rig, Setup, world};
use crate::wires::Wire;
use crate::worker::{Play, Reply, Scripted, sure};

fn gone(policy: &str, times: usize) -> String {
    format!("weir_router_asks_total{{policy=\"{policy}\",outcome=\"disconnected\"}} {times}")
}

/// Asks on each wire, whole and as a stream, and leaves when the ask is in hand and `is_reached`.
async fn leave(rig: &Rig, is_reached: impl AsyncFn(usize)) {
    let mut times = 0;
    for wire in Wire::ALL {
        for stream in [false, true] {
            let body = wire.body(QUESTION, stream);
            let ask = async {
                let response = wire.ask(rig, &body, HeaderMap::new()).await;
                response.text().await
            };
            times += 1;
            tokio::select! {
                text = ask => panic!("{wire:?} {stream}: it was answered: {text:?}"),
                () = is_reached(times) => {}
            }
            rig.until_counted("weir_router_asks_running 0").await;
            rig.until_counted(&gone("support", times)).await;
        }
    }
}

/// Waits for what another task does.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..500 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never so: {what}");
}

#[tokio::test]
async fn a_client_that_leaves_while_a_classifier_is_asked_takes_the_question_with_it() {
    let worker = Scripted::start([sure()]).await.chooses(Reply::Never);
    let classifier = json!({ "classifier": {
        "deployment": { "name": "triage" }, "timeout": "20s",
        "labels": [{ "label": "easy", "start": "small" }, { "label": "hard", "start": "frontier" }],
    } });
    let rig = Rig::with(classifier, &[&worker]).await;
    leave(&rig, async |times| {
        until("the classifier is asked", || worker.chosen().len() == times).await;
    })
    .await;
    until("every question is cancelled", || worker.cancelled() == 6).await;
    assert!(worker.asked().is_empty());
}

#[tokio::test]
async fn a_client_that_leaves_before_or_behind_the_first_word_of_a_replica_cancels_it() {
    for script in [vec![Play::Hang], vec![Play::Say("bil", -0.01), Play::Hang]] {
        let worker = Scripted::start([script]).await;
        let rig = Rig::with(json!({ "idleTimeout": "20s" }), &[&worker]).await;
        leave(&rig, async |times| {
            until("the replica is asked", || worker.asked().len() == times).await;
        })
        .await;
        until("every attempt is cancelled", || worker.cancelled() == 6).await;
    }
}

/// What stands before the stand-in, and counts.
struct Between {
    url: String,
    /// Connections of the router that are open.
    open: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Between {
    async fn start(rig: &Rig) -> Self {
        let to = rig.frontier.strip_prefix("http://").unwrap().to_owned();
        Self::of(move |near| pass(near, to.clone())).await
    }

    /// Whoever connects is served like this.
    async fn of<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let open = Arc::new(AtomicUsize::new(0));
        let count = open.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let (served, count) = (serve(near), count.clone());
                count.fetch_add(1, Ordering::SeqCst);
                connections.spawn(async move {
                    served.await;
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            url,
            open,
            _tasks: tasks,
        }
    }
}

/// Passes everything on, until one of both sides is gone.
async fn pass(near: TcpStream, to: String) {
    let far = TcpStream::connect(to).await.unwrap();
    let (mut near_read, mut near_write) = near.into_split();
    let (mut far_read, mut far_write) = far.into_split();
    tokio::select! {
        _ = tokio::io::copy(&mut near_read, &mut far_write) => {}
        _ = tokio::io::copy(&mut far_read, &mut near_write) => {}
    }
}

/// Answers with pages of a chat without end, as fast as they are taken; counts their bytes.
async fn flood(mut near: TcpStream, taken: Arc<AtomicUsize>) {
    let mut request = vec![0; 64 << 10];
    let _ = near.read(&mut request).await.unwrap();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    near.write_all(head.as_bytes()).await.unwrap();
    let chunk = json!({ "choices": [{ "index": 0, "delta": { "content": "x".repeat(8 << 10) } }] });
    let page = format!("data: {chunk}\n\n");
    while near.write_all(page.as_bytes()).await.is_ok() {
        taken.fetch_add(page.len(), Ordering::SeqCst);
    }
}

/// A router whose asks all go to `url`.
async fn follow(rig: &Rig, url: &str) {
    let then = json!({ "only": "frontier" });
    let policy = json!({
        "rules": [{ "name": "up", "when": {}, "then": then }],
        "tiers": [{}, { "endpoint": { "baseUrl": url } }],
    });
    rig.follow(world(policy, &rig.frontier, &[])).await;
}

#[tokio::test]
async fn a_client_that_leaves_closes_the_connection_to_the_endpoint() {
    for fault in ["stall=60s", "hang-after=0", "hang-after=1"] {
        let rig = Rig::start(Setup::default()).await;
        let between = Between::start(&rig).await;
        follow(&rig, &between.url).await;
        rig.frontier_fault(fault).await;
        leave(&rig, async |_| {
            until("the endpoint is asked", || {
                between.open.load(Ordering::SeqCst) == 1
            })
            .await;
            rig.until_counted("weir_router_asks_running 1").await;
        })
        .await;
        until("nothing is open", || {
            between.open.load(Ordering::SeqCst) == 0
        })
        .await;
    }
}

/// What fills on the way: the buffers of two connections, which kernels let grow to 32 MiB and more.
/// The router's own places for events are half a mebibyte of these pages.
const MOST_ON_THE_WAY: usize = 64 << 20;

/// Asks for a stream over a connection with little room, of which nothing is read.
async fn ask_and_not_read(rig: &Rig, wire: Wire) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let address = rig.url.strip_prefix("http://").unwrap().parse().unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let (path, body) = (wire.path(), wire.body(QUESTION, true).to_string());
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await.unwrap();
    rig.until_counted("weir_router_asks_running 1").await;
    stream
}

#[tokio::test]
async fn an_answer_without_end_is_read_no_further_than_its_client_reads() {
    let rig = Rig::start(Setup {
        args: |args| args.reader_patience = Duration::from_secs(5),
        ..Setup::default()
    })
    .await;
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    let endless = Between::of(move |near| flood(near, count.clone())).await;
    follow(&rig, &endless.url).await;
    for (times, wire) in Wire::ALL.into_iter().enumerate() {
        let unread = ask_and_not_read(&rig, wire).await;
        // Only a router that cannot write comes to the end of its patience.
        rig.until_counted("weir_router_asks_running 0").await;
        rig.until_counted(&gone("support", times + 1)).await;
        until("the endpoint is left", || {
            endless.open.load(Ordering::SeqCst) == 0
        })
        .await;
        let taken = taken.swap(0, Ordering::SeqCst);
        assert!((1 << 16..MOST_ON_THE_WAY).contains(&taken), "{taken} bytes");
        drop(unread);
    }
}
