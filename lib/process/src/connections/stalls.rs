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

/// No request has fewer bytes, and the first of HTTP/2 as many.
const FIRST_BYTES: usize = 24;

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
            first: Box::pin(sleep(times.head)),
            stalled: None,
            look: Box::pin(sleep(times.farewell)),
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
        self.read_bytes += buffer.filled().len() - before;
        let is_late = read.is_pending()
            && self.read_bytes < FIRST_BYTES
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
