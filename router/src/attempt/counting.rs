//! The tokens of a prompt, counted by the endpoint that would answer it.

use serde_json::Value;
use tokio::time::Instant;
use weir_policy::tier::Tier;
use weir_policy::validate::Settings;

use super::endpoint;
use super::tries::{Entered, enter};
use crate::ask::Ask;
use crate::credentials::Credentials;
use crate::dial::Reach;
use crate::shared::Shared;
use crate::wire::{Upstream, Wire};

/// Counted by the tier's endpoint; nothing where its wire cannot, or where it failed.
pub(crate) async fn at_endpoint(
    shared: &Shared,
    own: &Credentials,
    (settings, tier): (&Settings, &Tier),
    (ask, tenant): (&Ask, &str),
    until: Instant,
) -> Option<u64> {
    let reach = match tier {
        Tier::Inside(_) => Reach::Inside,
        Tier::Outside(_) => Reach::Outside,
    };
    let endpoint = tier.endpoint()?;
    let wire = Upstream::of_endpoint(endpoint).wire_for(ask.wire)?;
    let fields = countable(wire)?;
    let entered = enter(shared, own, (tier, endpoint, tenant), until).await;
    let Entered { key, bundle, pass } = entered.ok()?;
    let call = endpoint::Call {
        tier: tier.name(),
        endpoint,
        reach,
        key,
        bundle,
        redaction: settings.redaction.as_ref(),
        decision: None,
        pass: &pass,
        is_judged: false,
    };
    let answer = endpoint::count(call, &shared.dialler, ask, fields).await;
    pass.opened(&answer);
    let answer: Value = answer.ok()?;
    answer["input_tokens"].as_u64()
}

/// The fields of a request that its wire counts by.
fn countable(wire: Wire) -> Option<&'static [&'static str]> {
    match wire {
        Wire::Messages => Some(&[
            "model",
            "messages",
            "system",
            "tools",
            "tool_choice",
            "thinking",
            "output_config",
        ]),
        Wire::Responses => Some(&[
            "model",
            "input",
            "instructions",
            "tools",
            "tool_choice",
            "text",
            "reasoning",
            "parallel_tool_calls",
        ]),
        Wire::Chat | Wire::Completions | Wire::Embeddings => None,
    }
}
