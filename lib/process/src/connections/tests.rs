//! Connections over real sockets.

use std::net::SocketAddr;

use axum::routing::get;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

/// More than lies between two processes.
const LONG: usize = 64 << 20;

struct Stage {
    address: SocketAddr,
    end: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

async fn stage(limits: Limits) -> Stage {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = Router::new()
        .route("/long", get(|| async { vec![b'x'; LONG] }))
        .route("/short", get(|| async { "short" }))
        .route("/", get(late));
    let (end, ends) = oneshot::channel();
    let mut serving = JoinSet::new();
    serving.spawn(serve(listener, routes, limits, async {
        let _ = ends.await;
    }));
    #[allow(clippy::disallowed_methods, reason = "the test awaits it")]
    let ended = tokio::spawn(async move { while serving.join_next().await.is_some() {} });
    Stage {
        address,
        end,
        ended,
    }
}

/// One at a time, so that the next is served when the one before is gone.
fn limits(times: Times) -> Limits {
    Limits {
        most: 1,
        beyond: Beyond::Wait,
        most_streams: 8,
        most_head_bytes: None,
        times,
        patience: None,
    }
}

fn patient() -> Times {
    Times {
        head: PATIENCE,
        stall: PATIENCE,
        farewell: PATIENCE,
    }
}

fn short() -> Duration {
    Duration::from_millis(50)
}

async fn ask(address: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

/// What comes until the other side closes, which it has to.
async fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    // Closed with something unread is a reset.
    let _ = read.expect("the connection is closed");
    rest
}

const LONG_ANSWER: &str = "GET /long HTTP/1.1\r\nhost: x\r\n\r\n";
const SHORT_ANSWER: &str = "GET /short HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn whoever_says_nothing_or_half_of_a_head_is_left() {
    let stage = stage(limits(Times {
        head: short(),
        ..patient()
    }))
    .await;
    for beginning in [
        "",
        "GET",
        "PRI * HTTP/2.0\r\n\r\n",
        "GET /short HTTP/1.1\r\nhost: ",
    ] {
        let left = rest(ask(stage.address, beginning).await).await;
        assert!(!left.starts_with(b"HTTP/1.1 200"), "{beginning:?}");
    }
    // Nor is one that asked once kept for ever.
    let kept = rest(ask(stage.address, "GET /short HTTP/1.1\r\nhost: x\r\n\r\n").await).await;
    assert!(kept.starts_with(b"HTTP/1.1 200"));
}

/// Later than anybody may be silent in these tests.
async fn late() -> &'static str {
    sleep(10 * short()).await;
    "late"
}

#[tokio::test]
async fn the_shortest_request_may_be_answered_later_than_its_head_had_to_come() {
    let stage = stage(limits(Times {
        head: short(),
        ..patient()
    }))
    .await;
    let answer = rest(ask(stage.address, "GET / HTTP/1.0\n\n").await).await;
    assert!(answer.ends_with(b"late"), "{answer:?}");
}

#[tokio::test]
async fn an_answer_that_nobody_reads_frees_its_place() {
    let stage = stage(limits(Times {
        stall: short(),
        ..patient()
    }))
    .await;
    let unread = ask(stage.address, LONG_ANSWER).await;
    let answer = rest(ask(stage.address, SHORT_ANSWER).await).await;
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    assert!(rest(unread).await.len() < LONG);
}

#[tokio::test]
async fn whoever_reads_gets_the_whole_answer_also_when_the_end_has_begun() {
    let stage = stage(limits(patient())).await;
    let mut reading = ask(stage.address, LONG_ANSWER).await;
    let mut first = [0; 1 << 10];
    reading.read_exact(&mut first).await.unwrap();
    stage.end.send(()).unwrap();
    assert!(rest(reading).await.len() + first.len() > LONG);
    timeout(PATIENCE, stage.ended).await.unwrap().unwrap();
}

fn watching() -> Limits {
    Limits {
        beyond: Beyond::TurnAway,
        patience: Some(Patience {
            reader: short(),
            idle: short(),
        }),
        ..limits(Times {
            farewell: short(),
            ..patient()
        })
    }
}

/// Asks until the one place is free.
async fn until_served(address: SocketAddr) {
    let served = async {
        let is_served = |rest: Vec<u8>| rest.starts_with(b"HTTP/1.1 200");
        while !is_served(rest(ask(address, SHORT_ANSWER).await).await) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, served).await.expect("the place is free");
}

fn over_http2() -> reqwest::Client {
    // Fails if another test of this binary was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().http2_prior_knowledge();
    client.no_proxy().build().unwrap()
}

#[tokio::test]
async fn a_connection_beyond_the_most_is_told_so_until_a_place_is_free() {
    let stage = stage(Limits {
        beyond: Beyond::TurnAway,
        ..limits(patient())
    })
    .await;
    // Answered once, so that it has its place.
    let mut kept = ask(stage.address, "GET /short HTTP/1.1\r\nhost: x\r\n\r\n").await;
    kept.read_exact(&mut [0; 12]).await.unwrap();
    let turned_away = rest(ask(stage.address, SHORT_ANSWER).await).await;
    let turned_away = String::from_utf8(turned_away).unwrap();
    assert!(
        turned_away.starts_with("HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n"),
        "{turned_away}"
    );
    let (head, body) = turned_away.split_once("\r\n\r\n").unwrap();
    let length = format!("content-length: {}", body.len());
    assert!(head.lines().any(|line| line == length), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["error"]["code"], "too_many_connections");
    drop(kept);
    until_served(stage.address).await;
}

#[tokio::test]
async fn a_stream_of_http2_that_is_not_read_is_ended_and_its_connection_with_it() {
    let stage = stage(watching()).await;
    let url = |path| format!("http://{}{path}", stage.address);
    let client = over_http2();
    let unread = client.get(url("/long")).send().await.unwrap();
    // Nothing is read meanwhile, and the one place is free again.
    until_served(stage.address).await;
    assert!(unread.bytes().await.is_err());
}

#[tokio::test]
async fn a_stream_of_http2_that_is_read_is_kept_whole() {
    let stage = stage(Limits {
        patience: Some(Patience {
            reader: PATIENCE,
            idle: short(),
        }),
        ..watching()
    })
    .await;
    let read = over_http2().get(format!("http://{}/long", stage.address));
    let read = read.send().await.unwrap().bytes().await.unwrap();
    assert_eq!(read.len(), LONG);
}

#[tokio::test]
async fn an_idle_connection_of_either_version_is_closed() {
    let stage = stage(watching()).await;
    for _ in 0..3 {
        let url = format!("http://{}/short", stage.address);
        // Each takes the one place, which the one before has to have left.
        let served = async {
            let client = over_http2();
            while client.get(&url).send().await.is_err() {}
            client
        };
        let client = timeout(PATIENCE, served).await.expect("a place is free");
        let idle = ask(stage.address, "").await;
        drop(rest(idle).await);
        drop(client);
    }
}

#[tokio::test]
async fn a_head_beyond_its_bounds_is_answered_by_431() {
    let stage = stage(Limits {
        most_head_bytes: Some(16 << 10),
        ..limits(patient())
    })
    .await;
    let long = format!("x-long: {}\r\n", "x".repeat(17 << 10));
    let many = "x-many: 1\r\n".repeat(101);
    for headers in [long, many] {
        let head = format!("GET /short HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
        let refused = rest(ask(stage.address, &head).await).await;
        assert!(refused.starts_with(b"HTTP/1.1 431"));
    }
    let long = "x".repeat(17 << 10);
    let client = over_http2().get(format!("http://{}/short", stage.address));
    let refused = client.header("x-long", long).send().await.unwrap();
    assert_eq!(refused.status(), 431);
}

#[tokio::test]
async fn the_end_does_not_wait_for_a_stream_of_http2_that_lets_nothing_be_sent() {
    let stage = stage(Limits {
        patience: Some(Patience {
            reader: PATIENCE,
            idle: PATIENCE,
        }),
        ..watching()
    })
    .await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().http2_prior_knowledge();
    let client = client.http2_initial_stream_window_size(0).no_proxy();
    let client = client.build().unwrap();
    let unread = client.get(format!("http://{}/short", stage.address));
    let unread = unread.send().await.unwrap();
    stage.end.send(()).unwrap();
    let ended = timeout(PATIENCE / 2, stage.ended).await;
    ended.expect("it ends").unwrap();
    drop(unread);
}

#[tokio::test]
async fn the_end_does_not_wait_for_those_who_do_not_read() {
    let stage = stage(limits(Times {
        farewell: short(),
        ..patient()
    }))
    .await;
    let mut unread = ask(stage.address, LONG_ANSWER).await;
    let mut first = [0; 1 << 10];
    unread.read_exact(&mut first).await.unwrap();
    stage.end.send(()).unwrap();
    timeout(PATIENCE / 2, stage.ended)
        .await
        .expect("it ends")
        .unwrap();
}
