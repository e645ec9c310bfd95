//! `RoutePolicy`: the model names that clients use, and where their asks go.

mod auth;
mod budget;
mod endpoint;
mod privacy;
mod quality;
mod rules;
mod serving;
mod status;
mod tier;

pub use auth::{Auth, Limits, Pin, TenantLimits};
pub use budget::{Budget, OnExhausted, Period};
pub use endpoint::{Endpoint, EndpointPrice, Location, Provider, Timeouts};
pub use privacy::{DenyWhen, Egress, HeaderValues, Privacy, Redact, RedactKind};
pub use quality::{Judge, Quality, Shadow, Until};
pub use rules::{
    Classifier, Label, LabelDeployment, Learned, MetadataValues, Reject, ResponseFormat, Rule,
    Split, Then, TokenRange, When,
};
pub use serving::{
    AnswerCache, HoldBack, HoldBackMode, OnAllUnsure, RecordText, Records, Retries, RetryCause,
    Sticky, Streaming,
};
pub use status::{CalibrationState, CalibrationStatus, RoutePolicyStatus, SpendStatus, TierStatus};
pub use tier::{Accept, EscalateOn, Task, Tier, TierDeployment};

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{self, rules as cel};

/// Model names and where asks for them go.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "weir.dev",
    version = "v1alpha1",
    kind = "RoutePolicy",
    plural = "routepolicies",
    singular = "routepolicy",
    shortname = "rpol",
    category = "weir",
    namespaced,
    status = "RoutePolicyStatus",
    derive = "PartialEq",
    doc = "Model names that clients use, and where asks for them go: the small model first, a bigger one for what it cannot hold.",
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name": "Models", "type": "string", "jsonPath": ".spec.models"}"#,
    printcolumn = r#"{"name": "Answered small", "type": "string", "jsonPath": ".status.tiers[0].answeredText", "description": "Share of the asks that the first tier answered."}"#,
    printcolumn = r#"{"name": "Spend", "type": "string", "jsonPath": ".status.spend.frontier", "description": "US dollars for endpoints this month."}"#,
    printcolumn = r#"{"name": "Saved", "type": "string", "jsonPath": ".status.spend.savedText", "description": "Against sending everything to the last tier."}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name": "State", "type": "string", "jsonPath": ".status.calibration.state", "priority": 1}"#,
    printcolumn = r#"{"name": "Threshold", "type": "string", "jsonPath": ".status.calibration.threshold", "priority": 1}"#,
    printcolumn = r#"{"name": "Regret bound", "type": "string", "jsonPath": ".status.calibration.regretBound", "priority": 1}"#,
    printcolumn = r#"{"name": "Shadows", "type": "integer", "jsonPath": ".status.calibration.samples", "priority": 1}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel(&[
    (
        "self.privacy.egress != 'Deny' || self.tiers.all(t, !has(t.endpoint) || t.endpoint.location == 'Inside')",
        "egress: Deny leaves no way to a tier outside the cluster, as tier, reference or judge: set location: Inside on it, take it out, or allow egress",
    ),
    (
        "!has(self.quality) || self.tiers.exists(t, t.name == self.quality.reference)",
        "quality.reference names no tier of this policy: set it to the name of the tier behind the small one",
    ),
    (
        "!has(self.quality) || self.tiers[0].name != self.quality.reference",
        "quality.reference is the first tier and would be compared with itself: set it to the name of the tier behind it",
    ),
    (
        "!has(self.quality) || !self.tiers.exists(t, t.name == self.quality.reference) || self.tiers[0].name == self.quality.reference || self.tiers[1].name == self.quality.reference",
        "quality certifies one small tier against one reference: leave one tier before quality.reference",
    ),
    (
        "!has(self.quality) || !has(self.quality.judgeTier) || self.tiers.exists(t, t.name == self.quality.judgeTier)",
        "quality.judgeTier names no tier of this policy: set it to the name of one",
    ),
    (
        "!has(self.quality) || self.tiers.all(t, !has(t.accept) || !has(t.accept.threshold))",
        "quality finds the threshold itself: take accept.threshold out of the tiers, or take quality out",
    ),
    (
        "!has(self.rules) || self.rules.all(r, (!has(r.then.start) || self.tiers.exists(t, t.name == r.then.start)) && (!has(r.then.only) || self.tiers.exists(t, t.name == r.then.only)) && (!has(r.then.split) || r.then.split.all(s, self.tiers.exists(t, t.name == s.tier))))",
        "a rule names a tier that this policy does not have: set then.start, then.only and then.split to names of tiers",
    ),
    (
        "!has(self.classifier) || !has(self.classifier.labels) || self.classifier.labels.all(l, self.tiers.exists(t, t.name == l.start))",
        "a label of the classifier names a tier that this policy does not have: set start to the name of a tier",
    ),
])))]
pub struct RoutePolicySpec {
    /// The names that clients put in `model`. 1 to 16, each once, and no other policy of the
    /// namespace may have it.
    #[schemars(
        length(min = 1, max = 16),
        inner(length(min = 1, max = 128)),
        extend("x-kubernetes-list-type" = "atomic"),
        extend("x-kubernetes-validations" = cel(&[
            (
                "self.all(a, self.exists_one(b, a == b))",
                "a model name is there twice: take one of the two out",
            ),
            (
                "self.all(m, m.matches('^[A-Za-z0-9][-A-Za-z0-9._:/]*$'))",
                "a model name is of letters, digits and - . _ : / and begins with a letter or digit",
            ),
        ]))
    )]
    pub models: Vec<String>,
    /// Where asks go, cheapest first; two are usually best. 1 to 8.
    #[schemars(
        length(min = 1, max = 8),
        extend("x-kubernetes-list-type" = "atomic"),
        extend("x-kubernetes-validations" = cel(&[
            (
                "self.all(a, self.exists_one(b, a.name == b.name))",
                "tier names must be unique: rename one of the two",
            ),
            (
                "!has(self[size(self) - 1].accept)",
                "the last tier has nobody to escalate to, so its answer is always accepted: take its accept out",
            ),
        ]))
    )]
    pub tiers: Vec<Tier>,
    /// How good the first tier's answers must be, instead of a fixed threshold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
    /// Where some asks go instead; the first that matches wins. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub rules: Vec<Rule>,
    /// Chooses the first tier of an ask before anything is generated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classifier: Option<Classifier>,
    /// What may leave the cluster.
    #[serde(default)]
    pub privacy: Privacy,
    /// What endpoints may cost. At most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub budget: Vec<Budget>,
    /// How much may be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Who may ask. Absent: everybody who reaches the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Who may choose a tier by the header `x-weir-tier`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// How streams begin.
    #[serde(default)]
    pub streaming: Streaming,
    /// Longest from admission to the first committed byte, without the hold. Default 2m.
    #[serde(default = "timeout")]
    #[schemars(schema_with = "schema::duration")]
    pub timeout: String,
    /// Longest silence of a replica, before its answer and within it. Default 60s.
    #[serde(default = "idle_timeout")]
    #[schemars(schema_with = "schema::duration")]
    pub idle_timeout: String,
    /// Longest answer; routers that leave go on that long. Default 10m.
    #[serde(default = "max_duration")]
    #[schemars(schema_with = "schema::duration")]
    pub max_duration: String,
    /// What is tried again on the same tier before anything was committed.
    #[serde(default)]
    pub retries: Retries,
    /// When every tier above the dropped answers failed: Best gives the best of them, flagged; Error
    /// gives an error. Default Best.
    #[serde(default)]
    pub on_all_unsure: OnAllUnsure,
    /// Whether a conversation stays on the tier that it was raised to: None or Conversation.
    /// Default None.
    #[serde(default)]
    pub sticky: Sticky,
    /// Answers to give again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<AnswerCache>,
    /// Where decision records go.
    #[serde(default)]
    pub records: Records,
}

fn timeout() -> String {
    "2m".into()
}

fn idle_timeout() -> String {
    "60s".into()
}

fn max_duration() -> String {
    "10m".into()
}
