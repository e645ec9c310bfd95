//! A model of replicas, and of the asks that wait for them.
//!
//! A replica is paid for from when it is wanted until its last ask is over; it takes asks from when it has started. It
//! has so many places, and each ask has its own for its time. Whoever finds no place waits in one queue, in the order in
//! which they came, for two minutes at most.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::arrivals::{Ask, Kind};
use crate::scale::leaving::{Candidate, least_to_lose};

/// Asks that a replica takes at once.
pub const PLACES: u32 = 4;
pub const START_MS: u64 = 17_500;
const LONGEST_WAIT_MS: u64 = 120_000;
const LONGEST_QUEUE: usize = 1000;
/// More replicas so soon after there were fewer: these went in vain.
const FLAP_MS: u64 = 120_000;

/// What decides how many replicas there are. It is asked each second.
pub trait Scaler {
    fn decide(&mut self, seen: &Seen<'_>) -> u32;
}

/// What can be seen each second.
pub struct Seen<'a> {
    pub at_ms: u64,
    pub wanted: u32,
    pub replicas: &'a [Replica],
    pub held: u32,
    pub asked: u64,
    /// Asks in hand, waiting or not, on average over the last second.
    pub in_hand: f64,
}

#[derive(Clone, Copy, Debug)]
pub struct Replica {
    number: usize,
    began_ms: u64,
    pub is_ready: bool,
    is_leaving: bool,
    pub running: u32,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Came {
    pub hours: f64,
    /// Of every ask, in order; who was refused has waited for as long as anybody may.
    waits_ms: Vec<u64>,
    pub refused: u32,
    pub flaps: u32,
}

impl Came {
    /// How long this share of all asks waited at most, in seconds.
    pub fn waited(&self, share: f64) -> f64 {
        let place = (self.waits_ms.len() as f64 * share) as usize;
        let wait = self.waits_ms.get(place).copied().unwrap_or_default();
        wait as f64 / 1000.0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Ends,
    Starts,
}

#[derive(Default)]
struct Fleet {
    now_ms: u64,
    replicas: Vec<Replica>,
    count: usize,
    wanted: u32,
    /// What is to come, of which replica, the soonest first.
    events: BinaryHeap<Reverse<(u64, Event, usize)>>,
    queue: VecDeque<Ask>,
    asked: u64,
    /// Asks in hand times milliseconds, since it was last looked at.
    in_hand_ms: u64,
    fewer_at_ms: Option<u64>,
    paid_ms: u64,
    came: Came,
}

/// Lets `kind` come to replicas of which `scaler` decides how many there are.
pub fn run(kind: &Kind, scaler: &mut dyn Scaler) -> Came {
    let mut fleet = Fleet::default();
    let mut asks = kind.asks.iter().peekable();
    for second in 1..=kind.ms / 1000 {
        let until = second * 1000;
        while let Some(ask) = asks.next_if(|ask| ask.at_ms <= until) {
            fleet.events_until(ask.at_ms);
            fleet.take(*ask);
        }
        fleet.events_until(until);
        fleet.give_up();
        let seen = Seen {
            at_ms: until,
            wanted: fleet.wanted,
            replicas: &fleet.replicas,
            held: fleet.queue.len() as u32,
            asked: fleet.asked,
            in_hand: fleet.in_hand_ms as f64 / 1000.0,
        };
        let wanted = scaler.decide(&seen);
        fleet.in_hand_ms = 0;
        fleet.scale(wanted);
    }
    fleet.end()
}

impl Fleet {
    fn events_until(&mut self, until: u64) {
        while let Some(Reverse((at_ms, event, number))) = self.events.peek().copied() {
            if at_ms > until {
                break;
            }
            self.events.pop();
            self.pass(at_ms);
            let place = self.place(number);
            match (event, place) {
                (Event::Ends, Some(place)) => {
                    self.replicas[place].running -= 1;
                    self.leave(place);
                }
                (Event::Starts, Some(place)) => self.replicas[place].is_ready = true,
                // It was not wanted any more before it had started.
                (_, None) => {}
            }
            self.serve();
        }
        self.pass(until);
    }

    fn place(&self, number: usize) -> Option<usize> {
        let mut replicas = self.replicas.iter();
        replicas.position(|replica| replica.number == number)
    }

    fn pass(&mut self, now: u64) {
        let running: u32 = self.replicas.iter().map(|replica| replica.running).sum();
        let in_hand = u64::from(running) + self.queue.len() as u64;
        self.in_hand_ms += in_hand * (now - self.now_ms);
        self.now_ms = now;
    }

    fn take(&mut self, ask: Ask) {
        self.asked += 1;
        if self.queue.len() >= LONGEST_QUEUE {
            self.refuse();
            return;
        }
        self.queue.push_back(ask);
        self.serve();
    }

    fn refuse(&mut self) {
        self.came.refused += 1;
        self.came.waits_ms.push(LONGEST_WAIT_MS);
    }

    fn give_up(&mut self) {
        let now = self.now_ms;
        while self
            .queue
            .pop_front_if(|ask| now - ask.at_ms >= LONGEST_WAIT_MS)
            .is_some()
        {
            self.refuse();
        }
    }

    /// Gives places to those who wait, where there is most room.
    fn serve(&mut self) {
        while !self.queue.is_empty() {
            let open = |replica: &&mut Replica| {
                replica.is_ready && !replica.is_leaving && replica.running < PLACES
            };
            let open = self.replicas.iter_mut().filter(open);
            let Some(replica) = open.min_by_key(|replica| replica.running) else {
                return;
            };
            let Some(ask) = self.queue.pop_front() else {
                return;
            };
            replica.running += 1;
            let end = (self.now_ms + ask.takes_ms, Event::Ends, replica.number);
            self.events.push(Reverse(end));
            self.came.waits_ms.push(self.now_ms - ask.at_ms);
        }
    }

    fn scale(&mut self, wanted: u32) {
        let now = self.now_ms;
        for _ in self.wanted..wanted {
            self.count += 1;
            self.replicas.push(Replica {
                number: self.count,
                began_ms: now,
                is_ready: false,
                is_leaving: false,
                running: 0,
            });
            let start = (now + START_MS, Event::Starts, self.count);
            self.events.push(Reverse(start));
        }
        if wanted > self.wanted && self.fewer_at_ms.is_some_and(|at| now - at <= FLAP_MS) {
            self.came.flaps += 1;
            self.fewer_at_ms = None;
        }
        if wanted < self.wanted {
            self.fewer_at_ms = Some(now);
            for _ in wanted..self.wanted {
                self.let_one_go();
            }
        }
        self.wanted = wanted;
    }

    fn let_one_go(&mut self) {
        let staying = self.replicas.iter().filter(|replica| !replica.is_leaving);
        let candidates = staying.map(|replica| Candidate {
            name: replica.number.to_string(),
            is_ready: replica.is_ready,
            sequences: Some(replica.running),
            remembered_blocks: 0,
            age_ms: self.now_ms - replica.began_ms,
        });
        let candidates: Vec<Candidate> = candidates.collect();
        let first = least_to_lose(&candidates)[0].parse().unwrap();
        let place = self.place(first).unwrap();
        self.replicas[place].is_leaving = true;
        self.leave(place);
    }

    /// Lets a replica go that has nothing left to do.
    fn leave(&mut self, place: usize) {
        let replica = self.replicas[place];
        if replica.is_leaving && replica.running == 0 {
            self.paid_ms += self.now_ms - replica.began_ms;
            self.replicas.swap_remove(place);
        }
    }

    fn end(mut self) -> Came {
        while self.queue.pop_front().is_some() {
            self.refuse();
        }
        let rest = self
            .replicas
            .iter()
            .map(|replica| self.now_ms - replica.began_ms);
        let paid_ms = self.paid_ms + rest.sum::<u64>();
        self.came.hours = paid_ms as f64 / 3_600_000.0;
        self.came.waits_ms.sort_unstable();
        self.came
    }
}
