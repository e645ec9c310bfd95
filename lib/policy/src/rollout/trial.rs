//! What becomes of a revision on trial, by one look.

use std::time::Duration;

use weir_crds::{OnFailure, OnNoTraffic, Strategy};

use super::order::Wish;
use super::rate::Both;
use super::reason::{How, Reason, Why};
use super::replicas::needed;
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
            self.failure = None;
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
            Strategy::Canary => self.step(settings, &canary, facts, passed),
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
            self.failure = None;
            return None;
        }
        if self.failure.is_none() {
            self.guard.observe(&settings.allowed, &news, passed);
            self.failure = self.guard.failure();
        }
        let failure = self.failure.clone()?;
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
        settings: &Settings,
        canary: &Revision,
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
        let asks = facts.news.get(&self.revision).map_or(0, |news| news.asks);
        self.asks = self.asks.saturating_add(asks);
        self.served_ms = self.served_ms.saturating_add(passed.as_millis() as u64);
        let served = Duration::from_millis(self.served_ms);
        if let Some(left) = step
            .pause
            .checked_sub(served)
            .filter(|left| !left.is_zero())
        {
            let step = self.step;
            return Verdict::Go(Reason::Stepping { step, left });
        }
        if self.asks < settings.min_asks {
            return self.wait(settings, canary, facts, served);
        }
        self.step += 1;
        self.served_ms = 0;
        self.asks = 0;
        match self.current(settings) {
            Some(step) => Verdict::Go(Reason::Stepping {
                step: self.step,
                left: step.pause,
            }),
            None => self.take_over(canary, facts),
        }
    }

    /// The step is as long as it must be and has had too few asks.
    fn wait(
        &mut self,
        settings: &Settings,
        canary: &Revision,
        facts: &Facts<'_>,
        served: Duration,
    ) -> Verdict {
        let (asks, needed) = (self.asks, settings.min_asks);
        if served < settings.max_step_wait {
            return Verdict::Go(Reason::FewAsks { asks, needed });
        }
        match settings.on_no_traffic {
            OnNoTraffic::Wait => Verdict::Go(Reason::NoTraffic { asks, needed }),
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
        let by_steps = || {
            let steps = settings.steps.iter().take(self.step as usize + 1);
            let weights = steps.map(|step| step.weight);
            weights
                .filter(|weight| needed(replicas, *weight) <= canary)
                .max()
                .unwrap_or_default()
        };
        let by_replicas = || (100 * canary / (canary + stable)).min(99);
        match (settings.strategy, self.takes_over) {
            (Strategy::Canary, false) => by_steps(),
            (Strategy::Canary, true) => by_steps().max(by_replicas()),
            _ => by_replicas(),
        }
    }
}
