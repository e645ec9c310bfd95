//! What becomes of a revision on trial, by one look.

use std::time::Duration;

use weir_crds::{OnFailure, OnNoTraffic, Strategy};

use super::guard::Failure;
use super::order::Wish;
use super::rate::Both;
use super::reason::{How, Reason, Side, Why};
use super::replicas::{needed, weight_of};
use super::settings::{Settings, Step};
use super::state::Trial;
use super::step::{Facts, Revision};

/// What becomes of it.
pub(super) enum Verdict {
    Go(Reason),
    Promote(How),
    Refuse(Why),
}

impl Trial {
    /// Judges it against the stable revision, `passed` after the last look.
    pub(super) fn look(
        &mut self,
        stable: &str,
        settings: &Settings,
        facts: &Facts<'_>,
        passed: Duration,
    ) -> Verdict {
        let canary = facts.of(&self.revision);
        if facts.is_ordered(Wish::Promote) {
            self.is_ordered = true;
        }
        if let Some(verdict) = self.guarded(stable, settings, facts, passed) {
            return verdict;
        }
        if facts.replicas == 0 {
            return self.at_zero(settings);
        }
        match settings.strategy {
            Strategy::Recreate => match facts.of(stable).replicas {
                0 => Verdict::Promote(How::Passed),
                left => Verdict::Go(Reason::Stopping { left }),
            },
            Strategy::Rolling => self.grow(&canary, facts),
            Strategy::Canary if self.is_ordered => self.take_over(&canary, facts),
            Strategy::Canary => self.step((stable, &canary), settings, facts, passed),
        }
    }

    /// What the guard says. It is asked of a canary by steps alone, and no more when a person has spoken.
    fn guarded(
        &mut self,
        stable: &str,
        settings: &Settings,
        facts: &Facts<'_>,
        passed: Duration,
    ) -> Option<Verdict> {
        let counted = |revision: &str| facts.news.get(revision).cloned().unwrap_or_default();
        let news = Both {
            stable: counted(stable),
            canary: counted(&self.revision),
        };
        self.has_asks |= news.canary.asks > 0;
        if settings.strategy != Strategy::Canary || self.is_ordered {
            (self.failure, self.gave_back) = (None, false);
            return None;
        }
        if self.failure.is_none() {
            self.guard.observe(&settings.allowed, &news, passed);
            self.failure = self.guard.failure();
        }
        let failure = self.failure.clone()?;
        self.gave_back |= facts.of(stable).ready >= facts.replicas;
        Some(match settings.on_failure {
            OnFailure::Rollback => Verdict::Refuse(Why::Failed(failure)),
            OnFailure::Pause => Verdict::Go(Reason::Paused(failure)),
        })
    }

    /// There is nobody to be on trial for. What has begun to serve waits for asks, like any step that gets
    /// none; what has not is taken up by the next start.
    fn at_zero(&self, settings: &Settings) -> Verdict {
        let waits = settings.on_no_traffic == OnNoTraffic::Wait && self.has_asks;
        if waits && settings.strategy == Strategy::Canary && !self.is_ordered {
            Verdict::Go(Reason::Asleep)
        } else {
            Verdict::Promote(How::AtZero)
        }
    }

    fn step(
        &mut self,
        (stable, canary): (&str, &Revision),
        settings: &Settings,
        facts: &Facts<'_>,
        passed: Duration,
    ) -> Verdict {
        let Some(step) = self.current(settings).copied() else {
            return self.take_over(canary, facts);
        };
        let needed = needed(facts.replicas, step.weight);
        if canary.ready < needed {
            let ready = canary.ready;
            return Verdict::Go(Reason::Starting { ready, needed });
        }
        let asks = |revision: &str| facts.news.get(revision).map_or(0, |news| news.asks);
        // Until the first look at a step the asks went by the weight before.
        if self.served_ms > 0 {
            self.asks = self.asks.saturating_add(asks(&self.revision));
            self.stable_asks = self.stable_asks.saturating_add(asks(stable));
        }
        // What waits without end is the same from look to look.
        let longest = step.pause.max(settings.max_step_wait).as_millis() as u64;
        let served_ms = self.served_ms.saturating_add(passed.as_millis() as u64);
        self.served_ms = served_ms.min(longest);
        let served = Duration::from_millis(self.served_ms);
        if let Some(left) = step
            .pause
            .checked_sub(served)
            .filter(|left| !left.is_zero())
        {
            let step = self.step;
            return Verdict::Go(Reason::Stepping { step, left });
        }
        if let Some(few) = self.few_asks(settings, step.weight) {
            return self.wait(few, settings, (canary, facts), served);
        }
        self.step += 1;
        self.served_ms = 0;
        self.asks = 0;
        self.stable_asks = 0;
        match self.current(settings) {
            Some(step) => Verdict::Go(Reason::Stepping {
                step: self.step,
                left: step.pause,
            }),
            None => self.take_over(canary, facts),
        }
    }

    /// Which of the two has had too few asks, how many, and how many it needs: of one alone nothing can be
    /// compared. Of a stable revision that gets the smaller part of the asks no more than that is expected.
    fn few_asks(&self, settings: &Settings, weight: u32) -> Option<(Side, u64, u64)> {
        let needed = settings.min_asks;
        let others = needed * u64::from(100 - weight.min(99)) / u64::from(weight.max(1));
        let sides = [
            (Side::Canary, self.asks, needed),
            (
                Side::Stable,
                self.stable_asks,
                others.clamp(needed.min(1), needed),
            ),
        ];
        sides.into_iter().find(|(_, asks, needed)| asks < needed)
    }

    /// The step is as long as it must be and has had too few asks.
    fn wait(
        &mut self,
        (of, asks, needed): (Side, u64, u64),
        settings: &Settings,
        (canary, facts): (&Revision, &Facts<'_>),
        served: Duration,
    ) -> Verdict {
        if served < settings.max_step_wait {
            return Verdict::Go(Reason::FewAsks { of, asks, needed });
        }
        match settings.on_no_traffic {
            OnNoTraffic::Wait => Verdict::Go(Reason::NoTraffic { of, asks, needed }),
            OnNoTraffic::Promote => {
                self.lacks_traffic = true;
                self.take_over(canary, facts)
            }
        }
    }

    fn take_over(&mut self, canary: &Revision, facts: &Facts<'_>) -> Verdict {
        self.takes_over = true;
        self.grow(canary, facts)
    }

    /// It gets all replicas, and serves when they are ready.
    fn grow(&self, canary: &Revision, facts: &Facts<'_>) -> Verdict {
        let (ready, needed) = (canary.ready, facts.replicas);
        if canary.wanted == needed && ready >= needed {
            return Verdict::Promote(self.how());
        }
        Verdict::Go(Reason::TakingOver { ready, needed })
    }

    fn how(&self) -> How {
        match (self.is_ordered, self.lacks_traffic) {
            (true, _) => How::Ordered,
            (false, true) => How::WithoutTraffic,
            (false, false) => How::Passed,
        }
    }

    /// Whether what it took over may stay with it until the stable revision has replicas for that: less is lost
    /// by that than by too few replicas, unless most of it fails.
    pub(super) fn is_of_use(&self, settings: &Settings) -> bool {
        let is_useless = self.failure.as_ref().is_some_and(Failure::is_useless);
        !is_useless && settings.strategy != Strategy::Recreate
    }

    /// The step that it is at; nothing when all are behind it.
    fn current<'a>(&self, settings: &'a Settings) -> Option<&'a Step> {
        let steps = settings.steps.get(self.step as usize);
        steps.filter(|_| !self.takes_over)
    }

    /// How many replicas it is to have in the end.
    pub(super) fn goal(&self, settings: &Settings, replicas: u32) -> u32 {
        let weight = match self.current(settings) {
            // For people to look at.
            _ if self.failure.is_some() => 1,
            _ if settings.strategy != Strategy::Canary => 100,
            Some(step) => step.weight,
            None => 100,
        };
        needed(replicas, weight)
    }

    /// Per cent of the asks that it gets now: no more than the replicas that are ready are meant for.
    pub(super) fn weight(
        &self,
        settings: &Settings,
        replicas: u32,
        stable: u32,
        canary: u32,
    ) -> u32 {
        if self.failure.is_some() || canary == 0 || settings.strategy == Strategy::Recreate {
            return 0;
        }
        // On the way to a step what is ready has its part, so that it makes up for what was given up for it.
        let by_steps = || {
            let step = settings.steps.get(self.step as usize);
            let step = step.or(settings.steps.last()).map_or(0, |step| step.weight);
            (100 * canary / replicas.max(1)).clamp(1, 99).min(step)
        };
        let by_replicas = || weight_of(stable, canary);
        match (settings.strategy, self.takes_over) {
            (Strategy::Canary, false) => by_steps(),
            (Strategy::Canary, true) => by_steps().max(by_replicas()),
            _ => by_replicas(),
        }
    }
}
