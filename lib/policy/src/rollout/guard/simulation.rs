//! The guard against made traffic, looked at every second: how often it fails a canary that is as good as it
//! must be, and how soon one that is not.
//!
//! Asks fail, go up a tier, take their time and are scored independently of each other; the numbers of no
//! real model. Steps and `minAsks` are the defaults. Nothing here goes on at another replica, sticks to a
//! conversation or shares a bad minute, as real asks may: `docs/rollouts.md` says what that means.
//! `cargo test -p weir-policy simulation -- --nocapture` prints the tables.

use std::fmt::Write;
use std::time::Duration;

use super::*;
use crate::load::{latency_bucket, score_bucket};

const SECOND: Duration = Duration::from_secs(1);
const STEPS: [(u64, u64); 3] = [(5, 300), (25, 600), (50, 600)];
const MIN_ASKS: u64 = 200;
const ALLOWED: Allowed = Allowed {
    error_rate: 0.01,
    latency_increase: 0.2,
    escalation_increase: 0.1,
};

/// What the asks of a revision are like.
#[derive(Clone, Copy)]
struct Kind {
    errors: f64,
    escalations: f64,
    /// How many buckets slower than the stable revision: two are 20 %.
    slower: u8,
    /// So many per cent of first tokens take ten times as long.
    hangs: f64,
    /// So much larger is the part of scores below the stable revision's median.
    lower: f64,
}

const STABLE: Kind = Kind {
    errors: 0.01,
    escalations: 0.2,
    slower: 0,
    hangs: 0.0,
    lower: 0.0,
};
/// Exactly what is allowed, in everything.
const AT_THE_BOUND: Kind = Kind {
    errors: 0.02,
    escalations: 0.2 * 1.1 + ESCALATIONS_PLUS,
    slower: 2,
    hangs: 0.0,
    lower: SCORES_PLUS,
};

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let number = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    fn part(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// What falls into which bucket, at 1024 places of equal chance.
struct Spread {
    first_token: Vec<u8>,
    scores: Vec<u8>,
}

const PLACES: usize = 1024;

impl Spread {
    /// First tokens after 250 ms by the median, one of ten after more than 600 ms; scores around 0.9.
    fn new() -> Self {
        let odds = |place: usize| {
            let part = (place as f64 + 0.5) / PLACES as f64;
            (part / (1.0 - part)).ln()
        };
        let first_token = (0..PLACES).map(|place| {
            let seconds = 0.25 * (0.4 * odds(place)).exp();
            latency_bucket(Duration::from_secs_f64(seconds))
        });
        let scores =
            (0..PLACES).map(|place| score_bucket(1.0 / (1.0 + (-2.2 - odds(place)).exp())));
        Self {
            first_token: first_token.collect(),
            scores: scores.collect(),
        }
    }

    fn ask(&self, kind: Kind, chance: &mut Chance, load: &mut RevisionLoad) {
        load.asks += 1;
        load.errors += u64::from(chance.part() < kind.errors);
        load.judged += 1;
        load.escalations += u64::from(chance.part() < kind.escalations);
        let places = chance.number();
        let hangs = if chance.part() < kind.hangs { 25 } else { 0 };
        let bucket = self.first_token[places as usize % PLACES] + kind.slower + hangs;
        load.first_token.count(bucket);
        let place = (places >> 32) as usize % PLACES;
        // Drawn from the lower half instead: half of those were there anyway.
        let is_low = chance.part() < 2.0 * kind.lower;
        load.scores
            .count(self.scores[if is_low { place / 2 } else { place }]);
    }
}

/// How a rollout ended: at the end of its steps, or by this signal after so many asks of the canary.
struct Played {
    failed: Option<Signal>,
    asks: u64,
    seconds: u64,
}

/// One rollout with so many asks a second; the canary is like the stable revision for `good` seconds.
fn play(spread: &Spread, kind: Kind, (per_second, good): (u64, u64), seed: u64) -> Played {
    let mut chance = Chance(seed);
    let mut guard = Guard::default();
    let (mut asks, mut seconds) = (0, 0);
    for (weight, pause) in STEPS {
        let (mut in_step, mut lasted) = (0, 0);
        while lasted < pause || in_step < MIN_ASKS {
            lasted += 1;
            seconds += 1;
            let mut news = Both::default();
            let canary = if seconds > good { kind } else { STABLE };
            for _ in 0..per_second {
                if chance.number() % 100 < weight {
                    spread.ask(canary, &mut chance, &mut news.canary);
                    in_step += 1;
                    asks += u64::from(seconds > good);
                } else {
                    spread.ask(STABLE, &mut chance, &mut news.stable);
                }
            }
            guard.observe(&ALLOWED, &news, SECOND);
            if let Some(failure) = guard.failure() {
                let failed = Some(failure.signal);
                return Played {
                    failed,
                    asks,
                    seconds,
                };
            }
        }
    }
    Played {
        failed: None,
        asks,
        seconds,
    }
}

/// How many of so many rollouts were failed.
fn failed(kind: Kind, per_second: u64, rollouts: u64) -> usize {
    let spread = Spread::new();
    let played = (0..rollouts).map(|seed| play(&spread, kind, (per_second, 0), seed << 20));
    played.filter(|played| played.failed.is_some()).count()
}

#[test]
fn of_canaries_that_are_as_good_as_they_must_be_hardly_one_is_failed() {
    const ROLLOUTS: u64 = 1000;
    for (name, kind) in [
        ("as the stable revision", STABLE),
        ("at the bound", AT_THE_BOUND),
    ] {
        let failed = failed(kind, 4, ROLLOUTS);
        println!("{name}: {failed} of {ROLLOUTS} rollouts failed");
        assert!(
            failed as f64 <= FALSE_ALARM * ROLLOUTS as f64,
            "{name}: {failed}"
        );
    }
}

#[test]
fn canaries_that_are_worse_are_failed_soon() {
    const ROLLOUTS: u64 = 100;
    let spread = Spread::new();
    let with = |change: fn(&mut Kind)| {
        let mut kind = STABLE;
        change(&mut kind);
        kind
    };
    let mut table = String::new();
    for (name, kind, good, least) in [
        (
            "every attempt fails",
            with(|kind| kind.errors = 1.0),
            0,
            100,
        ),
        (
            "20 % fail, against 1 %",
            with(|kind| kind.errors = 0.2),
            0,
            100,
        ),
        ("5 % fail", with(|kind| kind.errors = 0.05), 0, 99),
        ("3 % fail", with(|kind| kind.errors = 0.03), 0, 20),
        (
            "5 % fail, after ten minutes",
            with(|kind| kind.errors = 0.05),
            600,
            95,
        ),
        (
            "40 % go up, against 20 %",
            with(|kind| kind.escalations = 0.4),
            0,
            99,
        ),
        ("30 % go up", with(|kind| kind.escalations = 0.3), 0, 90),
        ("44 % slower", with(|kind| kind.slower = 4), 0, 99),
        ("twice as slow", with(|kind| kind.slower = 8), 0, 100),
        ("one of ten hangs", with(|kind| kind.hangs = 0.1), 0, 90),
        (
            "70 % of scores below the median",
            with(|kind| kind.lower = 0.2),
            0,
            80,
        ),
        (
            "80 % of scores below the median",
            with(|kind| kind.lower = 0.3),
            0,
            99,
        ),
    ] {
        let played = (0..ROLLOUTS).map(|seed| play(&spread, kind, (10, good), seed << 20));
        let played: Vec<Played> = played.filter(|played| played.failed.is_some()).collect();
        let quantile = |of: &dyn Fn(&Played) -> u64, part: usize| {
            let mut all: Vec<u64> = played.iter().map(of).collect();
            all.sort_unstable();
            all.get(all.len() * part / 10).copied().unwrap_or_default()
        };
        let asks = |part| quantile(&|played| played.asks, part);
        let seconds = quantile(&|played| played.seconds, 5);
        let (count, median, most) = (played.len(), asks(5), asks(9));
        writeln!(
            table,
            "| {name} | {count} | {median} | {most} | {seconds} s |"
        )
        .unwrap();
        assert!(count >= least, "{name}: {count} of {ROLLOUTS}");
    }
    println!("| canary | failed, % | asks of the canary, median | 9 of 10 | median |\n{table}");
}

#[test]
fn a_test_for_one_look_would_fail_many_that_are_as_good_as_they_must_be() {
    const ROLLOUTS: u64 = 300;
    // The canary's errors are those allowed; one look in a hundred would be wrong.
    const ONE_OF_A_HUNDRED: f64 = 2.326;
    let is_failed = |seed: u64| {
        let mut chance = Chance(seed << 20);
        let mut seen: Both<Tally> = Both::default();
        (0..15_000).any(|ask| {
            let (side, errors) = match chance.number().is_multiple_of(4) {
                true => (&mut seen.canary, AT_THE_BOUND.errors),
                false => (&mut seen.stable, STABLE.errors),
            };
            side.of += 1;
            side.hits += u64::from(chance.part() < errors);
            let spread = |of: Tally| of.share() * (1.0 - of.share()) / of.of.max(1) as f64;
            let more = seen.canary.share() - seen.stable.share() - ALLOWED.error_rate;
            let deviation = (spread(seen.canary) + spread(seen.stable)).sqrt();
            // Ten asks a second, and a look at the end of each.
            ask % 10 == 9 && seen.canary.of >= MIN_ASKS && more > ONE_OF_A_HUNDRED * deviation
        })
    };
    let failed = (0..ROLLOUTS).filter(|seed| is_failed(*seed)).count();
    println!("a test for one look: {failed} of {ROLLOUTS} rollouts failed");
    assert!(
        failed as f64 > 3.0 * FALSE_ALARM * ROLLOUTS as f64,
        "{failed}"
    );
}
