//! Ways to choose a count, held against each other: what the replicas cost and how long asks wait.
//!
//! [`arrivals`] come to the replicas of [`fleet`]; how many there are is decided by us, or by one of three ways that
//! are known ([`ways`]), with every setting of a grid ([`curves`]). The numbers are of no real machine: they
//! compare ways, and nothing else. What is found is in `docs/scaling.md` and drawn in `docs/scaling.svg` ([`page`]).

mod arrivals;
mod curves;
mod fleet;
mod page;
mod ways;

use std::sync::LazyLock;
use std::thread;

use curves::{BARS, Curves};

/// All kinds of arrivals with all settings of all ways: some thousand hours, computed once.
static ALL: LazyLock<Vec<Curves>> = LazyLock::new(|| {
    let kinds = arrivals::kinds();
    thread::scope(|scope| {
        let runs: Vec<_> = kinds
            .iter()
            .map(|kind| scope.spawn(|| Curves::of(kind)))
            .collect();
        let runs = runs.into_iter().map(|run| run.join());
        runs.map(|curves| curves.expect("no run panics")).collect()
    })
});

/// So many times as many hours may ours take at a wait that one setting of another way comes to: where the other's own
/// numbers fit the arrivals, such as 300 s where spikes come every 300 s.
const BY_LUCK: f64 = 1.05;
/// Settings of which that may be so, of all together.
const LUCKY: usize = 8;

#[test]
fn whatever_wait_another_way_comes_to_ours_comes_to_it_with_no_more_replica_hours_but_for_luck() {
    let (mut lucky, mut worse) = (Vec::new(), Vec::new());
    for curves in &*ALL {
        for other in &curves.others {
            for point in &other.points {
                let (kind, name, setting) = (curves.kind, other.name, &point.setting);
                let (wait, hours) = (point.came.waited(0.95), point.came.hours);
                let ours = curves.ours.hours_within(wait).unwrap_or(f64::INFINITY);
                let said =
                    format!("{kind}: {name} [{setting}] {wait} s for {hours:.2}, ours {ours:.2}");
                if ours > hours * BY_LUCK {
                    worse.push(said);
                } else if ours > hours {
                    lucky.push(said);
                }
            }
        }
    }
    assert!(worse.is_empty(), "{}", worse.join("\n"));
    assert!(lucky.len() <= LUCKY, "{}", lucky.join("\n"));
}

#[test]
fn at_some_wait_ours_takes_a_twentieth_less_than_any_other_way() {
    for curves in &*ALL {
        let ratio = |bar: &f64| {
            let others = curves.others.iter();
            let others = others.filter_map(|other| other.hours_within(*bar));
            let best = others.min_by(f64::total_cmp)?;
            Some(curves.ours.hours_within(*bar)? / best)
        };
        let ratios = BARS.iter().filter_map(ratio);
        let best = ratios.min_by(f64::total_cmp).unwrap();
        assert!(best < 0.95, "{}: {best}", curves.kind);
    }
}

#[test]
fn the_page_shows_what_the_simulation_finds() {
    page::check(&ALL);
}
