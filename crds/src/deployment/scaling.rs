//! How many replicas a deployment has, by demand.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    schema::{self, rules},
    value::Quantity,
};

/// How many replicas there are, by demand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "self.max < 1 || self.min <= self.max",
    "min is above max: lower scaling.min or raise scaling.max",
)])))]
pub struct Scaling {
    /// Fewest replicas; 0 lets the deployment go to zero. Default 1.
    #[schemars(range(min = 0, max = 1000))]
    pub min: u32,
    /// Most replicas. Default 1.
    #[schemars(range(min = 0, max = 1000), extend("x-kubernetes-validations" = rules(&[(
        "self >= 1",
        "max 0 would never serve: set scaling.max to 1 or more, and scaling.min to 0 to let it go to zero",
    )])))]
    pub max: u32,
    /// Share of the measured capacity to aim at, above 0 and up to 1. Default 0.8.
    #[schemars(schema_with = "schema::positive_fraction")]
    pub utilization: String,
    /// Asks that a replica takes at once, instead of what is measured. 1 to 10000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub concurrency: Option<u32>,
    /// How long demand must be low before a replica goes. Default 5m.
    #[schemars(schema_with = "schema::duration")]
    pub down_after: String,
    /// How long nothing may be asked before the last replica goes, where `min` is 0. Default 10m.
    #[schemars(schema_with = "schema::duration")]
    pub zero_after: String,
    /// What routers hold while no replica is ready.
    pub hold: Hold,
}

impl Default for Scaling {
    fn default() -> Self {
        Self {
            min: 1,
            max: 1,
            utilization: "0.8".into(),
            concurrency: None,
            down_after: "5m".into(),
            zero_after: "10m".into(),
            hold: Hold::default(),
        }
    }
}

/// What each router holds for a deployment while no replica is ready; beyond it asks are refused
/// with 429.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Hold {
    /// Most asks. Default 1000.
    #[schemars(range(min = 1, max = 100_000))]
    pub asks: u32,
    /// Most bytes of their bodies. Default 64Mi.
    pub bytes: Quantity,
    /// Longest wait of one ask, at most 10m. Default 2m.
    #[schemars(schema_with = "wait")]
    pub wait: String,
}

impl Default for Hold {
    fn default() -> Self {
        Self {
            asks: 1000,
            bytes: "64Mi".into(),
            wait: "2m".into(),
        }
    }
}

fn wait(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schema::duration_up_to(
        generator,
        "10m",
        "hold.wait is over 10m: clients give up long before, so lower it",
    )
}
