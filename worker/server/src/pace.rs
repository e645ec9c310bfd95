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

/// The last moments at which work ended, and gave its place to the next.
#[derive(Debug, Clone, Default)]
pub struct Pace(Arc<Mutex<VecDeque<Instant>>>);

impl Pace {
    pub fn ended(&self, now: Instant) {
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ends.len() == MOST {
            ends.pop_front();
        }
        ends.push_back(now);
    }

    /// Whole seconds until half of so many that wait have begun: those who come back share the
    /// places with those who come for the first time.
    pub fn seconds_to_wait(&self, waiting: usize, now: Instant) -> u32 {
        let ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = gap(&ends, now) * u32::try_from(waiting.div_ceil(2)).unwrap_or(u32::MAX);
        let (least, most) = WAITS;
        wait.clamp(least, most).as_secs_f64().ceil() as u32
    }
}

/// From one end to the next: as it was, or as long as it takes by now.
fn gap(ends: &VecDeque<Instant>, now: Instant) -> Duration {
    let (Some(first), Some(last)) = (ends.front(), ends.back()) else {
        return Duration::ZERO;
    };
    let gaps = u32::try_from(ends.len() - 1).unwrap_or(1).max(1);
    let usual = last.duration_since(*first) / gaps;
    usual.max(now.saturating_duration_since(*last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_half_the_queue_at_the_pace_of_the_last_ends() {
        let pace = Pace::default();
        let began = Instant::now();
        let at = |seconds: u64| began + Duration::from_secs(seconds);
        assert_eq!(pace.seconds_to_wait(64, began), 1);
        for end in 0..100 {
            pace.ended(at(end / 2));
        }
        assert_eq!(pace.seconds_to_wait(64, at(49)), 16);
        assert_eq!(pace.seconds_to_wait(1, at(49)), 1);
        // Nothing has ended for a while.
        assert_eq!(pace.seconds_to_wait(4, at(59)), 20);
        assert_eq!(pace.seconds_to_wait(4000, at(59)), 120);
    }
}
