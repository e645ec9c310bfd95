//! Rollouts from look to look, in a cluster that is played: what becomes of them, and that it becomes the same
//! whichever write an operator ends before.

mod cluster;

use serde_json::{Value, json};

use cluster::Cluster;

/// Longer than anything takes.
const LOOKS: usize = 80;

fn quick(more: &Value) -> Value {
    let mut rollout = json!({
        "steps": [{ "weight": 20, "pause": "10s" }, { "weight": 50, "pause": "20s" }],
        "guard": { "minAsks": 20, "maxStepWait": "1m" },
    });
    let all = rollout.as_object_mut().unwrap();
    all.extend(more.as_object().unwrap().clone());
    rollout
}

/// One whose first revision, of a drain of a minute, serves with two replicas.
async fn serving(rollout: &Value) -> Cluster {
    let mut cluster = Cluster::new(rollout);
    for _ in 0..4 {
        cluster.look().await;
    }
    assert!(serves("1m")(&cluster), "{}", cluster.triage()["status"]);
    cluster
}

fn drain(drain: &str) -> Value {
    json!({ "spec": { "drain": drain } })
}

/// What a person says of a revision that is in the status as this.
fn order(cluster: &Cluster, wish: &str, field: &str) -> Value {
    let revision = cluster.triage()["status"]["rollout"][field].clone();
    let order = format!("{wish}@{}", revision.as_str().unwrap_or_default());
    json!({ "metadata": { "annotations": { "weir.dev/rollout": order } } })
}

/// Looks once. Whatever happens, what routers are told of is there, and no less is ready than is asked for.
async fn look(cluster: &mut Cluster) {
    cluster.look().await;
    let (stable, canary, weight) = cluster.rollout();
    let replicas = cluster.replicas();
    assert!(replicas.contains_key(&stable), "{stable}: {replicas:?}");
    assert!(
        weight == 0 || replicas.contains_key(&canary),
        "{replicas:?}"
    );
    let spec = &cluster.triage()["spec"];
    let canary = replicas.get(&canary).filter(|_| weight > 0);
    let serving = replicas.get(&stable).into_iter().chain(canary);
    let ready: u64 = serving.map(|(_, ready)| ready).sum();
    let is_enough = ready >= spec["replicas"].as_u64().unwrap().min(2);
    assert!(
        is_enough || spec["rollout"]["strategy"] == "Recreate",
        "{replicas:?}"
    );
}

async fn until(cluster: &mut Cluster, is_so: impl Fn(&Cluster) -> bool) {
    for _ in 0..LOOKS {
        if is_so(cluster) {
            return;
        }
        look(cluster).await;
    }
    let replicas = cluster.replicas();
    panic!("{:?} {replicas:?} {}", cluster.rollout(), cluster.triage());
}

/// The revision of this drain serves alone.
fn serves(drain: &'static str) -> impl Fn(&Cluster) -> bool {
    move |cluster| {
        cluster.rollout() == (drain.into(), String::new(), 0)
            && cluster.replicas().len() == 1
            && cluster.condition("Ready") == "True/Serving"
    }
}

/// The first revision serves alone, though the spec speaks of another one.
fn is_rolled_back(cluster: &Cluster) -> bool {
    cluster.rollout() == ("1m".into(), String::new(), 0)
        && cluster.replicas() == [("1m".to_owned(), (2, 2))].into()
        && cluster.condition("CanaryHealthy") == "False/CanaryFailed"
}

/// Looks at what is over write nothing, once the status has the counts of those that are left.
async fn rests(cluster: &mut Cluster) {
    cluster.look().await;
    let before = cluster.objects().writes;
    for _ in 0..3 {
        cluster.look().await;
    }
    let after = cluster.objects().writes;
    assert_eq!(after, before, "{}", cluster.triage()["status"]);
}

/// What happens in a story, and how it ends.
struct Story {
    rollout: Value,
    fails: Option<&'static str>,
    /// What the user changes, when the canary has this weight.
    then: Option<(u64, Value)>,
    ends: Box<dyn Fn(&Cluster) -> bool>,
}

/// Plays it with an operator that ends before the write of this number, if any. How many writes there were.
async fn play(story: &Story, ends_before: Option<usize>) -> usize {
    let mut cluster = serving(&story.rollout).await;
    cluster.fails = story.fails;
    let began = cluster.objects().writes;
    cluster.objects().ends_before = ends_before.map(|write| began + write);
    cluster.change(&drain("2m"));
    if let Some((weight, change)) = &story.then {
        until(&mut cluster, |cluster| cluster.rollout().2 == *weight).await;
        cluster.change(change);
    }
    until(&mut cluster, |cluster| (story.ends)(cluster)).await;
    let writes = cluster.objects().writes - began;
    cluster.objects().ends_before = None;
    rests(&mut cluster).await;
    // Another operator finds what was decided, and leaves it.
    cluster.restart();
    rests(&mut cluster).await;
    assert!((story.ends)(&cluster), "{}", cluster.triage()["status"]);
    writes
}

/// An operator of another image, which ends before the write of this number, if any. How many writes there were.
async fn upgrade(ends_before: Option<usize>) -> usize {
    let mut cluster = serving(&quick(&json!({}))).await;
    let began = cluster.objects().writes;
    cluster.objects().ends_before = ends_before.map(|write| began + write);
    cluster.settings.worker_image = "next".into();
    let is_over = |cluster: &Cluster| {
        let serves = cluster.rollout() == ("1m".into(), String::new(), 0);
        serves && cluster.images() == [("next".to_owned(), false)]
    };
    for _ in 0..LOOKS {
        if is_over(&cluster) {
            break;
        }
        cluster.look().await;
    }
    let writes = cluster.objects().writes - began;
    cluster.objects().ends_before = None;
    rests(&mut cluster).await;
    cluster.restart();
    rests(&mut cluster).await;
    assert!(is_over(&cluster), "{ends_before:?} {:?}", cluster.images());
    writes
}

#[tokio::test]
async fn an_upgrade_is_promoted_whichever_write_an_operator_ends_before() {
    let writes = upgrade(None).await;
    assert!(writes > 5, "{writes}");
    for write in 0..writes {
        upgrade(Some(write)).await;
    }
}

/// However it is cut, it ends so.
async fn play_with_every_end(story: Story) {
    let writes = play(&story, None).await;
    assert!(writes > 5, "{writes}");
    for write in 0..writes {
        play(&story, Some(write)).await;
    }
}

#[tokio::test]
async fn a_canary_is_promoted_step_by_step() {
    let mut cluster = serving(&quick(&json!({}))).await;
    cluster.change(&drain("2m"));
    let mut weights = Vec::new();
    while !serves("2m")(&cluster) {
        look(&mut cluster).await;
        weights.push(cluster.rollout().2);
        assert!(weights.len() < LOOKS, "{weights:?}");
        if cluster.rollout().2 == 20 {
            assert_eq!(cluster.condition("CanaryHealthy"), "True/RollingOut");
            assert_eq!(cluster.condition("Ready"), "False/RollingOut");
        }
    }
    weights.dedup();
    assert_eq!(weights, [0, 20, 50, 0]);
    assert_eq!(cluster.condition("CanaryHealthy"), "");
    rests(&mut cluster).await;
}

#[tokio::test]
async fn a_canary_that_is_promoted_is_so_whichever_write_an_operator_ends_before() {
    play_with_every_end(Story {
        rollout: quick(&json!({})),
        fails: None,
        then: None,
        ends: Box::new(serves("2m")),
    })
    .await;
}

#[tokio::test]
async fn a_canary_that_fails_is_rolled_back_whichever_write_an_operator_ends_before() {
    play_with_every_end(Story {
        rollout: quick(&json!({})),
        fails: Some("2m"),
        then: None,
        ends: Box::new(is_rolled_back),
    })
    .await;
}

#[tokio::test]
async fn a_change_in_the_middle_takes_the_canarys_place_whichever_write_an_operator_ends_before() {
    play_with_every_end(Story {
        rollout: quick(&json!({})),
        fails: None,
        then: Some((50, drain("3m"))),
        ends: Box::new(serves("3m")),
    })
    .await;
}

#[tokio::test]
async fn what_is_taken_back_and_changed_again_is_tried_again() {
    let mut cluster = serving(&quick(&json!({}))).await;
    cluster.fails = Some("2m");
    cluster.change(&drain("2m"));
    until(&mut cluster, is_rolled_back).await;
    rests(&mut cluster).await;
    cluster.change(&drain("1m"));
    until(&mut cluster, serves("1m")).await;
    cluster.fails = None;
    cluster.change(&drain("2m"));
    until(&mut cluster, |cluster| cluster.rollout().2 == 50).await;
    cluster.change(&drain("1m"));
    until(&mut cluster, serves("1m")).await;
    cluster.change(&drain("2m"));
    until(&mut cluster, serves("2m")).await;
}

#[tokio::test]
async fn another_image_of_the_operator_comes_by_a_canary_and_a_bad_one_is_left() {
    let mut cluster = serving(&quick(&json!({}))).await;
    let [(first, _)] = &cluster.images()[..] else {
        panic!("{:?}", cluster.images());
    };
    let first = first.clone();
    cluster.fails = Some("bad");
    cluster.settings.worker_image = "bad".into();
    let mut was_tried = false;
    for _ in 0..LOOKS {
        cluster.look().await;
        was_tried |= cluster.images().contains(&("bad".into(), true));
        assert_eq!(cluster.condition("Ready"), "True/Serving");
    }
    assert!(was_tried);
    assert_eq!(cluster.images(), [(first, false)]);
    assert_eq!(cluster.condition("Ready"), "True/Serving");
    assert_eq!(cluster.condition("CanaryHealthy"), "False/CanaryFailed");
    rests(&mut cluster).await;
    cluster.settings.worker_image = "good".into();
    for _ in 0..LOOKS {
        cluster.look().await;
    }
    assert_eq!(cluster.images(), [("good".to_owned(), false)]);
    assert_eq!(cluster.condition("CanaryHealthy"), "");
    rests(&mut cluster).await;
}

#[tokio::test]
async fn a_spec_that_cannot_be_made_leaves_the_one_before_in_charge() {
    let profile = |name: Value| json!({ "spec": { "resources": { "profile": name } } });
    let mut cluster = serving(&quick(&json!({}))).await;
    cluster.fails = Some("2m");
    cluster.change(&drain("2m"));
    until(&mut cluster, |cluster| cluster.rollout().2 == 20).await;
    cluster.change(&profile("none".into()));
    cluster.restart();
    let is_ended = |cluster: &Cluster| cluster.replicas() == [("1m".to_owned(), (2, 2))].into();
    until(&mut cluster, is_ended).await;
    assert_eq!(cluster.condition("Ready"), "False/Invalid");
    assert_eq!(cluster.condition("CanaryHealthy"), "False/CanaryFailed");
    assert_eq!(cluster.condition("Stalled"), "True/Invalid");
    rests(&mut cluster).await;
    cluster.fails = None;
    cluster.change(&profile(Value::Null));
    cluster.change(&drain("3m"));
    until(&mut cluster, serves("3m")).await;
}

#[tokio::test]
async fn a_paused_canary_waits_for_a_person_who_may_promote_it_or_not() {
    for (wish, end) in [("promote", "2m"), ("rollback", "1m")] {
        let mut cluster = serving(&quick(&json!({ "onFailure": "Pause" }))).await;
        cluster.fails = Some("2m");
        cluster.change(&drain("2m"));
        until(&mut cluster, |cluster| {
            cluster.condition("CanaryHealthy") == "False/CanaryFailed"
        })
        .await;
        look(&mut cluster).await;
        let paused = ("1m".into(), "2m".into(), 0);
        assert_eq!(cluster.rollout(), paused);
        rests(&mut cluster).await;
        cluster.change(&order(&cluster, wish, "canary"));
        let is_over = |cluster: &Cluster| {
            cluster.rollout() == (end.into(), String::new(), 0) && cluster.replicas().len() == 1
        };
        until(&mut cluster, is_over).await;
        rests(&mut cluster).await;
        let expected = match wish {
            "promote" => "True/Serving",
            _ => "False/RolledBack",
        };
        assert_eq!(cluster.condition("Ready"), expected);
    }
}

#[tokio::test]
async fn rolling_and_recreate_need_no_asks() {
    for strategy in ["Rolling", "Recreate"] {
        let mut cluster = serving(&quick(&json!({ "strategy": strategy }))).await;
        cluster.change(&drain("2m"));
        until(&mut cluster, serves("2m")).await;
        rests(&mut cluster).await;
    }
}

#[tokio::test]
async fn at_zero_replicas_a_change_is_taken_up_by_the_next_start() {
    let mut cluster = serving(&quick(&json!({}))).await;
    cluster.change(&json!({ "spec": { "replicas": 0 } }));
    until(&mut cluster, |cluster| {
        cluster.condition("Ready") == "True/ScaledToZero"
    })
    .await;
    cluster.change(&drain("2m"));
    until(&mut cluster, |cluster| {
        cluster.rollout().0 == "2m" && cluster.replicas().len() == 1
    })
    .await;
    rests(&mut cluster).await;
    assert_eq!(cluster.condition("Ready"), "True/ScaledToZero");
    cluster.change(&json!({ "spec": { "replicas": 2 } }));
    cluster.look().await;
    until(&mut cluster, serves("2m")).await;
}

#[tokio::test]
async fn what_is_kept_goes_with_nobody_and_comes_again_when_it_is_deleted() {
    let mut cluster = serving(&quick(&json!({}))).await;
    cluster.change(&drain("2m"));
    until(&mut cluster, |cluster| cluster.rollout().2 == 50).await;
    look(&mut cluster).await;
    let kept = || "/api/v1/namespaces/support/configmaps/triage-rollout".to_owned();
    assert!(cluster.objects().delete(&kept()));
    cluster.look().await;
    assert_eq!(cluster.rollout().2, 50, "this operator knows it");
    assert!(cluster.objects().delete(&kept()), "it was written again");
    cluster.restart();
    until(&mut cluster, |cluster| cluster.rollout().2 == 20).await;
    until(&mut cluster, serves("2m")).await;
}
