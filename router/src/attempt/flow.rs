//! One answer, from its source through the gate to the client.

use weir_policy::tier::Tier;

use super::dropped::Worth;
use super::gate::{Gate, Step};
use super::ledger::Line;
use super::tries::Source;
use super::{Arrival, Ended, Finish, Kept, Pursuit};
use crate::answer::{Begin, Event, Piece, Usage};
use crate::ask::Ask;
use crate::decision::COMMITTED;
use crate::refusal::Failure;
use crate::shape::Shape;

impl Pursuit<'_> {
    /// Lets the answer of `source` flow until it ends, is dropped, or breaks.
    pub(super) async fn flow(
        &mut self,
        tier: &Tier,
        mut source: Source,
        mut gate: Gate,
        line: &mut Line<'_>,
    ) -> Result<(), Ended> {
        let mut has_begun = false;
        loop {
            let arrival = match self.within(tier, has_begun, source.next()).await {
                Ok(arrival) => arrival,
                Err(failure)
                    if Box::pin(self.resume(tier, &mut source, &failure, has_begun)).await =>
                {
                    if let Some(at) = &self.trail.at {
                        line.moved(at);
                    }
                    continue;
                }
                Err(failure) => {
                    line.outcome(failure.word());
                    return Err(self.broken(failure, has_begun).await);
                }
            };
            let (step, finish) = weigh(arrival, &mut gate, line, self.ask);
            match step {
                Step::Hold => {}
                Step::Drop => {
                    line.outcome("dropped");
                    let worth = Worth::of(&gate.record(), gate.score());
                    let (pieces, room) = gate.into_held();
                    let kept = finish.map(|finish| Kept {
                        pieces,
                        finish,
                        _room: room,
                    });
                    return Err(Ended::Dropped { worth, kept });
                }
                Step::Release(pieces) => {
                    line.outcome(COMMITTED);
                    let is_something = finish.is_some() || !pieces.is_empty();
                    if is_something && !std::mem::replace(&mut has_begun, true) {
                        self.show_begin(tier, &gate, source.usage()).await?;
                    }
                    for piece in pieces {
                        self.send(Event::Piece(piece)).await?;
                    }
                }
            }
            if let Some(finish) = finish {
                line.write();
                let is_doubtful = tier.accept().is_some() && gate.is_doubtful();
                let is_unsure = gate.is_last_resort() || is_doubtful;
                let tier = tier.name().to_owned();
                self.end(tier, finish, gate.score(), is_unsure).await;
                return Ok(());
            }
        }
    }

    async fn show_begin(&self, tier: &Tier, gate: &Gate, usage: Usage) -> Result<(), Ended> {
        let begin = Begin {
            usage,
            score: gate.score(),
            is_unsure: gate.is_last_resort(),
            ..self.begin(tier)
        };
        self.send(Event::Begin(begin)).await
    }

    /// What a failure means: where nothing was shown, another try may follow.
    async fn broken(&self, failure: Failure, has_begun: bool) -> Ended {
        if has_begun && self.ask.stream {
            return Ended::Cut(failure);
        }
        if has_begun && self.send(Event::Restart).await.is_err() {
            return Ended::Unheard;
        }
        Ended::Failed(failure)
    }
}

/// Puts what has arrived before the gate and into the record.
fn weigh(
    arrival: Arrival,
    gate: &mut Gate,
    line: &mut Line<'_>,
    ask: &Ask,
) -> (Step, Option<Finish>) {
    let weighed = match arrival {
        Arrival::Tokens { evidence, piece } => {
            line.arrived(count(evidence.len(), &piece));
            (gate.arrive(&evidence, piece), None)
        }
        Arrival::Finished(finish) => {
            line.ended(finish.usage);
            (gate.finish(&finish.stops, Shape::of(ask)), Some(finish))
        }
    };
    let is_over = weighed.1.is_some() && gate.has_evidence();
    if gate.has_news() || is_over {
        line.judged(gate.record());
    }
    weighed
}

/// An endpoint does not count its tokens for us as it goes: a piece is about one.
fn count(tokens: usize, piece: &Piece) -> u64 {
    tokens.max(usize::from(!piece.says_nothing())) as u64
}
