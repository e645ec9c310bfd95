//! How much later than it was sent an event comes: both ends of a stream are here, and one clock.
//!
//! The endpoint speaks OpenAI's chat wire and knows no other path. Each of its events says `#N.`, and the
//! N-th entry of a list says when it was sent.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::http::{Connection, Target};
use super::mock::{chunk, framed};

#[derive(Deserialize)]
pub struct Plan {
    /// Where the endpoint listens.
    endpoint: SocketAddr,
    targets: Vec<Target>,
    at_once: usize,
    rounds: usize,
    /// Of each stream.
    events: usize,
    every_ms: u64,
}

/// When each event was sent.
struct Sent {
    next: AtomicUsize,
    nanos: Vec<AtomicU64>,
}

static CLOCK: OnceLock<Instant> = OnceLock::new();

fn nanos(moment: Instant) -> u64 {
    let since = moment.saturating_duration_since(*CLOCK.get_or_init(Instant::now));
    u64::try_from(since.as_nanos()).unwrap()
}

impl Plan {
    /// For each target, the microseconds of every event.
    pub async fn run(self) -> Value {
        nanos(Instant::now());
        // A round more is asked, so that connections are there.
        let most = self.targets.len() * self.at_once * (self.rounds + 1) * self.events;
        let sent = Arc::new(Sent {
            next: AtomicUsize::new(0),
            nanos: (0..most).map(|_| AtomicU64::new(0)).collect(),
        });
        let listener = TcpListener::bind(self.endpoint)
            .await
            .unwrap()
            .into_std()
            .unwrap();
        let (events, every) = (self.events, Duration::from_millis(self.every_ms));
        let stamps = sent.clone();
        // It ends with the process.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime
                .unwrap()
                .block_on(serve(listener, stamps, events, every));
        });
        let mut lags = Map::new();
        for round in 0..=self.rounds {
            for target in &self.targets {
                let request = target.request();
                let streams = (0..self.at_once).map(|place| {
                    // Streams of many clients do not beat together.
                    let after = every * u32::try_from(place).unwrap()
                        / u32::try_from(self.at_once).unwrap();
                    stream(target, &request, &sent, after)
                });
                let came: Vec<f64> = join_all(streams).await.concat();
                assert_eq!(
                    came.len(),
                    self.at_once * self.events,
                    "events of {}",
                    target.name
                );
                if round > 0 {
                    let all = lags.entry(target.name.clone()).or_insert(json!([]));
                    all.as_array_mut()
                        .unwrap()
                        .extend(came.into_iter().map(Value::from));
                }
            }
        }
        lags.into()
    }
}

async fn stream(target: &Target, request: &[u8], sent: &Sent, after: Duration) -> Vec<f64> {
    let mut connection = Connection::open(target.address).await;
    tokio::time::sleep(after).await;
    connection.send(request).await;
    let (mut lags, mut number) = (Vec::new(), None);
    let look = |bytes: &[u8], now: Instant| {
        for byte in bytes {
            number = match (byte, number) {
                (b'#', _) => Some(0),
                (b'0'..=b'9', Some(number)) => Some(number * 10 + usize::from(byte - b'0')),
                (b'.', Some(number)) => {
                    let sent = sent.nanos[number].load(Ordering::Acquire);
                    lags.push((nanos(now) - sent) as f64 / 1e3);
                    None
                }
                _ => None,
            };
        }
    };
    connection.read(look).await;
    lags
}

/// The endpoint.
async fn serve(listener: std::net::TcpListener, sent: Arc<Sent>, events: usize, every: Duration) {
    let listener = TcpListener::from_std(listener).unwrap();
    let mut clients = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        clients.spawn(answer(stream, sent.clone(), events, every));
        while clients.try_join_next().is_some() {}
    }
}

/// Answers until the client leaves.
async fn answer(mut stream: TcpStream, sent: Arc<Sent>, events: usize, every: Duration) {
    let mut gathered = Vec::new();
    while request(&mut stream, &mut gathered).await {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let began = tokio::time::Instant::now();
        for event in 0..events {
            sleep_until(began + every * u32::try_from(event).unwrap()).await;
            let number = sent.next.fetch_add(1, Ordering::Relaxed);
            let text = chunk(&format!("#{number}. "), None);
            sent.nanos[number].store(nanos(Instant::now()), Ordering::Release);
            stream.write_all(text.as_bytes()).await.unwrap();
        }
        let end = format!(
            "{}{}0\r\n\r\n",
            chunk("", Some("stop")),
            framed("data: [DONE]\n\n")
        );
        stream.write_all(end.as_bytes()).await.unwrap();
    }
}

/// Reads the next request; false where there is none.
async fn request(stream: &mut TcpStream, gathered: &mut Vec<u8>) -> bool {
    loop {
        if let Some(at) = gathered.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&gathered[..at]).to_ascii_lowercase();
            let mut lines = head.lines();
            let length = lines.find_map(|line| line.strip_prefix("content-length:"));
            let whole = at + 4 + length.map_or(0, |length| length.trim().parse().unwrap());
            if gathered.len() >= whole {
                gathered.drain(..whole);
                return true;
            }
        }
        match stream.read_buf(gathered).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return false,
        }
    }
}
