//! What endpoints may cost.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// What all endpoints of the policy together may cost in a period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// Hour, Day or Month, in UTC.
    pub period: Period,
    /// US dollars.
    #[schemars(schema_with = "schema::money")]
    pub limit: String,
    /// What follows when it is spent: Local gives the small answer, flagged; Reject refuses.
    /// Default Local.
    #[serde(default)]
    pub on_exhausted: OnExhausted,
}

/// The period of a budget, in UTC.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Period {
    Hour,
    Day,
    Month,
}

/// What follows when a budget is spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnExhausted {
    #[default]
    Local,
    Reject,
}
