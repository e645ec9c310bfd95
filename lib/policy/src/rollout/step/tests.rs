//! What becomes of rollouts, one story each.

use serde_json::json;

use super::world::World;
use super::*;

fn quick() -> serde_json::Value {
    json!({
        "steps": [{ "weight": 10, "pause": "20s" }, { "weight": 50, "pause": "20s" }],
        "guard": { "minAsks": 20, "maxStepWait": "1m" },
    })
}

fn with(field: &str, value: &str) -> serde_json::Value {
    let mut rollout = quick();
    match field {
        "onNoTraffic" => rollout["guard"][field] = value.into(),
        _ => rollout[field] = value.into(),
    }
    rollout
}

/// Looks until that is so, and says after how many seconds.
#[track_caller]
fn until(world: &mut World, is_so: impl Fn(&World) -> bool) -> i64 {
    let begin = world.second;
    while !is_so(world) {
        world.look(None);
        let passed = world.second - begin;
        assert!(passed < 1000, "{:?} {:?}", world.reason, world.objects);
    }
    world.second - begin
}

fn reason(world: &World) -> String {
    world
        .reason
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default()
}

fn serves(world: &World, revision: &str) -> bool {
    world.stable() == revision && matches!(world.reason, Some(Reason::Serving))
}

fn is_rolled_back(world: &World) -> bool {
    matches!(world.reason, Some(Reason::RolledBack(_)))
}

#[test]
fn the_first_revision_serves_at_once() {
    let mut world = World::empty(quick());
    world.look(None);
    assert_eq!((world.stable(), world.weight()), ("new", 0));
    assert_eq!(world.objects["new"].wanted, 3);
    assert_eq!(reason(&world), "the revision of the spec serves");
}

#[test]
fn a_canary_goes_through_its_steps_and_takes_over() {
    let mut world = World::new(quick());
    world.wanted = "new".into();
    until(&mut world, |world| world.weight() == 10);
    assert_eq!(world.objects["new"].wanted, 1);
    let first = until(&mut world, |world| world.weight() == 50);
    assert!(
        (20..28).contains(&first),
        "{first}: the step and the second replica"
    );
    let second = until(&mut world, |world| world.weight() > 50);
    assert!((20..28).contains(&second), "{second}");
    until(&mut world, |world| serves(world, "new"));
    world.look(None);
    assert_eq!(world.objects.keys().collect::<Vec<_>>(), ["new"]);
    assert_eq!(world.ready("new"), 3);
}

#[test]
fn a_canary_that_fails_goes_and_is_not_tried_again_until_the_spec_changes() {
    let mut world = World::new(quick());
    world.fails = [("new", 5)].into();
    world.wanted = "new".into();
    until(&mut world, is_rolled_back);
    let said = reason(&world);
    assert!(
        said.contains("of the canary's attempts failed") && said.contains("rolled back"),
        "{said}"
    );
    for _ in 0..300 {
        world.look(None);
        assert_eq!((world.stable(), world.weight()), ("old", 0));
    }
    assert_eq!(world.objects.keys().collect::<Vec<_>>(), ["old"]);
    world.wanted = "old".into();
    world.look(None);
    assert!(serves(&world, "old"));
    world.wanted = "new".into();
    world.fails.clear();
    until(&mut world, |world| serves(world, "new"));
}

#[test]
fn a_failure_may_wait_for_a_person_and_gets_no_asks_meanwhile() {
    let mut world = World::new(with("onFailure", "Pause"));
    world.fails = [("new", 5)].into();
    world.wanted = "new".into();
    until(&mut world, |world| {
        matches!(world.reason, Some(Reason::Paused(_)))
    });
    for _ in 0..300 {
        world.look(None);
        assert_eq!((world.weight(), world.ready("new")), (0, 1));
        assert_eq!(world.objects["old"].wanted, 3);
    }
    assert!(
        reason(&world).contains("until weir.dev/rollout says"),
        "{}",
        reason(&world)
    );
    world.order = Some("promote@other".parse().unwrap());
    world.look(None);
    assert_eq!(world.weight(), 0, "of another revision");
    world.order = Some("promote@new".parse().unwrap());
    until(&mut world, |world| serves(world, "new"));
}

#[test]
fn a_person_may_end_a_rollout_and_take_that_back() {
    let mut world = World::new(quick());
    world.wanted = "new".into();
    until(&mut world, |world| world.weight() == 10);
    world.order = Some("rollback@new".parse().unwrap());
    world.look(None);
    assert!(is_rolled_back(&world));
    world.order = None;
    (0..60).for_each(|_| drop(world.look(None)));
    assert_eq!(world.objects.keys().collect::<Vec<_>>(), ["old"]);
    world.order = Some("promote@new".parse().unwrap());
    let took = until(&mut world, |world| serves(world, "new"));
    assert!(took < 20, "{took}: no steps");
}

#[test]
fn another_change_takes_the_canarys_place_and_begins_at_the_first_step() {
    let mut world = World::new(quick());
    world.wanted = "new".into();
    until(&mut world, |world| world.weight() == 50);
    world.wanted = "newer".into();
    until(&mut world, |world| {
        assert!(world.serving() >= 3, "{:?}", world.objects);
        world.weight() == 0
    });
    assert_eq!((world.stable(), world.ready("old")), ("old", 3));
    until(&mut world, |world| world.weight() == 10);
    assert!(!world.objects.contains_key("new"));
    until(&mut world, |world| serves(world, "newer"));
}

#[test]
fn what_was_taken_over_is_given_back_replica_by_replica_and_may_be_taken_over_again() {
    let taking_over = |world: &World| world.weight() > 50;
    let mut world = World::new(quick());
    world.wanted = "new".into();
    until(&mut world, taking_over);
    world.wanted = "old".into();
    let mut weights = Vec::new();
    while !serves(&world, "old") {
        world.look(None);
        assert!(
            world.serving() >= 3,
            "{:?} {:?}",
            world.objects,
            world.status
        );
        weights.push(world.weight());
        assert!(weights.len() < 30, "{weights:?}");
    }
    weights.dedup();
    assert_eq!(weights, [66, 33, 0]);
    // Whoever changes his mind once more waits for that, or says so.
    for order in [None, Some("promote@new")] {
        let mut world = World::new(quick());
        world.wanted = "new".into();
        until(&mut world, taking_over);
        world.wanted = "old".into();
        world.look(None);
        world.wanted = "new".into();
        world.order = order.map(|order| order.parse().unwrap());
        world.look(None);
        let hands_back = matches!(world.reason, Some(Reason::HandingBack { .. }));
        assert_eq!(hands_back, order.is_none(), "{}", reason(&world));
        until(&mut world, |world| {
            assert!(world.serving() >= 3, "{:?}", world.objects);
            serves(world, "new")
        });
    }
}

#[test]
fn a_canary_that_fails_late_gives_back_what_the_stable_revision_lacks_unless_it_is_of_no_use() {
    for (every, strategy) in [(4, "Rollback"), (4, "Pause"), (1, "Rollback"), (1, "Pause")] {
        let mut world = World::new(with("onFailure", strategy));
        (world.replicas, world.most) = (24, 24);
        (0..30).for_each(|_| drop(world.look(None)));
        world.wanted = "new".into();
        until(&mut world, |world| world.weight() > 50);
        world.fails = [("new", every)].into();
        let mut least = u32::MAX;
        for _ in 0..120 {
            world.look(None);
            least = least.min(world.serving());
            if serves(&world, "new") {
                break;
            }
        }
        assert!(!serves(&world, "new"), "it takes too long to be told");
        assert_eq!(least >= 24, every == 4, "{least} {strategy}");
        assert_eq!((world.weight(), world.ready("old")), (0, 24));
    }
}

#[test]
fn what_hands_back_and_what_is_paused_get_no_more_than_their_part_when_demand_grows() {
    let mut world = World::new(with("onFailure", "Pause"));
    world.fails = [("new", 4)].into();
    world.wanted = "new".into();
    until(&mut world, |world| {
        matches!(world.reason, Some(Reason::Paused(_))) && world.ready("old") == 3
    });
    world.look(None);
    (world.replicas, world.most) = (12, 12);
    for _ in 0..30 {
        world.look(None);
        assert_eq!(world.weight(), 0, "{:?}", world.objects);
    }
    assert_eq!(weight_lacking(10, 1, 1), 50);
    assert_eq!(weight_lacking(4, 1, 4), 75);
    assert_eq!(weight_lacking(4, 4, 1), 0);
}

#[test]
fn an_order_to_promote_does_so_once() {
    let mut world = World::new(quick());
    world.wanted = "new".into();
    world.order = Some("promote@new".parse().unwrap());
    let took = until(&mut world, |world| serves(world, "new"));
    assert!(took < 20, "{took}");
    world.wanted = "old".into();
    until(&mut world, |world| serves(world, "old"));
    world.wanted = "new".into();
    world.restart();
    let took = until(&mut world, |world| serves(world, "new"));
    assert!(took > 40, "{took}: its steps");
}

#[test]
fn a_step_whose_asks_all_go_to_the_canary_compares_nothing_and_waits() {
    let mut world = World::new(quick());
    world.sticks = true;
    world.wanted = "new".into();
    until(&mut world, |world| {
        matches!(world.reason, Some(Reason::NoTraffic { .. }))
    });
    let said = reason(&world);
    assert!(
        said.contains("the stable revision has had 0 of 20"),
        "{said}"
    );
    let written = world.state.clone();
    (0..300).for_each(|_| drop(world.look(None)));
    assert_eq!(world.weight(), 10);
    assert_ne!(world.state, written, "asks still count");
    world.sticks = false;
    until(&mut world, |world| serves(world, "new"));
}

#[test]
fn a_step_that_waits_without_asks_writes_nothing() {
    let mut world = World::new(quick());
    world.asks = 0;
    world.wanted = "new".into();
    until(&mut world, |world| {
        matches!(world.reason, Some(Reason::NoTraffic { .. }))
    });
    (0..40).for_each(|_| drop(world.look(None)));
    let writes: Vec<_> = (0..300).flat_map(|_| world.look(None)).collect();
    assert_eq!(writes, []);
}

#[test]
fn a_step_waits_for_asks_and_in_the_end_as_the_spec_says() {
    let mut world = World::new(quick());
    world.asks = 0;
    world.wanted = "new".into();
    until(&mut world, |world| {
        matches!(world.reason, Some(Reason::FewAsks { .. }))
    });
    until(&mut world, |world| {
        matches!(world.reason, Some(Reason::NoTraffic { .. }))
    });
    (0..300).for_each(|_| drop(world.look(None)));
    assert_eq!(world.weight(), 10);
    world.asks = 40;
    until(&mut world, |world| serves(world, "new"));

    let mut world = World::new(with("onNoTraffic", "Promote"));
    world.asks = 0;
    world.wanted = "new".into();
    let took = until(&mut world, |world| serves(world, "new"));
    assert!((60..90).contains(&took), "{took}");
}

#[test]
fn at_zero_replicas_a_change_is_taken_up_by_the_next_start() {
    let mut world = World::new(quick());
    world.replicas = 0;
    world.look(None);
    world.wanted = "new".into();
    world.look(None);
    assert_eq!(world.stable(), "new");
    world.replicas = 2;
    until(&mut world, |world| world.ready("new") == 2);
    assert!(serves(&world, "new"));
}

#[test]
fn a_trial_that_has_begun_sleeps_while_there_are_no_replicas() {
    let mut world = World::new(quick());
    world.wanted = "new".into();
    until(&mut world, |world| world.weight() == 50);
    world.replicas = 0;
    (0..100).for_each(|_| drop(world.look(None)));
    assert_eq!(world.reason, Some(Reason::Asleep));
    assert_eq!(
        (world.stable(), world.weight(), world.ready("new")),
        ("old", 0, 0)
    );
    world.replicas = 3;
    until(&mut world, |world| world.weight() == 50);
    until(&mut world, |world| serves(world, "new"));
}

#[test]
fn rolling_needs_no_asks_and_shares_them_by_replicas() {
    let mut world = World::new(with("strategy", "Rolling"));
    world.asks = 0;
    world.wanted = "new".into();
    let mut weights = Vec::new();
    while !serves(&world, "new") {
        world.look(None);
        weights.push(world.weight());
        assert!(weights.len() < 30, "{weights:?}");
    }
    weights.dedup();
    assert_eq!(weights, [0, 25, 33, 50, 66, 0]);
}

#[test]
fn recreate_stops_the_old_replicas_before_the_new_ones_start() {
    let mut world = World::new(with("strategy", "Recreate"));
    world.wanted = "new".into();
    while !serves(&world, "new") || world.ready("new") < 3 {
        world.look(None);
        let both = world.ready("old").min(world.ready("new"));
        assert_eq!(both, 0, "{:?}", world.objects);
        assert!(world.second < 1_000_200, "{:?}", world.reason);
    }
}

#[test]
fn what_never_served_is_replaced_at_once() {
    let mut world = World::empty(quick());
    world.wanted = "broken".into();
    world.broken = "broken";
    (0..60).for_each(|_| drop(world.look(None)));
    world.wanted = "mended".into();
    world.look(None);
    assert_eq!(world.reason, Some(Reason::Promoted(How::First)));
    until(&mut world, |world| world.ready("mended") == 3);
    assert!(serves(&world, "mended"));
}

#[test]
fn a_clock_that_leaps_ends_no_step_and_one_that_goes_back_stops_none() {
    let mut world = World::new(quick());
    world.wanted = "new".into();
    until(&mut world, |world| world.weight() == 10);
    world.second += 100_000;
    world.look(None);
    let left = until(&mut world, |world| world.weight() == 50);
    assert!(left >= 5, "{left}: one look is fifteen seconds at most");
    world.second -= 300_000;
    let left = until(&mut world, |world| world.weight() > 50);
    assert!(left < 30, "{left}");
    until(&mut world, |world| serves(world, "new"));
}

#[test]
fn a_lost_state_begins_the_trial_again_and_keeps_what_serves() {
    let mut world = World::new(quick());
    world.wanted = "new".into();
    until(&mut world, |world| world.weight() == 50);
    world.state = None;
    world.restart();
    world.look(None);
    assert_eq!((world.stable(), world.weight()), ("old", 10));
    until(&mut world, |world| serves(world, "new"));
}
