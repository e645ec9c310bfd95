//! Asks, or tokens, of one policy: what all its tenants may have in a minute, and what each of them may.
//! Pure: the time is an argument.
//!
//! - Of what all may have, each tenant that asked in the last minute has an equal share, and gets that whatever
//!   the others ask.
//! - Whoever has had its share gets more of what is left, as long as the others' shares stay there for them.
//! - So many tenants are remembered; one at rest is forgotten, and those beyond share one place.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::bucket::Bucket;

/// Whoever asked within this is counted among those who share.
const RECENT: Duration = Duration::from_secs(60);
/// A policy's Secret holds fewer keys than this by far.
const MOST_TENANTS: usize = 4096;
/// Of those who find no place, and of whoever has no name.
const NOBODY: &str = "";

/// What a minute is worth here; nothing is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Bounds {
    pub all: Option<f64>,
    pub each: Option<f64>,
}

/// Whose limit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Policy,
    Tenant,
}

impl Whose {
    /// For people.
    pub fn of(self) -> &'static str {
        match self {
            Whose::Policy => "this model",
            Whose::Tenant => "one tenant of this model",
        }
    }

    /// In metrics.
    pub fn word(self) -> &'static str {
        match self {
            Whose::Policy => "policy",
            Whose::Tenant => "tenant",
        }
    }
}

/// Not now, but after `wait`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Short {
    pub whose: Whose,
    pub wait: Duration,
}

/// What a tenant may still have of its tightest limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rest {
    pub whose: Whose,
    pub left: f64,
    /// Until all of the limit is there again.
    pub reset: Duration,
}

/// What was taken, for giving some of it back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Taken {
    amount: f64,
    of_share: f64,
    /// At that time: what is given back is rescaled as the buckets were since.
    bounds: Bounds,
    share: f64,
}

#[derive(Default)]
pub(super) struct Meter {
    all: Option<Bucket>,
    tenants: HashMap<String, Tenant>,
}

struct Tenant {
    seen: Instant,
    /// Of what all may have.
    share: Option<Bucket>,
    own: Option<Bucket>,
}

impl Meter {
    /// Whether the tenant may have `amount` now. It counts as one that asks from here on.
    pub fn ask(
        &mut self,
        tenant: &str,
        amount: f64,
        bounds: Bounds,
        now: Instant,
    ) -> Result<(), Short> {
        let others = self.turn(tenant, bounds, now);
        let asking = &self.tenants[self.place(tenant)];
        if let (Some(all), Some(share)) = (&self.all, &asking.share) {
            let has_share = share.wait(amount).is_zero();
            // A full share gives more than its worth; that much is there for it.
            let wait = all.wait(amount.min(share.worth()));
            let is_spare = all.left() - amount.min(all.worth()) >= others;
            let whose = Whose::Policy;
            match (has_share, is_spare) {
                (true, _) if !wait.is_zero() => return Err(Short { whose, wait }),
                (true, _) | (false, true) => {}
                (false, false) => {
                    let wait = share.wait(amount);
                    return Err(Short { whose, wait });
                }
            }
        }
        let wait = asking.own.as_ref().map(|own| own.wait(amount));
        let whose = Whose::Tenant;
        match wait.filter(|wait| !wait.is_zero()) {
            Some(wait) => Err(Short { whose, wait }),
            None => Ok(()),
        }
    }

    /// Takes what was asked for right before.
    pub fn take(&mut self, tenant: &str, amount: f64) -> Taken {
        let place = self.place(tenant).to_owned();
        let mut taken = Taken {
            amount,
            of_share: 0.0,
            bounds: Bounds::default(),
            share: 0.0,
        };
        if let Some(all) = &mut self.all {
            taken.bounds.all = Some(all.worth());
            all.take(amount);
        }
        let Some(asking) = self.tenants.get_mut(&place) else {
            return taken;
        };
        if let Some(share) = &mut asking.share {
            // What was spare for it is no debt of its share.
            taken.of_share = match share.wait(amount).is_zero() {
                true => amount,
                false => share.left(),
            };
            taken.share = share.worth();
            share.take(taken.of_share);
        }
        if let Some(own) = &mut asking.own {
            taken.bounds.each = Some(own.worth());
            own.take(amount);
        }
        taken
    }

    /// Of what was taken, this much was used: the rest is given back, or what is beyond is taken too.
    pub fn settle(&mut self, tenant: &str, taken: Taken, used: f64) {
        if taken.amount <= 0.0 {
            return;
        }
        let unused = 1.0 - used / taken.amount;
        if let (Some(all), Some(worth)) = (&mut self.all, taken.bounds.all) {
            all.give(taken.amount * unused * (all.worth() / worth));
        }
        let place = self.place(tenant).to_owned();
        let Some(asking) = self.tenants.get_mut(&place) else {
            return;
        };
        if let Some(share) = asking.share.as_mut().filter(|_| taken.share > 0.0) {
            share.give(taken.of_share * unused * (share.worth() / taken.share));
        }
        if let (Some(own), Some(worth)) = (&mut asking.own, taken.bounds.each) {
            own.give(taken.amount * unused * (own.worth() / worth));
        }
    }

    /// What the tenant may still have; nothing where nothing is limited.
    pub fn rest(&mut self, tenant: &str, bounds: Bounds, now: Instant) -> Option<Rest> {
        let others = self.turn(tenant, bounds, now);
        let asking = &self.tenants[self.place(tenant)];
        let of_all = self.all.as_ref().zip(asking.share.as_ref());
        let of_all = of_all.map(|(all, share)| Rest {
            whose: Whose::Policy,
            left: share.left().max(all.left() - others).min(all.left()),
            reset: all.wait(all.worth()),
        });
        let of_own = asking.own.as_ref().map(|own| Rest {
            whose: Whose::Tenant,
            left: own.left(),
            reset: own.wait(own.worth()),
        });
        let rests = of_all.into_iter().chain(of_own);
        rests.min_by(|one, other| one.left.total_cmp(&other.left))
    }

    /// Brings all buckets that count to `now`, the tenant's own among them, and gives how much the shares of the
    /// other tenants hold.
    fn turn(&mut self, tenant: &str, bounds: Bounds, now: Instant) -> f64 {
        self.remember(tenant, now);
        turned(&mut self.all, bounds.all, now);
        let place = self.place(tenant).to_owned();
        if let Some(asking) = self.tenants.get_mut(&place) {
            asking.seen = asking.seen.max(now);
        }
        let is_recent = |tenant: &&Tenant| now.saturating_duration_since(tenant.seen) < RECENT;
        let sharing = self.tenants.values().filter(is_recent).count().max(1) as f64;
        let share = bounds.all.map(|all| all / sharing);
        let mut others = 0.0;
        for (name, tenant) in &mut self.tenants {
            let is_asking = *name == place;
            if is_asking {
                turned(&mut tenant.own, bounds.each, now);
            }
            if is_asking || is_recent(&&*tenant) {
                turned(&mut tenant.share, share, now);
            }
            if let Some(share) = tenant.share.as_ref().filter(|_| !is_asking)
                && is_recent(&&*tenant)
            {
                others += share.left();
            }
        }
        others
    }

    /// Makes a place for the tenant where there is one.
    fn remember(&mut self, tenant: &str, now: Instant) {
        if self.tenants.contains_key(tenant) {
            return;
        }
        self.tenants.retain(|_, tenant| !tenant.rests(now));
        let name = match self.tenants.len() < MOST_TENANTS {
            true => tenant,
            false => NOBODY,
        };
        let new = || Tenant {
            seen: now,
            share: None,
            own: None,
        };
        self.tenants.entry(name.to_owned()).or_insert_with(new);
    }

    fn place<'a>(&self, tenant: &'a str) -> &'a str {
        match self.tenants.contains_key(tenant) {
            true => tenant,
            false => NOBODY,
        }
    }
}

impl Tenant {
    /// Whether forgetting it changes nothing.
    fn rests(&mut self, now: Instant) -> bool {
        let buckets = self.share.iter_mut().chain(&mut self.own);
        let mut are_full = buckets.map(|bucket| {
            bucket.turn(bucket.worth(), now);
            bucket.is_full()
        });
        now.saturating_duration_since(self.seen) >= RECENT && are_full.all(|is_full| is_full)
    }
}

/// Brings the bucket to `now`; it is there exactly while it is worth something.
fn turned(bucket: &mut Option<Bucket>, worth: Option<f64>, now: Instant) {
    match (bucket.as_mut(), worth) {
        (Some(bucket), Some(worth)) => bucket.turn(worth, now),
        (None, Some(worth)) => *bucket = Some(Bucket::full(worth, now)),
        (_, None) => *bucket = None,
    }
}

#[cfg(test)]
mod tests;
