//! The leader's part: how much of a budget each router may spend, as one step from ledger to ledger.
//!
//! A slice is to last a router [`MINUTES`] at the rate at which it spends, and is at most [`SHARE`] of what
//! remains at a time, so that a router that dies takes little along. But it is never less than one usual
//! call may cost, or a small budget would never let one through: 2 % of 5 dollars is less than many calls.
//!
//! A call that is dearer than usual ones is granted what it needs, which is handed back after it: nothing
//! more follows from it. And no router has more in hand than its part of what is not spent, as many parts
//! as there are routers, but for one usual call. So whatever the clients of one ask for, the parts of the
//! others are there; and dear calls leave of a part what its usual calls need ([`kept`]), so that neither do
//! the other clients of the same router go without.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rust_decimal::{Decimal, RoundingStrategy};
use weir_crds::{Money, Period};

use super::PurseLoad;
use super::ledger::{Ledger, Slice};
use super::period::Span;
use super::room::Room;

/// How long a slice is to last. Several rounds of reports go by meanwhile, and a leader may be away for
/// as long as it takes another to follow.
pub const MINUTES: u32 = 5;
/// How many calls of the dearest kind a slice is for beside that: what is in flight is reserved whole.
pub const CALLS: u32 = 4;
/// The largest part of what remains that is granted at a time.
pub const SHARE: Decimal = Decimal::from_parts(2, 0, 0, false, 2);
const HALF: Decimal = Decimal::from_parts(5, 0, 0, false, 1);
/// Amounts are dealt in millionths of a dollar.
const PLACES: u32 = 6;

/// A router that exists, as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    pub pod: String,
    /// The name of its run; nothing where it has not reported.
    pub run: Option<String>,
    /// What it reports of the budget.
    pub purse: Option<PurseLoad>,
}

/// The ledger that follows `ledger` at `now`: of a new period, if that one is over; without the slices of
/// routers that are gone, which count as spent but for what they returned; with what routers gave back,
/// and with more for those that need it, as far as `limit` goes.
///
/// A clock that steps back begins no period again.
pub fn deal(
    ledger: Option<&Ledger>,
    budget: (Period, Money),
    routers: &[Router],
    now: Timestamp,
) -> Ledger {
    deal_within(ledger, budget, routers, now, &mut Room::endless())
}

/// The same, without the slices that there is no `room` for: who has one is granted more, and of the others
/// all that they say of what they had is taken over.
pub fn deal_within(
    ledger: Option<&Ledger>,
    (period, limit): (Period, Money),
    routers: &[Router],
    now: Timestamp,
    room: &mut Room,
) -> Ledger {
    let mut next = match ledger.filter(|ledger| now < ledger.ends) {
        Some(ledger) => ledger.clone(),
        None => Ledger::new(Span::holding(period, now)),
    };
    next.retire(routers);
    for router in routers {
        if let (Some(run), Some(purse)) = (&router.run, &router.purse) {
            next.hear(run, &router.pod, purse, room);
        }
    }
    next.count(routers, now);
    let parts = next.parts(routers, limit);
    let needs = routers.iter().filter_map(|router| {
        let (run, purse) = (router.run.as_ref()?, router.purse.as_ref()?);
        Some((run, purse, next.left(run, purse)?))
    });
    let mut needs: Vec<(&String, &PurseLoad, Money)> = needs.collect();
    for (run, purse, left) in &mut needs {
        let remaining = limit.less(next.committed());
        // Less than a call is of no use to anybody, and one is for everybody.
        let room = parts.room(&next, run, purse);
        let most = if room < purse.call {
            purse.call.less(next.in_hand(run, Some(purse)))
        } else {
            room
        };
        let size = size(purse, *left, remaining).min(most);
        next.grant(run, size);
        *left = *left + size;
    }
    for (run, purse, left) in needs {
        let remaining = limit.less(next.committed());
        let most = parts.room(&next, run, purse).min(remaining);
        let most = most.less(kept(purse, parts.0));
        if purse.dear.less(left) <= most {
            next.grant(run, purse.dear_waiting.less(left).min(most));
        }
    }
    next
}

/// What of a limit is not spent, shared by all routers.
struct Parts(Money);

impl Parts {
    /// What the run may get before it has its part in hand.
    fn room(&self, ledger: &Ledger, run: &str, purse: &PurseLoad) -> Money {
        self.0.less(ledger.in_hand(run, Some(purse)))
    }
}

impl Ledger {
    /// Strikes out the slices of runs that are over. A pod that has not said which run it is may be
    /// any that it was.
    pub(super) fn retire(&mut self, routers: &[Router]) {
        let runs: BTreeSet<&str> = routers.iter().filter_map(|of| of.run.as_deref()).collect();
        let silent = routers.iter().filter(|router| router.run.is_none());
        let silent: BTreeSet<&str> = silent.map(|router| router.pod.as_str()).collect();
        let (mut spent, mut tally) = (self.spent, self.tally);
        self.slices.retain(|run, slice| {
            let is_there = runs.contains(run.as_str()) || silent.contains(slice.pod.as_str());
            if !is_there {
                spent = spent + slice.held();
                tally = tally.plus(slice.tally);
            }
            is_there
        });
        (self.spent, self.tally) = (spent, tally);
    }

    /// Takes over what the router knows better: what it returned; what it spent, should calls have cost
    /// more than was reserved; what it was granted, should this ledger have been lost. One that has nothing of the
    /// period gets a slice if there is room for it.
    fn hear(&mut self, run: &str, pod: &str, purse: &PurseLoad, room: &mut Room) {
        let is_of_this = purse.begins == Some(self.begins);
        if !self.slices.contains_key(run) && !room.for_slice(run, pod) && !is_of_this {
            return;
        }
        let slice = self.slices.entry(run.to_owned()).or_insert_with(|| Slice {
            pod: pod.to_owned(),
            ..Slice::default()
        });
        if is_of_this {
            slice.returned = slice.returned.max(purse.returned);
            slice.granted = slice
                .granted
                .max(purse.granted)
                .max(purse.spent + slice.returned);
        }
    }

    /// What the run may still reserve. Nothing where a grant is on its way, which may be enough.
    fn left(&self, run: &str, purse: &PurseLoad) -> Option<Money> {
        let slice = self.slices.get(run)?;
        match purse.begins == Some(self.begins) {
            true => (purse.granted >= slice.granted).then(|| purse.left()),
            false => slice.granted.is_zero().then(Money::default),
        }
    }

    /// What the run has that is not spent, as far as it says.
    fn in_hand(&self, run: &str, purse: Option<&PurseLoad>) -> Money {
        let of_this = purse.filter(|purse| purse.begins == Some(self.begins));
        let spent = of_this.map(|purse| purse.spent).unwrap_or_default();
        let held = self.slices.get(run).map(Slice::held);
        held.unwrap_or_default().less(spent)
    }

    fn parts(&self, routers: &[Router], limit: Money) -> Parts {
        let of = |run: &String| {
            let mut routers = routers.iter();
            let router = routers.find(|router| router.run.as_ref() == Some(run));
            router.and_then(|router| router.purse.as_ref())
        };
        let in_hand = self.slices.keys().map(|run| self.in_hand(run, of(run)));
        let unspent = limit.less(self.committed()) + in_hand.sum::<Money>();
        Parts(part(unspent, routers.len().max(self.slices.len())))
    }

    fn grant(&mut self, run: &str, amount: Money) {
        if let Some(slice) = self.slices.get_mut(run) {
            slice.granted = slice.granted + amount;
        }
    }
}

/// What each of so many routers may have in hand of `unspent`.
pub fn part(unspent: Money, routers: usize) -> Money {
    let part = unspent.amount() / Decimal::from(routers.max(1));
    Money::from(part.round_dp_with_strategy(PLACES, RoundingStrategy::ToZero))
}

/// What a router is to have at hand for usual calls.
pub fn cover(purse: &PurseLoad) -> Money {
    let calls = purse.call.times(CALLS.into());
    purse.per_minute.times(MINUTES.into()) + calls + purse.waiting
}

/// What of a router's part dear calls leave for usual ones: what is to be at hand for these, but no more than
/// half of the part, or where usual calls spend much no dear one would ever be made.
pub fn kept(purse: &PurseLoad, part: Money) -> Money {
    cover(purse).min(part.times(HALF))
}

/// How much more a router gets that has `left`, of what remains: nothing while it has half of what it is
/// to have.
fn size(purse: &PurseLoad, left: Money, remaining: Money) -> Money {
    let cover = cover(purse);
    if left + left >= cover {
        return Money::default();
    }
    let most = remaining.times(SHARE).max(purse.call);
    let size = cover.less(left).min(most).amount();
    let size = size.round_dp_with_strategy(PLACES, RoundingStrategy::AwayFromZero);
    Money::from(size).min(remaining)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: &str = "2026-11-22T12:00:00Z";

    fn money(text: &str) -> Money {
        text.parse().unwrap()
    }

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    fn router(run: &str, purse: PurseLoad) -> Router {
        Router {
            pod: format!("pod-{run}"),
            run: Some(run.into()),
            purse: Some(purse),
        }
    }

    /// Needs a call of 10 cents.
    fn fresh() -> PurseLoad {
        PurseLoad {
            call: money("0.1"),
            ..PurseLoad::default()
        }
    }

    fn dealt(ledger: Option<&Ledger>, limit: &str, routers: &[Router]) -> Ledger {
        deal(ledger, (Period::Day, money(limit)), routers, at(NOON))
    }

    fn granted(ledger: &Ledger, run: &str) -> String {
        ledger.slices[run].granted.amount().normalize().to_string()
    }

    /// Knows of all that it was granted.
    fn holder(ledger: &Ledger, run: &str, spent: &str) -> PurseLoad {
        PurseLoad {
            begins: Some(ledger.begins),
            granted: ledger.slices[run].granted,
            spent: money(spent),
            ..fresh()
        }
    }

    #[test]
    fn a_first_slice_is_for_some_calls_within_two_percent_and_for_one_where_that_is_less() {
        let first = |limit| granted(&dealt(None, limit, &[router("a", fresh())]), "a");
        assert_eq!(first("100"), "0.4", "four calls");
        assert_eq!(first("10"), "0.2", "two percent");
        assert_eq!(first("1"), "0.1", "one call");
        assert_eq!(first("0.05"), "0.05", "all there is");
        assert_eq!(first("0"), "0");
    }

    #[test]
    fn a_slice_lasts_five_minutes_and_the_next_comes_when_half_is_left() {
        let routers = |purse| [router("a", purse)];
        let first = dealt(None, "1000", &routers(fresh()));
        let busy = |spent| PurseLoad {
            per_minute: money("1"),
            ..holder(&first, "a", spent)
        };
        let second = dealt(Some(&first), "1000", &routers(busy("0")));
        assert_eq!(granted(&second, "a"), "5.4");
        let unheard = dealt(Some(&second), "1000", &routers(busy("0.4")));
        assert_eq!(unheard, second, "what it has not heard of is on its way");
        let heard = |spent| PurseLoad {
            granted: money("5.4"),
            ..busy(spent)
        };
        let half = dealt(Some(&second), "1000", &routers(heard("2.7")));
        assert_eq!(half, second);
        let less = dealt(Some(&second), "1000", &routers(heard("2.8")));
        assert_eq!(granted(&less, "a"), "8.2");
    }

    #[test]
    fn what_waits_is_granted_at_once_where_it_is_within_the_share() {
        let waiting = PurseLoad {
            waiting: money("3"),
            ..fresh()
        };
        let ledger = dealt(None, "1000", &[router("a", waiting)]);
        assert_eq!(granted(&ledger, "a"), "3.4");
    }

    #[test]
    fn a_router_that_is_gone_has_spent_what_it_did_not_return() {
        let routers = [router("a", fresh()), router("b", fresh())];
        let first = dealt(None, "100", &routers);
        let left = PurseLoad {
            returned: money("0.3"),
            call: Money::default(),
            ..holder(&first, "b", "0.1")
        };
        let closed = dealt(
            Some(&first),
            "100",
            &[routers[0].clone(), router("b", left)],
        );
        let after = dealt(Some(&closed), "100", &[]);
        assert!(after.slices.is_empty());
        assert_eq!(after.spent.to_string(), "0.5", "all of a, a dime of b");
    }

    #[test]
    fn a_pod_that_has_not_reported_keeps_its_slice_and_a_new_run_of_it_does_not() {
        let first = dealt(None, "100", &[router("a", fresh())]);
        let silent = Router {
            pod: "pod-a".into(),
            run: None,
            purse: None,
        };
        assert_eq!(dealt(Some(&first), "100", &[silent]), first);
        let restarted = Router {
            pod: "pod-a".into(),
            ..router("a2", fresh())
        };
        let second = dealt(Some(&first), "100", &[restarted]);
        assert_eq!(second.spent.to_string(), "0.4");
        assert_eq!(granted(&second, "a2"), "0.4");
    }

    #[test]
    fn a_new_period_begins_afresh_and_none_begins_twice() {
        let first = dealt(None, "0.1", &[router("a", fresh())]);
        let of_first = [router("a", holder(&first, "a", "0.1"))];
        let deal_at = |ledger: &Ledger, time| {
            deal(
                Some(ledger),
                (Period::Day, money("0.1")),
                &of_first,
                at(time),
            )
        };
        assert_eq!(
            granted(&deal_at(&first, "2026-11-22T23:59:59Z"), "a"),
            "0.1"
        );
        let next = deal_at(&first, "2026-11-23T00:00:00Z");
        assert_eq!(next.begins, at("2026-11-23T00:00:00Z"));
        assert_eq!(granted(&next, "a"), "0.1");
        let stepped_back = deal_at(&next, "2026-11-22T12:00:00Z");
        assert_eq!(stepped_back, next);
    }

    #[test]
    fn a_ledger_that_was_lost_is_made_again_of_what_routers_know() {
        let first = dealt(None, "1", &[router("a", fresh())]);
        let knows = [router("a", holder(&first, "a", "0.1"))];
        let again = dealt(None, "1", &knows);
        assert!(again.committed() >= money("0.1"), "{again:?}");
        let more = [router(
            "a",
            PurseLoad {
                granted: money("0.9"),
                ..holder(&first, "a", "0.9")
            },
        )];
        assert!(dealt(None, "1", &more).committed() <= money("1"));
    }

    #[test]
    fn dear_calls_leave_of_a_part_what_usual_ones_need() {
        let dear = |amount, first: Option<&Ledger>| {
            let purse = PurseLoad {
                dear: money(amount),
                dear_waiting: money(amount),
                ..first.map_or_else(fresh, |first| holder(first, "a", "0"))
            };
            dealt(first, "10", &[router("a", purse)])
        };
        // Two percent are for usual calls, of which four are kept.
        let first = dear("0", None);
        assert_eq!(granted(&dear("9.6", Some(&first)), "a"), "9.6");
        assert_eq!(granted(&dear("9.7", Some(&first)), "a"), "0.2");
    }

    #[test]
    fn absurd_amounts_grant_nothing_and_end_nothing() {
        let most = Money::from(Decimal::MAX);
        let first = dealt(None, "100", &[router("a", fresh()), router("b", fresh())]);
        let absurd = PurseLoad {
            granted: most,
            returned: most,
            spent: most,
            reserved: most,
            per_minute: most,
            call: most,
            waiting: most,
            dear: most,
            dear_waiting: most,
            ..holder(&first, "b", "0")
        };
        let routers = [router("a", holder(&first, "a", "0.3")), router("b", absurd)];
        let mut ledger = first;
        for _ in 0..3 {
            ledger = dealt(Some(&ledger), "100", &routers);
        }
        assert_eq!(ledger.slices.len(), 2);
        ledger.spent = most;
        let gone = dealt(Some(&ledger), "100", &[]);
        assert_eq!(gone.committed(), most);
    }

    #[test]
    fn what_calls_cost_beyond_their_reservation_is_granted_to_nobody_else() {
        let first = dealt(None, "1", &[router("a", fresh())]);
        let over = [
            router("a", holder(&first, "a", "0.95")),
            router("b", fresh()),
        ];
        let next = dealt(Some(&first), "1", &over);
        assert_eq!(granted(&next, "b"), "0.05");
        assert_eq!(next.committed(), money("1"));
    }
}
