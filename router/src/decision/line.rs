//! One attempt in the record: who was asked, what came of it, what it took and cost.

use std::net::SocketAddr;

use serde::Serialize;
use weir_cascade::AttemptRecord;
use weir_crds::{Money, Provider};
use weir_policy::tier::{Tier, model_name};

use crate::answer::Usage;

/// The outcome of an attempt that has not ended, and of one that never came to.
pub(crate) const UNFINISHED: &str = "cancelled";

/// The outcome of an attempt of which something went to the client.
pub(crate) const COMMITTED: &str = "committed";

/// One attempt in the record.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AttemptLine {
    pub tier: String,
    #[serde(flatten)]
    pub whom: Whom,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica: Option<SocketAddr>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// How often another replica went on with it; `replica` is the last.
    #[serde(skip_serializing_if = "is_zero")]
    pub resumed: u32,
    /// `committed`, `dropped`, `cancelled`, or the word of a failure.
    pub outcome: &'static str,
    pub tokens_in: u64,
    pub tokens_out: u64,
    /// The part of `tokens_in` that came from a cache.
    pub tokens_cached: u64,
    /// The tokens were counted here because the tier did not come to say how many there were.
    #[serde(rename = "estimated", skip_serializing_if = "std::ops::Not::not")]
    pub is_estimated: bool,
    pub first_token_ms: Option<u64>,
    pub millis: u64,
    pub cost: String,
    /// What the cascade saw and decided; nothing for a tier whose answer counts in any case, unless it gives
    /// evidence all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judged: Option<AttemptRecord>,
    #[serde(skip)]
    pub amount: Money,
    #[serde(skip)]
    pub is_endpoint: bool,
    /// The request has gone out, or was about to.
    #[serde(skip)]
    pub was_sent: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks it")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Who is asked at a tier.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Whom {
    pub provider: &'static str,
    /// As it is called there.
    pub model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<String>,
    /// Of an endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

impl Whom {
    pub fn at(tier: &Tier) -> Self {
        let Some(endpoint) = tier.endpoint() else {
            let deployment = tier.deployment().unwrap_or_default();
            return Self {
                provider: "weir",
                model: model_name(deployment, tier.adapter()),
                adapter: tier.adapter().map(str::to_owned),
                host: None,
            };
        };
        let url = endpoint.base_url.parse::<http::Uri>().ok();
        Self {
            provider: match endpoint.provider {
                Provider::OpenAI => "openai",
                Provider::Anthropic => "anthropic",
                Provider::OpenAICompatible => "openai_compatible",
            },
            model: endpoint.model.clone(),
            adapter: None,
            host: url.and_then(|url| Some(url.host()?.to_owned())),
        }
    }
}

/// The outcomes of attempts that no endpoint takes money for, unless something of an answer had come: it was
/// not reached, or it refused.
const FREE: [&str; 9] = [
    "cannot_redact",
    "connect",
    "address_refused",
    "overloaded",
    "credential_refused",
    "not_found",
    "refused",
    "too_long",
    "unsupported",
];

impl AttemptLine {
    pub fn count(&mut self, usage: Usage) {
        self.tokens_in = usage.prompt;
        self.tokens_out = usage.completion;
        self.tokens_cached = usage.cached;
    }

    /// Whether anybody has read the prompt, as far as can be known from here.
    pub fn has_worked(&self) -> bool {
        let was_taken = self.replica.is_some() && !FREE.contains(&self.outcome);
        !self.is_estimated || self.tokens_out > 0 || was_taken || self.was_paid()
    }

    /// Whether an endpoint takes money for it, as far as can be known from here.
    pub fn was_paid(&self) -> bool {
        let is_free = FREE.contains(&self.outcome) && self.first_token_ms.is_none();
        self.is_endpoint && self.was_sent && !is_free
    }
}
