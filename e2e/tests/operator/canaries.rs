//! A canary takes its steps while a stand-in for a router counts what came of asks: it is promoted, or it goes,
//! also where one operator after another is killed on the way.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process::{Operator, World, condition};
use crate::stand_in::StandIn;

/// Two replicas, and steps as short as they can be looked at.
const CANARY: &str = "
apiVersion: weir.dev/v1alpha1
kind: SLMDeployment
metadata: { name: triage }
spec:
  model: { source: file:///models/triage }
  replicas: 2
  drain: 1m
  rollout:
    steps: [{ weight: 20, pause: 2s }, { weight: 50, pause: 6s }]
    guard: { minAsks: 20, maxStepWait: 1m }
";

/// Longer than a rollout takes.
const PATIENCE: Duration = Duration::from_secs(90);
/// So soon after one operator is killed the next one is.
const KILL_EVERY: Duration = Duration::from_millis(1700);

/// A deployment whose replicas are ready as soon as they are wanted, and whose clients ask.
struct Play<'a> {
    world: &'a World,
    router: StandIn,
    /// By revision: asks, and those of them that failed.
    counts: BTreeMap<String, (u64, u64)>,
    /// Every third attempt there fails, once it is not the one that serves.
    fails: bool,
}

impl<'a> Play<'a> {
    /// One whose first revision serves.
    async fn begin(world: &'a World, address: &'static str, change: &Value) -> Self {
        world.apply(CANARY);
        world.patch("slm/triage", "", change);
        let router = StandIn::router(address, "router");
        router.run_router_soon(world).await;
        let mut play = Self {
            world,
            router,
            counts: BTreeMap::new(),
            fails: false,
        };
        play.until(is_serving).await;
        play
    }

    async fn until(&mut self, is_so: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let triage = self.world.get("slm/triage").unwrap();
            if is_so(&triage) {
                return triage;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "it never came: {}",
                triage["status"]
            );
            self.run_replicas();
            self.ask(&triage["status"]["rollout"]);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn run_replicas(&self) {
        for name in self.world.managed("deployments") {
            let Some(deployment) = self.world.get(&format!("deployment/{name}")) else {
                continue;
            };
            let wanted = &deployment["spec"]["replicas"];
            let ready = deployment["status"].get("readyReplicas");
            if name.starts_with("triage-") && ready.unwrap_or(&json!(0)) != wanted {
                let wanted = wanted.as_u64().unwrap_or_default();
                self.world
                    .make_ready(&name, u32::try_from(wanted).unwrap_or(0));
            }
        }
    }

    /// Forty more asks, as the status says.
    fn ask(&mut self, rollout: &Value) {
        let weight = rollout["weight"].as_u64().unwrap_or_default();
        let revision = |field: &str| rollout[field].as_str().unwrap_or_default().to_owned();
        let of_canary = 40 * weight / 100;
        let stable = self.counts.entry(revision("stable")).or_default();
        stable.0 += 40 - of_canary;
        let canary = self.counts.entry(revision("canary")).or_default();
        canary.0 += of_canary;
        canary.1 += if self.fails { of_canary / 3 } else { 0 };
        let counts = self.counts.iter().filter(|(name, _)| !name.is_empty());
        let counts: BTreeMap<_, _> = counts
            .map(|(name, (asks, errors))| (name, json!({ "asks": asks, "errors": errors })))
            .collect();
        self.router
            .says(json!({ "run": "a", "revisions": { "triage": counts } }));
    }
}

/// The generation that is there now serves alone.
fn is_serving(triage: &Value) -> bool {
    let is_seen = triage["status"]["observedGeneration"] == triage["metadata"]["generation"];
    is_seen && condition(triage, "Ready").starts_with("True/Serving")
}

fn canary(triage: &Value) -> &str {
    let canary = &triage["status"]["rollout"]["canary"];
    canary.as_str().unwrap_or_default()
}

fn drain(drain: &str) -> Value {
    json!({ "spec": { "drain": drain } })
}

#[tokio::test]
async fn a_canary_takes_its_steps_and_is_promoted() {
    let world = World::new("canary").await;
    let _operator = world.operator("one");
    let mut play = Play::begin(&world, "127.95.0.1", &json!({})).await;
    let first = world.revision();
    world.patch("slm/triage", "", &drain("2m"));
    let step = |step: u64, weight: u64| {
        move |triage: &Value| {
            let rollout = &triage["status"]["rollout"];
            rollout["weight"] == weight && rollout["step"] == step
        }
    };
    let triage = play.until(step(0, 20)).await;
    let second = canary(&triage).to_owned();
    assert!(condition(&triage, "CanaryHealthy").starts_with("True/RollingOut: step 1 of 2"));
    assert!(condition(&triage, "Available").starts_with("True/"));
    play.until(step(1, 50)).await;
    play.until(is_serving).await;
    assert_eq!(world.revision(), second);
    let deployments = world.managed("deployments");
    assert!(
        !deployments.contains(&format!("triage-{first}")),
        "{deployments:?}"
    );
    let kept = world.get("configmap/triage-rollout").unwrap();
    let owner = &kept["metadata"]["ownerReferences"][0]["kind"];
    assert_eq!(*owner, "SLMDeployment");
}

#[tokio::test]
async fn a_canary_that_fails_goes_with_both_numbers_and_another_change_is_tried() {
    let world = World::new("canary-fails").await;
    let _operator = world.operator("one");
    // Long enough for the guard, which takes five seconds for a batch.
    let steps = json!([{ "weight": 50, "pause": "1m" }]);
    let change = json!({ "spec": { "rollout": { "steps": steps } } });
    let mut play = Play::begin(&world, "127.95.0.2", &change).await;
    let first = world.revision();
    play.fails = true;
    world.patch("slm/triage", "", &drain("2m"));
    let failed = |triage: &Value| condition(triage, "Ready").starts_with("False/CanaryFailed");
    let triage = play.until(failed).await;
    assert_eq!((world.revision(), canary(&triage)), (first.clone(), ""));
    let said = condition(&triage, "CanaryHealthy");
    let numbers =
        "of the canary's attempts failed and 0.0 % of the stable revision's; it was rolled back";
    assert!(said.ends_with(numbers), "{said}");
    assert!(condition(&triage, "Stalled").starts_with("True/CanaryFailed"));
    let events = world.kubectl("get events --output=custom-columns=:reason,:message");
    assert!(events.contains(numbers), "{events}");
    play.until(|_| world.managed("deployments").len() == 2)
        .await;

    play.fails = false;
    let steps = json!([{ "weight": 50, "pause": "2s" }]);
    let change = json!({ "spec": { "drain": "3m", "rollout": { "steps": steps } } });
    world.patch("slm/triage", "", &change);
    play.until(is_serving).await;
    assert_ne!(world.revision(), first);
}

#[tokio::test]
async fn a_paused_canary_waits_for_a_person_and_an_operator_that_begins_knows_that() {
    let world = World::new("canary-paused").await;
    let operator = world.operator("one");
    let steps = json!([{ "weight": 50, "pause": "1m" }]);
    let change = json!({ "spec": { "rollout": { "steps": steps, "onFailure": "Pause" } } });
    let mut play = Play::begin(&world, "127.95.0.3", &change).await;
    let first = world.revision();
    play.fails = true;
    world.patch("slm/triage", "", &drain("2m"));
    let failed =
        |triage: &Value| condition(triage, "CanaryHealthy").starts_with("False/CanaryFailed");
    play.until(failed).await;
    operator.crash();
    let second = world.operator_at_once("two");
    second.leads().await;
    second.quiet().await;
    let triage = world.get("slm/triage").unwrap();
    let paused = canary(&triage).to_owned();
    assert_eq!(triage["status"]["rollout"]["weight"], 0);
    assert!(!paused.is_empty() && world.revision() == first);

    let shown = world.weir("rollout show triage").unwrap();
    assert!(
        shown.contains(&paused) && shown.contains("CanaryFailed"),
        "{shown}"
    );
    let unknown = world.weir("rollout promote nobody").unwrap_err();
    let unknown = format!("{unknown:#}");
    assert!(
        unknown.contains("there is no SLMDeployment nobody"),
        "{unknown}"
    );
    world.weir("rollout promote triage").unwrap();
    play.until(is_serving).await;
    assert_eq!(world.revision(), paused);
}

/// Whether a deployment is as it was waited for.
type IsSo = fn(&Value) -> bool;

#[tokio::test]
async fn a_rollout_that_is_changed_midway_ends_right_however_often_the_operator_is_killed() {
    let world = World::new("canary-killed").await;
    let mut operator = Some(world.operator("first"));
    let mut play = Play::begin(&world, "127.95.0.4", &json!({})).await;
    world.patch("slm/triage", "", &drain("2m"));
    let changes: [(&str, IsSo); 2] = [
        ("3m", |triage| triage["status"]["rollout"]["weight"] == 50),
        ("", is_serving),
    ];
    let mut kills = 0;
    for (next, is_so) in changes {
        let began = Instant::now();
        loop {
            let triage = world.get("slm/triage").unwrap();
            if is_so(&triage) {
                break;
            }
            assert!(began.elapsed() < 2 * PATIENCE, "{}", triage["status"]);
            let killed = Instant::now();
            operator.take().unwrap().crash();
            operator = Some(world.operator_at_once(&format!("after-{kills}")));
            kills += 1;
            // Another time from kill to kill, so that they fall between any writes.
            let life = KILL_EVERY + Duration::from_millis(130 * (kills % 10));
            play.until(|triage| is_so(triage) || killed.elapsed() > life)
                .await;
        }
        if !next.is_empty() {
            world.patch("slm/triage", "", &drain(next));
        }
    }
    assert!(kills > 5, "{kills}");
    let triage = world.get("slm/triage").unwrap();
    assert_eq!(
        (triage["spec"]["drain"].as_str(), canary(&triage)),
        (Some("3m"), "")
    );
    let operator: Operator = operator.take().unwrap();
    operator.quiet().await;
    assert_eq!(world.managed("deployments").len(), 2);
}
