//! Prompts for which the first tier is not worth trying, as far as was learnt.

use weir_cascade::{Skip, Skipping};
use weir_policy::Plan;
use weir_policy::tier::{Taken, Tier};

use crate::ask::Ask;

/// Of an answer that nobody limits.
const USUAL_OUTPUT: u64 = 256;

/// The plan without its first tier where `skip` says so, and what it said. Nothing is said of a plan that has no
/// other tier.
pub(super) fn skipped(skip: &Skip, plan: Plan, ask: &Ask, coin: f64) -> (Plan, Option<Skipping>) {
    let steps = plan.steps();
    let [first, next, ..] = steps.as_slice() else {
        return (plan, None);
    };
    let skipping = skip.decide(&ask.asked(), cost_share(first, next, ask), coin);
    let plan = match skipping.skips {
        true => plan.keeping(|tier| tier.name() != first.name()),
        false => plan,
    };
    (plan, Some(skipping))
}

/// What the answer of `small` costs as a part of what that of `big` does. A deployment's time is paid for whether
/// it works or not, and counts for nothing, as a tier without a price does.
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

    fn tiers(plan: &Plan) -> Vec<String> {
        let steps = plan.steps();
        steps.iter().map(|tier| tier.name().to_owned()).collect()
    }

    /// 95 % likely that the first will not do.
    fn hopeless() -> Skip {
        let mut weights = [0.0; SKIP_WEIGHTS];
        weights[0] = 3.0;
        Skip::new(&weights).unwrap()
    }

    #[test]
    fn a_tier_that_costs_a_quarter_is_passed_over_where_it_seldom_does() {
        let without_own = || plan().keeping(|tier| tier.name() != "own");
        let (left, said) = skipped(&hopeless(), without_own(), &ask(), 0.5);
        assert_eq!(tiers(&left), ["dear"]);
        let said = said.unwrap();
        assert!(said.skips && (said.line - 0.75).abs() < 1e-9, "{said:?}");
        let (left, said) = skipped(&hopeless(), without_own(), &ask(), 0.01);
        assert_eq!(tiers(&left), ["cheap", "dear"], "tried to learn from it");
        assert_eq!(said.unwrap().coin, 0.01);
    }

    #[test]
    fn what_costs_nothing_is_tried_and_what_stands_alone_is_not_asked_about() {
        let (left, said) = skipped(&hopeless(), plan(), &ask(), 0.5);
        assert_eq!((tiers(&left).len(), said.unwrap().skips), (3, false));
        let alone = plan().keeping(|tier| tier.name() == "dear");
        let (left, said) = skipped(&hopeless(), alone, &ask(), 0.5);
        assert_eq!((tiers(&left).len(), said), (1, None));
    }
}
