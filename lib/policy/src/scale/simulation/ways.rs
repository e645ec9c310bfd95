//! Three ways that are known, and ours, as the model asks them.

use std::collections::VecDeque;

use super::fleet::{PLACES, START_MS, Scaler, Seen};
use crate::load::Capacity;
use crate::scale::inputs::{Replica, ReplicaReport, Router, RouterReport};
use crate::scale::{Bounds, Decision, History, Inputs, decide};

/// Whoever decides by itself has at most so many.
pub const MOST: u32 = 16;

/// Always as many.
pub struct Fixed(pub u32);

impl Scaler for Fixed {
    fn decide(&mut self, _: &Seen<'_>) -> u32 {
        self.0
    }
}

/// [`decide`], once a second.
pub struct Ours {
    pub bounds: Bounds,
    pub history: History,
    /// What it was asked and what it said, if that is wanted.
    pub record: Option<Vec<(Inputs, Decision)>>,
}

impl Ours {
    pub fn new(min: u32, utilization: f64, down_after_ms: u64) -> Self {
        let bounds = Bounds {
            min,
            max: MOST,
            utilization,
            concurrency: None,
            down_after_ms,
            zero_after_ms: down_after_ms + 30_000,
        };
        Self {
            bounds,
            history: History::default(),
            record: None,
        }
    }
}

impl Scaler for Ours {
    fn decide(&mut self, seen: &Seen<'_>) -> u32 {
        let inputs = inputs(seen);
        let history = std::mem::take(&mut self.history);
        let (history, decision) = decide(history, &inputs, &self.bounds);
        self.history = history;
        let to = decision.to;
        if let Some(record) = &mut self.record {
            record.push((inputs, decision));
        }
        to
    }
}

/// What one router and all replicas would have reported.
fn inputs(seen: &Seen<'_>) -> Inputs {
    let replicas = seen.replicas.iter().map(|replica| Replica {
        is_ready: replica.is_ready,
        report: replica.is_ready.then_some(ReplicaReport {
            age_ms: 0,
            running: replica.running,
            waiting: 0,
        }),
    });
    let running = seen.replicas.iter().map(|replica| replica.running);
    let report = RouterReport {
        age_ms: 0,
        running: running.sum(),
        held: seen.held,
        asked: seen.asked,
    };
    Inputs {
        at_ms: seen.at_ms,
        wanted: seen.wanted,
        replicas: replicas.collect(),
        routers: vec![Router {
            name: "router".into(),
            is_ready: true,
            report: Some(report),
        }],
        cold_start_ms: Some(START_MS),
        capacity: Some(Capacity {
            sequences: PLACES,
            tokens_per_second: 80,
        }),
    }
}

/// Knative's pod autoscaler on concurrency, with the windows that it publishes: it looks every 2 s, at the mean of
/// 60 s and of 6 s, panics when the latter asks for twice the replicas that are ready, and does not go down
/// before it has not done so for 60 s. From zero it goes at once, to zero after 30 s of grace.
pub struct Knative {
    pub min: u32,
    /// Asks per replica.
    pub target: f64,
    seconds: VecDeque<f64>,
    panicked_ms: Option<u64>,
    most_in_panic: u32,
    zero_since_ms: Option<u64>,
}

impl Knative {
    pub fn new(min: u32, utilization: f64) -> Self {
        Self {
            min,
            target: utilization * f64::from(PLACES),
            seconds: VecDeque::new(),
            panicked_ms: None,
            most_in_panic: 0,
            zero_since_ms: None,
        }
    }

    /// Replicas that the mean of the last `seconds` asks for.
    fn asked_for(&self, seconds: usize) -> f64 {
        (mean_of_last(&self.seconds, seconds) / self.target).ceil()
    }

    fn wanted(&mut self, seen: &Seen<'_>) -> u32 {
        let ready = seen.replicas.iter().filter(|replica| replica.is_ready);
        let ready = (ready.count() as f64).max(1.0);
        let least = (ready / 2.0).floor();
        let stable = self.asked_for(60).max(least) as u32;
        let panic = self.asked_for(6);
        if panic / ready >= 2.0 {
            self.panicked_ms = Some(seen.at_ms);
        } else if self.panicked_ms.is_some_and(|at| seen.at_ms - at > 60_000) {
            self.panicked_ms = None;
            self.most_in_panic = 0;
        }
        if self.panicked_ms.is_none() {
            return stable;
        }
        let panic = panic.max(least) as u32;
        self.most_in_panic = self.most_in_panic.max(panic).max(stable);
        self.most_in_panic
    }
}

impl Scaler for Knative {
    fn decide(&mut self, seen: &Seen<'_>) -> u32 {
        remember(&mut self.seconds, seen.in_hand, 60);
        if seen.wanted == 0 && seen.held > 0 {
            return self.min.max(1);
        }
        if !seen.at_ms.is_multiple_of(2000) {
            return seen.wanted.max(self.min);
        }
        let wanted = self.wanted(seen).clamp(self.min, MOST);
        if wanted > 0 || seen.wanted == 0 {
            self.zero_since_ms = None;
            return wanted;
        }
        let since = *self.zero_since_ms.get_or_insert(seen.at_ms);
        u32::from(seen.at_ms - since < 30_000)
    }
}

/// Kubernetes' horizontal pod autoscaler on the average of asks in hand: every 15 s, not within 10 % of the
/// target, up by four replicas or to twice as many, down to the most that it would have wanted within 300 s. It does
/// not go to zero.
pub struct Hpa {
    pub min: u32,
    /// Asks per replica.
    pub target: f64,
    seconds: VecDeque<f64>,
    wished: VecDeque<(u64, u32)>,
}

impl Hpa {
    pub fn new(min: u32, utilization: f64) -> Self {
        Self {
            min: min.max(1),
            target: utilization * f64::from(PLACES),
            seconds: VecDeque::new(),
            wished: VecDeque::new(),
        }
    }
}

impl Scaler for Hpa {
    fn decide(&mut self, seen: &Seen<'_>) -> u32 {
        remember(&mut self.seconds, seen.in_hand, 15);
        let current = seen.wanted.max(self.min);
        if !seen.at_ms.is_multiple_of(15_000) {
            return current;
        }
        let in_hand = mean_of_last(&self.seconds, 15);
        let ratio = in_hand / (self.target * f64::from(current));
        let wish = match (ratio - 1.0).abs() <= 0.1 {
            true => current,
            false => (in_hand / self.target).ceil() as u32,
        };
        self.wished.push_back((seen.at_ms, wish));
        let within = |wished: &mut (u64, u32)| seen.at_ms - wished.0 > 300_000;
        while self.wished.pop_front_if(within).is_some() {}
        let most = self.wished.iter().map(|(_, wish)| *wish).max();
        let down_to = most.unwrap_or(wish).min(current);
        let up_to = (current + 4).max(2 * current);
        wish.clamp(down_to, up_to).clamp(self.min, MOST)
    }
}

fn remember(seconds: &mut VecDeque<f64>, in_hand: f64, most: usize) {
    seconds.push_back(in_hand);
    if seconds.len() > most {
        seconds.pop_front();
    }
}

fn mean_of_last(seconds: &VecDeque<f64>, count: usize) -> f64 {
    let last = seconds.iter().rev().take(count);
    let count = seconds.len().min(count).max(1);
    last.sum::<f64>() / count as f64
}
