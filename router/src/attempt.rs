//! Phase 6: the tiers of a plan, one after the other, each with its tries, until one answers.
//!
//! - Until an attempt is committed nothing of it goes out; a dropped attempt leaves nothing.
//! - Dropping the future cancels whatever is running, at the replica or at the endpoint.
//! - A failure before anything was shown is tried again where the policy says so; after that it
//!   ends the answer with one error.

mod endpoint;
mod gate;
mod ledger;
mod tries;
mod worker;

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use weir_cascade::{Asked, Attempt, Config, HoldBack, Token};
use weir_crds::{OnAllUnsure, RetryCause};
use weir_policy::tier::Tier;
use weir_policy::validate::Settings;

use crate::answer::{Begin, End, Event, Piece, Usage, finish_reason};
use crate::ask::Ask;
use crate::decision::{Decision, Outcome};
use crate::refusal::{Failure, Refusal};
use crate::shared::Shared;
use gate::{Gate, Step};
use ledger::Line;
use tries::{Source, Tried};

/// What a tier sends.
enum Arrival {
    Tokens { evidence: Vec<Token>, piece: Piece },
    Finished(Finish),
}

/// How a tier ended its answer.
struct Finish {
    word: String,
    usage: Usage,
}

/// An answer that was written to its end and not accepted.
struct Kept {
    pieces: Vec<Piece>,
    finish: Finish,
}

/// The best of what was dropped on the way up.
struct Best {
    tier: Tier,
    score: f64,
    /// Nothing where the attempt was dropped before its end.
    kept: Option<Kept>,
}

/// How one attempt ended, if not well.
enum Ended {
    /// The cascade dropped it.
    Dropped {
        score: Option<f64>,
        kept: Option<Kept>,
    },
    Failed(Failure),
    /// Something of the answer was shown, so that nothing else can be tried.
    Cut(Failure),
    /// Nobody listens any more.
    Unheard,
}

/// One ask on its way through a plan.
pub(crate) struct Pursuit<'a> {
    pub shared: &'a Shared,
    pub ask: &'a Ask,
    pub settings: &'a Settings,
    pub decision: &'a Decision,
    pub out: &'a mpsc::Sender<Event>,
    /// When the first byte must have been committed, but for the time waited for a replica.
    pub commit_by: Instant,
}

impl Pursuit<'_> {
    /// Walks the tiers. What has been sent when this returns ends in `End` or `Fail`.
    pub async fn run(&mut self, steps: &[Tier]) {
        let mut best: Option<Best> = None;
        let mut failure = None;
        for (index, tier) in steps.iter().enumerate() {
            let config = self.judge(tier, index + 1 == steps.len());
            match self.on_tier(tier, config, false).await {
                Ok(()) | Err(Ended::Unheard) => return,
                Err(Ended::Cut(failure)) => return self.fail(self.failed(failure)).await,
                Err(Ended::Failed(reason)) => failure = Some(reason),
                Err(Ended::Dropped { score, kept }) => {
                    let score = score.unwrap_or(0.0);
                    if best.as_ref().is_none_or(|best| score > best.score) {
                        best = Some(Best {
                            tier: tier.clone(),
                            score,
                            kept,
                        });
                    }
                }
            }
        }
        match (best, self.settings.on_all_unsure) {
            (Some(best), OnAllUnsure::Best) => self.give(best).await,
            (best, _) => {
                let refusal = match failure {
                    Some(failure) => self.failed(failure),
                    None if best.is_some() => Refusal::AllUnsure {
                        attempts: self.decision.history(),
                    },
                    None => Refusal::Defect,
                };
                self.fail(refusal).await;
            }
        }
    }

    /// How the tier's answer is judged. One above which nothing is left is given as it is, unless
    /// the policy would rather have an error.
    fn judge(&self, tier: &Tier, is_last: bool) -> Config {
        let accept = tier.accept().cloned().unwrap_or(Config {
            hold_back: HoldBack::Off,
            ..Config::default()
        });
        match (is_last, self.settings.on_all_unsure) {
            (true, OnAllUnsure::Best) => Config {
                hold_back: HoldBack::Off,
                ..accept
            },
            _ => accept,
        }
    }

    /// The best of the dropped answers, flagged: from memory where it was written to its end, by
    /// asking again where it was not.
    async fn give(&mut self, best: Best) {
        if let Some(kept) = best.kept {
            let begin = Begin {
                score: Some(best.score),
                is_unsure: true,
                ..self.begin(&best.tier)
            };
            let tier = best.tier.name().to_owned();
            let _ = self.out.send(Event::Begin(begin)).await;
            for piece in kept.pieces {
                let _ = self.out.send(Event::Piece(piece)).await;
            }
            self.end(tier, kept.finish, Some(best.score), true).await;
            return;
        }
        let config = Config {
            hold_back: HoldBack::Off,
            ..self.judge(&best.tier, true)
        };
        match self.on_tier(&best.tier, config, true).await {
            Ok(()) | Err(Ended::Unheard) => {}
            Err(Ended::Failed(failure) | Ended::Cut(failure)) => {
                self.fail(self.failed(failure)).await;
            }
            // What is not held back is not dropped.
            Err(Ended::Dropped { .. }) => self.fail(Refusal::Defect).await,
        }
    }

    /// All tries on one tier.
    async fn on_tier(&mut self, tier: &Tier, config: Config, is_unsure: bool) -> Result<(), Ended> {
        let retries = &self.settings.retries;
        let mut tried = Tried::default();
        let mut tries = 0;
        loop {
            let attempt = Attempt::new(config.clone(), self.asked());
            let ended = match self
                .once(tier, Gate::new(attempt), is_unsure, &mut tried)
                .await
            {
                Err(Ended::Failed(failure)) => failure,
                ended => return ended,
            };
            let Some(wait) = retry(&ended, &retries.causes).filter(|_| tries < retries.max) else {
                return Err(Ended::Failed(ended));
            };
            tries += 1;
            tried.pause(wait, tries).await;
        }
    }

    /// One answer, from its source to the client.
    async fn flow(
        &mut self,
        tier: &Tier,
        mut source: Source,
        mut gate: Gate,
        (line, is_unsure): (&mut Line<'_>, bool),
    ) -> Result<(), Ended> {
        let mut has_begun = false;
        loop {
            let arrival = match self.next(&mut source, has_begun, tier).await {
                Ok(arrival) => arrival,
                Err(failure) => {
                    line.outcome(failure.word());
                    return Err(self.ended(failure, has_begun).await);
                }
            };
            let (step, finish) = match arrival {
                Arrival::Tokens { evidence, piece } => {
                    // An endpoint does not count for us: a piece is about a token.
                    line.arrived(evidence.len().max(usize::from(!piece.is_empty())) as u64);
                    (gate.arrive(&evidence, piece), None)
                }
                Arrival::Finished(finish) => {
                    line.ended(finish.usage);
                    (gate.finish(finish_reason(&finish.word)), Some(finish))
                }
            };
            if gate.score().is_some() {
                line.judged(gate.record());
            }
            match step {
                Step::Hold => {}
                Step::Drop => {
                    line.outcome("dropped");
                    let score = gate.score();
                    let kept = finish.map(|finish| Kept {
                        pieces: gate.into_held(),
                        finish,
                    });
                    return Err(Ended::Dropped { score, kept });
                }
                Step::Release(pieces) => {
                    line.outcome("committed");
                    let is_something = finish.is_some() || !pieces.is_empty();
                    if is_something && !std::mem::replace(&mut has_begun, true) {
                        let score = gate.score();
                        let begin = Begin {
                            score,
                            is_unsure,
                            ..self.begin(tier)
                        };
                        self.send(Event::Begin(begin)).await?;
                    }
                    for piece in pieces {
                        self.send(Event::Piece(piece)).await?;
                    }
                }
            }
            if let Some(finish) = finish {
                line.write();
                let is_unsure = is_unsure || tier.accept().is_some() && gate.is_below_threshold();
                self.end(tier.name().to_owned(), finish, gate.score(), is_unsure)
                    .await;
                return Ok(());
            }
        }
    }

    /// What comes next, within its time: until something is committed, the policy's `timeout`;
    /// between two arrivals of a replica, its `idleTimeout`. An endpoint has an idle time of its
    /// own.
    async fn next(
        &self,
        source: &mut Source,
        has_begun: bool,
        tier: &Tier,
    ) -> Result<Arrival, Failure> {
        let limit = match (has_begun, &source) {
            (false, _) => self.commit_by,
            (true, Source::Worker(_)) => Instant::now() + self.settings.idle_timeout,
            (true, Source::Endpoint(_)) => Instant::now() + self.settings.max_duration,
        };
        let arrival = tokio::time::timeout_at(limit, source.next()).await;
        arrival.unwrap_or_else(|_| {
            Err(Failure::TooSlow {
                tier: tier.name().to_owned(),
            })
        })
    }

    /// What a failure means: where nothing was shown, another try may follow.
    async fn ended(&self, failure: Failure, has_begun: bool) -> Ended {
        if has_begun && self.ask.stream {
            return Ended::Cut(failure);
        }
        if has_begun && self.send(Event::Restart).await.is_err() {
            return Ended::Unheard;
        }
        Ended::Failed(failure)
    }

    fn begin(&self, tier: &Tier) -> Begin {
        let dropped = match tier.endpoint() {
            None => self.ask.advisory_for_worker.clone(),
            Some(endpoint) => {
                let present = |field: &&String| self.ask.body.contains_key(*field);
                endpoint
                    .unsupported
                    .iter()
                    .filter(present)
                    .cloned()
                    .collect()
            }
        };
        let attempts = self.decision.attempts();
        let mut state = self.decision.state();
        state.dropped.clone_from(&dropped);
        state
            .first_byte
            .get_or_insert(self.decision.began.elapsed());
        Begin {
            tier: tier.name().to_owned(),
            attempts,
            dropped,
            ..Begin::default()
        }
    }

    async fn end(&self, tier: String, finish: Finish, score: Option<f64>, is_unsure: bool) {
        let outcome = Outcome::Answered { tier, is_unsure };
        self.decision.state().outcome = outcome;
        let end = End {
            finish_reason: finish.word,
            usage: finish.usage,
            cost: self.decision.cost(),
            score,
            is_unsure,
        };
        // A client that left before the end is told nothing.
        let _ = self.out.send(Event::End(end)).await;
    }

    async fn fail(&self, refusal: Refusal) {
        let status = refusal.status().as_u16();
        self.decision.state().outcome = Outcome::Refused { status };
        let money_was_spent = self.decision.money_was_spent();
        let _ = self
            .out
            .send(Event::Fail {
                refusal,
                money_was_spent,
            })
            .await;
    }

    fn failed(&self, last: Failure) -> Refusal {
        Refusal::Failed {
            last,
            attempts: self.decision.history(),
        }
    }

    async fn send(&self, event: Event) -> Result<(), Ended> {
        self.out.send(event).await.map_err(|_| Ended::Unheard)
    }

    fn asked(&self) -> Asked {
        let has = |field: &str| self.ask.beyond_worker.iter().any(|other| other == field);
        Asked {
            json: has("response_format"),
            tools: has("tools"),
            max_tokens: self.ask.max_tokens,
            ..Asked::default()
        }
    }
}

/// How long to wait before the same tier is tried again, if the policy wants that.
fn retry(failure: &Failure, on: &[RetryCause]) -> Option<Duration> {
    let (kind, wait) = match failure {
        Failure::Connect { .. } => (RetryCause::Connect, Duration::ZERO),
        Failure::Lost { .. } => (RetryCause::WorkerLost, Duration::ZERO),
        Failure::Overloaded { retry_after, .. } => {
            (RetryCause::Overloaded, retry_after.unwrap_or_default())
        }
        _ => return None,
    };
    on.contains(&kind).then_some(wait)
}
