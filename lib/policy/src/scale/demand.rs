//! How many places asks need, and so how many replicas.
//!
//! Usually that follows from the places that asks had of late. Where some wait for a place, it would be too few:
//! then it is those that all asks would have, as many as come a second times how long each has its place. The queue
//! itself says how late replicas are and not how many are needed: counted one by one, those who came while a
//! replica started would look like many times the demand that there is. It counts by what it takes to be rid of it soon.

use super::Bounds;
use super::history::History;
use super::inputs::{InHand, Inputs};

/// What is usual: long enough that chance evens out, short enough that its hills are seen.
const USUAL_MS: u64 = 20_000;
/// What is now: some seconds, so that chance does not look like a burst.
const BURST_MS: u64 = 6000;
/// Whoever waits has waited while a replica started, and is to wait no more than as long again; within these.
const CLEARED_MS: [u64; 2] = [5000, 30_000];
const UNTOLD_START_MS: u64 = 10_000;
/// Growth is what goes on over four spells of so long: a step is none, wherever it falls.
const SPELL_MS: u64 = 30_000;
/// Tokens of an answer, where nothing is known but what a replica can write.
const USUAL_TOKENS: f64 = 200.0;

/// What is needed, and what that follows from.
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    /// Replicas, whatever is allowed.
    pub needed: u32,
    /// What came in the last seconds says so, and not what is usual.
    pub is_burst: bool,
    /// With its numbers, for people.
    pub message: String,
    in_hand: InHand,
}

impl Demand {
    pub(super) fn of(history: &History, inputs: &Inputs, bounds: &Bounds) -> Self {
        let in_hand = inputs.in_hand();
        let Some(places) = places(inputs, bounds) else {
            // One replica will say what it can do.
            let message = format!("{}, and what a replica can do is not known", text(&in_hand));
            return Self {
                needed: u32::from(in_hand.is_anything()) * inputs.wanted.max(1),
                is_burst: false,
                message,
                in_hand,
            };
        };
        let aimed = places * bounds.utilization.max(0.01);
        let usual = usual(history, &in_hand) + growth(history, inputs);
        let burst = burst(history, inputs, &in_hand);
        let (by_usual, by_burst) = (replicas(usual, aimed), replicas(burst, aimed));
        let is_burst = burst > places * f64::from(inputs.wanted) && by_burst > by_usual;
        let (needed, need) = match is_burst {
            true => (by_burst, burst),
            false => (by_usual, usual),
        };
        let share = bounds.utilization;
        Self {
            needed,
            is_burst,
            message: format!("{}: {need:.1} over {places} x {share}", text(&in_hand)),
            in_hand,
        }
    }

    /// Whether any ask is in hand now.
    pub fn is_somebody(&self) -> bool {
        self.in_hand.is_anything()
    }
}

/// Places of a replica.
fn places(inputs: &Inputs, bounds: &Bounds) -> Option<f64> {
    let measured = inputs.capacity.map(|capacity| capacity.sequences);
    let places = bounds.concurrency.or(measured).filter(|places| *places > 0);
    places.map(f64::from)
}

/// How long an ask has its place: as measured, or else as long as a usual answer takes to write.
fn ask_seconds(history: &History, inputs: &Inputs) -> Option<f64> {
    let by_capacity = || {
        let capacity = inputs.capacity?;
        let per_second = capacity.tokens_per_second as f64 / f64::from(capacity.sequences);
        (per_second > 0.0 && per_second.is_finite()).then(|| USUAL_TOKENS / per_second)
    };
    history.ask_seconds().or_else(by_capacity)
}

/// Places that asks had of late.
fn usual(history: &History, in_hand: &InHand) -> f64 {
    let span = history.span(USUAL_MS, 0);
    span.map_or(f64::from(in_hand.running), |span| span.places)
}

/// Places that the asks of the last seconds would have, and those that wait: nothing while nobody does.
fn burst(history: &History, inputs: &Inputs, in_hand: &InHand) -> f64 {
    let waiting = f64::from(in_hand.without_place());
    if waiting == 0.0 {
        return 0.0;
    }
    let coming = history.span(BURST_MS, 0).map_or(0.0, |span| {
        let came = span.asked as f64;
        let per_second = (came - came.sqrt()) / span.seconds;
        span.places
            .max(per_second * history.ask_seconds().unwrap_or(0.0))
    });
    let [least, most] = CLEARED_MS;
    let start_ms = inputs.cold_start_ms.unwrap_or(UNTOLD_START_MS);
    let cleared = start_ms.clamp(least, most) as f64 / 1000.0;
    let share = ask_seconds(history, inputs).map_or(1.0, |ask| (ask / cleared).min(1.0));
    coming + share * waiting
}

/// Places that will be needed beyond what is usual, by the time that a replica is ready which is begun now:
/// what grew over each of the last spells will go on growing as it did in the least of them.
fn growth(history: &History, inputs: &Inputs) -> f64 {
    let (Some(ask), true) = (history.ask_seconds(), history.reaches(4 * SPELL_MS)) else {
        return 0.0;
    };
    let spells = [4, 3, 2, 1].map(|number| {
        let span = history.span(number * SPELL_MS, (number - 1) * SPELL_MS);
        span.map_or(0.0, |span| span.asked as f64 / span.seconds)
    });
    let grown = spells.windows(2).map(|pair| pair[1] - pair[0]);
    let least = grown.fold(f64::INFINITY, f64::min).max(0.0);
    // What is usual is of half a window ago.
    let ahead_ms = USUAL_MS / 2 + inputs.cold_start_ms.unwrap_or(0);
    least * ahead_ms as f64 / SPELL_MS as f64 * ask
}

fn replicas(places: f64, aimed: f64) -> u32 {
    // What is over by rounding alone needs no replica of its own.
    (places / aimed - 1e-9).ceil().max(0.0) as u32
}

fn text(in_hand: &InHand) -> String {
    let waiting = match in_hand.waiting {
        0 => String::new(),
        waiting => format!(" + {waiting} waiting"),
    };
    format!(
        "{} running{waiting} + {} held",
        in_hand.running, in_hand.held
    )
}
