//! A connection that breaks where its other side neither says what it wants nor takes what it asked
//! for.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::watch,
    time::{Instant, Sleep, sleep},
};

/// What HTTP/2 begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// No request has fewer bytes: `GET / HTTP/1.1` and two ends of lines.
const FIRST_BYTES: usize = 16;

/// How long the other side may take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// To say what it wants, first and every time again.
    pub head: Duration,
    /// To take more of what is written.
    pub stall: Duration,
    /// The same when the process ends.
    pub farewell: Duration,
}

#[derive(Debug)]
pub struct Stalling<S> {
    stream: S,
    times: Times,
    ending: watch::Receiver<bool>,
    read_bytes: usize,
    /// So far it is what HTTP/2 begins with.
    is_preface: bool,
    /// When it has to have said something.
    first: Pin<Box<Sleep>>,
    /// Since when nothing more is taken.
    stalled: Option<Instant>,
    /// When that is looked at again.
    look: Pin<Box<Sleep>>,
}

impl<S> Stalling<S> {
    pub fn new(stream: S, times: Times, ending: watch::Receiver<bool>) -> Self {
        Self {
            stream,
            times,
            ending,
            read_bytes: 0,
            is_preface: true,
            first: Box::pin(sleep(times.head)),
            stalled: None,
            look: Box::pin(sleep(times.farewell)),
        }
    }

    fn said(&mut self, bytes: &[u8]) {
        let rest = PREFACE.get(self.read_bytes..).unwrap_or_default();
        self.is_preface &= bytes.iter().zip(rest).all(|(one, other)| one == other);
        self.read_bytes += bytes.len();
    }

    /// Before that nothing is asked for.
    fn first_bytes(&self) -> usize {
        match self.is_preface {
            true => PREFACE.len(),
            false => FIRST_BYTES,
        }
    }

    /// What came of writing, unless it has stalled for too long.
    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let since = *self.stalled.get_or_insert_with(Instant::now);
        loop {
            let Times {
                stall, farewell, ..
            } = self.times;
            let longest = if *self.ending.borrow() {
                farewell.min(stall)
            } else {
                stall
            };
            if since.elapsed() >= longest {
                return Poll::Ready(Err(late("what was asked for is not taken")));
            }
            // Not later than after the farewell: the end may begin meanwhile.
            let again = (since + longest).min(Instant::now() + farewell);
            self.look.as_mut().reset(again);
            if self.look.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

fn late(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl<S: AsyncRead + Unpin> AsyncRead for Stalling<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.said(&buffer.filled()[before..]);
        let is_late = read.is_pending()
            && self.read_bytes < self.first_bytes()
            && self.first.as_mut().poll(cx).is_ready();
        match is_late {
            true => Poll::Ready(Err(late("nothing is said"))),
            false => read,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stalling<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
