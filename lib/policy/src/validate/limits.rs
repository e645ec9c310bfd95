//! How much may be asked in a minute.

use weir_crds::{Limits, RoutePolicySpec};

use super::Check;

impl Check {
    /// Nothing where nothing is limited.
    pub(super) fn limits(&mut self, spec: &RoutePolicySpec) -> Option<Limits> {
        let limits = spec.limits.as_ref()?;
        let each = limits.per_tenant.clone().unwrap_or_default();
        let all = [
            ("asksPerMinute", limits.asks_per_minute.map(u64::from)),
            ("tokensPerMinute", limits.tokens_per_minute),
            (
                "perTenant.asksPerMinute",
                each.asks_per_minute.map(u64::from),
            ),
            ("perTenant.tokensPerMinute", each.tokens_per_minute),
        ];
        for (field, limit) in all {
            if limit == Some(0) {
                let message = "must be at least 1; leave it out where nothing is limited";
                self.invalid(format!("spec.limits.{field}"), message);
            }
        }
        let is_any = all.iter().any(|(_, limit)| limit.is_some());
        is_any.then(|| limits.clone())
    }
}
