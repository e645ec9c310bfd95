//! Phase 6: the tiers of a plan, one after the other, each with its tries, until one answers.
//!
//! - Until an attempt is committed nothing of it goes out; a dropped attempt leaves nothing.
//! - Dropping the future cancels whatever is running, at the replica or at the endpoint.
//! - A failure before anything was shown is tried again where the policy says so; after that it
//!   ends the answer with one error.

pub(crate) mod counting;
mod dropped;
mod ending;
mod endpoint;
mod flow;
mod gate;
mod ledger;
mod paying;
mod replica;
mod resume;
mod spare;
mod tries;
mod worker;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendError;
use tokio::time::{Instant, sleep_until};
use weir_cascade::{Asked, Attempt, Config, HoldBack, Token};
use weir_crds::{OnAllUnsure, RetryCause};
use weir_policy::tier::Tier;
use weir_policy::validate::Settings;

use crate::answer::{Begin, End, Event, Piece, Stop, Usage};
use crate::ask::Ask;
use crate::balance::mixed;
use crate::credentials::Credentials;
use crate::decision::{Decision, Outcome};
use crate::money::Short;
use crate::refusal::{Failure, Refusal};
use crate::room::Part;
use crate::shared::Shared;
use crate::wire;
use dropped::{Candidate, Dropped, Worth};
pub(crate) use endpoint::phases;
#[cfg(test)]
pub(crate) use endpoint::tests::endpoint as test_endpoint;
use gate::Gate;
pub(crate) use paying::exhausted;
use resume::At;
use tries::pause;
pub(crate) use worker::{is_replicas_failure, prompts, said};

/// What one place of the way to the client is for: a larger event needs several to be free.
const PLACE_BYTES: usize = 4 << 10;

/// What a tier sends.
enum Arrival {
    Tokens { evidence: Vec<Token>, piece: Piece },
    Finished(Finish),
}

/// How a tier ended its answer.
struct Finish {
    /// Of every choice.
    stops: Vec<Stop>,
    usage: Usage,
    /// The last event as the upstream sent it.
    native: Option<Value>,
}

/// An answer that was written to its end and not accepted.
struct Kept {
    pieces: Vec<Piece>,
    finish: Finish,
    /// That the pieces take.
    _room: Part,
}

/// How one attempt ended, if not well.
enum Ended {
    /// The cascade dropped it.
    Dropped {
        worth: Worth,
        kept: Option<Kept>,
    },
    Failed(Failure),
    /// Something of the answer was shown, so that nothing else can be tried.
    Cut(Failure),
    /// Nobody listens any more.
    Unheard,
}

/// The replicas of one tier that an ask has been at.
#[derive(Default)]
pub(crate) struct Trail {
    tried: BTreeSet<SocketAddr>,
    at: Option<At>,
}

/// One ask on its way through a plan.
pub(crate) struct Pursuit<'a> {
    pub shared: &'a Shared,
    /// As they were when the ask came.
    pub credentials: &'a Credentials,
    pub ask: &'a Ask,
    /// How long its body was.
    pub body_bytes: u64,
    pub settings: &'a Settings,
    pub decision: &'a Decision,
    pub out: &'a mpsc::Sender<Event>,
    /// When the first byte must have been committed, but for the time waited for a replica.
    pub commit_by: Instant,
    /// At replicas.
    pub trail: Trail,
    /// A tier is left that can be asked after this one.
    pub has_above: bool,
    /// That were passed over, and are asked where all others have failed.
    pub spare: Vec<Tier>,
    /// Where a budget has too little left.
    pub frugality: Frugality,
}

/// What becomes of an ask that there is no money for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frugality {
    /// A tier that was passed over, and why, so that the answer of the last one left counts whatever its score.
    pub short: Option<(String, Short)>,
    /// Who answers where nobody has.
    pub local: Option<Tier>,
}

impl Pursuit<'_> {
    /// Walks the tiers. What has been sent when this returns ends in `End` or `Fail`.
    pub async fn run(&mut self, steps: &[Tier]) {
        let mut dropped = Dropped::default();
        let mut failure = None;
        for (index, tier) in steps.iter().enumerate() {
            // What it sent could not be committed any more, and would be paid for.
            if index > 0 && self.is_late() {
                let tier = steps[index - 1].name().to_owned();
                failure.get_or_insert(Failure::TooSlow { tier });
                break;
            }
            self.has_above = index + 1 < steps.len();
            let config = self.judge(tier, !self.has_above);
            match self.on_tier(tier, config, false).await {
                Ok(()) | Err(Ended::Unheard) => return,
                Err(Ended::Cut(failure)) => return self.fail(self.failed(failure)).await,
                Err(Ended::Failed(reason)) => failure = Some(self.heeded(reason)),
                Err(Ended::Dropped { worth, kept }) => dropped.add(Candidate {
                    tier: tier.clone(),
                    worth,
                    kept,
                }),
            }
        }
        if let Some(Failure::OverBudget { tier, short }) = &failure {
            return self.without_money((tier, *short), dropped).await;
        }
        let refusal = match failure {
            Some(failure) => self.failed(failure),
            None if !dropped.is_empty() => Refusal::AllUnsure {
                attempts: self.decision.history(),
            },
            None => self.without_any(),
        };
        match self.gives_best() {
            true => self.give(dropped, refusal).await,
            false => self.fail(refusal).await,
        }
    }

    /// Whether the time until the first committed byte is over.
    fn is_late(&self) -> bool {
        Instant::now() >= self.commit_by
    }

    /// How the tier's answer is judged. One above which nothing is left is given as it is, unless
    /// the policy would rather have an error.
    fn judge(&self, tier: &Tier, is_last: bool) -> Config {
        let accept = tier.accept().cloned().unwrap_or(Config {
            hold_back: HoldBack::Off,
            is_trusted: true,
            ..Config::default()
        });
        match (is_last, self.gives_best()) {
            // Where nothing is written there is nothing to be unsure of.
            _ if self.ask.is_read_only() => Config {
                hold_back: HoldBack::Off,
                is_trusted: true,
                ..accept
            },
            (true, true) => Config {
                hold_back: HoldBack::Off,
                ..accept
            },
            _ => accept,
        }
    }

    /// Whether an answer that nobody is sure of is better than none.
    fn gives_best(&self) -> bool {
        self.frugality.short.is_some() || self.settings.on_all_unsure == OnAllUnsure::Best
    }

    /// The best of the dropped answers, flagged: from memory where it was written to its end, by asking again
    /// where it was not. Where that fails the next one; where there is none, `refusal`.
    async fn give(&mut self, mut dropped: Dropped, mut refusal: Refusal) {
        self.has_above = false;
        // One that has to be asked for again needs time.
        while let Some(best) = dropped.take_best(self.is_late()) {
            if let Some(kept) = best.kept {
                return self.give_kept(&best.tier, best.worth.score, kept).await;
            }
            let config = Config {
                hold_back: HoldBack::Off,
                ..self.judge(&best.tier, true)
            };
            match self.on_tier(&best.tier, config, true).await {
                Ok(()) | Err(Ended::Unheard) => return,
                Err(Ended::Cut(failure)) => return self.fail(self.failed(failure)).await,
                // What the others failed of says more.
                Err(Ended::Failed(Failure::OverBudget { .. })) => {}
                Err(Ended::Failed(failure)) => refusal = self.failed(failure),
                // What is not held back is not dropped.
                Err(Ended::Dropped { .. }) => refusal = Refusal::Defect,
            }
        }
        self.ask_spare(refusal).await;
    }

    async fn give_kept(&mut self, tier: &Tier, score: Option<f64>, kept: Kept) {
        let begin = Begin {
            score,
            is_unsure: true,
            usage: kept.finish.usage,
            ..self.begin(tier)
        };
        let _ = self.send(Event::Begin(begin)).await;
        for piece in kept.pieces {
            let _ = self.send(Event::Piece(piece)).await;
        }
        let tier = tier.name().to_owned();
        self.end(tier, kept.finish, score, true).await;
    }

    /// All tries on one tier.
    async fn on_tier(
        &mut self,
        tier: &Tier,
        config: Config,
        is_last_resort: bool,
    ) -> Result<(), Ended> {
        let retries = &self.settings.retries;
        self.trail = Trail::default();
        let is_last_resort = is_last_resort || self.is_useless(tier);
        let mut tries = 0;
        let policy = self.decision.state().policy.clone();
        let of = (policy.as_str(), tier.name());
        self.shared.dampers.ask(of, Instant::now());
        loop {
            let attempt = Attempt::new(config.clone(), self.asked(tier));
            let room = self.shared.answers.part();
            let gate = Gate::new(attempt, self.ask.choices, is_last_resort, room);
            let ended = match self.once(tier, gate).await {
                Err(Ended::Failed(failure)) => failure,
                ended => return ended,
            };
            // What money was taken for is not asked for twice.
            let is_paid = self.decision.was_last_paid();
            let wait = retry(&ended, &retries.causes, tier);
            let wait = wait.filter(|_| tries < retries.max && !is_paid);
            tries += 1;
            // Whoever asked for time is not asked again where somebody else can be.
            let is_fresh = self.has_fresh_replica(tier);
            let wait = wait.map(|wait| if is_fresh { Duration::ZERO } else { wait });
            let [_, draw] = self.decision.draws(tries as usize);
            let pause = wait.and_then(|wait| pause(wait, tries, mixed(draw)));
            let needed = match &ended {
                // It would hang again; and another silence must leave time for the tier above.
                Failure::Silent { .. } if !is_fresh => return Err(Ended::Failed(ended)),
                Failure::Silent { .. } => self.settings.idle_timeout,
                _ => Duration::ZERO,
            };
            // A try that could not be committed any more is none.
            let Some(until) = pause
                .map(|pause| Instant::now() + pause)
                .filter(|until| *until + needed < self.commit_by)
            else {
                return Err(Ended::Failed(ended));
            };
            // What a replica hands back as it goes is no sign that the tier fails, however much that is.
            let is_handed_on = matches!(ended, Failure::Leaving { .. }) && is_fresh;
            if !is_handed_on && !self.shared.dampers.try_again(of, Instant::now()) {
                self.shared.metrics.damped(of);
                return Err(Ended::Failed(ended));
            }
            sleep_until(until).await;
        }
    }

    fn begin(&self, tier: &Tier) -> Begin {
        let dropped = wire::named(self.ask.beyond_at(tier).advisory);
        let attempts = self.decision.attempts();
        let mut state = self.decision.state();
        state.dropped.clone_from(&dropped);
        state
            .first_byte
            .get_or_insert(self.decision.began.elapsed());
        Begin {
            tier: tier.name().to_owned(),
            attempts,
            is_local: self.frugality.short.is_some() && !self.has_above,
            dropped,
            ..Begin::default()
        }
    }

    async fn end(&self, tier: String, finish: Finish, score: Option<f64>, is_unsure: bool) {
        let outcome = Outcome::Answered { tier, is_unsure };
        {
            let mut state = self.decision.state();
            state.outcome = outcome;
            state.finish = finish.stops.iter().map(Stop::word).collect();
        }
        let end = End {
            stops: finish.stops,
            usage: finish.usage,
            native: finish.native,
            cost: self.decision.cost(),
            score,
            is_unsure,
        };
        let end = Event::End(end);
        self.decision.hear(&end);
        // A client that left before the end is told nothing.
        let _ = self.out.send(end).await;
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
        self.decision.hear(&event);
        send(self.out, event).await.map_err(|_| Ended::Unheard)
    }

    fn asked(&self, tier: &Tier) -> Asked {
        let ask = self.ask;
        let most = tier
            .endpoint()
            .and_then(|endpoint| endpoint.max_output_tokens);
        // What fills less than the client asked for is cut, by the policy.
        let is_capped = |asked: u32| most.is_some_and(|most| most < asked);
        Asked {
            max_tokens: ask.max_tokens.filter(|asked| !is_capped(*asked)),
            ..ask.asked()
        }
    }
}

/// Sends an event once there is room for it: a large one waits until the client has read most of
/// what came before.
pub(crate) async fn send(out: &mpsc::Sender<Event>, event: Event) -> Result<(), SendError<()>> {
    let bytes = match &event {
        Event::Piece(piece) => piece.bytes(),
        _ => 0,
    };
    // One place is kept for what ends the ask from outside.
    let most = out.max_capacity().saturating_sub(1).max(1);
    let mut places = out
        .reserve_many((bytes / PLACE_BYTES).clamp(1, most))
        .await?;
    if let Some(place) = places.next() {
        place.send(event);
    }
    Ok(())
}

/// How long to wait before the same tier is tried again, if the policy wants that. What an
/// endpoint may have begun to work on is paid for, and is not asked of it twice.
fn retry(failure: &Failure, on: &[RetryCause], tier: &Tier) -> Option<Duration> {
    let (kind, wait) = match failure {
        Failure::Connect { .. } => (RetryCause::Connect, Duration::ZERO),
        Failure::Lost { .. } | Failure::Leaving { .. } | Failure::Silent { .. }
            if tier.deployment().is_some() =>
        {
            (RetryCause::WorkerLost, Duration::ZERO)
        }
        Failure::Overloaded { retry_after, .. } => {
            (RetryCause::Overloaded, retry_after.unwrap_or_default())
        }
        _ => return None,
    };
    on.contains(&kind).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn piece(bytes: usize) -> Event {
        Event::Piece(Piece {
            text: "x".repeat(bytes),
            ..Piece::default()
        })
    }

    #[test]
    fn large_events_do_not_run_ahead_of_a_client_as_far_as_small_ones() {
        let ahead = |bytes| {
            let (out, _received) = mpsc::channel(65);
            let _last_word = out.clone().try_reserve_owned().unwrap();
            (0..100)
                .take_while(|_| send(&out, piece(bytes)).now_or_never().is_some())
                .count()
        };
        assert_eq!(ahead(100), 64);
        assert_eq!(ahead(8 * PLACE_BYTES), 57);
        assert_eq!(ahead(4 << 20), 1);
    }

    #[tokio::test]
    async fn an_event_that_is_larger_than_all_places_goes_once_the_others_are_read() {
        let (out, mut received) = mpsc::channel(2);
        let _last_word = out.clone().try_reserve_owned().unwrap();
        send(&out, piece(1)).await.unwrap();
        let mut large = Box::pin(send(&out, piece(1 << 20)));
        assert!(large.as_mut().now_or_never().is_none());
        assert_eq!(received.recv().await, Some(piece(1)));
        large.await.unwrap();
        assert_eq!(received.recv().await, Some(piece(1 << 20)));
        drop(received);
        assert!(send(&out, piece(1)).await.is_err());
    }
}
