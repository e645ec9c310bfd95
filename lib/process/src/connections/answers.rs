//! The answers of one connection, from the request until they are read: those that nobody reads are
//! dropped, and a connection without any is known to be idle.
//!
//! An answer counts as unread from when a piece of it was taken until the next one is asked for. Of
//! HTTP/2 nothing else tells: a peer may leave one stream alone and be well otherwise.

use std::{
    collections::BTreeMap,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, sleep};

use super::Patience;

/// The most that is handed over at a time: what was handed over, nobody can take back.
const LONGEST_PIECE: usize = 64 << 10;

/// Looks in the time that something may take.
const LOOKS: u32 = 4;

/// Clones are of the same connection.
#[derive(Clone)]
pub(super) struct Answers {
    patience: Patience,
    kept: Arc<Mutex<Kept>>,
}

struct Kept {
    /// Nothing as long as there is no answer yet.
    awaited: BTreeMap<u64, Option<Arc<Mutex<Reading>>>>,
    begun: u64,
    /// Since when there is nothing.
    idle: Instant,
}

/// One request that is not answered to its end, until it is dropped.
pub(super) struct Awaited {
    answers: Answers,
    number: u64,
}

/// The body of an answer, which may be dropped while it is read.
pub(super) struct Followed {
    reading: Arc<Mutex<Reading>>,
    _awaited: Awaited,
}

struct Reading {
    /// Nothing once it is given up.
    body: Option<Body>,
    /// Of a piece that is too long to be handed over at once.
    rest: Bytes,
    /// Since when a piece is in the reader's hands.
    taken: Option<Instant>,
    /// What a reader is told, once, who comes after that.
    unread: Option<Unread>,
}

/// Whoever asked for it has taken too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer was not read for too long")]
pub(super) struct Unread;

impl Answers {
    pub fn new(patience: Patience) -> Self {
        Self {
            patience,
            kept: Arc::new(Mutex::new(Kept {
                awaited: BTreeMap::new(),
                begun: 0,
                idle: Instant::now(),
            })),
        }
    }

    /// A request has come.
    pub fn begin(&self) -> Awaited {
        let mut kept = lock(&self.kept);
        kept.begun += 1;
        let number = kept.begun;
        kept.awaited.insert(number, None);
        Awaited {
            answers: self.clone(),
            number,
        }
    }

    /// Drops what is not read, until nothing has been awaited for `long` of the time from now.
    pub async fn idle(&self, long: Duration) {
        let began = Instant::now();
        loop {
            let now = Instant::now();
            let idle = lock(&self.kept).look(now, self.patience.reader);
            if idle.is_some_and(|since| now - since.max(began) >= long) {
                return;
            }
            sleep(self.patience.reader.min(long) / LOOKS).await;
        }
    }
}

impl Kept {
    /// Drops what is not read; since when nothing is awaited.
    fn look(&mut self, now: Instant, patience: Duration) -> Option<Instant> {
        let before = self.awaited.len();
        self.awaited.retain(|_, reading| {
            let Some(reading) = reading else {
                return true;
            };
            let mut reading = lock(reading);
            let is_unread = reading.taken.is_some_and(|since| now - since >= patience);
            if is_unread {
                tracing::debug!("an answer is dropped that nobody reads");
                (reading.body, reading.rest) = (None, Bytes::new());
                reading.unread = Some(Unread);
            }
            !is_unread
        });
        if self.awaited.len() < before {
            self.idle = now;
        }
        self.awaited.is_empty().then_some(self.idle)
    }
}

impl Awaited {
    /// It is answered by `body`.
    pub fn follow(self, body: Body) -> Followed {
        let reading = Arc::new(Mutex::new(Reading {
            body: Some(body),
            rest: Bytes::new(),
            // From now on somebody else has to ask for it.
            taken: Some(Instant::now()),
            unread: None,
        }));
        let mut kept = lock(&self.answers.kept);
        kept.awaited.insert(self.number, Some(reading.clone()));
        drop(kept);
        Followed {
            reading,
            _awaited: self,
        }
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        let mut kept = lock(&self.answers.kept);
        if kept.awaited.remove(&self.number).is_some() {
            kept.idle = Instant::now();
        }
    }
}

impl fmt::Debug for Followed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Followed").finish_non_exhaustive()
    }
}

impl HttpBody for Followed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut reading = lock(&self.reading);
        let polled = reading.poll_next(cx);
        reading.taken = matches!(polled, Poll::Ready(Some(Ok(_)))).then(Instant::now);
        polled
    }

    fn is_end_stream(&self) -> bool {
        let reading = lock(&self.reading);
        let body = reading.body.as_ref();
        reading.rest.is_empty() && body.is_some_and(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let reading = lock(&self.reading);
        let (rest, body) = (reading.rest.len() as u64, reading.body.as_ref());
        let of_body = body.map(HttpBody::size_hint).unwrap_or_default();
        let mut size = SizeHint::new();
        size.set_lower(rest + of_body.lower());
        if let Some(upper) = of_body.upper() {
            size.set_upper(rest + upper);
        }
        size
    }
}

impl Reading {
    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(
                self.unread
                    .take()
                    .map(|unread| Err(axum::Error::new(unread))),
            );
        };
        if self.rest.is_empty() {
            match Pin::new(body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => self.rest = data,
                    Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                other => return other,
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(LONGEST_PIECE));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt, stream};
    use tokio::time::advance;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn answers() -> Answers {
        Answers::new(Patience {
            reader: LONG,
            idle: LONG,
        })
    }

    /// The lengths of the pieces that are there.
    fn lengths(body: Followed) -> Vec<Option<usize>> {
        let pieces = Body::new(body).into_data_stream();
        let lengths = pieces.map(|piece| piece.ok().map(|piece| piece.len()));
        lengths.collect::<Vec<_>>().now_or_never().unwrap()
    }

    /// Looks, at the times at which it does, for `time`.
    async fn watch(answers: &Answers, time: Duration) {
        let _ = tokio::time::timeout(time, answers.idle(Duration::MAX)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_answer_is_handed_over_in_pieces_and_whole() {
        let body = answers().begin().follow(Body::from(vec![0; 150_000]));
        assert_eq!(body.size_hint().exact(), Some(150_000));
        assert_eq!(lengths(body), [Some(65536), Some(65536), Some(18928)]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_read_is_dropped_and_whoever_reads_late_is_told() {
        let answers = answers();
        let (made, body) = futures::channel::mpsc::unbounded::<Result<&str, axum::Error>>();
        let mut body = answers.begin().follow(Body::from_stream(body));
        made.unbounded_send(Ok("first")).unwrap();
        let mut cx = Context::from_waker(futures::task::noop_waker_ref());
        assert!(Pin::new(&mut body).poll_frame(&mut cx).is_ready());
        watch(&answers, LONG / 2).await;
        assert!(!made.is_closed());
        watch(&answers, LONG).await;
        assert!(made.is_closed(), "whoever makes it learns of that");
        assert_eq!(lengths(body), [None]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_waited_for_is_kept() {
        let answers = answers();
        let mut body = answers.begin().follow(Body::from_stream(stream::pending::<
            Result<&str, axum::Error>,
        >()));
        let mut cx = Context::from_waker(futures::task::noop_waker_ref());
        assert!(Pin::new(&mut body).poll_frame(&mut cx).is_pending());
        watch(&answers, 10 * LONG).await;
        assert!(lock(&body.reading).body.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_only_when_nothing_was_awaited_for_so_long() {
        let answers = answers();
        let awaited = answers.begin();
        let watched = answers.clone();
        let idle = watched.idle(LONG);
        tokio::pin!(idle);
        advance(3 * LONG).await;
        assert!(idle.as_mut().now_or_never().is_none());
        drop(awaited);
        advance(LONG / 2).await;
        assert!(idle.as_mut().now_or_never().is_none());
        advance(LONG).await;
        assert!(idle.as_mut().now_or_never().is_some());
    }
}
