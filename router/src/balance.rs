//! Which replica an ask goes to: a pure decision, the same on every router that sees the same.
//!
//! - An ask with a beginning that a replica may remember goes where the hash of that beginning points,
//!   so that all routers send a conversation to one replica without talking (rendezvous hashing: when
//!   replicas come and go, only their own conversations move).
//! - No further than its load allows: a replica with much more than its share is passed over for the
//!   next in the conversation's order.
//! - Any other ask goes to the less busy of two that are drawn.
//! - A replica that is new takes a growing share, once it has said what it is; one that failed of late takes
//!   none, unless most did.

#[cfg(test)]
mod simulation;

use std::time::Duration;

/// A replica may have so many times its share of what is in hand.
const MOST_OVER: f64 = 1.25;
/// Of what a replica can work on at once: up to this part nobody waits there, so that its load sends no
/// conversation away from what it remembers.
const AT_EASE: f64 = 0.25;
/// A new replica has all of its share after this.
const SLOW_START: Duration = Duration::from_secs(20);
const LEAST_SHARE: f64 = 0.1;

/// A replica that an ask may go to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Candidate {
    /// Of its address: the same on every router.
    pub name: u64,
    /// Asks that it has in hand, as far as is known here.
    pub load: u32,
    /// So many it can work on at once; 0 where it has not said.
    pub room: u32,
    /// How long it has been ready.
    pub age: Duration,
    /// It failed of late, or has said that it leaves.
    pub is_out: bool,
    /// It has not said what it is, so that nobody could go on with what it begins.
    pub is_unknown: bool,
    /// This ask has been there already.
    pub was_tried: bool,
}

/// What an ask begins with, if a replica may have seen it before, and two numbers that were drawn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish {
    pub beginning: Option<u64>,
    pub draws: [u64; 2],
}

impl Wish {
    /// Where the ask stands when shares of a deployment are given out: a conversation always at the same place.
    pub fn place(&self) -> u64 {
        mixed(self.beginning.unwrap_or(self.draws[0]) ^ u64::MAX)
    }
}

/// The place of the replica that takes the ask; nothing where there is none.
pub(crate) fn choose(candidates: &[Candidate], wish: Wish) -> Option<usize> {
    let open = open(candidates);
    match wish.beginning {
        Some(beginning) => by_beginning(candidates, &open, beginning),
        None => of_two(candidates, &open, wish.draws),
    }
}

/// The places that are left when those are passed over that have had the ask, those that are out, unless most
/// of them are, which says more of the way to them than of themselves; and those that nothing is known of.
fn open(candidates: &[Candidate]) -> Vec<usize> {
    let out = candidates.iter().filter(|replica| replica.is_out).count();
    let are_trusted = 2 * out > candidates.len();
    let places = |is_open: &dyn Fn(&Candidate) -> bool| -> Vec<usize> {
        let places = candidates.iter().enumerate();
        let places = places.filter(|(_, replica)| is_open(replica));
        places.map(|(place, _)| place).collect()
    };
    let is_in = |replica: &Candidate| are_trusted || !replica.is_out;
    let is_fresh = |replica: &Candidate| !replica.was_tried && is_in(replica);
    let known = places(&|replica| is_fresh(replica) && !replica.is_unknown);
    if !known.is_empty() {
        return known;
    }
    let fresh = places(&is_fresh);
    if !fresh.is_empty() {
        return fresh;
    }
    let untried = places(&|replica| !replica.was_tried);
    if !untried.is_empty() {
        return untried;
    }
    (0..candidates.len()).collect()
}

fn by_beginning(candidates: &[Candidate], open: &[usize], beginning: u64) -> Option<usize> {
    let mut order: Vec<(u64, usize)> = open
        .iter()
        .map(|place| (mixed(beginning ^ candidates[*place].name), *place))
        .collect();
    order.sort_unstable_by(|one, two| two.cmp(one));
    let most = bounds(candidates, open);
    let mut order = order.into_iter().map(|(_, place)| place);
    let first = order.clone().next();
    let with_room = order.find(|place| {
        let replica = &candidates[*place];
        f64::from(replica.load) < most(replica)
    });
    with_room.or(first)
}

/// How much each may have in hand before another one is asked: never less for all of them together than
/// there is.
fn bounds(candidates: &[Candidate], open: &[usize]) -> impl Fn(&Candidate) -> f64 {
    let open = || open.iter().map(|place| &candidates[*place]);
    let in_hand: u32 = open().map(|replica| replica.load).sum();
    let shares: f64 = open().map(share).sum();
    move |replica| {
        let fair = MOST_OVER * f64::from(in_hand + 1) * share(replica) / shares;
        fair.ceil()
            .max(AT_EASE * f64::from(replica.room) * share(replica))
    }
}

fn of_two(candidates: &[Candidate], open: &[usize], draws: [u64; 2]) -> Option<usize> {
    let count = open.len() as u64;
    if count < 2 {
        return open.first().copied();
    }
    let first = draws[0] % count;
    let second = (first + 1 + draws[1] % (count - 1)) % count;
    let busy = |place: u64| {
        let replica = &candidates[open[place as usize]];
        f64::from(replica.load + 1) / share(replica)
    };
    let chosen = if busy(second) < busy(first) {
        second
    } else {
        first
    };
    Some(open[chosen as usize])
}

/// What part of the share of one that is warm.
fn share(replica: &Candidate) -> f64 {
    let grown = replica.age.as_secs_f64() / SLOW_START.as_secs_f64();
    grown.clamp(LEAST_SHARE, 1.0)
}

/// Numbers that differ little become numbers that differ in everything (the end of SplitMix64).
pub(crate) fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The first eight bytes of a digest as a number.
pub(crate) fn first_number(digest: &[u8]) -> u64 {
    let bytes = digest.iter().take(8).enumerate();
    bytes.fold(0, |number, (place, byte)| {
        number | u64::from(*byte) << (8 * place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replicas(count: u64) -> Vec<Candidate> {
        let replica = |name| Candidate {
            name: mixed(name + 1),
            age: SLOW_START,
            ..Candidate::default()
        };
        (0..count).map(replica).collect()
    }

    fn begins(beginning: u64) -> Wish {
        Wish {
            beginning: Some(mixed(beginning + 1000)),
            draws: [beginning, 2 * beginning],
        }
    }

    fn drawn(draws: [u64; 2]) -> Wish {
        Wish {
            draws,
            ..Wish::default()
        }
    }

    #[test]
    fn a_conversation_goes_where_it_went_whoever_sends_it_and_conversations_are_spread() {
        let mut known = replicas(4);
        let here: Vec<_> = (0..1000).map(|key| choose(&known, begins(key))).collect();
        for place in 0..4 {
            let count = here.iter().filter(|chosen| **chosen == Some(place)).count();
            assert!((200..300).contains(&count), "{place}: {count}");
        }
        // Another router knows them in another order, and has drawn other numbers.
        known.reverse();
        for (key, place) in here.iter().enumerate() {
            let wish = Wish {
                draws: [7, 7],
                ..begins(key as u64)
            };
            assert_eq!(choose(&known, wish).map(|place| 3 - place), *place);
        }
    }

    #[test]
    fn only_the_conversations_of_a_replica_that_goes_move() {
        let four = replicas(4);
        let three = &four[..3];
        for key in 0..1000 {
            let before = choose(&four, begins(key)).unwrap();
            let after = choose(three, begins(key)).unwrap();
            assert!(before == 3 || before == after, "{key}: {before}, {after}");
        }
    }

    #[test]
    fn a_replica_with_much_more_than_its_share_is_passed_over_for_the_next() {
        let mut known = replicas(3);
        let first = choose(&known, begins(1)).unwrap();
        for replica in &mut known {
            replica.load = 10;
        }
        assert_eq!(choose(&known, begins(1)), Some(first));
        // 41 with this ask, of which 17 and a bit are a quarter over a third.
        known[first].load = 20;
        let second = choose(&known, begins(1)).unwrap();
        assert_ne!(second, first);
        // Nobody waits there, so it keeps what it remembers.
        known[first].room = 96;
        assert_eq!(choose(&known, begins(1)), Some(first));
    }

    #[test]
    fn without_a_beginning_the_less_busy_of_two_takes_it() {
        let mut known = replicas(2);
        known[0].load = 3;
        known[1].load = 2;
        for draws in [[0, 0], [1, 0], [5, 9]] {
            assert_eq!(choose(&known, drawn(draws)), Some(1), "{draws:?}");
        }
        known[1].load = 3;
        assert_eq!(choose(&known, drawn([0, 0])), Some(0));
        assert_eq!(choose(&known, drawn([1, 0])), Some(1));
    }

    #[test]
    fn a_new_replica_takes_a_growing_share() {
        let mut known = replicas(4);
        for replica in &mut known {
            replica.load = 20;
        }
        let taken = |known: &[Candidate]| {
            let chosen = (0..1000).filter(|key| choose(known, begins(*key)) == Some(0));
            chosen.count()
        };
        let warm = taken(&known);
        known[0].age = Duration::ZERO;
        known[0].load = 2;
        let cold = taken(&known);
        known[0].load = 4;
        assert!(warm > 200 && cold > 200, "{warm} and {cold} of 1000");
        assert_eq!(taken(&known), 0, "it has all of its small share");
    }

    #[test]
    fn one_that_is_out_or_was_tried_is_passed_over_while_there_are_others() {
        let mut known = replicas(3);
        let first = choose(&known, begins(1)).unwrap();
        known[first].is_out = true;
        let second = choose(&known, begins(1)).unwrap();
        assert_ne!(first, second);
        known[second].was_tried = true;
        let third = choose(&known, begins(1)).unwrap();
        assert!(third != first && third != second);
        known[third].was_tried = true;
        assert_eq!(choose(&known, begins(1)), Some(first), "out, but not tried");
        known[first].was_tried = true;
        assert!(choose(&known, begins(1)).is_some());
        assert_eq!(choose(&[], begins(1)), None);
    }

    #[test]
    fn one_that_has_not_said_what_it_is_begins_nothing_while_there_are_others() {
        let mut known = replicas(2);
        let first = choose(&known, begins(1)).unwrap();
        known[first].is_unknown = true;
        assert_eq!(choose(&known, begins(1)), Some(1 - first));
        known[1 - first].was_tried = true;
        assert_eq!(choose(&known, begins(1)), Some(first));
        known[1 - first].is_unknown = true;
        known[1 - first].was_tried = false;
        assert_eq!(choose(&known, begins(1)), Some(first), "nobody is known");
    }

    #[test]
    fn where_most_are_out_it_makes_no_difference() {
        let mut known = replicas(3);
        let chosen: Vec<_> = (0..100).map(|key| choose(&known, begins(key))).collect();
        known[0].is_out = true;
        known[1].is_out = true;
        let out: Vec<_> = (0..100).map(|key| choose(&known, begins(key))).collect();
        assert_eq!(chosen, out);
    }
}
