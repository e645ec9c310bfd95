//! Readers of answers, for whom nobody waits for ever: an answer that is not read is given up, and
//! what it holds with it.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::{Stream, StreamExt, stream::BoxStream};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};
use weir_process::Tasks;

/// How long what has come may lie unread.
#[derive(Debug, Clone)]
pub struct Patience {
    longest: Duration,
    tasks: Tasks,
}

/// What somebody reads, until it is given up.
pub(super) struct Read<T> {
    place: Arc<Mutex<Place<T>>>,
    /// Whoever looks after it hears that it is over.
    _over: oneshot::Sender<()>,
}

struct Place<T> {
    lies: Lies<T>,
    /// When the reader looked for more at last, and how it is told that there is.
    looked: Instant,
    reader: Waker,
}

enum Lies<T> {
    More(BoxStream<'static, T>),
    Nothing,
    GivenUp,
}

/// It was not read for too long.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GivenUp;

impl Patience {
    pub fn of(longest: Duration, tasks: &Tasks) -> Self {
        Self {
            longest,
            tasks: tasks.clone(),
        }
    }

    /// Drops what is read once something has come of it that its reader has not looked for in so
    /// long, at the latest after that time again.
    pub(super) fn with<T: 'static>(
        &self,
        stream: impl Stream<Item = T> + Send + 'static,
    ) -> Read<T> {
        let (over, mut is_over) = oneshot::channel();
        let place = Arc::new(Mutex::new(Place {
            lies: Lies::More(stream.boxed()),
            looked: Instant::now(),
            reader: Waker::noop().clone(),
        }));
        let (longest, watched) = (self.longest, place.clone());
        self.tasks.spawn("reader", async move {
            loop {
                tokio::select! {
                    _ = &mut is_over => return,
                    () = sleep(longest) => {}
                }
                if locked(&watched).is_given_up(longest) {
                    tracing::info!("an answer is given up: it was not read");
                    return;
                }
            }
        });
        Read { place, _over: over }
    }
}

impl<T> Read<T> {
    /// What comes next. Cancelling it loses nothing.
    pub(super) async fn next(&mut self) -> Result<Option<T>, GivenUp> {
        poll_fn(|cx| locked(&self.place).look(cx)).await
    }
}

impl<T> Place<T> {
    fn look(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<T>, GivenUp>> {
        self.looked = Instant::now();
        self.reader.clone_from(cx.waker());
        match &mut self.lies {
            Lies::More(stream) => {
                let next = stream.poll_next_unpin(cx);
                if matches!(next, Poll::Ready(None)) {
                    self.lies = Lies::Nothing;
                }
                next.map(Ok)
            }
            Lies::Nothing => Poll::Ready(Ok(None)),
            Lies::GivenUp => Poll::Ready(Err(GivenUp)),
        }
    }

    /// Gives it up where something lies there for a reader that has not looked in so long. A reader
    /// that waits for what is not there yet is not late.
    fn is_given_up(&mut self, longest: Duration) -> bool {
        if self.looked.elapsed() < longest {
            return false;
        }
        let Lies::More(stream) = &mut self.lies else {
            return false;
        };
        // It is the reader who is to hear of what comes.
        match stream.poll_next_unpin(&mut Context::from_waker(&self.reader)) {
            Poll::Pending => return false,
            Poll::Ready(None) => self.lies = Lies::Nothing,
            Poll::Ready(Some(_)) => self.lies = Lies::GivenUp,
        }
        matches!(self.lies, Lies::GivenUp)
    }
}

fn locked<T>(place: &Mutex<Place<T>>) -> MutexGuard<'_, Place<T>> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}
