//! Who waits, and who is next: each tenant's asks in their order, and tenants in turn, so that one with a
//! thousand asks does not stand before another with one. Nor does one fill all the places: of these, and of the
//! bytes, the rule of `admit` keeps some free for whoever comes.

use std::collections::{BTreeMap, VecDeque};

use weir_policy::table::HoldBounds;

use crate::admit::may_have;

/// Those who wait, by a number of each.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Whose turn it is, the next first.
    turns: VecDeque<String>,
    waiting: BTreeMap<String, Line>,
    asks: usize,
    bytes: u64,
    last: u64,
}

/// Of one tenant.
#[derive(Debug, Default)]
struct Line {
    places: VecDeque<Place>,
    bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    number: u64,
    bytes: u64,
}

impl Queue {
    /// A place at the end; nothing where there is no room for one more, or the tenant has its part.
    pub fn enter(&mut self, bounds: &HoldBounds, tenant: &str, bytes: u64) -> Option<u64> {
        if !self.has_room(bounds, tenant, bytes) {
            return None;
        }
        self.last += 1;
        let place = Place {
            number: self.last,
            bytes,
        };
        let waiting = self.waiting.entry(tenant.to_owned()).or_default();
        if waiting.places.is_empty() {
            self.turns.push_back(tenant.to_owned());
        }
        waiting.places.push_back(place);
        waiting.bytes += bytes;
        self.asks += 1;
        self.bytes += bytes;
        Some(place.number)
    }

    fn has_room(&self, bounds: &HoldBounds, tenant: &str, bytes: u64) -> bool {
        let free = bounds.asks.saturating_sub(self.asks);
        let left = bounds.bytes.saturating_sub(self.bytes);
        let own = self.waiting.get(tenant);
        let (own_asks, own_bytes) = own.map_or((0, 0), |own| (own.places.len(), own.bytes));
        free > 0
            && bytes <= left
            && may_have(own_asks, free)
            // Bytes come many at a time: what counts is what is left once it has them.
            && may_have(as_count(own_bytes + bytes), as_count(left - bytes))
    }

    /// Whoever is next, who waits no longer.
    pub fn next(&mut self) -> Option<u64> {
        let tenant = self.turns.pop_front()?;
        let waiting = self.waiting.get_mut(&tenant)?;
        let place = waiting.places.pop_front()?;
        waiting.bytes -= place.bytes;
        match waiting.places.is_empty() {
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
        let places = &mut waiting.places;
        let at = places.iter().position(|place| place.number == number);
        let Some(place) = at.and_then(|at| places.remove(at)) else {
            return;
        };
        waiting.bytes -= place.bytes;
        if waiting.places.is_empty() {
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

fn as_count(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
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
        let first = queue.enter(&BOUNDS, "a", 87).unwrap();
        assert!(queue.enter(&BOUNDS, "b", 14).is_none(), "too many bytes");
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
    fn nobody_fills_all_the_places_nor_all_the_memory() {
        let bounds = HoldBounds {
            asks: 80,
            bytes: 8000,
            ..BOUNDS
        };
        for bytes in [1, 200, 2000] {
            let mut queue = Queue::default();
            let mut enter = |tenant: &str, bytes| queue.enter(&bounds, tenant, bytes).is_some();
            let greedy = (0..100).filter(|_| enter("greedy", bytes)).count();
            assert!(greedy <= 71 && greedy as u64 * bytes <= 7000, "{greedy}");
            let little = bytes.min(200);
            assert!(enter("modest", little) && enter("modest", little));
            assert!(!enter("greedy", bytes), "it has had its part");
            assert!(enter("late", little));
        }
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
