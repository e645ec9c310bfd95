//! How a new revision takes over from the stable one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{self, rules};

/// How a new revision takes over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Rollout {
    /// Canary gives the new revision a growing share of the asks; Rolling replaces replica by
    /// replica; Recreate stops the old ones first. Default Canary.
    pub strategy: Strategy,
    /// Steps of a canary, by ascending weight; after the last one the canary becomes the stable
    /// revision. Default 5 % for 5m, 25 % for 10m, 50 % for 10m. 1 to 16.
    #[schemars(
        length(min = 1, max = 16),
        extend("x-kubernetes-list-type" = "atomic"),
        extend("x-kubernetes-validations" = rules(&[
            (
                "self.all(step, step.weight >= 1 && step.weight <= 99)",
                "a canary weight is from 1 to 99: full traffic follows the last step by itself",
            ),
            (
                "self.map(step, step.weight).isSorted() && self.all(a, self.exists_one(b, a.weight == b.weight))",
                "canary weights must ascend: give every step more weight than the one before it",
            ),
        ]))
    )]
    pub steps: Vec<RolloutStep>,
    /// What a canary must hold to go on.
    pub guard: Guard,
    /// What follows when the canary breaks its guard: Rollback or Pause. Default Rollback.
    pub on_failure: OnFailure,
}

impl Default for Rollout {
    fn default() -> Self {
        let step = |weight, pause: &str| RolloutStep {
            weight,
            pause: pause.into(),
        };
        Self {
            strategy: Strategy::Canary,
            steps: vec![step(5, "5m"), step(25, "10m"), step(50, "10m")],
            guard: Guard::default(),
            on_failure: OnFailure::Rollback,
        }
    }
}

/// How a new revision takes over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Strategy {
    #[default]
    Canary,
    Rolling,
    Recreate,
}

/// One step of a canary.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RolloutStep {
    /// Per cent of the asks that the canary gets, 1 to 99.
    pub weight: u32,
    /// How long the step lasts at least.
    #[schemars(schema_with = "schema::duration")]
    pub pause: String,
}

/// What a canary must hold, against the stable revision over the same time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Guard {
    /// How far the share of failed attempts may be above the stable revision's. Default 0.01.
    #[schemars(schema_with = "schema::fraction")]
    pub error_rate: String,
    /// Highest relative increase of the time to the first token. Default 0.2.
    #[schemars(schema_with = "schema::increase")]
    pub latency_increase: String,
    /// Highest relative increase of the share of escalated asks. Default 0.1.
    #[schemars(schema_with = "schema::increase")]
    pub escalation_increase: String,
    /// Fewest asks that a step must have seen before it is judged. Default 200.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub min_asks: u32,
    /// Longest that a step waits for `minAsks`. Default 2h.
    #[schemars(schema_with = "schema::duration")]
    pub max_step_wait: String,
    /// What follows when a step got too few asks in that time: Wait or Promote. Default Wait.
    pub on_no_traffic: OnNoTraffic,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            error_rate: "0.01".into(),
            latency_increase: "0.2".into(),
            escalation_increase: "0.1".into(),
            min_asks: 200,
            max_step_wait: "2h".into(),
            on_no_traffic: OnNoTraffic::Wait,
        }
    }
}

/// What follows when a step got too few asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnNoTraffic {
    #[default]
    Wait,
    Promote,
}

/// What follows when the canary breaks its guard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnFailure {
    #[default]
    Rollback,
    Pause,
}
