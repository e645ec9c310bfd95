//! What one replica gets of a node.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{schema::rules, value::Quantity};

/// What one replica gets. Requests and limits are the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "!has(self.count) || self.accelerator != 'None'",
    "resources.count counts accelerators: set resources.accelerator, or take resources.count out",
)])))]
pub struct Resources {
    /// Kind of accelerator: None or Nvidia. Default None.
    pub accelerator: Accelerator,
    /// Number of accelerators; only with one, and more than 1 only with `engine.image`. Absent: 1
    /// where there is an accelerator. 1 to 16.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16))]
    pub count: Option<u32>,
    /// CPU. Default 2.
    pub cpu: Quantity,
    /// Memory. Default 4Gi.
    pub memory: Quantity,
    /// Disk of the node, for downloads without a cache. Absent: no request and no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage: Option<Quantity>,
    /// A named profile from the chart's values: what one kind of machine gives, where to find it, and
    /// the image for it. What this spec says wins over it; what is at its default does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub profile: Option<String>,
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            accelerator: Accelerator::None,
            count: None,
            cpu: "2".into(),
            memory: "4Gi".into(),
            ephemeral_storage: None,
            profile: None,
        }
    }
}

/// Kind of accelerator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Accelerator {
    #[default]
    None,
    Nvidia,
}
