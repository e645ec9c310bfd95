//! Phase 5: how many asks may be in hand, and whose they are. The wait for a replica belongs to the attempt
//! that needs one.
//!
//! All asks together are bounded by a number. So that one tenant cannot have all of the places, whoever has more
//! than seven times as many asks in hand as there are places free gets no more. That rule needs to know nothing of
//! who else will ask: alone, a tenant has seven eighths of the places; the eighth that stays free is there for
//! whoever comes; and the more come, the more the places of the greedy shrink towards an equal share, as their
//! asks end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

use crate::refusal::Refusal;
use crate::shared::Shared;

/// How many asks one tenant may have for each place that is free.
const FOR_EACH_FREE: usize = 7;

/// Takes one ask in hand, until the permit is dropped. Comes after the body is read,
/// so that half-sent bodies keep nobody out; what they take has bounds of its own.
pub(crate) fn admit(shared: &Shared) -> Result<OwnedSemaphorePermit, Refusal> {
    let permit = shared.asks.clone().try_acquire_owned();
    permit.map_err(|_| Refusal::TooManyAsks {
        limit: shared.args.max_asks,
    })
}

/// The asks in hand, by tenant. Who has none is not remembered.
#[derive(Default)]
pub(crate) struct Places {
    in_hand: Mutex<HashMap<String, usize>>,
}

/// One ask of a tenant. Dropping it gives its place free.
pub(crate) struct Place {
    places: Arc<Places>,
    tenant: String,
}

impl Places {
    /// Counts an ask of `tenant` that was admitted, where `free` places are left beside it.
    pub fn take(self: &Arc<Self>, tenant: &str, free: usize) -> Result<Place, Refusal> {
        let mut all = self.in_hand();
        let in_hand = all.get(tenant).copied().unwrap_or_default();
        if !may_have(in_hand, free + 1) {
            return Err(Refusal::TooManyOfOne { in_hand });
        }
        all.insert(tenant.to_owned(), in_hand + 1);
        Ok(Place {
            places: self.clone(),
            tenant: tenant.to_owned(),
        })
    }

    fn in_hand(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.in_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.places.in_hand();
        match all.get_mut(&self.tenant) {
            Some(in_hand) if *in_hand > 1 => *in_hand -= 1,
            _ => drop(all.remove(&self.tenant)),
        }
    }
}

/// Whether a tenant may have so much in hand where so much is free: places, or bytes.
pub(crate) fn may_have(in_hand: usize, free: usize) -> bool {
    in_hand <= free.saturating_mul(FOR_EACH_FREE)
}

/// What a tenant may have in hand of `all` where nobody else has any.
pub(crate) fn most_alone(all: usize) -> usize {
    all - all.div_ceil(FOR_EACH_FREE + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: usize = 64;
    /// How long an ask takes.
    const TICKS: usize = 15;

    /// Tenants that ask so often in each tick; how many of a tenant's asks are taken in hand, of all that it asked
    /// once places were scarce.
    fn taken(rates: &[usize]) -> Vec<f64> {
        let places = Arc::new(Places::default());
        let mut in_hand: Vec<(usize, Place)> = Vec::new();
        let (mut asked, mut got) = (vec![0; rates.len()], vec![0; rates.len()]);
        for tick in 0..1000 {
            in_hand.retain(|(until, _)| *until > tick);
            // The greedy one is first at every place that comes free.
            for (tenant, rate) in rates.iter().enumerate().rev() {
                for _ in 0..*rate {
                    let counts = usize::from(tick >= 2 * TICKS);
                    asked[tenant] += counts;
                    let free = PLACES - in_hand.len();
                    let place = match free {
                        0 => continue,
                        free => places.take(&tenant.to_string(), free - 1),
                    };
                    if let Ok(place) = place {
                        got[tenant] += counts;
                        in_hand.push((tick + TICKS, place));
                    }
                }
            }
        }
        let shares = got.into_iter().zip(asked);
        let part = |(got, asked): (usize, usize)| got as f64 / asked as f64;
        shares.map(part).collect()
    }

    #[test]
    fn a_tenant_at_ten_times_its_share_takes_no_place_from_the_others() {
        // Two that need 15 places each, and one that would fill 210.
        let shares = taken(&[1, 1, 14]);
        assert!(shares[0] >= 0.97 && shares[1] >= 0.97, "{shares:?}");
        let in_hand = shares[2] * (14 * TICKS) as f64;
        assert!(in_hand > 20.0, "and it has what they leave: {in_hand}");
    }

    #[test]
    fn a_tenant_that_is_alone_leaves_an_eighth_for_whoever_comes() {
        let places = Arc::new(Places::default());
        let mut held = Vec::new();
        while held.len() < 1024
            && let Ok(place) = places.take("greedy", 1023 - held.len())
        {
            held.push(place);
        }
        assert_eq!(held.len(), 897);
        assert!(places.take("late", 1023 - held.len()).is_ok());
        drop(held);
        assert!(places.in_hand().is_empty(), "who has none is forgotten");
    }

    #[test]
    fn the_most_that_one_may_have_alone_is_seven_eighths_and_not_one_more() {
        for all in [0, 1, 7, 8, 9, 64, 1000] {
            let most = most_alone(all);
            assert!(may_have(most, all - most), "{all}");
            assert!(all == 0 || !may_have(most + 1, all - most - 1), "{all}");
        }
    }

    #[test]
    fn few_places_may_all_be_those_of_one() {
        for places in 1..=8 {
            assert!(may_have(places - 1, 1));
        }
        assert!(!may_have(8, 1));
    }
}
