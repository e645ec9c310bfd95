//! Many connections, or streams, that do next to nothing: for as long as somebody looks at what they take.
//!
//! Each further line of standard input is a number; once so many are held it prints `held N`. Fewer than
//! there are lets all of them go.

use std::io::BufRead;
use std::net::{Ipv4Addr, SocketAddr};

use futures::StreamExt;
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::http::{Connection, Target};

#[derive(Deserialize)]
pub struct Plan {
    target: Target,
    /// A connection that has had its answer, or one that goes on having it.
    streams: bool,
    /// How many asks go over each connection of HTTP/2; over HTTP/1.1 where it is nothing.
    over_one: Option<usize>,
}

/// Connections that are being made at once.
const AT_ONCE: usize = 250;

impl Plan {
    pub async fn run(self) {
        let (lines, mut counts) = mpsc::channel(1);
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines() {
                let count: usize = line.unwrap().trim().parse().unwrap();
                lines.blocking_send(count).unwrap();
            }
        });
        // Its connections are told apart by their addresses, all of which are this machine's.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().http2_prior_knowledge();
        let client = client.pool_idle_timeout(None).build().unwrap();
        let mut held = JoinSet::new();
        while let Some(count) = counts.recv().await {
            if count < held.len() {
                held.shutdown().await;
            }
            let mut begun = Vec::new();
            for index in held.len()..count {
                let (tell, told) = oneshot::channel();
                let (target, streams) = (self.target.clone(), self.streams);
                match self.over_one {
                    Some(over_one) => {
                        let place = u16::try_from(index / over_one).unwrap();
                        held.spawn(over_http2(client.clone(), target, place, (streams, tell)));
                    }
                    None => {
                        held.spawn(over_http1(target, (streams, tell)));
                    }
                }
                begun.push(told);
                if begun.len() == AT_ONCE {
                    all(&mut begun).await;
                }
            }
            all(&mut begun).await;
            println!("held {count}");
        }
    }
}

async fn all(begun: &mut Vec<oneshot::Receiver<()>>) {
    for told in begun.drain(..) {
        told.await.expect("an answer has begun");
    }
}

/// Asks on a connection of its own; tells when the answer begins, where streams are held, or is over.
async fn over_http1(target: Target, (streams, tell): (bool, oneshot::Sender<()>)) {
    let mut connection = Connection::open(target.address).await;
    connection.send(&target.request()).await;
    let mut tell = Some(tell);
    let begins = |_: &[u8], _| {
        if let Some(tell) = tell.take_if(|_| streams) {
            tell.send(()).unwrap();
        }
    };
    connection.read(begins).await;
    assert!(!streams, "a stream ended while it was held");
    if let Some(tell) = tell {
        tell.send(()).unwrap();
    }
    std::future::pending().await
}

/// Likewise on the connection with this number.
async fn over_http2(
    client: reqwest::Client,
    target: Target,
    place: u16,
    (streams, tell): (bool, oneshot::Sender<()>),
) {
    let [high, low] = (place + 1).to_be_bytes();
    let address = SocketAddr::from((Ipv4Addr::new(127, 1, high, low), target.address.port()));
    let mut request = client.post(format!("http://{address}{}", target.path));
    for (name, value) in &target.headers {
        request = request.header(name, value);
    }
    let body = target.body.to_string();
    let response = request
        .header("content-type", "application/json")
        .body(body)
        .send();
    let response = response.await.unwrap();
    assert!(response.status().is_success(), "{}", response.status());
    let mut parts = response.bytes_stream();
    let mut tell = Some(tell);
    while let Some(part) = parts.next().await {
        part.unwrap();
        if let Some(tell) = tell.take_if(|_| streams) {
            tell.send(()).unwrap();
        }
    }
    assert!(!streams, "a stream ended while it was held");
    if let Some(tell) = tell {
        tell.send(()).unwrap();
    }
    std::future::pending().await
}
