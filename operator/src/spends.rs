//! When each policy's spend was said last: figures that go on changing are written now and then only, and
//! with whatever else is written.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use weir_crds::RoutePolicyStatus;

/// Between two figures in one status.
const EVERY: Duration = Duration::from_secs(30);

/// By namespace and policy. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Spends(Arc<Mutex<BTreeMap<(String, String), Instant>>>);

impl Spends {
    /// What to say at `now` in the place of `before`, and when to look again if its spend is not that of
    /// `status` yet. A status that says something else as well has the newest figure: one that a budget
    /// is spent must not say of little that it was.
    pub fn paced(
        &self,
        of: (&str, &str),
        before: Option<&RoutePolicyStatus>,
        status: RoutePolicyStatus,
        now: Instant,
    ) -> (RoutePolicyStatus, Option<Duration>) {
        if before == Some(&status) {
            return (status, None);
        }
        let mut said = self
            .0
            .lock()
            .expect("nothing panics while it holds the times");
        said.retain(|_, at| now < *at + EVERY);
        let of = (of.0.to_owned(), of.1.to_owned());
        let as_before = before.filter(|before| before.spend.is_some());
        if let (Some(before), Some(at)) = (as_before, said.get(&of)) {
            let held_back = RoutePolicyStatus {
                spend: before.spend.clone(),
                ..status.clone()
            };
            if held_back == *before {
                return (held_back, Some(*at + EVERY - now));
            }
        }
        said.insert(of, now);
        (status, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_crds::SpendStatus;

    fn status(frontier: &str, generation: i64) -> RoutePolicyStatus {
        let spend = SpendStatus {
            month: "2026-11".into(),
            frontier: frontier.into(),
            ..SpendStatus::default()
        };
        RoutePolicyStatus {
            observed_generation: Some(generation),
            spend: Some(spend),
            ..RoutePolicyStatus::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_figure_is_said_at_once_and_the_next_half_a_minute_later() {
        let spends = Spends::default();
        let of = ("ns", "support");
        let now = Instant::now();
        let before = status("1.00", 1);
        let first = spends.paced(of, None, before.clone(), now);
        assert_eq!(first, (before.clone(), None));
        let paced = |cents: &str, seconds| {
            let later = now + Duration::from_secs(seconds);
            spends.paced(of, Some(&before), status(cents, 1), later)
        };
        assert_eq!(paced("1.00", 1), (before.clone(), None));
        let soon = Some(Duration::from_secs(20));
        assert_eq!(paced("1.20", 10), (before.clone(), soon));
        assert_eq!(paced("1.20", 30), (status("1.20", 1), None));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_written_for_another_reason_has_the_newest_figure() {
        let spends = Spends::default();
        let of = ("ns", "support");
        let now = Instant::now();
        spends.paced(of, None, status("1.00", 1), now);
        let changed = spends.paced(of, Some(&status("1.00", 1)), status("1.20", 2), now);
        assert_eq!(changed, (status("1.20", 2), None));
    }
}
