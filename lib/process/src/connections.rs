//! Connections of clients: how many there may be, how long each may be silent, and how they end.

mod stalls;

use std::{io, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    pin,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::sleep,
};
use tower::ServiceExt;

use self::stalls::Stalling;
pub use self::stalls::Times;

/// After an error that is not one connection's own, such as too many open files.
const BREATH: Duration = Duration::from_millis(200);

/// Requests that may be under way on one connection of HTTP/2: a router has one to each worker.
const MOST_STREAMS: u32 = 1024;

/// A peer of HTTP/2 that is silent for so long is asked whether it is there, and has as long to
/// answer.
const SILENCE: Duration = Duration::from_secs(30);

/// What connections are held to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections that are served at the same time; others wait to be accepted.
    pub most: usize,
    /// How long each may be silent.
    pub times: Times,
}

/// Serves both versions of HTTP until `until`, and then what has begun.
pub async fn serve(
    listener: TcpListener,
    routes: Router,
    limits: Limits,
    until: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(limits.most));
    let (end, ending) = watch::channel(false);
    let mut connections = JoinSet::new();
    pin!(until);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut until => break,
            accepted = accept(&listener, &places) => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, place)) => {
                let connection = Connection {
                    stream: Stalling::new(stream, limits.times, ending.clone()),
                    routes: routes.clone(),
                    ending: ending.clone(),
                    head: limits.times.head,
                    _place: place,
                };
                connections.spawn(connection.serve());
            }
            Err(error) if is_of_one(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection is accepted");
                sleep(BREATH).await;
            }
        }
    }
    drop(listener);
    end.send_replace(true);
    while connections.join_next().await.is_some() {}
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await;
    let place = place.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    // A token is a small packet: it must not wait for the next one (Nagle) to be sent.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection sends late");
    }
    Ok((stream, place))
}

fn is_of_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

struct Connection {
    stream: Stalling<TcpStream>,
    routes: Router,
    ending: watch::Receiver<bool>,
    head: Duration,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve(mut self) {
        let mut builder = Builder::new(TokioExecutor::new());
        let mut http1 = builder.http1();
        http1.timer(TokioTimer::new());
        http1.header_read_timeout(self.head);
        let mut http2 = builder.http2();
        http2.timer(TokioTimer::new());
        http2.max_concurrent_streams(MOST_STREAMS);
        http2
            .keep_alive_interval(SILENCE)
            .keep_alive_timeout(SILENCE);
        let routes = self.routes;
        let routes = routes.map_request(|request: http::Request<_>| request.map(Body::new));
        let connection =
            builder.serve_connection(TokioIo::new(self.stream), TowerToHyperService::new(routes));
        pin!(connection);
        let ending = async {
            // Without its sender the end has come too.
            let _ = self.ending.wait_for(|is_ending| *is_ending).await;
        };
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = ending => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection broke");
        }
    }
}

#[cfg(test)]
mod tests {
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
            .route("/short", get(|| async { "short" }));
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
        Limits { most: 1, times }
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
        for beginning in ["", "GET", "PRI * HTTP/2.0", "GET /short HTTP/1.1\r\nhost: "] {
            let left = rest(ask(stage.address, beginning).await).await;
            assert!(!left.starts_with(b"HTTP/1.1 200"), "{beginning:?}");
        }
        // Nor is one that asked once kept for ever.
        let kept = rest(ask(stage.address, "GET /short HTTP/1.1\r\nhost: x\r\n\r\n").await).await;
        assert!(kept.starts_with(b"HTTP/1.1 200"));
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
}
