//! One round of the leader over all policies of a namespace.

use std::collections::BTreeSet;

use jiff::Timestamp;
use weir_crds::Period;

use super::Budget;
use super::deal::{Router, deal_within};
use super::ledger::{Book, Ledgers};
use super::room::Room;
use crate::load::RouterLoad;
use crate::table::Table;

/// A router that exists, and what it reported last.
#[derive(Clone, Copy, Debug)]
pub struct Reported<'a> {
    pub pod: &'a str,
    pub load: Option<&'a RouterLoad>,
}

/// Of so many policies that are gone the ledgers are kept: some hundred kilobytes at most, of a ConfigMap that
/// holds a mebibyte. Those whose periods end first are let go first, as they have least left to say.
const MOST_GONE: usize = 256;

/// What follows from a round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dealt {
    pub book: Book,
    /// The policies of which a router has no slice because the book has no room for it.
    pub without_room: BTreeSet<String>,
}

/// The book that follows `book` at `now`. Every budget of the policies that `table` serves is dealt. What
/// was granted of others is kept to the end of its period: a budget that is taken out and put back is no
/// fresh one, nor is that of a policy that is deleted and made again; of routers that are gone only the sum of
/// what they had is kept there, too. What cannot be read is kept as long as
/// its policy is among `known`.
pub fn round(
    book: &Book,
    whom: (&Table, &BTreeSet<String>),
    routers: &[Reported<'_>],
    now: Timestamp,
) -> Book {
    dealt(book, whom, routers, now, Room::endless()).book
}

/// The same, of a book that may take so many bytes. Where it is full, no slice is added to it; all else goes on:
/// slices are given back, end with their periods, and grow.
pub fn round_within(
    book: &Book,
    whom: (&Table, &BTreeSet<String>),
    routers: &[Reported<'_>],
    now: Timestamp,
    most_bytes: usize,
) -> Dealt {
    let first = dealt(book, whom, routers, now, Room::beside(book, most_bytes));
    if first.without_room.is_empty() {
        return first;
    }
    // What has ended in this round has left room, and who has a slice by now gets no second one.
    let room = Room::beside(&first.book, most_bytes);
    dealt(&first.book, whom, routers, now, room)
}

fn dealt(
    book: &Book,
    (table, known): (&Table, &BTreeSet<String>),
    routers: &[Reported<'_>],
    now: Timestamp,
    mut room: Room,
) -> Dealt {
    let mut next = book.clone();
    let mut without_room = BTreeSet::new();
    next.unreadable.retain(|policy, _| known.contains(policy));
    for policy in table.policies() {
        let is_readable = !next.unreadable.contains_key(&policy.name);
        let budgets = &policy.settings.budgets;
        if budgets.is_empty() || !is_readable {
            continue;
        }
        let ledgers = next.policies.entry(policy.name.clone()).or_default();
        for budget in budgets {
            let before = ledgers.get(&budget.period);
            if before.is_none() && !room.for_ledger(&policy.name) {
                continue;
            }
            let seen = |of: &Reported<'_>| seen(*of, &policy.name, budget.period);
            let routers: Vec<Router> = routers.iter().map(seen).collect();
            let limit = (budget.period, budget.limit);
            let ledger = deal_within(before, limit, &routers, now, &mut room);
            ledgers.insert(budget.period, ledger);
        }
        if room.was_short() {
            without_room.insert(policy.name.clone());
        }
    }
    for (policy, ledgers) in &mut next.policies {
        let served = table.policy(policy);
        let budgets = served.map_or(&[][..], |policy| &policy.settings.budgets);
        forget(ledgers, budgets, now);
        for (period, ledger) in ledgers {
            let seen = |of: &Reported<'_>| seen(*of, policy, *period);
            let routers: Vec<Router> = routers.iter().map(seen).collect();
            ledger.retire(&routers);
        }
    }
    next.policies.retain(|_, ledgers| !ledgers.is_empty());
    forget_gone(&mut next, known);
    Dealt {
        book: next,
        without_room,
    }
}

/// Lets go what is too much of policies that are not among `known`.
fn forget_gone(book: &mut Book, known: &BTreeSet<String>) {
    let policies = book.policies.iter();
    let gone = policies.filter(|(policy, _)| !known.contains(*policy));
    let gone = gone.map(|(policy, ledgers)| {
        let ends = ledgers.values().map(|ledger| ledger.ends).max();
        (ends, policy.clone())
    });
    let mut gone: Vec<_> = gone.collect();
    gone.sort();
    let too_many = gone.len().saturating_sub(MOST_GONE);
    for (_, policy) in gone.into_iter().take(too_many) {
        book.policies.remove(&policy);
    }
}

fn seen(reported: Reported<'_>, policy: &str, period: Period) -> Router {
    let run = reported.load.map(|load| load.run.clone());
    let purses = reported.load.and_then(|load| load.purses.get(policy));
    Router {
        pod: reported.pod.to_owned(),
        // One of a version that knows of no budgets has no name for its run.
        run: run.filter(|run| !run.is_empty()),
        purse: purses.and_then(|purses| purses.get(&period)).cloned(),
    }
}

fn forget(ledgers: &mut Ledgers, budgets: &[Budget], now: Timestamp) {
    ledgers.retain(|period, ledger| {
        let is_dealt = budgets.iter().any(|budget| budget.period == *period);
        is_dealt || now < ledger.ends
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::PurseLoad;
    use crate::budget::ledger::Ledger;
    use crate::budget::period::Span;
    use crate::budget::room::longest;
    use crate::compile;
    use crate::testing;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    const NOON: &str = "2026-11-22T12:00:00Z";

    fn table(budget: Value) -> Table {
        let mut policy = testing::policy("support");
        policy.spec.budget = serde_json::from_value(budget).unwrap();
        compile([&policy], [], &BTreeMap::new())
    }

    fn load() -> RouterLoad {
        let purse = PurseLoad {
            call: "0.1".parse().unwrap(),
            ..PurseLoad::default()
        };
        let purses = [(Period::Hour, purse.clone()), (Period::Day, purse)];
        RouterLoad {
            run: "9f3c".into(),
            purses: [("support".into(), purses.into())].into(),
            ..RouterLoad::default()
        }
    }

    fn after(book: &Book, budget: Value, time: &str) -> Book {
        let known = ["support".to_owned()].into();
        let load = load();
        let router = Reported {
            pod: "a",
            load: Some(&load),
        };
        round(
            book,
            (&table(budget), &known),
            &[router],
            time.parse().unwrap(),
        )
    }

    fn both() -> Value {
        json!([{ "period": "Hour", "limit": "1" }, { "period": "Day", "limit": "10" }])
    }

    #[test]
    fn every_budget_of_a_policy_is_dealt() {
        let book = after(&Book::default(), both(), NOON);
        let ledgers = &book.policies["support"];
        let granted = |period| ledgers[&period].slices["9f3c"].granted;
        assert_eq!(granted(Period::Hour), "0.1".parse().unwrap());
        assert_eq!(granted(Period::Day), "0.2".parse().unwrap());
        assert_eq!(after(&book, both(), NOON).policies["support"].len(), 2);
    }

    #[test]
    fn a_budget_that_is_taken_out_is_kept_to_the_end_of_its_period() {
        let book = after(&Book::default(), both(), NOON);
        let kept = after(&book, json!([]), "2026-11-22T12:59:59Z");
        assert_eq!(kept, book);
        let later = after(&kept, json!([]), "2026-11-22T13:00:00Z");
        let periods: Vec<_> = later.policies["support"].keys().collect();
        assert_eq!(periods, [&Period::Day]);
        assert_eq!(
            after(&later, json!([]), "2026-11-23T00:00:00Z"),
            Book::default()
        );
    }

    #[test]
    fn of_routers_that_are_gone_the_ledger_of_a_deleted_policy_keeps_one_sum() {
        let mut book = after(&Book::default(), both(), NOON);
        let known = BTreeSet::new();
        let deleted = |book: &Book, routers: &[Reported<'_>]| {
            let now = NOON.parse().unwrap();
            round(book, (&Table::default(), &known), routers, now)
        };
        let silent = Reported {
            pod: "a",
            load: None,
        };
        assert_eq!(deleted(&book, &[silent]), book, "it may still spend");
        let committed = book.policies["support"][&Period::Day].committed();
        book = deleted(&book, &[]);
        let ledger = &book.policies["support"][&Period::Day];
        assert!(ledger.slices.is_empty(), "{ledger:?}");
        assert_eq!(ledger.committed(), committed);
    }

    #[test]
    fn a_policy_that_is_deleted_and_made_again_has_spent_what_it_had_spent() {
        let day = || json!([{ "period": "Day", "limit": "0.1" }]);
        let mut book = after(&Book::default(), day(), NOON);
        let ledgers = book.policies.get_mut("support").unwrap();
        let ledger = ledgers.get_mut(&Period::Day).unwrap();
        ledger.spent = "0.1".parse().unwrap();
        ledger.slices.clear();
        let without = |book: &Book, time: &str| {
            let now = time.parse().unwrap();
            round(book, (&Table::default(), &BTreeSet::new()), &[], now)
        };
        let gone = without(&book, "2026-11-22T18:00:00Z");
        assert_eq!(gone, book, "to the end of its period");
        let again = after(&gone, day(), "2026-11-22T23:59:59Z");
        let ledger = &again.policies["support"][&Period::Day];
        assert!(ledger.slices["9f3c"].granted.is_zero(), "{ledger:?}");
        assert_eq!(without(&gone, "2026-11-23T00:00:00Z"), Book::default());
    }

    #[test]
    fn so_many_policies_that_are_gone_are_remembered_and_those_that_are_there_all() {
        let of = |period, book: &mut Book, count: usize| {
            let ledger = Ledger::new(Span::holding(period, NOON.parse().unwrap()));
            for number in 0..count {
                let name = format!("{period:?}-{number}");
                let ledgers = [(period, ledger.clone())].into();
                book.policies.insert(name, ledgers);
            }
        };
        let mut book = Book::default();
        of(Period::Month, &mut book, MOST_GONE);
        of(Period::Day, &mut book, 2);
        let known = ["Day-1".to_owned()].into();
        let now = NOON.parse().unwrap();
        let next = round(&book, (&Table::default(), &known), &[], now);
        assert_eq!(next.policies.len(), MOST_GONE + 1);
        assert!(next.policies.contains_key("Day-1"));
        assert!(!next.policies.contains_key("Day-0"), "it ends first");
    }

    #[test]
    fn a_book_that_is_full_gets_no_slice_more_until_one_ends_and_loses_nothing_that_comes_back() {
        let known = ["support".to_owned()].into();
        let day = json!([{ "period": "Day", "limit": "10" }]);
        let table = table(day);
        let within = |book: &Book, loads: &[&RouterLoad], time: &str, most| {
            let pods = ["a", "b"];
            let routers = pods.iter().zip(loads);
            let routers = routers.map(|(pod, load)| Reported {
                pod,
                load: Some(load),
            });
            let routers: Vec<_> = routers.collect();
            round_within(
                book,
                (&table, &known),
                &routers,
                time.parse().unwrap(),
                most,
            )
        };
        let first = within(&Book::default(), &[&load()], NOON, usize::MAX).book;
        let full = longest(&first);
        let (mut one, mut two) = (load(), load());
        two.run = "a17e".into();
        let purse = one.purses.get_mut("support").unwrap();
        let purse = purse.get_mut(&Period::Day).unwrap();
        purse.begins = Some(first.policies["support"][&Period::Day].begins);
        purse.granted = "0.2".parse().unwrap();
        purse.returned = "0.05".parse().unwrap();
        let second = within(&first, &[&one, &two], NOON, full);
        assert_eq!(second.without_room, known);
        let ledger = |dealt: &Dealt| dealt.book.policies["support"][&Period::Day].clone();
        let slices = ledger(&second).slices;
        assert_eq!(slices.len(), 1, "{slices:?}");
        let slice = &slices["9f3c"];
        assert_eq!(slice.returned, "0.05".parse().unwrap());
        assert!(slice.granted > "0.2".parse().unwrap(), "{slice:?}");
        // The slices of the day that is over leave their room at once.
        let third = within(&second.book, &[&two], "2026-11-23T00:00:00Z", full);
        assert!(third.without_room.is_empty());
        let third = ledger(&third);
        assert_eq!(third.begins, "2026-11-23T00:00:00Z".parse().unwrap());
        assert!(third.slices.contains_key("a17e"), "{third:?}");
    }

    #[test]
    fn a_policy_that_a_full_book_has_no_room_for_has_no_ledger_and_is_named() {
        let known = ["support".to_owned()].into();
        let now = NOON.parse().unwrap();
        let dealt = round_within(&Book::default(), (&table(both()), &known), &[], now, 0);
        assert_eq!(dealt.without_room, known);
        assert_eq!(dealt.book, Book::default());
    }

    #[test]
    fn nothing_is_granted_of_what_cannot_be_read() {
        let odd = Book {
            unreadable: [("support".into(), "odd".into())].into(),
            ..Book::default()
        };
        assert_eq!(after(&odd, both(), NOON), odd);
        let now = NOON.parse().unwrap();
        let gone = round(&odd, (&Table::default(), &BTreeSet::new()), &[], now);
        assert_eq!(gone, Book::default(), "its policy is gone");
    }
}
