//! How many replicas the stable revision and the canary are to have.
//!
//! - Together they are at most one more than the deployment may have at all, so that a rollout needs room for
//!   one replica beside. What other revisions still have, which are on their way out, takes of the
//!   canary's room and of nobody else's. Where the canary's goal shrinks the stable revision does not wait.
//! - The stable revision gives up a replica only where there is no room for both, and only for one of the
//!   canary's that is ready: what is ready is never less than what is asked for, because of a rollout.

/// What there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Present {
    /// Replicas of the stable revision.
    pub stable: u32,
    pub canary: u32,
    /// Of the canary's.
    pub ready: u32,
    /// Replicas of other revisions.
    pub others: u32,
}

/// How many each is to have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    pub stable: u32,
    pub canary: u32,
}

/// Per cent of the asks that a canary gets which serves as its replicas are ready.
pub fn weight_of(stable: u32, canary: u32) -> u32 {
    (100 * canary / (canary + stable).max(1)).min(99)
}

/// Per cent of the asks that are too much for a stable revision of which so many are ready, but no more than is the
/// part of those of the canary that are.
pub fn weight_lacking(replicas: u32, stable: u32, canary: u32) -> u32 {
    let lacking = 100 * replicas.saturating_sub(stable) / replicas.max(1);
    lacking.min(weight_of(stable, canary))
}

/// How many of `replicas` a canary needs for so many per cent of the asks.
pub fn needed(replicas: u32, weight: u32) -> u32 {
    let part = u64::from(replicas) * u64::from(weight);
    (part.div_ceil(100) as u32).max(1).min(replicas)
}

/// How many each is to have now, on the way to `goal` replicas of the canary, where the deployment is to have
/// `replicas` and may have `most`.
pub fn shares(replicas: u32, most: u32, goal: u32, present: Present) -> Shares {
    let room = most.max(replicas) + 1;
    let spared = replicas.saturating_sub(goal.min(present.ready));
    let stable = (room - goal.min(room)).max(spared).min(replicas);
    let taken = stable.max(present.stable).saturating_add(present.others);
    let left = room.saturating_sub(taken);
    Shares {
        stable,
        // What it has it keeps.
        canary: goal.min(left.max(present.canary)),
    }
}

/// How many each is to have while the canary gives back what it took over: it keeps what the stable revision,
/// of which so many are ready, does not have yet.
pub fn handed_back(replicas: u32, most: u32, stable_ready: u32, present: Present) -> Shares {
    let room = most.max(replicas) + 1;
    let left = room.saturating_sub(present.canary);
    Shares {
        stable: left.max(present.stable).min(replicas),
        canary: present.canary.min(replicas.saturating_sub(stable_ready)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn present(stable: u32, canary: u32, ready: u32) -> Present {
        Present {
            stable,
            canary,
            ready,
            others: 0,
        }
    }

    #[test]
    fn a_share_of_the_asks_needs_its_part_of_the_replicas_and_at_least_one() {
        let needed = [(1, 5), (4, 5), (4, 25), (4, 50), (10, 25), (0, 50)]
            .map(|(replicas, weight)| needed(replicas, weight));
        assert_eq!(needed, [1, 1, 1, 2, 3, 0]);
    }

    #[test]
    fn with_room_for_one_more_they_change_places_one_by_one() {
        let mut there = present(4, 0, 0);
        let mut seen = Vec::new();
        while there.ready < 4 {
            let next = shares(4, 4, 4, there);
            there = present(next.stable, next.canary, next.canary);
            seen.push((next.stable, next.canary));
            assert!(seen.len() < 20, "{seen:?}");
        }
        assert_eq!(
            seen,
            [(4, 1), (3, 1), (3, 2), (2, 2), (2, 3), (1, 3), (1, 4)]
        );
    }

    #[test]
    fn with_room_for_both_the_stable_revision_keeps_what_it_has() {
        assert_eq!(
            shares(2, 8, 2, present(2, 0, 0)),
            Shares {
                stable: 2,
                canary: 2
            }
        );
        assert_eq!(
            shares(2, 8, 2, present(2, 2, 2)),
            Shares {
                stable: 2,
                canary: 2
            }
        );
    }

    #[test]
    fn what_others_still_have_keeps_the_canary_waiting_and_takes_nothing_from_the_stable_one() {
        let mut there = present(3, 0, 0);
        there.others = 2;
        assert_eq!(
            shares(4, 4, 1, there),
            Shares {
                stable: 4,
                canary: 0
            }
        );
        there.others = 0;
        assert_eq!(
            shares(4, 4, 1, there),
            Shares {
                stable: 4,
                canary: 1
            }
        );
    }

    #[test]
    fn what_was_taken_over_is_given_back_one_by_one() {
        let mut there = present(1, 4, 4);
        let mut seen = Vec::new();
        while there.stable < 4 || there.canary > 0 {
            let next = handed_back(4, 4, there.stable, there);
            there = present(next.stable, next.canary, next.canary);
            seen.push((next.stable, next.canary));
            assert!(seen.len() < 20, "{seen:?}");
        }
        let one_by_one = [(1, 3), (2, 3), (2, 2), (3, 2), (3, 1), (4, 1), (4, 0)];
        assert_eq!(seen, one_by_one);
    }

    proptest! {
        #[test]
        fn whatever_was_taken_over_is_given_back_within_the_room_and_without_a_dip(
            (replicas, above) in (1u32..12, 0u32..6),
            part in 1u32..=100,
            slow in any::<u64>(),
        ) {
            let most = replicas + above;
            let goal = needed(replicas, part);
            let stable = replicas - goal.min(replicas);
            let mut there = present(stable, goal, goal);
            let mut ready = stable;
            for look in 0..64 {
                let next = handed_back(replicas, most, ready, there);
                there = present(next.stable, next.canary, next.canary);
                ready = ready.min(there.stable);
                prop_assert!(there.stable + there.canary <= most + 1, "{there:?}");
                prop_assert!(ready + there.ready >= replicas, "{ready} {there:?}");
                if slow >> look & 1 == 1 || look >= 32 {
                    ready = there.stable;
                }
            }
            prop_assert_eq!((there.stable, there.canary), (replicas, 0));
        }

        #[test]
        fn whatever_there_is_the_goal_is_reached_within_the_room_and_without_a_dip(
            (replicas, above) in (1u32..12, 0u32..6),
            part in 1u32..=100,
            slow in any::<u64>(),
        ) {
            let most = replicas + above;
            let goal = needed(replicas, part);
            let mut there = present(replicas, 0, 0);
            for look in 0..64 {
                let next = shares(replicas, most, goal, there);
                // Deployments make and take replicas before the new ones are ready, which takes its time.
                let may_start = next.canary > there.canary;
                there.stable = next.stable;
                there.canary = next.canary;
                if !may_start && slow >> look & 1 == 1 || look >= 32 {
                    there.ready = there.canary;
                }
                prop_assert!(there.stable + there.canary <= most + 1, "{there:?}");
                prop_assert!(there.stable + there.ready >= replicas, "{there:?}");
            }
            prop_assert_eq!(there.canary, goal);
        }
    }
}
