//! Room for what is not in a book yet. What is there stays and may change: it was counted as long as it can get.

use super::ledger::{Book, Ledger};

/// A slice without its names, and a ledger without its slices, with amounts as long as they are ever written.
const SLICE_BYTES: usize = 208;
const LEDGER_BYTES: usize = 320;

/// What a book may still grow by.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    bytes: usize,
    was_short: bool,
}

impl Room {
    /// For whoever keeps a book where it may be of any size.
    pub fn endless() -> Self {
        Self {
            bytes: usize::MAX,
            was_short: false,
        }
    }

    /// Of so many bytes, what `book` leaves.
    pub fn beside(book: &Book, most_bytes: usize) -> Self {
        Self {
            bytes: most_bytes.saturating_sub(longest(book)),
            was_short: false,
        }
    }

    /// Takes some for a slice, if there is so much.
    pub(super) fn for_slice(&mut self, run: &str, pod: &str) -> bool {
        self.take(slice_bytes(run, pod))
    }

    /// Takes some for the ledger of a policy, if there is so much.
    pub(super) fn for_ledger(&mut self, policy: &str) -> bool {
        self.take(policy.len() + LEDGER_BYTES)
    }

    fn take(&mut self, bytes: usize) -> bool {
        let has_room = bytes <= self.bytes;
        match has_room {
            true => self.bytes -= bytes,
            false => self.was_short = true,
        }
        has_room
    }

    /// Whether somebody found none since this was asked last.
    pub(super) fn was_short(&mut self) -> bool {
        std::mem::take(&mut self.was_short)
    }
}

/// What the book takes at most, whatever its amounts become.
pub(super) fn longest(book: &Book) -> usize {
    let policies = book.policies.iter();
    let readable = policies.flat_map(|(policy, ledgers)| {
        let of_ledger = |ledger| policy.len() + LEDGER_BYTES + slices_bytes(ledger);
        ledgers.values().map(of_ledger)
    });
    let unreadable = book.unreadable.iter();
    let unreadable = unreadable.map(|(policy, json)| policy.len() + json.len());
    readable.chain(unreadable).sum()
}

fn slices_bytes(ledger: &Ledger) -> usize {
    let slices = ledger.slices.iter();
    slices
        .map(|(run, slice)| slice_bytes(run, &slice.pod))
        .sum()
}

fn slice_bytes(run: &str, pod: &str) -> usize {
    run.len() + pod.len() + SLICE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Tally;
    use crate::budget::ledger::Slice;
    use crate::budget::period::Span;
    use jiff::Timestamp;
    use rust_decimal::Decimal;
    use weir_crds::{Money, Period};

    /// As many digits as an amount can have.
    fn longest_amount() -> Money {
        "0.0000000000000000000000000012"
            .parse::<Decimal>()
            .map(Money::from)
            .unwrap()
    }

    fn tally(amount: Money) -> Tally {
        Tally {
            own: amount,
            without_weir: amount,
        }
    }

    fn slice(amount: Money) -> Slice {
        Slice {
            tally: tally(amount),
            pod: "weir-router-7c9f8d5b4-x2x4z".into(),
            granted: amount,
            returned: amount,
        }
    }

    #[test]
    fn a_book_never_takes_more_than_was_counted_when_its_amounts_were_short() {
        let book = |amount: Money| {
            let periods = [Period::Hour, Period::Day, Period::Month];
            let ledgers = periods.map(|period| {
                let mut ledger = Ledger::new(Span::holding(period, Timestamp::UNIX_EPOCH));
                ledger.spent = amount;
                ledger.tally = tally(amount);
                // As clocks say it.
                ledger.tallied = Some("2026-11-22T12:00:00.123456789Z".parse().unwrap());
                let runs = ["9f3c", "a-longer-name-of-a-run"];
                ledger.slices = runs.map(|run| (run.to_owned(), slice(amount))).into();
                (period, ledger)
            });
            Book {
                policies: [("support".into(), ledgers.into())].into(),
                unreadable: [("odd".into(), "{".into())].into(),
            }
        };
        let counted = longest(&book(Money::default()));
        let most: Money = "999999999999.1234567890123456".parse().unwrap();
        for amount in [longest_amount(), most, Decimal::MAX.into()] {
            let long = book(amount);
            assert_eq!(longest(&long), counted);
            let written = long.write().into_iter();
            let bytes: usize = written
                .map(|(policy, json)| policy.len() + json.len())
                .sum();
            assert!(bytes <= counted, "{bytes} of {counted}");
        }
    }

    #[test]
    fn room_is_taken_while_there_is_some_and_who_found_none_is_told_once() {
        let mut room = Room::beside(&Book::default(), slice_bytes("run", "pod"));
        assert!(room.for_slice("run", "pod") && !room.was_short());
        assert!(!room.for_slice("", "") && !room.for_ledger(""));
        assert!(room.was_short() && !room.was_short());
    }
}
