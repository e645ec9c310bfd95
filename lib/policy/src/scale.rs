//! How many replicas a deployment is to have: from what is reported now and what was seen before to a
//! count and its reason.
//!
//! * [`inputs`]: what is known at a moment, and which of it is trusted.
//! * [`history`]: what is remembered of earlier moments. Whoever has none begins with none.
//! * [`demand`]: how many places asks need.
//! * [`leaving`]: which replica goes first.
//!
//! [`decide`] looks at no clock and keeps nothing: the same history and the same inputs give the same
//! decision, so that a record of inputs can be replayed.
//!
//! - More replicas on any evidence; fewer only where everybody who is ready has reported for the whole time
//!   that counts, which a new leader has yet to see.
//! - To zero only when nobody was there for that time.
//! - Never outside `min` and `max`.

pub mod demand;
pub mod history;
pub mod inputs;
pub mod leaving;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use weir_crds::{Fraction, Scaling, value};

pub use demand::Demand;
pub use history::History;
pub use inputs::Inputs;
pub use leaving::least_to_lose;

/// It is decided so often, or sooner where a report came. Who has not looked for ten times as long begins a new
/// history.
pub const EVERY_MS: u64 = 1000;

/// What a user allows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    pub min: u32,
    pub max: u32,
    /// Share of a replica's places to aim at; above 0, up to 1.
    pub utilization: f64,
    /// Places of a replica, instead of what was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// So long must fewer replicas have sufficed.
    pub down_after_ms: u64,
    /// So long must nobody have been there before the last replica goes.
    pub zero_after_ms: u64,
}

/// Why the count is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// What is usual of late needs more replicas.
    Demand,
    /// What came in the last seconds is more than all replicas can take at once.
    Burst,
    /// Fewer replicas have sufficed for so long.
    Quiet,
    /// Somebody asks, and there is no replica.
    FromZero,
    /// Nobody was there for so long.
    ToZero,
    /// The count was outside of `min` and `max`.
    Bounds,
    /// Nothing that can be trusted was reported: the count stays.
    Unknown,
    /// The count fits.
    Steady,
}

/// How many replicas are wanted, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub from: u32,
    pub to: u32,
    pub reason: Reason,
    /// The reason with its numbers, for people.
    pub message: String,
}

impl Decision {
    pub fn is_change(&self) -> bool {
        self.from != self.to
    }
}

impl Bounds {
    /// What cannot be read, which admission refuses, is as if it were left out.
    pub fn of(scaling: &Scaling) -> Self {
        let default = Scaling::default();
        let millis = |texts: [&String; 2]| {
            let read = texts.map(|text| value::duration(text).ok());
            let read = read.into_iter().flatten().next().unwrap_or_default();
            u64::try_from(read.as_millis()).unwrap_or(u64::MAX)
        };
        let shares = [&scaling.utilization, &default.utilization];
        let shares = shares.map(|text| text.parse::<Fraction>().ok());
        let mut shares = shares.into_iter().flatten().map(Fraction::value);
        Self {
            min: scaling.min,
            max: scaling.max.max(scaling.min),
            utilization: shares.find(|share| *share > 0.0).unwrap_or(1.0),
            concurrency: scaling.concurrency,
            down_after_ms: millis([&scaling.down_after, &default.down_after]),
            zero_after_ms: millis([&scaling.zero_after, &default.zero_after]),
        }
    }

    pub fn within(&self, replicas: u32) -> u32 {
        replicas.max(self.min).min(self.max)
    }
}

/// The count that follows from `inputs` after `history`, and the history that follows.
pub fn decide(history: History, inputs: &Inputs, bounds: &Bounds) -> (History, Decision) {
    let mut history = history.after(inputs);
    let demand = Demand::of(&history, inputs, bounds);
    history.needed(inputs.at_ms, bounds.within(demand.needed), bounds);
    let decision = judge(&history, &demand, inputs, bounds);
    (history, decision)
}

fn judge(history: &History, demand: &Demand, inputs: &Inputs, bounds: &Bounds) -> Decision {
    let from = inputs.wanted;
    let said = |to, reason, message| Decision {
        from,
        to,
        reason,
        message,
    };
    if !inputs.is_known() && from == bounds.within(from) {
        return said(from, Reason::Unknown, "nobody has reported".into());
    }
    let needed = bounds.within(demand.needed);
    if from == 0 && demand.is_somebody() && bounds.max > 0 {
        return said(needed.max(1), Reason::FromZero, demand.message.clone());
    }
    if needed > from && demand.needed > from {
        let reason = match demand.is_burst {
            true => Reason::Burst,
            false => Reason::Demand,
        };
        let most = match demand.needed > bounds.max {
            true => format!(", {} needed, at most {}", demand.needed, bounds.max),
            false => String::new(),
        };
        let message = format!("{}{most}", demand.message);
        return said(needed, reason, message);
    }
    if from != bounds.within(from) {
        let message = format!("from {} to {} replicas", bounds.min, bounds.max);
        return said(bounds.within(from), Reason::Bounds, message);
    }
    fewer(history, inputs, bounds)
        .unwrap_or_else(|| said(from, Reason::Steady, demand.message.clone()))
}

/// Fewer replicas, where that is allowed by now.
fn fewer(history: &History, inputs: &Inputs, bounds: &Bounds) -> Option<Decision> {
    let (from, now) = (inputs.wanted, inputs.at_ms);
    let whole_ms = history.whole_ms(now)?;
    let sufficed = match whole_ms >= bounds.down_after_ms {
        true => from.min(history.peak().max(bounds.min).max(1)),
        false => from,
    };
    let idle_ms = history.idle_ms(now);
    let is_idle = idle_ms.is_some_and(|idle| idle >= bounds.zero_after_ms);
    let (to, reason, ms) = match sufficed {
        0 => return None,
        1 if is_idle && bounds.min == 0 => (0, Reason::ToZero, bounds.zero_after_ms),
        _ if sufficed < from => (sufficed, Reason::Quiet, bounds.down_after_ms),
        _ => return None,
    };
    let spell = value::duration_text(std::time::Duration::from_millis(ms));
    let message = match reason {
        Reason::ToZero => format!("nobody was there for {spell}"),
        _ => format!("{to} sufficed for {spell}"),
    };
    Some(Decision {
        from,
        to,
        reason,
        message,
    })
}
