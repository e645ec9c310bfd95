//! What an answer would have cost at the reference: the tier that would have answered everything without
//! a cascade.

use weir_crds::Money;
use weir_policy::tier::{Price, Taken, Tier};
use weir_policy::validate::Settings;

use crate::decision::AttemptLine;

/// The last endpoint of a policy that has a price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    tier: String,
    price: Price,
}

impl Reference {
    /// Nothing where no endpoint has a price.
    pub fn of(settings: &Settings) -> Option<Self> {
        let tiers = settings.tiers.iter().rev();
        let mut priced = tiers.filter_map(|tier: &Tier| {
            let price = tier.endpoint()?.price;
            (price != Price::default()).then(|| Self {
                tier: tier.name().to_owned(),
                price,
            })
        });
        priced.next()
    }

    /// What the answer of `answering` costs there: its prompt, as it was counted, and its own tokens. Whether a
    /// cache would have held the prompt nobody knows.
    pub fn cost(&self, answering: &AttemptLine) -> Money {
        if answering.tier == self.tier {
            return answering.amount;
        }
        self.price.of(Taken {
            input: answering.tokens_in,
            output: answering.tokens_out,
            ..Taken::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn reference(price: serde_json::Value) -> Option<Reference> {
        let mut spec = json!({ "models": ["m"], "tiers": [
            { "name": "small", "deployment": { "name": "triage" } },
            { "name": "big", "endpoint": { "provider": "OpenAI", "model": "big" } },
        ] });
        if !price.is_null() {
            spec["tiers"][1]["endpoint"]["price"] = price;
        }
        let spec = serde_json::from_value(spec).unwrap();
        Reference::of(&weir_policy::validate::settings(&spec).unwrap())
    }

    fn line(tier: &str) -> AttemptLine {
        AttemptLine {
            tier: tier.into(),
            tokens_in: 1000,
            tokens_out: 100,
            amount: "0.001".parse().unwrap(),
            ..AttemptLine::default()
        }
    }

    #[test]
    fn a_small_answer_is_priced_at_the_reference_and_that_ones_own_is_what_it_cost() {
        let price = json!({ "inputPerMillion": "3", "outputPerMillion": "15" });
        let reference = reference(price).unwrap();
        let cost = |tier| reference.cost(&line(tier)).amount().normalize().to_string();
        assert_eq!(cost("small"), "0.0045");
        assert_eq!(cost("big"), "0.001");
    }

    #[test]
    fn without_a_price_there_is_nothing_to_compare_with() {
        assert_eq!(reference(serde_json::Value::Null), None);
    }
}
