//! What a router counts. Labels are names of objects and closed sets of words.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use weir_crds::{Money, Period};
use weir_policy::budget::period::word;

use crate::money::Short;

/// From a cached answer to the longest that a policy allows by default.
const SECONDS: [f64; 12] = [
    0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 600.0,
];

/// `policy` is empty for a deployment under its own name, and for asks that matched nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct AskLabels {
    pub policy: String,
    pub outcome: &'static str,
}

/// `name` is that of a rule, or of the tier that was pinned or classified.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RouteLabels {
    pub policy: String,
    pub by: &'static str,
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct AttemptLabels {
    pub policy: String,
    pub tier: String,
    pub outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct TierLabels {
    pub policy: String,
    pub tier: String,
}

/// `verdict` is `good` or `bad`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct FeedbackLabels {
    pub policy: String,
    pub verdict: &'static str,
}

/// `outcome` is `written`, `dropped` or `failed`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RecordLabels {
    pub policy: String,
    pub outcome: &'static str,
}

/// `outcome` is `hit` or `miss`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct LookupLabels {
    pub policy: String,
    pub outcome: &'static str,
}

/// `whose` is `policy` or `tenant`, `limit` is `asks` or `tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct LimitLabels {
    pub policy: String,
    pub whose: &'static str,
    pub limit: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct PolicyLabels {
    pub policy: String,
}

/// `period` is `hour`, `day` or `month`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct BudgetLabels {
    pub policy: String,
    pub period: &'static str,
}

#[derive(Clone)]
pub(crate) struct Metrics {
    pub asks: Family<AskLabels, Counter>,
    pub routes: Family<RouteLabels, Counter>,
    pub attempts: Family<AttemptLabels, Counter>,
    pub tokens: Family<TierLabels, Counter>,
    pub cost_dollars: Family<TierLabels, Counter<f64, AtomicU64>>,
    counterfactual_dollars: Family<PolicyLabels, Counter<f64, AtomicU64>>,
    budget_left_dollars: Family<BudgetLabels, Gauge<f64, AtomicU64>>,
    budget_short: Family<BudgetLabels, Counter>,
    pub endpoint_circuit: Family<TierLabels, Gauge>,
    pub feedback: Family<FeedbackLabels, Counter>,
    pub records: Family<RecordLabels, Counter>,
    pub limited: Family<LimitLabels, Counter>,
    retries_damped: Family<TierLabels, Counter>,
    pub cache_lookups: Family<LookupLabels, Counter>,
    pub cache_bytes: Gauge,
    pub running: Gauge,
    pub first_byte_seconds: Histogram,
    pub ask_seconds: Histogram,
}

impl Metrics {
    pub fn register(metrics: &weir_process::Metrics) -> Self {
        let ours = Self {
            asks: Family::default(),
            routes: Family::default(),
            attempts: Family::default(),
            tokens: Family::default(),
            cost_dollars: Family::default(),
            counterfactual_dollars: Family::default(),
            budget_left_dollars: Family::default(),
            budget_short: Family::default(),
            endpoint_circuit: Family::default(),
            feedback: Family::default(),
            records: Family::default(),
            limited: Family::default(),
            retries_damped: Family::default(),
            cache_lookups: Family::default(),
            cache_bytes: Gauge::default(),
            running: Gauge::default(),
            first_byte_seconds: Histogram::new(SECONDS),
            ask_seconds: Histogram::new(SECONDS),
        };
        let mine = &ours;
        metrics.register(|registry| {
            mine.register_money(registry);
            mine.register_spared(registry);
            registry.register("asks", "Asks that ended, by how", mine.asks.clone());
            registry.register(
                "routes",
                "Asks by what chose their tiers",
                mine.routes.clone(),
            );
            registry.register(
                "attempts",
                "Attempts that ended, by how",
                mine.attempts.clone(),
            );
            registry.register(
                "tokens",
                "Tokens written by tiers, used or not",
                mine.tokens.clone(),
            );
            registry.register(
                "endpoint_circuit",
                "Whether a tier's endpoint is asked: 0 it is, 1 one ask tries, 2 it is down",
                mine.endpoint_circuit.clone(),
            );
            registry.register(
                "feedback",
                "Verdicts of clients on answers",
                mine.feedback.clone(),
            );
            registry.register(
                "records",
                "Lines for object storage, by what became of them",
                mine.records.clone(),
            );
            registry.register("asks_running", "Asks in hand", mine.running.clone());
            registry.register(
                "first_byte_seconds",
                "From an ask's arrival to the first byte of its answer",
                mine.first_byte_seconds.clone(),
            );
            registry.register(
                "ask_seconds",
                "From an ask's arrival to its end",
                mine.ask_seconds.clone(),
            );
        });
        ours
    }

    /// A tier is not tried again, because too many are.
    pub fn damped(&self, (policy, tier): (&str, &str)) {
        let labels = TierLabels {
            policy: policy.to_owned(),
            tier: tier.to_owned(),
        };
        self.retries_damped.get_or_create(&labels).inc();
    }

    /// Of asks that no tier was asked for.
    fn register_spared(&self, registry: &mut Registry) {
        registry.register(
            "limited",
            "Asks refused by a limit of their policy, by which",
            self.limited.clone(),
        );
        registry.register(
            "retries_damped",
            "Tries again that a tier did not get because it had too many",
            self.retries_damped.clone(),
        );
        registry.register(
            "cache_lookups",
            "Asks for which an earlier answer was looked for, by whether there was one",
            self.cache_lookups.clone(),
        );
        registry.register(
            "cache_bytes",
            "Memory that answers take that may be given again",
            self.cache_bytes.clone(),
        );
    }

    fn register_money(&self, registry: &mut Registry) {
        registry.register(
            "cost_dollars",
            "What tiers cost: endpoints by tokens, replicas by time",
            self.cost_dollars.clone(),
        );
        registry.register(
            "counterfactual_dollars",
            "What answers would have cost at their policy's last endpoint that has a price",
            self.counterfactual_dollars.clone(),
        );
        registry.register(
            "budget_left_dollars",
            "What this router may still spend of the slice that it was granted",
            self.budget_left_dollars.clone(),
        );
        registry.register(
            "budget_short",
            "Calls of endpoints that were not made because a budget had too little left",
            self.budget_short.clone(),
        );
    }

    /// An answer of the policy would have cost so much at the reference.
    pub fn counterfactual(&self, policy: &str, cost: Money) {
        let policy = policy.to_owned();
        let labels = PolicyLabels { policy };
        let counter = self.counterfactual_dollars.get_or_create(&labels);
        counter.inc_by(dollars(cost));
    }

    /// A call was not made.
    pub fn short(&self, policy: &str, short: Short) {
        let labels = BudgetLabels {
            policy: policy.to_owned(),
            period: word(short.period),
        };
        self.budget_short.get_or_create(&labels).inc();
    }

    /// What is left of every slice, and nothing of budgets that are gone.
    pub fn budgets_left(&self, left: impl Iterator<Item = (String, Period, Money)>) {
        self.budget_left_dollars.clear();
        for (policy, period, left) in left {
            let period = word(period);
            let labels = BudgetLabels { policy, period };
            let gauge = self.budget_left_dollars.get_or_create(&labels);
            gauge.set(dollars(left));
        }
    }
}

fn dollars(amount: Money) -> f64 {
    f64::try_from(amount.amount()).unwrap_or_default()
}
