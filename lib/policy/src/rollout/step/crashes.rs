//! Whatever write is lost, and wherever a leader ends: a rollout ends as it would have.

use serde_json::{Value, json};

use super::world::{Fault, World};

/// What happens around the leader, by the second.
type Script = fn(&mut World, i64);

struct Story {
    name: &'static str,
    rollout: Value,
    script: Script,
    /// What serves in the end.
    ends: &'static str,
}

const SECONDS: i64 = 320;
/// By then a canary that nothing keeps takes over, where that takes a while.
const TAKES_OVER: i64 = 78;

fn rollout(more: Value) -> Value {
    let mut rollout = json!({
        "steps": [{ "weight": 10, "pause": "15s" }, { "weight": 50, "pause": "15s" }],
        "guard": { "minAsks": 20, "maxStepWait": "40s" },
    });
    for (field, value) in more.as_object().unwrap() {
        match field.as_str() {
            "onNoTraffic" => rollout["guard"][field] = value.clone(),
            _ => rollout[field] = value.clone(),
        }
    }
    rollout
}

fn story(name: &'static str, more: Value, ends: &'static str, script: Script) -> Story {
    Story {
        name,
        rollout: rollout(more),
        script,
        ends,
    }
}

fn wants(world: &mut World, second: i64, at: i64, revision: &str) {
    if second == at {
        world.wanted = revision.into();
    }
}

/// Has it change places for some seconds.
fn is_large(world: &mut World, second: i64) {
    if second == 0 {
        (world.replicas, world.most) = (24, 24);
    }
}

fn stories() -> Vec<Story> {
    let mut stories = judged();
    stories.extend(disturbed());
    stories
}

/// The canary comes to its end, good or bad.
fn judged() -> Vec<Story> {
    vec![
        story("passes", json!({}), "new", |world, second| {
            wants(world, second, 2, "new");
        }),
        story("fails", json!({}), "old", |world, second| {
            world.fails = [("new", 4)].into();
            wants(world, second, 2, "new");
        }),
        story(
            "is paused and promoted",
            json!({ "onFailure": "Pause" }),
            "new",
            |world, second| {
                world.fails = [("new", 4)].into();
                wants(world, second, 2, "new");
                if second == 150 {
                    world.order = Some("promote@new".parse().unwrap());
                }
            },
        ),
        story(
            "is paused and ended",
            json!({ "onFailure": "Pause" }),
            "old",
            |world, second| {
                world.fails = [("new", 4)].into();
                wants(world, second, 2, "new");
                if second == 150 {
                    world.order = Some("rollback@new".parse().unwrap());
                }
            },
        ),
    ]
}

/// The spec, the replicas or the asks change on the way, or there are no steps.
fn disturbed() -> Vec<Story> {
    vec![
        story("changes on the way", json!({}), "newer", |world, second| {
            wants(world, second, 2, "new");
            wants(world, second, 30, "newer");
        }),
        story("is taken back", json!({}), "old", |world, second| {
            wants(world, second, 2, "new");
            wants(world, second, 30, "old");
        }),
        story("is taken back late", json!({}), "old", |world, second| {
            is_large(world, second);
            wants(world, second, 24, "new");
            wants(world, second, TAKES_OVER, "old");
        }),
        story("changes late", json!({}), "newer", |world, second| {
            is_large(world, second);
            wants(world, second, 24, "new");
            wants(world, second, TAKES_OVER, "newer");
        }),
        story(
            "is ended late by a person",
            json!({}),
            "old",
            |world, second| {
                is_large(world, second);
                wants(world, second, 24, "new");
                if second == TAKES_OVER {
                    world.order = Some("rollback@new".parse().unwrap());
                }
            },
        ),
        story(
            "fails, is taken back and mended",
            json!({}),
            "newer",
            |world, second| {
                world.fails = [("new", 4)].into();
                wants(world, second, 2, "new");
                wants(world, second, 80, "old");
                wants(world, second, 84, "newer");
            },
        ),
        story("comes at zero", json!({}), "new", |world, second| {
            world.replicas = if (2..20).contains(&second) { 0 } else { 3 };
            wants(world, second, 6, "new");
        }),
        story("sleeps on the way", json!({}), "new", |world, second| {
            world.replicas = if (30..50).contains(&second) { 0 } else { 3 };
            wants(world, second, 2, "new");
        }),
        story(
            "has no asks",
            json!({ "onNoTraffic": "Promote" }),
            "new",
            |world, second| {
                world.asks = 0;
                wants(world, second, 2, "new");
            },
        ),
        story(
            "rolls",
            json!({ "strategy": "Rolling" }),
            "new",
            |world, second| {
                wants(world, second, 2, "new");
            },
        ),
        story(
            "is recreated",
            json!({ "strategy": "Recreate" }),
            "new",
            |world, second| {
                wants(world, second, 2, "new");
            },
        ),
    ]
}

/// What is there in the end: revisions with their label and replicas, what routers read, what is refused.
fn end(world: &World) -> String {
    let objects = world.objects.values();
    let objects: Vec<_> = objects
        .map(|of| (&of.name, of.is_stable, of.ready))
        .collect();
    let state = world.written();
    let refused = state.refused.as_ref().map(|refused| &refused.revision);
    format!(
        "{objects:?} {:?} {} {refused:?}",
        world.status, state.stable
    )
}

/// How many replicas the stable revision and the one on trial are told to have; 0 without a trial.
fn on_trial(world: &World) -> u32 {
    let state = world.written();
    let Some(trial) = &state.trial else {
        return 0;
    };
    let both = [&state.stable, &trial.revision].map(|name| world.objects.get(name));
    both.into_iter().flatten().map(|of| of.wanted).sum()
}

/// Where something may go wrong: a second, and how many writes the leader had then.
type Places = Vec<(i64, usize)>;

/// Plays the story with faults at some seconds, and looks at each second whether all is well meanwhile.
fn play(story: &Story, faults: &[(i64, Fault)]) -> (String, Places) {
    let mut world = World::new(story.rollout.clone());
    let recreates = story.rollout["strategy"] == "Recreate";
    let mut places = Places::new();
    for second in 0..SECONDS {
        (story.script)(&mut world, second);
        let fault = faults.iter().find(|(at, _)| *at == second);
        let writes = world.look(fault.map(|(_, fault)| *fault));
        places.push((second, writes.len()));
        let at = || format!("{} {second} {faults:?} {:?}", story.name, world.objects);
        let sleeps = ["zero", "sleeps"]
            .iter()
            .any(|word| story.name.contains(word));
        let enough = world.serving() >= world.replicas;
        let ready = |name: &String| world.ready(name);
        if let Some((stable, Some(canary), weight)) = &world.status {
            let (stable, canary) = (ready(stable), ready(canary));
            // Told a second ago, and a step's own weight is what its replicas are meant for.
            let part = 100 * (canary + 1) / (stable + canary + 1);
            assert!(*weight <= part.max(50), "{weight} of {part}: {}", at());
        }
        let grows = second < 30;
        assert!(recreates || sleeps || grows || enough, "{}", at());
        assert!(on_trial(&world) <= world.most + 1, "{}", at());
        assert!(
            !world.fails.contains_key(world.stable()) || world.order.is_some(),
            "{}",
            at()
        );
    }
    (end(&world), places)
}

#[test]
fn whichever_write_is_lost_and_wherever_a_leader_ends_the_end_is_the_same() {
    let mut played = 0;
    for story in stories() {
        let (expected, places) = play(&story, &[]);
        assert!(
            expected.contains(&format!(" {} ", story.ends)),
            "{}: {expected}",
            story.name
        );
        let one = places.iter().flat_map(|(second, writes)| {
            let crashes = (0..*writes).map(|write| (*second, Fault::Crash(write)));
            let losses = (0..*writes).map(|write| (*second, Fault::Lost(write)));
            crashes.chain(losses).collect::<Vec<_>>()
        });
        for fault in one {
            let (ended, _) = play(&story, &[fault]);
            assert_eq!(ended, expected, "{} {fault:?}", story.name);
            played += 1;
        }
    }
    assert!(played > 400, "{played}");
}

#[test]
fn nor_does_a_second_crash_right_after_the_first_change_the_end() {
    for story in stories() {
        let (expected, places) = play(&story, &[]);
        for (second, writes) in places {
            for write in 0..writes {
                let first = (second, Fault::Crash(write));
                // Whatever that look had to write is to be written again by the next.
                for again in 0..4 {
                    let faults = [first, (second + 1, Fault::Crash(again))];
                    let (ended, _) = play(&story, &faults);
                    assert_eq!(ended, expected, "{} {faults:?}", story.name);
                }
            }
        }
    }
}
