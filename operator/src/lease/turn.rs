//! Whose turn it is: from what was seen of the lease, and when, to what to do about it.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

/// A lease's record and since when it has been unchanged, on our clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    holder: Option<String>,
    renewed: Option<Timestamp>,
    transitions: i32,
    since: Instant,
}

/// What to do in this round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Somebody else holds it and may still be writing.
    Wait,
    Take {
        transitions: i32,
    },
    Renew {
        transitions: i32,
    },
}

impl Seen {
    /// The record as it is now; its age carries over from `earlier` where nothing changed.
    pub fn update(earlier: Option<Self>, lease: &Lease, now: Instant) -> Self {
        let spec = lease.spec.clone().unwrap_or_default();
        let fresh = Self {
            holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
            renewed: spec.renew_time.map(|time| time.0),
            transitions: spec.lease_transitions.unwrap_or(0),
            since: now,
        };
        match earlier {
            Some(earlier) if fresh.same_record(&earlier) => earlier,
            _ => fresh,
        }
    }

    fn same_record(&self, other: &Self) -> bool {
        (&self.holder, self.renewed, self.transitions)
            == (&other.holder, other.renewed, other.transitions)
    }
}

/// Whose turn it is. `seen` is nothing where there is no lease at all.
pub fn decide(seen: Option<&Seen>, identity: &str, now: Instant, lease: Duration) -> Turn {
    let Some(seen) = seen else {
        return Turn::Take { transitions: 0 };
    };
    let next = Turn::Take {
        transitions: seen.transitions + 1,
    };
    match &seen.holder {
        None => next,
        Some(holder) if holder == identity => Turn::Renew {
            transitions: seen.transitions,
        },
        Some(_) if now.duration_since(seen.since) >= lease => next,
        Some(_) => Turn::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::coordination::v1::LeaseSpec;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

    const LEASE: Duration = Duration::from_secs(15);

    fn lease(holder: &str, renewed_second: i64) -> Lease {
        Lease {
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.into()),
                renew_time: Some(MicroTime(Timestamp::from_second(renewed_second).unwrap())),
                lease_transitions: Some(4),
                ..LeaseSpec::default()
            }),
            ..Lease::default()
        }
    }

    #[test]
    fn a_lease_that_nobody_made_is_taken() {
        let turn = decide(None, "a", Instant::now(), LEASE);
        assert_eq!(turn, Turn::Take { transitions: 0 });
    }

    #[test]
    fn a_lease_that_was_given_back_is_taken_at_once() {
        let now = Instant::now();
        let seen = Seen::update(None, &lease("", 0), now);
        assert_eq!(
            decide(Some(&seen), "a", now, LEASE),
            Turn::Take { transitions: 5 }
        );
    }

    #[test]
    fn our_own_lease_is_renewed_also_after_a_restart_under_the_same_name() {
        let now = Instant::now();
        let seen = Seen::update(None, &lease("a", 0), now);
        assert_eq!(
            decide(Some(&seen), "a", now, LEASE),
            Turn::Renew { transitions: 4 }
        );
    }

    #[test]
    fn anothers_lease_is_taken_only_after_it_stood_still_for_a_whole_lease() {
        let start = Instant::now();
        let first = Seen::update(None, &lease("b", 0), start);
        let almost = start + LEASE - Duration::from_millis(1);
        let still = Seen::update(Some(first.clone()), &lease("b", 0), almost);
        assert_eq!(decide(Some(&still), "a", almost, LEASE), Turn::Wait);
        let turn = decide(Some(&still), "a", start + LEASE, LEASE);
        assert_eq!(turn, Turn::Take { transitions: 5 });

        let renewed = Seen::update(Some(first), &lease("b", 2), almost);
        assert_eq!(
            decide(Some(&renewed), "a", start + LEASE, LEASE),
            Turn::Wait
        );
    }

    #[test]
    fn a_record_with_an_old_wall_clock_is_not_taken_by_looking_at_the_wall_clock() {
        let now = Instant::now();
        let seen = Seen::update(None, &lease("b", -1_000_000), now);
        assert_eq!(decide(Some(&seen), "a", now, LEASE), Turn::Wait);
    }
}
