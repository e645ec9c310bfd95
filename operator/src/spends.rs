//! When each policy's spend was said last: figures that go on changing are written now and then only.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use weir_crds::SpendStatus;

/// Between two figures in one status.
const EVERY: Duration = Duration::from_secs(30);

/// By namespace and policy. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Spends(Arc<Mutex<BTreeMap<(String, String), Instant>>>);

impl Spends {
    /// What to say at `now` in the place of `before`, and when to look again if that is not `spend` yet.
    pub fn paced(
        &self,
        of: (&str, &str),
        before: Option<&SpendStatus>,
        spend: Option<SpendStatus>,
        now: Instant,
    ) -> (Option<SpendStatus>, Option<Duration>) {
        if before == spend.as_ref() {
            return (spend, None);
        }
        let mut said = self
            .0
            .lock()
            .expect("nothing panics while it holds the times");
        said.retain(|_, at| now < *at + EVERY);
        let of = (of.0.to_owned(), of.1.to_owned());
        if let (Some(before), Some(at)) = (before, said.get(&of)) {
            return (Some(before.clone()), Some(*at + EVERY - now));
        }
        said.insert(of, now);
        (spend, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_figure_is_said_at_once_and_the_next_half_a_minute_later() {
        let spends = Spends::default();
        let of = ("ns", "support");
        let spend = |frontier: &str| SpendStatus {
            month: "2026-11".into(),
            frontier: frontier.into(),
            ..SpendStatus::default()
        };
        let now = Instant::now();
        let first = spends.paced(of, None, Some(spend("1.00")), now);
        assert_eq!(first, (Some(spend("1.00")), None));
        let before = spend("1.00");
        let paced = |cents: &str, seconds| {
            let later = now + Duration::from_secs(seconds);
            spends.paced(of, Some(&before), Some(spend(cents)), later)
        };
        assert_eq!(paced("1.00", 1), (Some(spend("1.00")), None));
        let soon = Some(Duration::from_secs(20));
        assert_eq!(paced("1.20", 10), (Some(spend("1.00")), soon));
        assert_eq!(paced("1.20", 30), (Some(spend("1.20")), None));
    }
}
