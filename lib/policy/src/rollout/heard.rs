//! From what routers have counted since their runs began to what they counted since the last look.
//!
//! Reports are sums, so that one that is lost or late changes nothing. What a run had counted before it was
//! first heard of is left out: it is of another time, and may be of an earlier trial of the same revision.
//! A router that starts again is another run, and its first report is where that begins. So a leader that
//! takes over needs none of this from the one before: it loses the seconds between.

use std::collections::BTreeMap;

use crate::load::RevisionLoad;

/// What was counted, by revision.
pub type News = BTreeMap<String, RevisionLoad>;

/// What the routers of one deployment said last.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// By run, and by revision.
    runs: BTreeMap<String, News>,
}

impl Heard {
    /// What is new in `reports`: of each router that is there the name of its run and its newest counts.
    /// Runs and revisions that are in none of them are forgotten.
    pub fn news<'a>(
        &mut self,
        reports: impl IntoIterator<Item = (&'a str, &'a BTreeMap<String, RevisionLoad>)>,
    ) -> News {
        let mut news = News::new();
        let mut runs = BTreeMap::new();
        for (run, counts) in reports {
            let before = self.runs.remove(run).unwrap_or_default();
            let mut last = News::new();
            for (revision, count) in counts {
                let Some(known) = before.get(revision) else {
                    last.insert(revision.clone(), count.clone());
                    continue;
                };
                let new = count.since(known);
                // As much as was heard of at most, so that an old report makes nothing count twice.
                let mut sum = known.clone();
                sum.add(&new);
                last.insert(revision.clone(), sum);
                news.entry(revision.clone()).or_default().add(&new);
            }
            runs.insert(run.to_owned(), last);
        }
        self.runs = runs;
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(asks: &[(&str, u64)]) -> BTreeMap<String, RevisionLoad> {
        let load = |asks| RevisionLoad {
            asks,
            errors: asks / 10,
            ..RevisionLoad::default()
        };
        asks.iter()
            .map(|(revision, asks)| ((*revision).to_owned(), load(*asks)))
            .collect()
    }

    fn asks(news: &News) -> Vec<(&str, u64)> {
        news.iter()
            .map(|(revision, load)| (revision.as_str(), load.asks))
            .collect()
    }

    #[test]
    fn what_a_run_had_before_it_was_heard_of_is_left_out() {
        let mut heard = Heard::default();
        let first = counts(&[("old", 1000)]);
        assert!(heard.news([("a", &first)]).is_empty());
        let second = counts(&[("old", 1100), ("new", 5)]);
        assert_eq!(asks(&heard.news([("a", &second)])), [("old", 100)]);
        let third = counts(&[("old", 1150), ("new", 25)]);
        let news = heard.news([("a", &third)]);
        assert_eq!(asks(&news), [("new", 20), ("old", 50)]);
        assert_eq!(news["old"].errors, 5);
    }

    #[test]
    fn routers_add_up_and_one_that_starts_again_begins_again() {
        let mut heard = Heard::default();
        let (one, two) = (counts(&[("old", 100)]), counts(&[("old", 500)]));
        heard.news([("a", &one), ("b", &two)]);
        let (one, two) = (counts(&[("old", 130)]), counts(&[("old", 507)]));
        assert_eq!(asks(&heard.news([("a", &one), ("b", &two)])), [("old", 37)]);
        let (one, two) = (counts(&[("old", 131)]), counts(&[("old", 3)]));
        assert_eq!(asks(&heard.news([("a", &one), ("c", &two)])), [("old", 1)]);
        let two = counts(&[("old", 9)]);
        assert_eq!(asks(&heard.news([("a", &one), ("c", &two)])), [("old", 6)]);
    }

    #[test]
    fn a_report_that_comes_late_or_twice_changes_nothing() {
        let mut heard = Heard::default();
        let reports = [10, 40, 30, 40, 45].map(|asks| counts(&[("old", asks)]));
        let told: Vec<u64> = reports
            .iter()
            .filter_map(|report| Some(heard.news([("a", report)]).get("old")?.asks))
            .collect();
        assert_eq!(told, [30, 0, 0, 5]);
    }
}
