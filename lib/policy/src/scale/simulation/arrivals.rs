//! When asks come and how long each has its place: a real trace, and four kinds that are made.
//!
//! What is made is drawn by a hash and computed without a function that machines round differently, so that it is the
//! same everywhere.

/// Of the code-completion part of the Azure LLM inference trace 2023; `router/data/README.md` says more.
const TRACE: &str = include_str!("../../../../../router/data/azure-llm-2023-code.csv");

/// Milliseconds for a token of a prompt to be read, and of an answer to be written.
const READ_MS: f64 = 0.5;
const WRITE_MS: f64 = 50.0;

const MINUTE: u64 = 60_000;
/// Chance is drawn so often.
const STEP_MS: u64 = 10;

#[derive(Clone, Copy, Debug)]
pub struct Ask {
    pub at_ms: u64,
    /// How long it has its place.
    pub takes_ms: u64,
}

pub struct Kind {
    pub name: &'static str,
    pub asks: Vec<Ask>,
    /// How long it goes on.
    pub ms: u64,
}

/// Every kind. All have most asks at once within what sixteen replicas can take.
pub fn kinds() -> Vec<Kind> {
    vec![
        trace(),
        made("bursts", 90 * MINUTE, bursts),
        made("ramps", 90 * MINUTE, ramps),
        made("spikes", 60 * MINUTE, spikes),
        made("day", 3 * 60 * MINUTE, day),
    ]
}

fn trace() -> Kind {
    let mut at_ms = 0;
    let asks: Vec<Ask> = lines()
        .map(|(pause, takes_ms)| {
            at_ms += pause;
            Ask { at_ms, takes_ms }
        })
        .collect();
    Kind {
        name: "trace",
        asks,
        ms: at_ms + MINUTE,
    }
}

/// Of each ask of the trace the time since the one before, and how long it has its place.
fn lines() -> impl Iterator<Item = (u64, u64)> {
    TRACE.lines().map(|line| {
        let mut numbers = line.split(',').map(|number| number.parse::<u32>().unwrap());
        let mut next = || f64::from(numbers.next().unwrap());
        let (pause, prompt, answer) = (next(), next(), next());
        (pause as u64, (prompt * READ_MS + answer * WRITE_MS) as u64)
    })
}

/// So many asks a second as `rate` says, by chance; each takes as long as one of the trace.
fn made(name: &'static str, ms: u64, rate: fn(u64) -> f64) -> Kind {
    let takes: Vec<u64> = lines().map(|(_, takes)| takes).collect();
    let steps = (0..ms / STEP_MS).map(|step| step * STEP_MS);
    let asks = steps.filter_map(|at_ms| {
        let draw = mixed(at_ms + name.len() as u64);
        let chance = rate(at_ms) * STEP_MS as f64 / 1000.0;
        let takes_ms = takes[(mixed(draw) % takes.len() as u64) as usize];
        (share(draw) < chance).then_some(Ask { at_ms, takes_ms })
    });
    Kind {
        name,
        asks: asks.collect(),
        ms,
    }
}

/// One a second; in a quarter of all spells of a minute and a half nine.
fn bursts(at_ms: u64) -> f64 {
    let spell = at_ms / (90 * 1000);
    if mixed(spell + 1000).is_multiple_of(4) {
        9.0
    } else {
        1.0
    }
}

/// In half an hour: up for eight minutes, there for five, down for eight.
fn ramps(at_ms: u64) -> f64 {
    let minutes = (at_ms % (30 * MINUTE)) as f64 / MINUTE as f64;
    let up = (minutes / 8.0).min((21.0 - minutes) / 8.0);
    0.3 + 12.0 * up.clamp(0.0, 1.0)
}

/// Two a second, and for twenty seconds every five minutes fifteen.
fn spikes(at_ms: u64) -> f64 {
    if at_ms % (5 * MINUTE) >= 4 * MINUTE + 40_000 {
        15.0
    } else {
        2.0
    }
}

/// A night, a busy morning, a noon that is less so, and an afternoon; in an eighth of the time.
fn day(at_ms: u64) -> f64 {
    let hour = 8.0 * at_ms as f64 / (60 * MINUTE) as f64;
    let hill = |top: f64, width: f64, height: f64| {
        let away = (hour - top) / width;
        height * (1.0 - away * away).max(0.0)
    };
    0.2 + hill(10.5, 4.0, 10.0).max(hill(15.5, 5.0, 8.0))
}

/// From 0 to 1.
fn share(draw: u64) -> f64 {
    (draw >> 11) as f64 / (1_u64 << 53) as f64
}

/// The last step of splitmix64.
pub fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
