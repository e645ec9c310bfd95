//! How many places asks need, and so how many replicas.
//!
//! What is usual follows from the last minute: the places that asks had, or, where they had to wait for one,
//! those that they would have had: as many as come a second, times how long each has its place. A queue says
//! how late replicas are and not how many are needed: counted like that, a start of half a minute would
//! look like many times the demand that there is. It counts by how many more it takes to be rid of it soon.

use super::Bounds;
use super::history::{History, Span};
use super::inputs::{InHand, Inputs};

/// What is usual: long enough that chance evens out.
const USUAL_MS: u64 = 60_000;
/// What is now: seconds, so that chance does not look like a burst.
const BURST_MS: u64 = 6000;
/// Whoever waits is to have a place within so long, once there are replicas.
const CLEARED_SECONDS: f64 = 10.0;
/// Growth is looked for in so many thirds as long; of one that is half over nothing is expected.
const THIRD_MS: u64 = 40_000;
/// Tokens of an answer, where nothing is known but what a replica can write.
const USUAL_TOKENS: f64 = 200.0;

/// What is needed, and what that follows from.
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    /// Replicas, whatever is allowed.
    pub needed: u32,
    /// The last seconds say so, and not the last minute.
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
        let ask = ask_seconds(history, inputs);
        let usual = usual(history, &in_hand, ask) + growth(history, inputs, ask);
        let burst = burst(history, &in_hand, ask);
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

/// Places that the asks of the last minute needed.
fn usual(history: &History, in_hand: &InHand, ask: Option<f64>) -> f64 {
    let now = f64::from(in_hand.running);
    let span = history.span(USUAL_MS, 0);
    span.map_or(now, |span| needed_in(span, ask))
}

/// Places that the asks of the last seconds need, and those that wait.
fn burst(history: &History, in_hand: &InHand, ask: Option<f64>) -> f64 {
    let now = f64::from(in_hand.running);
    let span = history.span(BURST_MS, 0);
    let coming = span.map_or(now, |span| needed_in(span, ask));
    let share = ask.map_or(1.0, |ask| (ask / CLEARED_SECONDS).min(1.0));
    coming.max(now) + share * f64::from(in_hand.without_place())
}

fn needed_in(span: Span, ask: Option<f64>) -> f64 {
    let per_second = span.asked as f64 / span.seconds;
    span.places.max(per_second * ask.unwrap_or(0.0))
}

/// Places that will be needed beyond what is usual, by the time that a replica is ready which is begun now:
/// what grew over three thirds will go on growing for so long. What chance may have added is taken off.
fn growth(history: &History, inputs: &Inputs, ask: Option<f64>) -> f64 {
    let (Some(ask), true) = (ask, history.reaches(3 * THIRD_MS)) else {
        return 0.0;
    };
    let third = |number| history.span((number + 1) * THIRD_MS, number * THIRD_MS);
    let thirds = [third(2), third(1), third(0)];
    let [Some(first), Some(second), Some(third)] = thirds else {
        return 0.0;
    };
    let [first, second, third] = [first, second, third].map(|span| span.asked as f64);
    let least = (third - second).min(second - first) - third.sqrt();
    let seconds = THIRD_MS as f64 / 1000.0;
    let per_second = least.max(0.0) / (seconds * seconds);
    // What is usual is of half a window ago.
    let ahead_ms = USUAL_MS / 2 + inputs.cold_start_ms.unwrap_or(0);
    per_second * ahead_ms as f64 / 1000.0 * ask
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
