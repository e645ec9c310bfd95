//! How long a replica that ended waits until it is started again.
//!
//! Pure. A replica that ends time after time, before it serves or soon after, would otherwise take what its start
//! computes from those that serve.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LAST: Duration = Duration::from_secs(60);
/// A replica that has served so long was well: what it ends of is another story. Far more than the longest pause, so
/// that one which always ends soon after its first asks is not taken for well.
const WELL: Duration = Duration::from_secs(300);

/// The pauses of one replica, each twice as long as the one before, until it has been well.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    /// How often it ended since it was well.
    ends: u32,
}

#[derive(Debug, PartialEq)]
pub(super) struct Pause {
    pub length: Duration,
    /// Whether somebody should hear of it: once, when it has ended again.
    pub is_told: bool,
}

impl Pauses {
    /// The pause after an end; it had served for so long.
    pub fn after(&mut self, served: Duration) -> Pause {
        if served >= WELL {
            self.ends = 0;
        }
        self.ends = self.ends.saturating_add(1);
        let doubled = 2u32.saturating_pow(self.ends - 1);
        Pause {
            length: FIRST.saturating_mul(doubled).min(LAST),
            is_told: self.ends == 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pauses in seconds after ends, each of one that had served for so long.
    fn pauses<const N: usize>(served: [Duration; N]) -> [u64; N] {
        let mut pauses = Pauses::default();
        served.map(|served| pauses.after(served).length.as_secs())
    }

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn a_replica_that_ends_soon_after_it_served_waits_longer_each_time_up_to_a_minute() {
        assert_eq!(pauses([SOON; 8]), [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pauses([Duration::ZERO; 40])[39], 60);
    }

    #[test]
    fn earlier_ends_are_forgotten_once_it_served_well() {
        assert_eq!(pauses([SOON, SOON, SOON, WELL, SOON]), [1, 2, 4, 1, 2]);
    }

    #[test]
    fn that_it_ends_again_and_again_is_told_once_until_it_was_well() {
        let mut pauses = Pauses::default();
        let told =
            [SOON, SOON, SOON, SOON, WELL, SOON, SOON].map(|served| pauses.after(served).is_told);
        assert_eq!(told, [false, true, false, false, false, true, false]);
    }
}
