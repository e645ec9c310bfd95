//! The answer of an endpoint as it arrives: bytes become events, these become pieces, and what failed
//! comes behind all that came before it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::events::Events;
use super::opening::Opening;
use super::reader::{Reader, Taken, Unreadable};
use super::restoring::Restoring;
use crate::answer::{Piece, Usage};
use crate::attempt::Arrival;
use crate::refusal::Failure;

/// An answer on its way from an endpoint. Dropping it closes the connection.
pub(crate) struct Source {
    body: BoxStream<'static, reqwest::Result<Bytes>>,
    tier: String,
    idle: Duration,
    events: Events,
    pub(super) reader: Reader,
    pub(super) arrivals: VecDeque<Arrival>,
    opening: Opening,
    /// What ended it, behind the arrivals: what came before is the same however the stream was cut
    /// on its way.
    failure: Option<Failure>,
    /// Where something was taken out of the ask.
    restoring: Option<Restoring>,
    has_ended: bool,
    has_flushed: bool,
}

impl Source {
    pub(super) fn new(
        tier: String,
        idle: Duration,
        body: BoxStream<'static, reqwest::Result<Bytes>>,
        reader: Reader,
        restoring: Option<Restoring>,
    ) -> Self {
        Self {
            body,
            tier,
            idle,
            events: Events::default(),
            reader,
            arrivals: VecDeque::new(),
            opening: Opening::default(),
            failure: None,
            restoring,
            has_ended: false,
            has_flushed: false,
        }
    }

    /// Waits until `by` for the first byte of the answer.
    pub(super) async fn begin(mut self, by: Instant) -> Result<Self, Failure> {
        let first = timeout_at(by, self.body.next()).await;
        let first = first.map_err(|_| Failure::TooSlow {
            tier: self.tier.clone(),
        })?;
        self.take(first);
        match self.failure.take_if(|_| self.arrivals.is_empty()) {
            Some(failure) => Err(failure),
            None => Ok(self),
        }
    }

    /// What comes next. Cancelling it between two arrivals loses nothing.
    pub async fn next(&mut self) -> Result<Arrival, Failure> {
        loop {
            if let Some(arrival) = self.arrivals.pop_front() {
                return Ok(arrival);
            }
            if let Some(failure) = self.failure.clone() {
                return Err(failure);
            }
            if self.has_ended && !std::mem::replace(&mut self.has_flushed, true) {
                let held = self.restoring.as_mut().map(Restoring::finish);
                self.arrive(held.unwrap_or_default());
                if self.reader.has_finish() {
                    let waiting = self.opening.finish();
                    self.show(waiting);
                }
                continue;
            }
            if self.has_ended {
                // A stream that was cut before it said how the answer ends is no answer.
                let finish = self.reader.finish();
                return finish.map(Arrival::Finished).ok_or_else(|| self.lost());
            }
            match timeout(self.idle, self.body.next()).await {
                Ok(piece) => self.take(piece),
                Err(_) => {
                    return Err(Failure::TooSlow {
                        tier: self.tier.clone(),
                    });
                }
            }
        }
    }

    fn take(&mut self, piece: Option<reqwest::Result<Bytes>>) {
        match piece {
            None => self.has_ended = true,
            Some(Err(_)) if self.reader.has_finish() => self.has_ended = true,
            Some(Err(_)) => self.failure = Some(self.lost()),
            Some(Ok(bytes)) => self.failure = self.read(&bytes).err(),
        }
    }

    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let (events, is_too_long) = self.events.take(bytes);
        for data in events {
            let taken = self.reader.take(&data);
            match taken.map_err(|unreadable| unreadable.of(&self.tier))? {
                Taken::Pieces(pieces) => {
                    for piece in pieces {
                        let pieces = match &mut self.restoring {
                            Some(restoring) => restoring.take(piece),
                            None => vec![piece],
                        };
                        self.arrive(pieces);
                    }
                }
                // Whatever comes behind the end is no part of the answer.
                Taken::End => {
                    self.has_ended = true;
                    return Ok(());
                }
            }
        }
        match is_too_long {
            true => Err(Unreadable::Garbage.of(&self.tier)),
            false => Ok(()),
        }
    }

    /// What is known of the tokens so far.
    pub fn usage(&self) -> Usage {
        self.reader.usage()
    }

    fn arrive(&mut self, pieces: Vec<Piece>) {
        for piece in pieces {
            if !piece.is_empty() {
                let shown = self.opening.take(piece);
                self.show(shown);
            }
        }
    }

    fn show(&mut self, pieces: Vec<Piece>) {
        self.arrivals
            .extend(pieces.into_iter().map(|piece| Arrival::Tokens {
                evidence: Vec::new(),
                piece,
            }));
    }

    fn lost(&self) -> Failure {
        Failure::Lost {
            tier: self.tier.clone(),
        }
    }
}
