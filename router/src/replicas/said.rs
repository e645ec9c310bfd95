//! What a replica says of itself: what it serves, and what it has in hand from all routers together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use weir_worker_api as api;

/// It reports every second. Who is silent for longer hangs, or cannot be reached.
const STALE: Duration = Duration::from_secs(5);

/// What its tokens depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kind {
    pub model_digest: String,
    pub tokenizer_digest: String,
    pub kernel_class: String,
    /// The digests of those that it can answer with, by name.
    pub adapters: BTreeMap<String, String>,
}

/// What it has in hand.
#[derive(Clone, Copy, Debug)]
struct Report {
    at: Instant,
    in_hand: u32,
    /// Of these, sent from here.
    own: u32,
    room: u32,
    is_draining: bool,
}

/// Nothing at first.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    kind: Option<Arc<Kind>>,
    report: Option<Report>,
}

impl Kind {
    /// Nothing while it does not serve yet.
    pub fn of(described: api::DescribeResponse) -> Option<Self> {
        let adapters = described.adapters.into_iter();
        let adapters = adapters.filter(|adapter| !adapter.digest.is_empty());
        let kind = Self {
            model_digest: described.model_digest,
            tokenizer_digest: described.tokenizer_digest,
            kernel_class: described.kernel_class,
            adapters: adapters
                .map(|adapter| (adapter.name, adapter.digest))
                .collect(),
        };
        (!kind.model_digest.is_empty()).then_some(kind)
    }

    /// Whether the other one writes the same tokens, with the adapter if one is asked for.
    pub fn writes_as(&self, other: &Self, adapter: Option<&str>) -> bool {
        let of = |kind: &Self| adapter.and_then(|name| kind.adapters.get(name).cloned());
        self.model_digest == other.model_digest
            && self.tokenizer_digest == other.tokenizer_digest
            && self.kernel_class == other.kernel_class
            && of(self) == of(other)
    }
}

impl Said {
    pub fn describe(&mut self, kind: Kind) {
        if self.kind.as_deref() != Some(&kind) {
            self.kind = Some(Arc::new(kind));
        }
    }

    pub fn kind(&self) -> Option<&Arc<Kind>> {
        self.kind.as_ref()
    }

    /// Takes a report that came while `own` asks of ours were there.
    pub fn report(&mut self, event: &api::WatchEvent, own: u32, now: Instant) {
        self.report = Some(Report {
            at: now,
            in_hand: event.running + event.waiting,
            own,
            room: event.max_sequences,
            is_draining: event.draining,
        });
    }

    /// Asks that others have there.
    pub fn of_others(&self, now: Instant) -> u32 {
        let report = self.report.filter(|report| now - report.at < STALE);
        report.map_or(0, |report| report.in_hand.saturating_sub(report.own))
    }

    pub fn room(&self) -> u32 {
        self.report.map_or(0, |report| report.room)
    }

    /// It has said that it leaves, or says nothing more. Who never said anything is only unknown.
    pub fn is_out(&self, now: Instant) -> bool {
        self.report
            .is_some_and(|report| report.is_draining || now - report.at >= STALE)
    }

    /// Whether it can answer with the adapter, where that is known.
    pub fn has(&self, adapter: &str) -> Option<bool> {
        let kind = self.kind.as_ref()?;
        Some(kind.adapters.contains_key(adapter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(running: u32, waiting: u32) -> api::WatchEvent {
        api::WatchEvent {
            running,
            waiting,
            max_sequences: 8,
            ..api::WatchEvent::default()
        }
    }

    #[test]
    fn what_others_have_there_is_what_it_reports_but_for_our_own() {
        let (mut said, now) = (Said::default(), Instant::now());
        assert_eq!((said.of_others(now), said.room()), (0, 0));
        said.report(&event(5, 2), 3, now);
        assert_eq!((said.of_others(now), said.room()), (4, 8));
        said.report(&event(1, 0), 3, now);
        assert_eq!(said.of_others(now), 0, "it was written before ours came");
    }

    #[test]
    fn who_leaves_or_falls_silent_is_out_and_who_never_spoke_is_not() {
        let (mut said, now) = (Said::default(), Instant::now());
        assert!(!said.is_out(now + STALE));
        said.report(&event(1, 0), 0, now);
        assert!(!said.is_out(now));
        assert!(said.is_out(now + STALE));
        assert_eq!(said.of_others(now + STALE), 0);
        let leaving = api::WatchEvent {
            draining: true,
            ..event(1, 0)
        };
        said.report(&leaving, 0, now + STALE);
        assert!(said.is_out(now + STALE));
    }

    #[test]
    fn tokens_are_the_same_where_all_is_that_they_depend_on() {
        let kind = |kernels: &str, adapters: &[(&str, &str)]| Kind {
            model_digest: "m".into(),
            tokenizer_digest: "t".into(),
            kernel_class: kernels.into(),
            adapters: adapters
                .iter()
                .map(|(name, digest)| ((*name).into(), (*digest).into()))
                .collect(),
        };
        let one = kind("avx2", &[("a", "1"), ("b", "1")]);
        assert!(one.writes_as(&kind("avx2", &[]), None));
        assert!(!one.writes_as(&kind("avx512", &[]), None));
        assert!(one.writes_as(&kind("avx2", &[("a", "1")]), Some("a")));
        assert!(!one.writes_as(&kind("avx2", &[("a", "2")]), Some("a")));
        assert!(!one.writes_as(&kind("avx2", &[]), Some("a")));
    }

    #[test]
    fn a_replica_that_does_not_serve_yet_is_of_no_kind() {
        assert_eq!(Kind::of(api::DescribeResponse::default()), None);
        let described = api::DescribeResponse {
            model_digest: "m".into(),
            adapters: vec![
                api::AdapterDescription {
                    name: "coming".into(),
                    ..api::AdapterDescription::default()
                },
                api::AdapterDescription {
                    name: "there".into(),
                    digest: "d".into(),
                    ..api::AdapterDescription::default()
                },
            ],
            ..api::DescribeResponse::default()
        };
        let kind = Kind::of(described).unwrap();
        assert_eq!(kind.adapters, [("there".into(), "d".into())].into());
    }
}
