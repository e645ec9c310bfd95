//! What is remembered of earlier moments, bounded: samples of the last minutes, the counts that were
//! needed, and since when everything was known.
//!
//! A history with a gap, or from later than now, is of no use: it is begun anew, and nothing goes before it
//! has lasted.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::inputs::{FRESH_MS, InHand, Inputs};
use super::{Bounds, EVERY_MS};

/// Samples are kept for so long: a little further back than anything is estimated.
const KEPT_MS: u64 = 125_000;
/// Of samples that are closer only the later one is kept, so that there are never more than four a second.
const APART_MS: u64 = 500;
/// Who has not looked for so long does not know what has been.
const GAP_MS: u64 = 10 * EVERY_MS;
/// How long an ask takes is measured over so long, once so many have ended.
const MEASURED_MS: u64 = 60_000;
const ENOUGH: u64 = 10;

/// What was seen before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    samples: VecDeque<Sample>,
    /// Counts that were needed and are above all that were needed later.
    peaks: VecDeque<Peak>,
    /// By router, what it had counted.
    counted: BTreeMap<String, Counted>,
    /// Since when everybody has reported without a gap.
    whole_since_ms: Option<u64>,
    /// When somebody was last there, or may have been.
    busy_at_ms: Option<u64>,
    /// How long an ask has its place.
    ask_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Sample {
    at_ms: u64,
    running: u32,
    without_place: u32,
    /// Sums since the history began: asks that came, and places times milliseconds that they had.
    asked: u64,
    place_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Peak {
    at_ms: u64,
    replicas: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Counted {
    at_ms: u64,
    asked: u64,
}

/// What happened between two samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    pub seconds: f64,
    pub asked: u64,
    /// Places that were taken, on average.
    pub places: f64,
}

impl History {
    /// The history that follows when `inputs` are seen.
    pub(super) fn after(mut self, inputs: &Inputs) -> Self {
        let now = inputs.at_ms;
        let last = self.samples.back().map(|sample| sample.at_ms);
        if last.is_some_and(|last| last > now || now - last > GAP_MS) {
            self = Self {
                ask_ms: self.ask_ms,
                ..Self::default()
            };
        }
        // Up to the last moment, so that more asks in hand now do not look like shorter ones.
        self.ask_ms = self.measured().or(self.ask_ms);
        let in_hand = inputs.in_hand();
        let (came, is_news) = self.count(inputs);
        self.sample(now, in_hand, came);
        self.whole_since_ms = inputs
            .is_whole()
            .then(|| self.whole_since_ms.unwrap_or(now));
        if in_hand.is_anything() || is_news || self.whole_since_ms.is_none() {
            self.busy_at_ms = Some(now);
        }
        self
    }

    /// Remembers that so many replicas were needed.
    pub(super) fn needed(&mut self, now: u64, replicas: u32, bounds: &Bounds) {
        while self
            .peaks
            .back()
            .is_some_and(|peak| peak.replicas <= replicas)
        {
            self.peaks.pop_back();
        }
        self.peaks.push_back(Peak {
            at_ms: now,
            replicas,
        });
        let since = now.saturating_sub(bounds.down_after_ms);
        while self.peaks.front().is_some_and(|peak| peak.at_ms < since) {
            self.peaks.pop_front();
        }
    }

    /// The most that was needed, over `down_after` or as long as this history is.
    pub(super) fn peak(&self) -> u32 {
        self.peaks.front().map_or(0, |peak| peak.replicas)
    }

    /// For how long everybody has reported.
    pub(super) fn whole_ms(&self, now: u64) -> Option<u64> {
        self.whole_since_ms.map(|since| now.saturating_sub(since))
    }

    /// For how long it is known that nobody was there.
    pub(super) fn idle_ms(&self, now: u64) -> Option<u64> {
        let since = self.whole_since_ms?.max(self.busy_at_ms.unwrap_or(0));
        Some(now.saturating_sub(since))
    }

    /// How long an ask has its place, as last measured.
    pub(super) fn ask_seconds(&self) -> Option<f64> {
        self.ask_ms.map(|ms| ms as f64 / 1000.0)
    }

    /// What happened from `from_ms` ago to `to_ms` ago, as far as that was seen.
    pub(super) fn span(&self, from_ms: u64, to_ms: u64) -> Option<Span> {
        let now = self.samples.back()?.at_ms;
        let first = self.first_since(now.saturating_sub(from_ms))?;
        let last = self.first_since(now.saturating_sub(to_ms))?;
        let ms = last.at_ms - first.at_ms;
        (ms > 0).then(|| Span {
            seconds: ms as f64 / 1000.0,
            asked: last.asked - first.asked,
            places: (last.place_ms - first.place_ms) as f64 / ms as f64,
        })
    }

    /// Whether samples go back so far.
    pub(super) fn reaches(&self, ms: u64) -> bool {
        let ends = [self.samples.front(), self.samples.back()];
        matches!(ends, [Some(first), Some(last)] if last.at_ms - first.at_ms >= ms)
    }

    fn first_since(&self, at_ms: u64) -> Option<&Sample> {
        let place = self.samples.partition_point(|sample| sample.at_ms < at_ms);
        self.samples.get(place)
    }

    /// Asks that came since the last moment, and whether any may have come that cannot be counted: what a
    /// router counted while nobody heard of it came at no known time.
    fn count(&mut self, inputs: &Inputs) -> (u64, bool) {
        let now = inputs.at_ms;
        let (mut came, mut is_news) = (0_u64, false);
        for (router, report) in inputs.fresh_routers() {
            let counted = Counted {
                at_ms: now,
                asked: report.asked,
            };
            let Some(before) = self.counted.insert(router.name.clone(), counted) else {
                continue;
            };
            is_news |= before.asked != report.asked;
            if now.saturating_sub(before.at_ms) <= FRESH_MS {
                came = came.saturating_add(report.asked.saturating_sub(before.asked));
            }
        }
        let routers = &inputs.routers;
        self.counted
            .retain(|name, _| routers.iter().any(|router| router.name == *name));
        (came, is_news)
    }

    fn sample(&mut self, now: u64, in_hand: InHand, came: u64) {
        let last = self.samples.back().copied().unwrap_or(Sample {
            at_ms: now,
            ..Sample::default()
        });
        let both = u64::from(last.running) + u64::from(in_hand.running);
        let place_ms = both.saturating_mul(now - last.at_ms) / 2;
        let sample = Sample {
            at_ms: now,
            running: in_hand.running,
            without_place: in_hand.without_place(),
            asked: last.asked.saturating_add(came),
            place_ms: last.place_ms.saturating_add(place_ms),
        };
        let before = self.samples.len().checked_sub(2);
        let before = before.and_then(|place| self.samples.get(place));
        if before.is_some_and(|before| now - before.at_ms < APART_MS) {
            self.samples.pop_back();
        }
        self.samples.push_back(sample);
        let since = now.saturating_sub(KEPT_MS);
        while self
            .samples
            .front()
            .is_some_and(|sample| sample.at_ms < since)
        {
            self.samples.pop_front();
        }
    }

    /// Places times time over asks: of those that began and of those that ended on average, as some of
    /// either are only partly within. While somebody is not heard, asks have places that nobody counted.
    fn measured(&self) -> Option<u64> {
        let last = self.samples.back()?;
        let since = last.at_ms.saturating_sub(MEASURED_MS);
        let first = self.first_since(since.max(self.whole_since_ms?))?;
        let came = (last.asked - first.asked).saturating_add(u64::from(first.without_place));
        let began = came.saturating_sub(u64::from(last.without_place));
        let ended = began
            .saturating_add(u64::from(first.running))
            .saturating_sub(u64::from(last.running));
        let place_ms = last.place_ms - first.place_ms;
        (ended >= ENOUGH).then(|| 2 * place_ms / (began + ended))
    }
}
