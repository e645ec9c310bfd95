//! Whatever is reported: what always holds of a decision.

use super::inputs::{Replica, ReplicaReport, Router, RouterReport};
use super::*;
use crate::load::Capacity;

const SEEDS: u64 = 60;
const SECONDS: u64 = 400;

/// Numbers that only look like chance, the same everywhere.
struct Draws {
    state: u64,
    is_idle: bool,
}

impl Draws {
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let number = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn bounds(&mut self) -> Bounds {
        let min = self.below(4) as u32;
        Bounds {
            min,
            max: min.max(1) + self.below(12) as u32,
            utilization: (1 + self.below(10)) as f64 / 10.0,
            concurrency: self.one_in(4).then(|| 1 + self.below(20) as u32),
            down_after_ms: 1000 * (1 + self.below(60)),
            zero_after_ms: 1000 * (1 + self.below(60)),
        }
    }

    /// What follows `inputs`: anybody may be silent, late, not ready or gone, and the clock may step.
    fn follow(&mut self, inputs: &mut Inputs) {
        inputs.at_ms += self.below(3000);
        if self.one_in(100) {
            inputs.at_ms = self.below(10_000_000);
        }
        if self.one_in(50) {
            inputs.capacity = (!self.one_in(3)).then(|| Capacity {
                sequences: self.below(40) as u32,
                tokens_per_second: self.below(900),
            });
            inputs.cold_start_ms = Some(self.below(200_000));
        }
        let count = inputs.wanted as usize + self.below(2) as usize;
        self.is_idle ^= self.one_in(60);
        let is_busy = if self.is_idle { 0 } else { self.below(3) };
        inputs.replicas = (0..count).map(|_| self.replica(is_busy)).collect();
        if inputs.routers.is_empty() || self.one_in(30) {
            let names = 0..self.below(4);
            let named = names.map(|name| Router {
                name: name.to_string(),
                ..Router::default()
            });
            inputs.routers = named.collect();
        }
        for router in &mut inputs.routers {
            router.is_ready = !self.one_in(8);
            let before = router.report.unwrap_or_default();
            router.report = (!self.one_in(80)).then(|| RouterReport {
                age_ms: self.age(),
                running: (is_busy * self.below(30)) as u32,
                held: (is_busy * self.below(2) * self.below(50)) as u32,
                asked: before.asked + is_busy * self.below(20),
            });
        }
    }

    fn replica(&mut self, is_busy: u64) -> Replica {
        Replica {
            is_ready: !self.one_in(8),
            report: (!self.one_in(200)).then(|| ReplicaReport {
                age_ms: self.age(),
                running: (is_busy * self.below(20)) as u32,
                waiting: (is_busy * self.below(2) * self.below(9)) as u32,
            }),
        }
    }

    fn age(&mut self) -> u64 {
        match self.one_in(200) {
            true => self.below(60_000),
            false => self.below(1500),
        }
    }
}

/// Every decision of some hours in which everything goes wrong.
fn every(mut check: impl FnMut(&History, &Inputs, &Bounds, &Decision)) {
    for seed in 0..SEEDS {
        let mut draws = Draws {
            state: seed,
            is_idle: false,
        };
        let mut bounds = draws.bounds();
        let (mut history, mut inputs) = (History::default(), Inputs::default());
        for _ in 0..SECONDS {
            draws.follow(&mut inputs);
            if draws.one_in(200) {
                bounds = draws.bounds();
            }
            if draws.one_in(150) {
                history = History::default();
            }
            let (next, decision) = decide(history.clone(), &inputs, &bounds);
            check(&history, &inputs, &bounds, &decision);
            history = next;
            inputs.wanted = decision.to;
        }
    }
}

#[test]
fn a_count_is_always_within_what_is_allowed() {
    every(|_, inputs, bounds, decision| {
        let allowed = bounds.min..=bounds.max;
        assert!(allowed.contains(&decision.to), "{decision:?} {bounds:?}");
        assert_eq!(decision.from, inputs.wanted);
    });
}

#[test]
fn nothing_goes_on_missing_or_old_reports_or_while_somebody_is_there_whom_it_would_leave_with_none()
{
    let (mut quiet, mut zero) = (0, 0);
    every(|_, inputs, bounds, decision| {
        let is_less = decision.to < decision.from.min(bounds.max);
        assert!(!is_less || inputs.is_whole(), "{decision:?} {inputs:?}");
        quiet += u32::from(is_less);
        if decision.to == 0 && decision.from > 0 {
            assert_eq!(decision.reason, Reason::ToZero);
            assert!(!inputs.in_hand().is_anything(), "{inputs:?}");
            zero += 1;
        }
    });
    assert!(quiet > 20 && zero > 0, "{quiet} {zero}: it is looked at");
}

#[test]
fn more_asks_never_bring_fewer_replicas() {
    let mut more = 0;
    every(|history, inputs, bounds, decision| {
        for place in 0..inputs.routers.len() {
            for (extra, counted) in [(1, 0), (1, 1), (40, 0), (40, 1)] {
                let mut inputs = inputs.clone();
                let Some(report) = &mut inputs.routers[place].report else {
                    continue;
                };
                report.held += extra;
                report.running += extra;
                report.asked += 2 * u64::from(extra * counted);
                let (_, busier) = decide(history.clone(), &inputs, bounds);
                assert!(busier.to >= decision.to, "{decision:?} and {busier:?}");
                more += u32::from(busier.to > decision.to);
            }
        }
    });
    assert!(more > 20, "{more}");
}

#[test]
fn reports_that_are_lost_never_bring_fewer_replicas_than_are_there() {
    every(|history, inputs, bounds, _| {
        let mut inputs = inputs.clone();
        for router in &mut inputs.routers {
            (router.is_ready, router.report) = (true, None);
        }
        let (_, decision) = decide(history.clone(), &inputs, bounds);
        let there = inputs.wanted.min(bounds.max);
        assert!(decision.to >= there, "{decision:?}");
    });
}
