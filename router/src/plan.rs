//! Phase 4, pure: which tiers may answer an ask, in which order.

use http::HeaderMap;
use weir_crds::HeaderValues;
use weir_policy::tier::Tier;
use weir_policy::validate::Settings;
use weir_policy::{Egress, Plan};

use crate::ask::Ask;
use crate::decision::Step;
use crate::refusal::Refusal;
use crate::wire::Wire;

/// Those of `tiers`, which are of `settings`, that can serve `ask`. A private ask gets a plan that holds
/// no tier outside, by its type.
pub(crate) fn plan(
    settings: &Settings,
    tiers: &[Tier],
    ask: &Ask,
    headers: &HeaderMap,
) -> Result<Plan, Refusal> {
    let able = tiers.iter().filter(|tier| can_serve(tier, ask).is_ok());
    let plan = Plan::over(able.cloned(), egress(settings, headers));
    if !plan.is_empty() {
        return Ok(without_useless(settings, plan, ask));
    }
    let unable = tiers.iter().find_map(|tier| can_serve(tier, ask).err());
    let is_private = matches!(plan, Plan::Private(_));
    let has_outside = tiers.iter().any(|tier| matches!(tier, Tier::Outside(_)));
    match unable {
        Some(field) if !(is_private && has_outside) => Err(Refusal::NoTierFor { field }),
        _ => Err(Refusal::PrivateWithoutTier),
    }
}

/// Passes over a tier whose score tells nothing: what it writes would be paid for and judged by a coin. One that
/// stands alone answers.
fn without_useless(settings: &Settings, plan: Plan, ask: &Ask) -> Plan {
    let useless = settings.useless.as_ref();
    // Vectors have no score, and those of another model mean something else.
    let Some(useless) = useless.filter(|_| ask.wire != Wire::Embeddings) else {
        return plan;
    };
    let without = plan.clone().keeping(|tier| tier.name() != useless);
    match without.is_empty() {
        true => plan,
        false => without,
    }
}

/// Why each of the policy's tiers is in `plan`, or is not: `first`, or `above` those before it, which are
/// unsure or fail; and `egress` (it must not leave the cluster), `field` (which the tier cannot serve), `useless`
/// (its score tells nothing), or `route` (a pin, a rule or the classifier begins elsewhere).
pub(crate) fn steps(settings: &Settings, plan: &Plan, ask: &Ask) -> (Vec<Step>, Vec<Step>) {
    let planned = plan.steps();
    let steps = planned.iter().enumerate();
    let steps = steps.map(|(index, tier)| {
        let reason = if index == 0 { "first" } else { "above" };
        Step::new(tier.name(), reason)
    });
    let is_private = matches!(plan, Plan::Private(_));
    let is_planned = |tier: &&Tier| planned.iter().any(|step| step.name() == tier.name());
    let others = settings.tiers.iter().filter(|tier| !is_planned(tier));
    let is_useless = |tier: &Tier| settings.useless.as_deref() == Some(tier.name());
    let others = others.map(|tier| match (tier, can_serve(tier, ask)) {
        (Tier::Outside(_), _) if is_private => Step::new(tier.name(), "egress"),
        (_, Err(_)) => Step::new(tier.name(), "field"),
        (_, Ok(())) if is_useless(tier) => Step::new(tier.name(), "useless"),
        (_, Ok(())) => Step::new(tier.name(), "route"),
    });
    (steps.collect(), others.collect())
}

/// Whether a request with these headers may leave the cluster.
pub(crate) fn egress(settings: &Settings, headers: &HeaderMap) -> Egress {
    let private_when = settings.private_when.as_ref();
    match private_when.is_some_and(|when| carries(headers, when)) {
        true => Egress::Denied,
        false => settings.egress,
    }
}

/// Whether a request has the header with one of the values, in upper or lower case. Several may come in
/// one header or in several; any of them counts, whatever else stands beside it, readable or not.
pub(crate) fn carries(headers: &HeaderMap, wanted: &HeaderValues) -> bool {
    let mut wanted_values = wanted.values.iter().map(|wanted| wanted.trim().as_bytes());
    let values = headers.get_all(wanted.name.as_str()).iter();
    let values = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let values: Vec<&[u8]> = values.map(<[u8]>::trim_ascii).collect();
    wanted_values.any(|wanted| {
        values
            .iter()
            .any(|value| value.eq_ignore_ascii_case(wanted))
    })
}

/// The field that the tier cannot serve and that must not be left out.
pub(crate) fn can_serve(tier: &Tier, ask: &Ask) -> Result<(), String> {
    let mut missed = ask.beyond_at(tier).required.into_iter();
    missed.next().map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use serde_json::{Value, json};
    use weir_crds::RoutePolicySpec;

    fn settings(privacy: Value) -> Settings {
        let spec: RoutePolicySpec = serde_json::from_value(json!({
            "models": ["m"],
            "tiers": [
                { "name": "small", "deployment": { "name": "triage" } },
                { "name": "big", "endpoint": {
                    "provider": "OpenAI", "model": "big", "unsupported": ["audio"],
                } },
            ],
            "privacy": privacy,
        }))
        .unwrap();
        weir_policy::validate::settings(&spec).unwrap()
    }

    fn ask(extra: Value) -> Ask {
        crate::decode::chat_with(&extra)
    }

    fn plan_all(settings: &Settings, ask: &Ask, headers: &HeaderMap) -> Result<Plan, Refusal> {
        plan(settings, &settings.tiers, ask, headers)
    }

    fn tiers(plan: Result<Plan, Refusal>) -> Vec<String> {
        plan.unwrap()
            .steps()
            .iter()
            .map(|tier| tier.name().to_owned())
            .collect()
    }

    #[test]
    fn a_plain_ask_has_every_tier() {
        let planned = plan_all(&settings(json!({})), &ask(json!({})), &HeaderMap::new());
        assert_eq!(tiers(planned), ["small", "big"]);
    }

    #[test]
    fn a_tier_that_cannot_serve_a_field_is_out_and_the_last_to_go_is_named() {
        let open = settings(json!({}));
        let planned = plan_all(&open, &ask(json!({ "functions": [{}] })), &HeaderMap::new());
        assert_eq!(tiers(planned), ["big"]);
        let biased = ask(json!({ "audio": {} }));
        let refused = plan_all(&open, &biased, &HeaderMap::new()).unwrap_err();
        assert_eq!(
            refused,
            Refusal::NoTierFor {
                field: "audio".into()
            }
        );
    }

    #[test]
    fn a_tier_whose_score_tells_nothing_is_passed_over_unless_it_is_all_there_is() {
        let mut settings = settings(json!({}));
        settings.useless = Some("small".into());
        let all = plan_all(&settings, &ask(json!({})), &HeaderMap::new()).unwrap();
        let (_, passed_over) = steps(&settings, &all, &ask(json!({})));
        assert_eq!(passed_over, [Step::new("small", "useless")]);
        assert_eq!(tiers(Ok(all)), ["big"]);
        let only = plan(
            &settings,
            &settings.tiers[..1],
            &ask(json!({})),
            &HeaderMap::new(),
        );
        assert_eq!(tiers(only), ["small"]);
    }

    #[test]
    fn a_private_ask_has_only_tiers_inside_and_is_refused_without_one() {
        let when = json!({ "denyWhen": { "header": { "name": "X-Data-Class", "values": ["restricted"] } } });
        let settings = settings(when);
        let mut headers = HeaderMap::new();
        headers.append(
            "x-data-class",
            HeaderValue::from_static("public, restricted"),
        );
        let planned = plan_all(&settings, &ask(json!({})), &headers);
        assert!(matches!(planned, Ok(Plan::Private(_))));
        assert_eq!(tiers(planned), ["small"]);
        let refused =
            plan_all(&settings, &ask(json!({ "functions": [{}] })), &headers).unwrap_err();
        assert_eq!(refused, Refusal::PrivateWithoutTier);
    }
}
