//! The checks of a policy's budgets.

use std::collections::BTreeSet;

use weir_crds::{Money, Provider, RoutePolicySpec};

use super::Check;
use crate::budget::Budget;

impl Check {
    pub(super) fn budgets(&mut self, spec: &RoutePolicySpec) -> Vec<Budget> {
        let mut seen = BTreeSet::new();
        let mut budgets = Vec::new();
        for (index, budget) in spec.budget.iter().enumerate() {
            let at = format!("spec.budget[{index}]");
            if !seen.insert(budget.period) {
                let message = format!("{:?} is there twice: keep the lower limit", budget.period);
                self.invalid(format!("{at}.period"), message);
            }
            let limit = budget.limit.parse::<Money>();
            let limit = limit.unwrap_or_else(|error| {
                self.invalid(format!("{at}.limit"), error);
                Money::default()
            });
            budgets.push(Budget {
                period: budget.period,
                limit,
                on_exhausted: budget.on_exhausted,
            });
        }
        if !budgets.is_empty() {
            self.prices(spec);
            self.bounds(spec);
        }
        budgets
    }

    /// What has no price would be spent uncounted.
    fn prices(&mut self, spec: &RoutePolicySpec) {
        for (index, tier) in spec.tiers.iter().enumerate() {
            let endpoint = tier.endpoint.as_ref();
            if endpoint.is_some_and(|endpoint| endpoint.price.is_none()) {
                let field = format!("spec.tiers[{index}].endpoint.price");
                let message = "the policy has a budget, and what this endpoint takes could not be \
                               counted: say what it costs, also where that is \"0\"";
                self.invalid(field, message);
            }
        }
    }

    /// Nobody knows what an answer without a bound may cost.
    fn bounds(&mut self, spec: &RoutePolicySpec) {
        for (index, tier) in spec.tiers.iter().enumerate() {
            let Some(endpoint) = &tier.endpoint else {
                continue;
            };
            let lists = |name: &str| endpoint.unsupported.iter().any(|entry| entry == name);
            let chat = lists("max_tokens") && lists("max_completion_tokens");
            let unbounded = match endpoint.provider {
                Provider::Anthropic => lists("max_tokens"),
                Provider::OpenAI => chat || lists("max_output_tokens"),
                Provider::OpenAICompatible => chat,
            };
            if unbounded {
                let field = format!("spec.tiers[{index}].endpoint.unsupported");
                let message = "the policy has a budget, and what an answer may cost follows from its \
                               longest length: leave the endpoint one name to be told it by";
                self.invalid(field, message);
            }
        }
    }
}
