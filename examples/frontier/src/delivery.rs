//! Sends what a script says, piece by piece.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures::{Stream, stream};
use http::{HeaderValue, header};

use crate::journal::Sending;

/// A response as it is to be played.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) kind: &'static str,
    pub(crate) is_compressed: bool,
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    Send(Bytes),
    Pause(Duration),
    /// Lets what was sent go on the wire before anything else is.
    Flush,
    /// The connection closes as if the sender had died.
    Cut,
    /// Nothing more, for ever.
    Hang,
    /// This, again and again, with a pause before each.
    Forever(Bytes, Duration),
}

impl Script {
    pub(crate) fn play(self, mut sending: Sending) -> Response {
        let intact = match self.steps.as_slice() {
            [Step::Send(only)] => Some(only.clone()),
            _ => None,
        };
        // In one piece it goes with its length, as providers send it.
        let mut response = Response::new(match intact {
            Some(only) => {
                sending.over();
                Body::from(only)
            }
            None => Body::from_stream(play(self.steps, sending)),
        });
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        if self.is_compressed {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

fn play(steps: Vec<Step>, sending: Sending) -> impl Stream<Item = io::Result<Bytes>> {
    stream::unfold(
        (steps.into_iter(), sending),
        |(mut steps, mut sending)| async move {
            loop {
                let Some(step) = steps.next() else {
                    sending.over();
                    return None;
                };
                match step {
                    Step::Send(bytes) => return Some((Ok(bytes), (steps, sending))),
                    // A timer's shortest pause is a millisecond.
                    Step::Pause(Duration::ZERO) => tokio::task::yield_now().await,
                    Step::Pause(time) => tokio::time::sleep(time).await,
                    Step::Flush => tokio::task::yield_now().await,
                    Step::Cut => {
                        // Lets the server write what it has before it learns that the body is broken.
                        tokio::task::yield_now().await;
                        let cut = io::Error::from(io::ErrorKind::ConnectionAborted);
                        sending.over();
                        return Some((Err(cut), (steps, sending)));
                    }
                    Step::Hang => std::future::pending().await,
                    Step::Forever(bytes, pause) => {
                        tokio::time::sleep(pause).await;
                        // It never ends by itself, but other tasks have their turns.
                        tokio::task::yield_now().await;
                        let again = vec![Step::Forever(bytes.clone(), pause)];
                        return Some((Ok(bytes), (again.into_iter(), sending)));
                    }
                }
            }
        },
    )
}
