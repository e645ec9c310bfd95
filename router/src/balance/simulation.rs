//! Ways to choose a replica, held against each other on real arrivals: how much of the prompts was
//! remembered where they went, and how long first tokens took.
//!
//! Arrivals and sizes are those of the trace in `router/data`, three and eight times as fast. Of conversations it says
//! nothing, so these are made: three asks of four go on with one of the last hundred conversations and
//! share nine tenths of what it had. A replica reads prompts one after the other, remembers so many tokens of
//! the conversations that it saw last, and writes for so many at once. The numbers are of no real machine:
//! they compare ways, and nothing else. `cargo test -p weir-router --lib simulation -- --nocapture` prints
//! the table.

use std::collections::VecDeque;
use std::fmt::Write;
use std::time::Duration;

use super::{Candidate, Wish, choose, mixed};

const TRACE: &str = include_str!("../../data/azure-llm-2023-code.csv");
const SPEEDS: [f64; 2] = [3.0, 8.0];
const CONVERSATIONS: u64 = 100;
const REPLICAS: usize = 8;
const READ_PER_SECOND: f64 = 8000.0;
const SECONDS_PER_TOKEN: f64 = 0.02;
const AT_ONCE: usize = 32;
const REMEMBERED: u32 = 60_000;
/// Routers hear from replicas so often what others have in hand there.
const REPORTED_EVERY: f64 = 1.0;

struct Asked {
    at: f64,
    conversation: u64,
    /// Tokens that the conversation has had before.
    had: u32,
    prompt: u32,
    answer: u32,
}

fn asked(speed: f64) -> Vec<Asked> {
    let mut last: VecDeque<(u64, u32)> = VecDeque::new();
    let mut at = 0.0;
    let lines = TRACE.lines().enumerate();
    let asks = lines.map(|(index, line)| {
        let mut numbers = line.split(',').map(|number| number.parse::<u32>().unwrap());
        let mut next = || numbers.next().unwrap();
        let (pause, prompt, answer) = (next(), next(), next());
        at += f64::from(pause) / 1000.0 / speed;
        let draw = mixed(index as u64);
        let goes_on = !draw.is_multiple_of(4) && !last.is_empty();
        let (conversation, had) = match goes_on {
            true => {
                let place = (draw >> 8) as usize % last.len();
                let (conversation, size) = last.remove(place).unwrap();
                (conversation, size.min(prompt) / 10 * 9)
            }
            false => (mixed(draw), 0),
        };
        last.push_back((conversation, prompt + answer));
        if last.len() as u64 > CONVERSATIONS {
            last.pop_front();
        }
        Asked {
            at,
            conversation,
            had,
            prompt,
            answer,
        }
    });
    asks.collect()
}

#[derive(Default)]
struct Replica {
    /// Conversations with the tokens that are remembered of each, the latest last.
    remembered: VecDeque<(u64, u32)>,
    reads_until: f64,
    /// When each of what it has in hand ends, and which router sent it.
    in_hand: Vec<(f64, usize)>,
    /// What it last reported.
    reported: Vec<usize>,
}

impl Replica {
    /// Takes an ask; gives when its first token comes, and how many tokens it had not to read.
    fn take(&mut self, ask: &Asked, router: usize) -> (f64, u32) {
        let known = self
            .remembered
            .iter()
            .position(|(conversation, _)| *conversation == ask.conversation);
        let known = known.and_then(|place| self.remembered.remove(place));
        let hit = known.map_or(0, |(_, tokens)| tokens.min(ask.had));
        self.remembered
            .push_back((ask.conversation, ask.prompt + ask.answer));
        let mut kept: u32 = self.remembered.iter().map(|(_, tokens)| tokens).sum();
        while kept > REMEMBERED
            && let Some((_, tokens)) = self.remembered.pop_front()
        {
            kept -= tokens;
        }
        let mut ends: Vec<f64> = self.in_hand.iter().map(|(end, _)| *end).collect();
        ends.sort_by(f64::total_cmp);
        // A place is free once as many have ended as are too many.
        let place = match ends.len().checked_sub(AT_ONCE) {
            Some(too_many) => ends[too_many],
            None => ask.at,
        };
        let begins = ask.at.max(self.reads_until).max(place);
        let first = begins + f64::from(ask.prompt - hit) / READ_PER_SECOND;
        self.reads_until = first;
        let end = first + f64::from(ask.answer) * SECONDS_PER_TOKEN;
        self.in_hand.push((end, router));
        (first, hit)
    }
}

/// Chooses by what a router sees.
type Way = fn(&[Candidate], &Asked, usize) -> usize;

fn in_turn(replicas: &[Candidate], _: &Asked, index: usize) -> usize {
    index % replicas.len()
}

fn least_busy(replicas: &[Candidate], _: &Asked, index: usize) -> usize {
    let places = (0..replicas.len()).map(|place| (place + index) % replicas.len());
    places.min_by_key(|place| replicas[*place].load).unwrap()
}

fn of_two(replicas: &[Candidate], _: &Asked, index: usize) -> usize {
    let draws = [mixed(2 * index as u64), mixed(2 * index as u64 + 1)];
    let wish = Wish {
        beginning: None,
        draws,
    };
    choose(replicas, wish).unwrap()
}

/// Where the hash points, whatever is in hand there.
fn by_hash(replicas: &[Candidate], ask: &Asked, _: usize) -> usize {
    let places = 0..replicas.len();
    let drawn = |place: &usize| mixed(ask.conversation ^ replicas[*place].name);
    places.max_by_key(drawn).unwrap()
}

fn ours(replicas: &[Candidate], ask: &Asked, _: usize) -> usize {
    let wish = Wish {
        beginning: Some(ask.conversation),
        ..Wish::default()
    };
    choose(replicas, wish).unwrap()
}

/// What came of one way with so many routers.
struct Came {
    hit_rate: f64,
    /// To the first token, in milliseconds.
    mean: f64,
    p50: f64,
    p99: f64,
}

fn run(way: Way, routers: usize, speed: f64) -> Came {
    let mut replicas: Vec<Replica> = (0..REPLICAS).map(|_| Replica::default()).collect();
    let (mut hits, mut tokens, mut waits) = (0_u64, 0_u64, Vec::new());
    let mut reports_at = 0.0;
    for (index, ask) in asked(speed).iter().enumerate() {
        for replica in &mut replicas {
            replica.in_hand.retain(|(end, _)| *end > ask.at);
        }
        if ask.at >= reports_at {
            reports_at = ask.at + REPORTED_EVERY;
            for replica in &mut replicas {
                replica.reported = (0..routers)
                    .map(|router| {
                        replica
                            .in_hand
                            .iter()
                            .filter(|(_, by)| *by == router)
                            .count()
                    })
                    .collect();
            }
        }
        let router = mixed(index as u64 + 77) as usize % routers;
        let seen: Vec<Candidate> = replicas
            .iter()
            .enumerate()
            .map(|(place, replica)| {
                let own = replica
                    .in_hand
                    .iter()
                    .filter(|(_, by)| *by == router)
                    .count();
                let of_others = replica.reported.iter().enumerate();
                let of_others = of_others.filter(|(by, _)| *by != router);
                let of_others: usize = of_others.map(|(_, count)| count).sum();
                Candidate {
                    name: mixed(place as u64 + 1),
                    load: (own + of_others) as u32,
                    room: AT_ONCE as u32,
                    age: Duration::from_secs(3600),
                    ..Candidate::default()
                }
            })
            .collect();
        let place = way(&seen, ask, index);
        let (first, hit) = replicas[place].take(ask, router);
        hits += u64::from(hit);
        tokens += u64::from(ask.prompt);
        waits.push((first - ask.at) * 1000.0);
    }
    waits.sort_by(f64::total_cmp);
    let at = |share: f64| waits[(waits.len() as f64 * share) as usize];
    Came {
        hit_rate: hits as f64 / tokens as f64,
        mean: waits.iter().sum::<f64>() / waits.len() as f64,
        p50: at(0.5),
        p99: at(0.99),
    }
}

#[test]
#[allow(clippy::print_stdout, reason = "the table is for whoever runs it")]
fn conversations_find_what_is_remembered_of_them_and_wait_less_than_in_any_other_way() {
    let mut table = String::new();
    for (speed, routers) in SPEEDS.iter().flat_map(|speed| [(*speed, 1), (*speed, 3)]) {
        let came = |way: Way| run(way, routers, speed);
        let ways = [
            ("in turn", came(in_turn)),
            ("least busy", came(least_busy)),
            ("of two", came(of_two)),
            ("by hash alone", came(by_hash)),
            ("ours", came(ours)),
        ];
        for (name, came) in &ways {
            let Came {
                hit_rate,
                mean,
                p50,
                p99,
            } = came;
            let hits = 100.0 * hit_rate;
            writeln!(
                table,
                "| {speed} x | {routers} | {name} | {hits:.1} % | {mean:.0} | {p50:.0} | {p99:.0} |"
            )
            .unwrap();
        }
        let [in_turn, least_busy, of_two, by_hash, ours] = ways.map(|(_, came)| came);
        for other in [in_turn, least_busy, of_two] {
            assert!(ours.hit_rate > 2.0 * other.hit_rate, "{table}");
            assert!(ours.mean < other.mean && ours.p50 < other.p50, "{table}");
            assert!(ours.p99 < other.p99, "{table}");
        }
        assert!(
            ours.mean < by_hash.mean && ours.p99 < by_hash.p99,
            "{table}"
        );
    }
    println!(
        "| speed | routers | way | remembered | mean ms | p50 | p99 |\n| --- | --- | --- | --- | --- | --- | --- |\n{table}"
    );
}
