//! Connections of clients: how many there may be, how long each may be silent, what it may send and
//! not read, and how they end.

mod answers;
mod stalls;

use std::{convert::Infallible, future::pending, io, sync::Arc, time::Duration};

use axum::{
    BoxError, Router,
    body::{Body, Bytes, HttpBody},
};
use http::{Request, Response};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    pin,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tower::{Service, ServiceExt, service_fn};

use self::answers::Answers;
use self::stalls::Stalling;
pub use self::stalls::Times;

/// After an error that is not one connection's own, such as too many open files.
const BREATH: Duration = Duration::from_millis(200);

/// A peer of HTTP/2 that is silent for so long is asked whether it is there, and has as long to
/// answer.
const SILENCE: Duration = Duration::from_secs(30);

/// Connections that are told at the same time that there is no place for them.
const MOST_TURNED_AWAY: usize = 64;

/// For one of them to hear it.
const LONGEST_TURNING_AWAY: Duration = Duration::from_secs(1);

/// What clients of either provider read.
const TURNED_AWAY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\
    x-should-retry: true\r\ncontent-type: application/json\r\ncontent-length: 139\r\n\
    connection: close\r\n\r\n\
    {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"code\":\"too_many_connections\",\
    \"param\":null,\"message\":\"too many connections: ask again\"}}";

/// What connections are held to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections that are served at the same time.
    pub most: usize,
    /// What becomes of others meanwhile.
    pub beyond: Beyond,
    /// Requests that may be under way on one connection of HTTP/2.
    pub most_streams: u32,
    /// The line and the headers of a request: one that is longer, or has more than a hundred
    /// headers, is answered by 431. Nothing: as hyper has it. Not below 8 KiB.
    pub most_head_bytes: Option<u32>,
    /// How long each may be silent.
    pub times: Times,
    /// Nothing where the routes see to their readers themselves.
    pub patience: Option<Patience>,
}

/// What becomes of connections for which there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// They wait to be accepted.
    Wait,
    /// They are answered by 503 and closed.
    TurnAway,
}

/// How long connections are kept for answers that make no progress, and for none.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// With a client that takes nothing of an answer that is there, before the answer is dropped
    /// and with it whatever makes it.
    pub reader: Duration,
    /// With a connection that no answer is awaited on, of either version of HTTP.
    pub idle: Duration,
}

/// Serves both versions of HTTP until `until`, and then what has begun.
pub async fn serve(
    listener: TcpListener,
    routes: Router,
    limits: Limits,
    until: impl Future<Output = ()>,
) {
    let mut door = Door {
        listener,
        places: Arc::new(Semaphore::new(limits.most)),
        others: Arc::new(Semaphore::new(MOST_TURNED_AWAY)),
        beyond: limits.beyond,
        is_full: false,
    };
    let (end, ending) = watch::channel(false);
    let mut connections = JoinSet::new();
    pin!(until);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut until => break,
            accepted = door.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, Place::Served(place))) => {
                let connection = Connection {
                    stream: Stalling::new(stream, limits.times, ending.clone()),
                    routes: routes.clone(),
                    ending: ending.clone(),
                    limits,
                    _place: place,
                };
                connections.spawn(connection.serve());
            }
            Ok((stream, Place::TurnedAway(other))) => {
                connections.spawn(turn_away(stream, other));
            }
            Err(error) if is_of_one(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection is accepted");
                sleep(BREATH).await;
            }
        }
    }
    drop(door);
    end.send_replace(true);
    while connections.join_next().await.is_some() {}
}

/// Where connections come in.
struct Door {
    listener: TcpListener,
    places: Arc<Semaphore>,
    others: Arc<Semaphore>,
    beyond: Beyond,
    /// So that it is told once.
    is_full: bool,
}

enum Place {
    Served(OwnedSemaphorePermit),
    TurnedAway(OwnedSemaphorePermit),
}

impl Door {
    /// The next connection and its place. Cancelling it loses none.
    async fn accept(&mut self) -> io::Result<(TcpStream, Place)> {
        let place = match self.beyond {
            Beyond::Wait => Place::Served(permit(&self.places).await?),
            Beyond::TurnAway => Place::TurnedAway(permit(&self.others).await?),
        };
        let (stream, _) = self.listener.accept().await?;
        // A token is a small packet: it must not wait for the next one (Nagle) to be sent.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection sends late");
        }
        if self.beyond == Beyond::Wait {
            return Ok((stream, place));
        }
        let free = self.places.clone().try_acquire_owned().ok();
        if free.is_none() && !self.is_full {
            tracing::warn!("connections are turned away: there are as many as there may be");
        }
        self.is_full = free.is_none();
        Ok((stream, free.map_or(place, Place::Served)))
    }
}

async fn permit(of: &Arc<Semaphore>) -> io::Result<OwnedSemaphorePermit> {
    of.clone().acquire_owned().await.map_err(io::Error::other)
}

async fn turn_away(mut stream: TcpStream, _other: OwnedSemaphorePermit) {
    let told = async {
        stream.write_all(TURNED_AWAY).await?;
        stream.shutdown().await?;
        // Closed with something unread is a reset, which would take the answer along.
        let mut unread = [0; 4096];
        while stream.read(&mut unread).await? > 0 {}
        io::Result::Ok(())
    };
    // Whether it was heard makes no difference here.
    let _ = timeout(LONGEST_TURNING_AWAY, told).await;
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
    limits: Limits,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve(self) {
        let builder = builder(&self.limits);
        let farewell = self.limits.times.farewell;
        let answers = self.limits.patience.map(Answers::new);
        let stream = TokioIo::new(self.stream);
        let service = TowerToHyperService::new(service(self.routes, answers.clone()));
        let connection = builder.serve_connection(stream, service);
        pin!(connection);
        // What is awaited has its whole time. When nothing is, there may be streams left that nobody
        // reads.
        let idle = async |reader, long| match &answers {
            Some(answers) => answers.idle(reader, long).await,
            None => pending().await,
        };
        let deserted = async {
            match &answers {
                Some(answers) => answers.deserted().await,
                None => pending().await,
            }
        };
        // Without its sender the end has come too.
        let ending = async |mut ending: watch::Receiver<bool>| {
            let _ = ending.wait_for(|is_ending| *is_ending).await;
        };
        let is_ending = tokio::select! {
            ended = connection.as_mut() => return told(ended),
            () = ending(self.ending.clone()) => true,
            () = deserted => false,
        };
        connection.as_mut().graceful_shutdown();
        if let (false, Some(patience)) = (is_ending, self.limits.patience) {
            tokio::select! {
                ended = connection.as_mut() => return told(ended),
                () = idle(patience.reader, farewell) => return,
                () = ending(self.ending) => {}
            }
        }
        tokio::select! {
            ended = connection => told(ended),
            () = idle(farewell, farewell) => {}
        }
    }
}

fn told(ended: Result<(), BoxError>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}

fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    let mut http1 = builder.http1();
    http1.timer(TokioTimer::new());
    http1.header_read_timeout(limits.times.head);
    if let Some(most) = limits.most_head_bytes {
        http1.max_buf_size(most as usize);
    }
    let mut http2 = builder.http2();
    http2.timer(TokioTimer::new());
    http2.max_concurrent_streams(limits.most_streams);
    if let Some(most) = limits.most_head_bytes {
        http2.max_header_list_size(most);
    }
    http2
        .keep_alive_interval(SILENCE)
        .keep_alive_timeout(SILENCE);
    builder
}

/// What answers the requests of one connection.
fn service<B>(
    routes: Router,
    answers: Option<Answers>,
) -> impl Service<Request<B>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    service_fn(move |request: Request<B>| {
        let (routes, awaited) = (routes.clone(), answers.as_ref().map(Answers::begin));
        async move {
            let response = routes.oneshot(request.map(Body::new)).await?;
            Ok(match awaited {
                Some(awaited) => response.map(|body| Body::new(awaited.follow(body))),
                None => response,
            })
        }
    })
}

#[cfg(test)]
mod tests;
