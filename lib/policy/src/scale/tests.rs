//! A deployment second by second: what is reported, and what is decided.

use serde_json::json;

use super::history::History;
use super::inputs::{Replica, ReplicaReport, Router, RouterReport};
use super::*;
use crate::load::Capacity;

const MINUTE: u64 = 60;

/// A deployment of which each replica takes ten asks at once, a router, and whoever decides.
pub(super) struct World {
    pub history: History,
    pub inputs: Inputs,
    pub bounds: Bounds,
}

impl World {
    /// With so many replicas, all ready.
    pub fn with(replicas: u32) -> Self {
        let bounds = Bounds {
            min: 1,
            max: 20,
            utilization: 0.8,
            concurrency: None,
            down_after_ms: 5 * MINUTE * 1000,
            zero_after_ms: 10 * MINUTE * 1000,
        };
        let inputs = Inputs {
            at_ms: 3_600_000,
            wanted: replicas,
            cold_start_ms: Some(20_000),
            capacity: Some(Capacity {
                sequences: 10,
                tokens_per_second: 500,
            }),
            routers: vec![router("a")],
            ..Inputs::default()
        };
        let mut world = Self {
            history: History::default(),
            inputs,
            bounds,
        };
        world.ready(replicas);
        world
    }

    pub fn ready(&mut self, replicas: u32) {
        let ready = Replica {
            is_ready: true,
            report: Some(ReplicaReport::default()),
        };
        self.inputs.replicas = vec![ready; replicas as usize];
    }

    /// So many asks are at replicas, all over, and so many are held.
    pub fn load(&mut self, running: u32, held: u32) {
        let report = self.report();
        (report.running, report.held) = (running, held);
        let replicas = &mut self.inputs.replicas;
        let count = replicas.len().max(1) as u32;
        for (place, replica) in (0..).zip(replicas) {
            if let Some(report) = &mut replica.report {
                report.running = (running + count - 1 - place) / count;
            }
        }
    }

    pub fn report(&mut self) -> &mut RouterReport {
        self.inputs.routers[0].report.get_or_insert_default()
    }

    /// A second later, in which so many asks came.
    pub fn second(&mut self, came: u64) -> Decision {
        self.inputs.at_ms += 1000;
        if let Some(report) = &mut self.inputs.routers[0].report {
            report.asked += came;
        }
        let history = std::mem::take(&mut self.history);
        let (history, decision) = decide(history, &self.inputs, &self.bounds);
        self.history = history;
        self.inputs.wanted = decision.to;
        decision
    }

    /// After how many seconds, of `most` at most, the count changes; every second so many asks come.
    pub fn change(&mut self, most: u64, came: u64) -> Option<(u64, Decision)> {
        let seconds = (1..=most).map(|second| (second, self.second(came)));
        { seconds }.find(|(_, decision)| decision.is_change())
    }
}

pub(super) fn router(name: &str) -> Router {
    Router {
        name: name.into(),
        is_ready: true,
        report: Some(RouterReport::default()),
    }
}

fn changes(change: &Option<(u64, Decision)>) -> Option<(u64, u32, Reason)> {
    let (second, decision) = change.as_ref()?;
    Some((*second, decision.to, decision.reason))
}

#[test]
fn the_first_held_ask_brings_a_replica_at_once() {
    let mut world = World::with(0);
    world.bounds.min = 0;
    assert_eq!(world.second(0).reason, Reason::Steady);
    world.load(0, 1);
    let decision = world.second(1);
    assert_eq!((decision.to, decision.reason), (1, Reason::FromZero));
    assert!(decision.message.contains("1 held"), "{decision:?}");
    // Nor does it matter that nothing was seen before, or is known of any replica.
    let mut fresh = World::with(0);
    (fresh.bounds.min, fresh.inputs.capacity) = (0, None);
    fresh.load(0, 3);
    assert_eq!(fresh.second(3).to, 1);
}

#[test]
fn what_is_usual_is_had_at_the_utilization_that_is_aimed_at() {
    let mut world = World::with(2);
    world.load(16, 0);
    assert_eq!(world.change(5 * MINUTE, 4), None, "2 x 10 x 0.8");
    world.load(18, 0);
    let change = world.change(MINUTE, 4);
    let (second, decision) = change.unwrap();
    assert_eq!((decision.to, decision.reason), (3, Reason::Demand));
    assert!(second <= 20, "{second}");
    assert!(decision.message.ends_with("over 10 x 0.8"), "{decision:?}");
}

#[test]
fn a_burst_brings_what_it_needs_within_seconds_and_not_one_replica_for_every_ten_that_wait() {
    let mut world = World::with(2);
    world.load(8, 0);
    // Four a second, of two seconds each.
    assert_eq!(world.change(2 * MINUTE, 4), None);
    let mut reasons = Vec::new();
    for second in 1..=20_u32 {
        // Twenty a second come, ten find a place: forty places are needed.
        world.load(20, 10 * second);
        let decision = world.second(20);
        reasons.push(decision.reason);
        let to = decision.to;
        assert!(second < 6 || to >= 5, "{to} after {second} seconds");
    }
    assert!(reasons.contains(&Reason::Burst), "{reasons:?}");
    // And those who wait, two hundred by now, in as long again as a start takes.
    assert!(world.inputs.wanted <= 8, "{}", world.inputs.wanted);
}

#[test]
fn fewer_replicas_must_have_sufficed_for_as_long_as_is_said() {
    let mut world = World::with(4);
    world.load(30, 0);
    assert_eq!(world.change(10 * MINUTE, 15), None);
    world.load(10, 0);
    // What was usual before is so for some seconds more.
    assert_eq!(world.change(5 * MINUTE, 5), None);
    let (_, decision) = world.change(10, 5).unwrap();
    assert_eq!((decision.to, decision.reason), (3, Reason::Quiet));
    assert_eq!(decision.message, "3 sufficed for 5m");
    assert_eq!(world.change(10, 5).unwrap().1.to, 2);
    assert_eq!(world.change(10 * MINUTE, 5), None);
}

#[test]
fn a_hill_in_the_quiet_begins_it_anew() {
    let mut world = World::with(4);
    world.load(10, 0);
    assert_eq!(world.change(4 * MINUTE, 5), None);
    world.load(30, 0);
    assert_eq!(world.change(MINUTE, 15), None);
    world.load(10, 0);
    assert_eq!(world.change(5 * MINUTE - 1, 5), None);
    assert!(world.change(MINUTE, 5).is_some());
}

#[test]
fn the_last_replica_goes_when_nobody_was_there_for_as_long_as_is_said() {
    let mut world = World::with(1);
    assert_eq!(world.change(20 * MINUTE, 0), None, "min is 1");
    let mut world = World::with(1);
    world.bounds.min = 0;
    let change = world.change(20 * MINUTE, 0);
    assert_eq!(changes(&change), Some((601, 0, Reason::ToZero)));
}

#[test]
fn an_ask_that_came_and_went_between_two_looks_keeps_the_last_replica() {
    let mut world = World::with(1);
    world.bounds.min = 0;
    assert_eq!(world.change(9 * MINUTE, 0), None);
    world.second(1);
    assert_eq!(world.change(10 * MINUTE - 1, 0), None);
    assert!(world.change(2, 0).is_some());
}

#[test]
fn several_replicas_may_go_at_once_and_all_when_nobody_is_there() {
    let mut world = World::with(5);
    world.bounds.min = 0;
    let change = world.change(20 * MINUTE, 0);
    assert_eq!(changes(&change), Some((301, 1, Reason::Quiet)));
    let change = world.change(20 * MINUTE, 0);
    assert_eq!(changes(&change), Some((300, 0, Reason::ToZero)));
}

#[test]
fn a_new_leader_takes_nothing_away_before_it_has_seen_as_much_as_the_old_one() {
    let mut world = World::with(4);
    assert_eq!(world.change(5 * MINUTE - 1, 0), None);
    world.history = History::default();
    assert_eq!(world.change(5 * MINUTE, 0), None);
    assert!(world.change(1, 0).is_some());
}

#[test]
fn nothing_goes_while_somebody_is_not_heard_who_should_be() {
    type Silence = (&'static str, fn(&mut Inputs));
    let silences: [Silence; 5] = [
        ("a router", |inputs| inputs.routers[0].report = None),
        ("no router", |inputs| inputs.routers.clear()),
        ("another router", |inputs| {
            inputs.routers.push(Router {
                report: None,
                ..router("b")
            });
        }),
        ("a ready replica", |inputs| inputs.replicas[2].report = None),
        ("of late", |inputs| {
            let report = inputs.replicas[2].report.as_mut();
            report.unwrap().age_ms = 5001;
        }),
    ];
    for (who, silence) in silences {
        let mut world = World::with(4);
        world.bounds.min = 0;
        silence(&mut world.inputs);
        for _ in 0..20 * MINUTE {
            world.inputs.at_ms += 1000;
            let history = std::mem::take(&mut world.history);
            let (history, decision) = decide(history, &world.inputs, &world.bounds);
            world.history = history;
            assert!(!decision.is_change(), "{who}: {decision:?}");
        }
    }
}

#[test]
fn a_replica_that_is_not_ready_stops_nothing() {
    let mut world = World::with(4);
    world.inputs.replicas[3] = Replica::default();
    assert_eq!(
        changes(&world.change(6 * MINUTE, 0)),
        Some((301, 1, Reason::Quiet))
    );
    let mut world = World::with(2);
    world.inputs.replicas[1] = Replica::default();
    world.load(0, 0);
    world.report().running = 30;
    assert!(world.change(MINUTE, 15).unwrap().1.to > 2);
}

#[test]
fn the_count_stays_where_nobody_reports() {
    let mut world = World::with(4);
    world.load(30, 0);
    world.second(4);
    for replica in &mut world.inputs.replicas {
        replica.report = None;
    }
    world.report().age_ms = 60_000;
    let decision = world.second(0);
    assert_eq!((decision.to, decision.reason), (4, Reason::Unknown));
    assert_eq!(world.change(20 * MINUTE, 0), None);
}

#[test]
fn what_routers_have_at_replicas_counts_where_these_say_nothing() {
    let mut world = World::with(2);
    for replica in &mut world.inputs.replicas {
        replica.report = None;
    }
    world.report().running = 30;
    let change = world.change(MINUTE, 15);
    assert_eq!(change.unwrap().1.to, 4);
}

#[test]
fn a_router_that_begins_anew_or_was_not_heard_looks_like_no_burst() {
    let mut world = World::with(2);
    world.load(8, 1);
    assert_eq!(world.change(2 * MINUTE, 4), None);
    let report = world.report();
    report.asked = 0;
    assert_eq!(world.change(MINUTE, 4), None);
    let heard = world.inputs.routers[0].report.take();
    assert_eq!(world.change(MINUTE, 0), None);
    world.inputs.routers[0].report = heard;
    world.report().asked += 240;
    assert_eq!(world.change(MINUTE, 4), None);
    let mut new = router("b");
    new.report.get_or_insert_default().asked = 100_000;
    world.inputs.routers.push(new);
    assert_eq!(world.change(MINUTE, 4), None);
}

#[test]
fn a_clock_that_steps_moves_nothing() {
    for step in [-3_000_000_i64, 3_000_000] {
        let mut world = World::with(4);
        world.load(10, 0);
        assert_eq!(world.change(5 * MINUTE - 1, 5), None);
        world.inputs.at_ms = world.inputs.at_ms.saturating_add_signed(step);
        assert_eq!(world.change(5 * MINUTE, 5), None, "{step}");
        assert_eq!(world.change(MINUTE, 5).unwrap().1.to, 2);
    }
}

#[test]
fn a_count_outside_of_what_is_allowed_is_mended_and_what_is_needed_beyond_it_is_said() {
    let mut world = World::with(1);
    world.bounds.min = 3;
    let decision = world.second(0);
    assert_eq!((decision.to, decision.reason), (3, Reason::Bounds));
    let mut world = World::with(9);
    world.bounds.max = 4;
    assert_eq!(world.second(0).to, 4);
    let mut world = World::with(2);
    world.bounds.max = 3;
    world.load(90, 0);
    let (_, decision) = world.change(MINUTE, 45).unwrap();
    assert_eq!((decision.to, decision.reason), (3, Reason::Demand));
    assert!(decision.message.ends_with("needed, at most 3"));
}

#[test]
fn what_grows_is_met_earlier_where_a_start_takes_longer() {
    let met = |cold_start_ms| {
        let mut world = World::with(1);
        world.inputs.cold_start_ms = Some(cold_start_ms);
        let second = (1..).find(|second| {
            let came = second / 20;
            world.load((2 * came) as u32, 0);
            world.second(came).to > 4
        });
        second.unwrap()
    };
    let (soon, late) = (met(120_000), met(1000));
    assert!(soon + 15 < late, "{soon} and {late}");
}

#[test]
fn what_is_remembered_is_bounded_however_often_it_is_decided() {
    let mut world = World::with(1);
    world.bounds.down_after_ms = 24 * 3_600_000;
    for tenth in 0..20_000_u32 {
        world.inputs.at_ms += 100;
        world.load(tenth % 190, tenth % 7);
        world.report().asked += u64::from(tenth % 3);
        let history = std::mem::take(&mut world.history);
        let (history, decision) = decide(history, &world.inputs, &world.bounds);
        (world.history, world.inputs.wanted) = (history, decision.to);
    }
    let text = serde_json::to_string(&world.history).unwrap();
    assert!(text.len() < 64 << 10, "{} bytes", text.len());
}

#[test]
fn a_record_of_inputs_replayed_gives_the_same_decisions_also_from_its_middle() {
    let mut world = World::with(0);
    (world.bounds.min, world.bounds.down_after_ms) = (0, 60_000);
    let mut record = Vec::new();
    let mut middle = None;
    for second in 0..1200_u64 {
        if second == 400 {
            middle = Some(serde_json::to_string(&world.history).unwrap());
        }
        let came = [0, 1, 9, 30][(second / 90 % 4) as usize];
        let running = (2 * came as u32).min(10 * world.inputs.wanted);
        world.ready(world.inputs.wanted);
        world.load(running, 2 * came as u32 - running);
        world.inputs.at_ms += 1000;
        world.report().asked += came;
        let history = std::mem::take(&mut world.history);
        let (history, decision) = decide(history, &world.inputs, &world.bounds);
        let entry = json!({ "inputs": world.inputs, "decision": decision });
        record.push(entry.to_string());
        (world.history, world.inputs.wanted) = (history, decision.to);
    }
    let starts = [(0, "{}".to_owned()), (400, middle.unwrap())];
    for (start, history) in starts {
        let mut history: History = serde_json::from_str(&history).unwrap();
        let mut changes = 0;
        for entry in &record[start..] {
            let entry: serde_json::Value = serde_json::from_str(entry).unwrap();
            let inputs: Inputs = serde_json::from_value(entry["inputs"].clone()).unwrap();
            let (next, decision) = decide(history, &inputs, &world.bounds);
            history = next;
            changes += u32::from(decision.is_change());
            assert_eq!(json!(decision), entry["decision"]);
        }
        assert!(changes > 3, "{changes}");
    }
}

#[test]
fn the_bounds_of_a_deployment_are_read_and_what_cannot_be_read_is_as_if_left_out() {
    let read = |scaling: serde_json::Value| Bounds::of(&serde_json::from_value(scaling).unwrap());
    let bounds = read(json!({
        "min": 0, "max": 8, "utilization": "0.6", "concurrency": 48, "downAfter": "90s", "zeroAfter": "1h",
    }));
    let expected = Bounds {
        min: 0,
        max: 8,
        utilization: 0.6,
        concurrency: Some(48),
        down_after_ms: 90_000,
        zero_after_ms: 3_600_000,
    };
    assert_eq!(bounds, expected);
    let odd = read(json!({ "utilization": "0", "downAfter": "soon", "min": 3 }));
    assert_eq!(
        (odd.utilization, odd.down_after_ms, odd.max),
        (0.8, 300_000, 3)
    );
}
