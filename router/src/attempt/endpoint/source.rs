//! The answer of an endpoint as it arrives: bytes become events, these become pieces, and what failed
//! comes behind all that came before it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::time::{Instant, timeout_at};

use super::events::Events;
use super::opening::Opening;
use super::reader::{Reader, Taken, Unreadable};
use super::restoring::Restoring;
use crate::answer::{Piece, Usage};
use crate::attempt::Arrival;
use crate::refusal::Failure;

/// How long usage and the mark of the end are waited for behind the reason of an end. They come with it,
/// or not at all: some servers leave the connection open, and send pings on it.
const LONGEST_END: Duration = Duration::from_secs(1);

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
    /// Until when more is waited for, once it was said how the answer ended.
    end_by: Option<Instant>,
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
            end_by: None,
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
            let is_known = self.reader.has_finish();
            let by = match is_known {
                // Counted from the first wait, not while the client reads what came before.
                true => *self
                    .end_by
                    .get_or_insert_with(|| Instant::now() + LONGEST_END.min(self.idle)),
                false => Instant::now() + self.idle,
            };
            match timeout_at(by, self.body.next()).await {
                Ok(piece) => self.take(piece),
                Err(_) if is_known => self.has_ended = true,
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
                    self.weigh();
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

    /// What was said of the tokens goes with the text that has just come, which is looked at first.
    fn weigh(&mut self) {
        for (choice, tokens) in self.reader.take_evidence() {
            match self.arrivals.back_mut() {
                Some(Arrival::Tokens { evidence, piece }) if piece.choice == choice => {
                    evidence.extend(tokens);
                }
                _ => self.arrivals.push_back(Arrival::Tokens {
                    evidence: tokens,
                    piece: Piece {
                        choice,
                        ..Piece::default()
                    },
                }),
            }
        }
    }

    /// Whether it was asked to tell of its tokens and told nothing.
    pub fn was_mute(&self) -> bool {
        self.reader.was_mute()
    }

    fn lost(&self) -> Failure {
        Failure::Lost {
            tier: self.tier.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use serde_json::json;
    use tokio::time::{sleep, timeout};
    use weir_crds::Provider;

    use super::*;
    use crate::attempt::test_endpoint;
    use crate::decode::decode;
    use crate::wire::Wire;

    const IDLE: Duration = Duration::from_secs(60);

    /// A chat whose endpoint says this, and then only pings, for ever.
    fn pinging(said: &'static str) -> Source {
        let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
        let ask = decode(Wire::Chat, body.to_string().as_bytes()).unwrap();
        let reader = Reader::new(Wire::Chat, &test_endpoint(Provider::OpenAI), &ask, true);
        let pings = stream::repeat(": ping\n\n").then(async |ping| {
            sleep(LONGEST_END / 4).await;
            ping
        });
        let body = stream::iter([said]).chain(pings);
        let body = body.map(|text| Ok(Bytes::from_static(text.as_bytes())));
        Source::new("t".into(), IDLE, body.boxed(), reader, None)
    }

    async fn next(source: &mut Source) -> Arrival {
        let next = timeout(2 * IDLE, source.next()).await;
        next.expect("pings are not waited on").unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_has_ended_is_not_waited_on_though_pings_go_on() {
        let mut source = pinging(concat!(
            r#"data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}"#,
            "\n\n",
            r#"data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":1}}"#,
            "\n\n",
        ));
        let began = Instant::now();
        let text = next(&mut source).await;
        assert!(matches!(text, Arrival::Tokens { .. }));
        let Arrival::Finished(finish) = next(&mut source).await else {
            panic!("it is whole");
        };
        assert_eq!(finish.usage.prompt, 7);
        assert_eq!(began.elapsed(), LONGEST_END);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_slowly_takes_nothing_from_the_wait_for_the_end() {
        let mut source = pinging(concat!(
            r#"data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}"#,
            "\n\n",
        ));
        next(&mut source).await;
        sleep(IDLE).await;
        let began = Instant::now();
        assert!(matches!(next(&mut source).await, Arrival::Finished(_)));
        assert_eq!(began.elapsed(), LONGEST_END);
    }
}
