//! When somebody who found the queue full may come back: at the pace at which work ended lately.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Ends that are remembered.
const MOST: usize = 32;

/// Said at the least, and at the most: after that nobody knows what will be.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120));

/// The last moments at which places became free.
#[derive(Debug, Clone, Default)]
pub struct Pace(Arc<Mutex<VecDeque<End>>>);

#[derive(Debug, Clone, Copy)]
struct End {
    at: Instant,
    /// Places that became free then.
    places: u32,
    /// Whether somebody waited: only then does the next end say how fast work goes.
    is_busy: bool,
}

impl Pace {
    pub fn ended(&self, at: Instant, places: u32, is_busy: bool) {
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ends.len() == MOST {
            ends.pop_front();
        }
        ends.push_back(End {
            at,
            places,
            is_busy,
        });
    }

    /// Whole seconds until half of so many that wait have begun: those who come back share the
    /// places with those who come for the first time.
    pub fn seconds_to_wait(&self, waiting: usize, now: Instant) -> u32 {
        let ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = seconds_a_place(&ends.iter().copied().collect::<Vec<_>>(), now)
            * waiting.div_ceil(2) as f64;
        let (least, most) = (WAITS.0.as_secs_f64(), WAITS.1.as_secs_f64());
        wait.clamp(least, most).ceil() as u32
    }
}

/// How long it takes for a place to become free while somebody waits for one.
fn seconds_a_place(ends: &[End], now: Instant) -> f64 {
    let (mut took, mut places) = (Duration::ZERO, 0);
    for pair in ends.windows(2) {
        if let [before, after] = pair
            && before.is_busy
        {
            took += after.at.duration_since(before.at);
            places += after.places;
        }
    }
    let usual = took.as_secs_f64() / f64::from(places.max(1));
    // Where the last ones take longer, it is that.
    let last = ends.last().filter(|last| last.is_busy);
    last.map_or(usual, |last| {
        usual.max(now.saturating_duration_since(last.at).as_secs_f64())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(began: Instant, seconds: f64) -> Instant {
        began + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn the_wait_is_half_the_queue_at_the_pace_at_which_places_became_free() {
        let (pace, began) = (Pace::default(), Instant::now());
        assert_eq!(pace.seconds_to_wait(64, began), 1);
        for end in 0..100 {
            pace.ended(at(began, f64::from(end) / 2.0), 1, true);
        }
        assert_eq!(pace.seconds_to_wait(64, at(began, 49.5)), 16);
        assert_eq!(pace.seconds_to_wait(1, at(began, 49.5)), 1);
        // Nothing has ended for a while.
        assert_eq!(pace.seconds_to_wait(4, at(began, 59.5)), 20);
        assert_eq!(pace.seconds_to_wait(4000, at(began, 59.5)), 120);
    }

    #[test]
    fn answers_of_several_choices_give_several_places_back() {
        let (pace, began) = (Pace::default(), Instant::now());
        for end in 0..10 {
            pace.ended(at(began, f64::from(end) * 4.0), 8, true);
        }
        assert_eq!(pace.seconds_to_wait(64, at(began, 36.0)), 16);
    }

    #[test]
    fn quiet_before_a_burst_says_nothing_of_the_burst() {
        let (pace, began) = (Pace::default(), Instant::now());
        for end in 0..10 {
            pace.ended(at(began, f64::from(end) * 15.0), 1, false);
        }
        assert_eq!(pace.seconds_to_wait(64, at(began, 300.0)), 1);
        // The burst is here, and its ends tell.
        for end in 0..4 {
            pace.ended(at(began, 300.0 + f64::from(end)), 1, true);
        }
        assert_eq!(pace.seconds_to_wait(64, at(began, 303.0)), 32);
    }
}
