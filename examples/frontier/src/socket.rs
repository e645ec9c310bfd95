//! Connections that can be made to fail at any byte.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep};

use crate::fault::Trouble;

/// How much of a response a slow head begins with: `HTTP/1.1`, and no status.
const BEGUN_BYTES: usize = 8;

/// Accepts connections for [`axum::serve`].
#[derive(Debug)]
pub(crate) struct Door(pub(crate) TcpListener);

impl Listener for Door {
    type Io = Socket;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Socket, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        // A piece is a small packet: it must not wait for the next one (Nagle) to be sent.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(error = error.to_string(), "a connection sends late");
        }
        let socket = Socket {
            stream,
            line: Line::default(),
            pause: None,
        };
        (socket, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// A connection's weak spot, for whoever handles its requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line(Arc<Mutex<Weakness>>);

#[derive(Debug, Default)]
struct Weakness {
    /// Bytes that may still be written before the connection is reset.
    until_reset: Option<usize>,
    /// Bytes that may still be written before a pause, and its length.
    until_pause: Option<(usize, Duration)>,
}

impl Line {
    /// Makes trouble for what is written from now on.
    pub(crate) fn trouble(&self, trouble: Trouble) {
        let mut weakness = self.lock();
        match trouble {
            Trouble::ResetAfter(bytes) => weakness.until_reset = Some(bytes),
            Trouble::SlowHead(pause) => weakness.until_pause = Some((BEGUN_BYTES, pause)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Weakness> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connected<IncomingStream<'_, Door>> for Line {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.io().line.clone()
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    line: Line,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    /// How many bytes may be written now; none where the connection is to be reset.
    fn poll_allowed(&mut self, cx: &mut Context<'_>) -> Poll<Option<usize>> {
        loop {
            if let Some(pause) = &mut self.pause {
                std::task::ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            let mut weakness = self.line.lock();
            if weakness.until_reset == Some(0) {
                return Poll::Ready(None);
            }
            match weakness.until_pause {
                Some((0, time)) => {
                    weakness.until_pause = None;
                    drop(weakness);
                    self.pause = Some(Box::pin(sleep(time)));
                }
                Some((bytes, _)) => return Poll::Ready(Some(bytes)),
                None => return Poll::Ready(Some(weakness.until_reset.unwrap_or(usize::MAX))),
            }
        }
    }

    fn wrote(&self, bytes: usize) {
        let mut weakness = self.line.lock();
        if let Some(left) = &mut weakness.until_reset {
            *left -= bytes.min(*left);
        }
        if let Some((left, _)) = &mut weakness.until_pause {
            *left -= bytes.min(*left);
        }
    }

    /// Makes closing send a reset, and says that it did.
    fn reset(&self) -> io::Error {
        match self.stream.set_zero_linger() {
            Ok(()) => io::Error::from(io::ErrorKind::ConnectionReset),
            Err(error) => error,
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let Some(allowed) = std::task::ready!(this.poll_allowed(cx)) else {
            return Poll::Ready(Err(this.reset()));
        };
        let buf = &buf[..buf.len().min(allowed)];
        let written = std::task::ready!(Pin::new(&mut this.stream).poll_write(cx, buf));
        if let Ok(bytes) = written {
            this.wrote(bytes);
        }
        Poll::Ready(written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.line.lock().until_reset == Some(0) {
            return Poll::Ready(Err(this.reset()));
        }
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.line.lock().until_reset.is_some() {
            // Shut down, a connection could no longer be reset.
            return Poll::Ready(Err(this.reset()));
        }
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}
