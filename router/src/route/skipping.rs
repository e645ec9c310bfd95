//! Prompts for which the first tier is not worth trying, as far as was learnt.

use weir_cascade::{Skip, Skipping};
use weir_policy::Plan;
use weir_policy::tier::{Taken, Tier};

use crate::ask::Ask;

/// Of an answer that nobody limits.
const USUAL_OUTPUT: u64 = 256;

/// What `skip`, which was learnt of the tier `small`, says of an ask with this plan: nothing of one that does not
/// begin with that tier, or has no other.
pub(super) fn skipping(
    skip: &Skip,
    (small, plan): (&Tier, &Plan),
    ask: &Ask,
    coin: f64,
) -> Option<Skipping> {
    let steps = plan.steps();
    let [first, next, ..] = steps.as_slice() else {
        return None;
    };
    let is_small = first.name() == small.name();
    is_small.then(|| skip.decide(&ask.asked(), cost_share(first, next, ask), coin))
}

/// What the answer of `small` costs as a part of what that of `big` does. A deployment's replicas are paid for by the
/// hour, whether they work or not: an answer fewer saves no money, and counts for nothing, as that of a tier without a
/// price does.
fn cost_share(small: &Tier, big: &Tier, ask: &Ask) -> f64 {
    let taken = Taken {
        input: ask.prompt_estimate(),
        output: ask.max_tokens.map_or(USUAL_OUTPUT, u64::from),
        ..Taken::default()
    };
    let cost = |tier: &Tier| {
        let money = tier.endpoint().map(|endpoint| endpoint.price.of(taken));
        money.map_or(0.0, |money| f64::try_from(money.amount()).unwrap_or(0.0))
    };
    match (cost(small), cost(big)) {
        (_, big) if big <= 0.0 => 0.0,
        (small, big) => small / big,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use weir_cascade::SKIP_WEIGHTS;
    use weir_policy::Egress;
    use weir_policy::validate::settings;

    use super::*;
    use crate::decode::decode;
    use crate::wire::Wire;

    fn ask() -> Ask {
        let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
        decode(Wire::Chat, body.to_string().as_bytes()).unwrap()
    }

    fn plan() -> Plan {
        let endpoint = |name: &str, price: &str| {
            json!({ "name": name, "endpoint": { "provider": "OpenAI", "model": name,
                "price": { "inputPerMillion": price, "outputPerMillion": price } } })
        };
        let spec = json!({ "models": ["m"], "tiers": [
            { "name": "own", "deployment": { "name": "own" } },
            endpoint("cheap", "1"), endpoint("dear", "4"),
        ] });
        let settings = settings(&serde_json::from_value(spec).unwrap()).unwrap();
        Plan::over(settings.tiers, Egress::Allowed)
    }

    fn without(name: &str) -> Plan {
        plan().keeping(|tier| tier.name() != name)
    }

    /// What is said of a plan that begins with the tier that it was learnt of.
    fn said(plan: &Plan, coin: f64) -> Option<Skipping> {
        let first = plan.steps().remove(0);
        skipping(&hopeless(), (&first, plan), &ask(), coin)
    }

    /// 95 % likely that the first will not do.
    fn hopeless() -> Skip {
        let mut weights = [0.0; SKIP_WEIGHTS];
        weights[0] = 3.0;
        Skip::new(&weights).unwrap()
    }

    #[test]
    fn a_tier_that_costs_a_quarter_is_passed_over_where_it_seldom_does() {
        let passed_over = said(&without("own"), 0.5).unwrap();
        assert!(
            passed_over.skips && (passed_over.line - 0.75).abs() < 1e-9,
            "{passed_over:?}"
        );
        let tried = said(&without("own"), 0.01).unwrap();
        assert!(!tried.skips && tried.coin == 0.01, "to learn from it");
    }

    #[test]
    fn what_costs_nothing_is_tried_and_what_stands_alone_is_not_asked_about() {
        assert!(!said(&plan(), 0.5).unwrap().skips);
        assert_eq!(
            said(&plan().keeping(|tier| tier.name() == "dear"), 0.5),
            None
        );
    }

    #[test]
    fn nothing_is_said_of_a_tier_that_it_was_not_learnt_of() {
        let own = plan().steps().remove(0);
        let said = skipping(&hopeless(), (&own, &without("own")), &ask(), 0.5);
        assert_eq!(said, None);
    }
}
