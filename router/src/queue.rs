//! Who waits, and who is next: each tenant's asks in their order, and tenants in turn, so that one with a
//! thousand asks does not stand before another with one.

use std::collections::{BTreeMap, VecDeque};

use weir_policy::table::HoldBounds;

/// Those who wait, by a number of each.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Whose turn it is, the next first.
    turns: VecDeque<String>,
    waiting: BTreeMap<String, VecDeque<Place>>,
    asks: usize,
    bytes: u64,
    last: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    number: u64,
    bytes: u64,
}

impl Queue {
    /// A place at the end; nothing where there is no room for one more.
    pub fn enter(&mut self, bounds: &HoldBounds, tenant: &str, bytes: u64) -> Option<u64> {
        if self.asks >= bounds.asks || self.bytes.saturating_add(bytes) > bounds.bytes {
            return None;
        }
        self.last += 1;
        let place = Place {
            number: self.last,
            bytes,
        };
        let waiting = self.waiting.entry(tenant.to_owned()).or_default();
        if waiting.is_empty() {
            self.turns.push_back(tenant.to_owned());
        }
        waiting.push_back(place);
        self.asks += 1;
        self.bytes += bytes;
        Some(place.number)
    }

    /// Whoever is next, who waits no longer.
    pub fn next(&mut self) -> Option<u64> {
        let tenant = self.turns.pop_front()?;
        let waiting = self.waiting.get_mut(&tenant)?;
        let place = waiting.pop_front()?;
        match waiting.is_empty() {
            true => drop(self.waiting.remove(&tenant)),
            false => self.turns.push_back(tenant),
        }
        self.gone(place);
        Some(place.number)
    }

    /// One has given up.
    pub fn leave(&mut self, tenant: &str, number: u64) {
        let Some(waiting) = self.waiting.get_mut(tenant) else {
            return;
        };
        let at = waiting.iter().position(|place| place.number == number);
        let Some(place) = at.and_then(|at| waiting.remove(at)) else {
            return;
        };
        if waiting.is_empty() {
            self.waiting.remove(tenant);
            self.turns.retain(|of| of != tenant);
        }
        self.gone(place);
    }

    pub fn is_empty(&self) -> bool {
        self.asks == 0
    }

    fn gone(&mut self, place: Place) {
        self.asks -= 1;
        self.bytes -= place.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const BOUNDS: HoldBounds = HoldBounds {
        asks: 4,
        bytes: 100,
        wait: Duration::ZERO,
    };

    #[test]
    fn tenants_take_turns_and_each_keeps_its_order() {
        let mut queue = Queue::default();
        let mut enter = |tenant| queue.enter(&BOUNDS, tenant, 1).unwrap();
        let [a1, a2, a3, b1] = ["a", "a", "a", "b"].map(&mut enter);
        let order: Vec<_> = std::iter::from_fn(|| queue.next()).collect();
        assert_eq!(order, [a1, b1, a2, a3]);
        assert!(queue.is_empty());
    }

    #[test]
    fn there_is_room_for_so_many_asks_and_bytes() {
        let mut queue = Queue::default();
        assert!(queue.enter(&BOUNDS, "a", 101).is_none());
        let first = queue.enter(&BOUNDS, "a", 98).unwrap();
        assert!(queue.enter(&BOUNDS, "b", 3).is_none(), "too many bytes");
        for _ in 0..2 {
            assert!(queue.enter(&BOUNDS, "b", 1).is_some());
        }
        queue.leave("a", first);
        for _ in 0..2 {
            assert!(queue.enter(&BOUNDS, "c", 1).is_some());
        }
        assert!(queue.enter(&BOUNDS, "c", 1).is_none(), "too many asks");
    }

    #[test]
    fn whoever_gives_up_leaves_no_gap() {
        let mut queue = Queue::default();
        let [a, b, c] = ["a", "b", "a"].map(|tenant| queue.enter(&BOUNDS, tenant, 1).unwrap());
        queue.leave("b", b);
        queue.leave("b", b);
        queue.leave("a", a);
        assert_eq!((queue.next(), queue.next()), (Some(c), None));
        assert_eq!(queue.bytes, 0);
    }
}
