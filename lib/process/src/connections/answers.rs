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
const LONGEST_PIECE: usize = 16 << 10;

/// Bytes in a second, which whoever reads the whole of an answer takes beside the patience that there
/// is with one that takes nothing. Of a stream that holds for each of its frames, most of which are
/// small.
const LEAST_SPEED: u64 = 8 << 10;

/// Answers of one connection that nobody read, after which it has no more.
const MOST_DROPPED: usize = 8;

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
    dropped: usize,
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
    /// All of it is there. Of that, or else of the last frame, so much was handed over, and the reader
    /// had it in hand for so long.
    is_whole: bool,
    handed: u64,
    in_hand: Duration,
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
                dropped: 0,
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

    /// Drops what is not read, until nothing has been awaited for so long as a connection is kept for,
    /// or too much was dropped.
    pub async fn deserted(&self) {
        let Patience { reader, idle } = self.patience;
        self.watch(reader, idle, MOST_DROPPED).await;
    }

    /// Drops what its `reader` does not read in time, until nothing has been awaited for `long` of the
    /// time from now.
    pub async fn idle(&self, reader: Duration, long: Duration) {
        self.watch(reader, long, usize::MAX).await;
    }

    async fn watch(&self, reader: Duration, long: Duration, most_dropped: usize) {
        let began = Instant::now();
        loop {
            let now = Instant::now();
            let (idle, dropped) = lock(&self.kept).look(now, reader);
            let is_idle = idle.is_some_and(|since| now - since.max(began) >= long);
            if is_idle || dropped >= most_dropped {
                return;
            }
            sleep(reader.min(long) / LOOKS).await;
        }
    }
}

impl Kept {
    /// Drops what is not read; since when nothing is awaited, and how much was dropped.
    fn look(&mut self, now: Instant, patience: Duration) -> (Option<Instant>, usize) {
        let before = self.awaited.len();
        self.awaited.retain(|_, reading| {
            let Some(reading) = reading else {
                return true;
            };
            let mut reading = lock(reading);
            let is_unread = reading.is_unread(now, patience);
            if is_unread {
                tracing::debug!("an answer is dropped that nobody reads");
                (reading.body, reading.rest) = (None, Bytes::new());
                reading.unread = Some(Unread);
            }
            !is_unread
        });
        let dropped = before - self.awaited.len();
        if dropped > 0 {
            (self.idle, self.dropped) = (now, self.dropped + dropped);
        }
        (self.awaited.is_empty().then_some(self.idle), self.dropped)
    }
}

impl Awaited {
    /// It is answered by `body`.
    pub fn follow(self, body: Body) -> Followed {
        let is_whole = body.size_hint().exact().is_some();
        let reading = Arc::new(Mutex::new(Reading {
            body: Some(body),
            rest: Bytes::new(),
            // From now on somebody else has to ask for it.
            taken: Some(Instant::now()),
            is_whole,
            handed: 0,
            in_hand: Duration::ZERO,
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
        if let Some(since) = reading.taken.take() {
            reading.in_hand += since.elapsed();
        }
        let polled = reading.poll_next(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            reading.handed += frame.data_ref().map_or(0, Bytes::len) as u64;
        }
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
    /// Nothing of it is taken for too long, or all of it too slowly.
    fn is_unread(&self, now: Instant, patience: Duration) -> bool {
        let Some(since) = self.taken else {
            return false;
        };
        let last = now - since;
        let least = Duration::from_secs(self.handed / LEAST_SPEED);
        last >= patience || self.in_hand + last >= patience + least
    }

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
            if !self.is_whole {
                (self.handed, self.in_hand) = (0, Duration::ZERO);
            }
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
        let _ = tokio::time::timeout(time, answers.idle(LONG, Duration::MAX)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_answer_is_handed_over_in_pieces_and_whole() {
        let body = answers().begin().follow(Body::from(vec![0; 150_000]));
        assert_eq!(body.size_hint().exact(), Some(150_000));
        let mut expected = vec![Some(16384); 9];
        expected.push(Some(2544));
        assert_eq!(lengths(body), expected);
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
    async fn a_whole_answer_has_to_be_read_at_some_speed_and_so_has_each_frame_of_a_stream() {
        let bytes = 1 << 20;
        let whole = || Body::from(vec![0; bytes]);
        let streamed = |count: usize| {
            let frames = (0..count).map(move |_| Ok::<_, axum::Error>(vec![0; bytes / count]));
            Body::from_stream(stream::iter(frames))
        };
        for (body, speed, is_read) in [
            (whole(), 2 * LEAST_SPEED, true),
            (whole(), LEAST_SPEED / 2, false),
            (streamed(1), LEAST_SPEED / 2, false),
            (streamed(1024), LEAST_SPEED / 2, true),
        ] {
            let answers = answers();
            let mut pieces = Body::new(answers.begin().follow(body)).into_data_stream();
            let reads = async {
                let mut read = 0;
                while let Some(Ok(piece)) = pieces.next().await {
                    read += piece.len();
                    sleep(Duration::from_millis(1000 * piece.len() as u64 / speed)).await;
                }
                read == bytes
            };
            tokio::select! {
                read = reads => assert_eq!(read, is_read, "{speed}"),
                () = answers.idle(LONG, Duration::MAX) => {}
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_much_is_not_read_is_deserted() {
        let answers = answers();
        let _awaited = answers.begin();
        let unread: Vec<_> = (1..=MOST_DROPPED)
            .map(|_| answers.begin().follow(Body::from("unread")))
            .collect();
        let deserted = tokio::time::timeout(10 * LONG, answers.deserted());
        assert!(deserted.await.is_ok());
        drop(unread);
        let other = self::answers();
        let _awaited = other.begin();
        let _unread = other.begin().follow(Body::from("unread"));
        let deserted = tokio::time::timeout(10 * LONG, other.deserted());
        assert!(deserted.await.is_err());
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
        let idle = watched.idle(LONG, LONG);
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
