//! Phase 3: the model name picks a policy, or a deployment directly, and the key must open it.

use std::collections::BTreeSet;

use weir_policy::Table;
use weir_policy::table::{Keys, Route};

use crate::credentials::Credentials;
use crate::identify::{Access, Identity};
use crate::refusal::Refusal;

/// A route that may be taken, and by whom.
pub(crate) struct Matched {
    pub route: Route,
    pub tenant: Option<String>,
}

/// The route for `model`.
pub(crate) fn find(
    table: &Table,
    model: &str,
    identity: &Identity,
    credentials: &Credentials,
) -> Result<Matched, Refusal> {
    let model = model.to_owned();
    let Some(route) = table.route(&model) else {
        let known = visible(table, identity, credentials);
        return Err(Refusal::UnknownModel { model, known });
    };
    match identity.access(&route.keys, &all_keys(table), credentials) {
        Access::Granted { tenant } => Ok(Matched {
            route: route.clone(),
            tenant,
        }),
        Access::KeyNeeded => Err(Refusal::KeyNeeded { model }),
        Access::KeyUnknown => Err(Refusal::KeyUnknown),
        Access::KeyOfAnother => Err(Refusal::KeyOfAnother { model }),
    }
}

/// Refuses whoever has no key where every model needs one, before anything is read of the request.
pub(crate) fn may_ask(
    table: &Table,
    identity: &Identity,
    credentials: &Credentials,
) -> Result<(), Refusal> {
    if table.routes().any(|(_, route)| route.keys.is_empty()) {
        return Ok(());
    }
    let all = all_keys(table);
    match identity.access(&all, &all, credentials) {
        Access::Granted { .. } => Ok(()),
        Access::KeyNeeded => Err(Refusal::KeyMissing),
        Access::KeyUnknown | Access::KeyOfAnother => Err(Refusal::KeyUnknown),
    }
}

/// The model names that this key may use.
pub(crate) fn visible(
    table: &Table,
    identity: &Identity,
    credentials: &Credentials,
) -> Vec<String> {
    let all = all_keys(table);
    let routes = table.routes().filter(|(_, route)| {
        let access = identity.access(&route.keys, &all, credentials);
        matches!(access, Access::Granted { .. })
    });
    routes.map(|(name, _)| name.to_owned()).collect()
}

/// The tenants that a key belongs to, hashed: also those of policies that are refused and whose deployments
/// ask for their keys.
pub(crate) fn tenants(
    table: &Table,
    identity: &Identity,
    credentials: &Credentials,
) -> Vec<String> {
    let policies = all_keys(table);
    let routes = table.routes().flat_map(|(_, route)| &route.keys);
    let keys: BTreeSet<&Keys> = routes.chain(&policies).collect();
    identity.tenants(keys, credentials)
}

/// Whose request it is, as far as that is known before any of it is read: the first tenant that the key belongs to.
/// Empty where it belongs to none: all of those are one.
pub(crate) fn sender(table: &Table, identity: &Identity, credentials: &Credentials) -> String {
    let mut tenants = tenants(table, identity, credentials).into_iter();
    tenants.next().unwrap_or_default()
}

fn all_keys(table: &Table) -> Vec<Keys> {
    let policies = table.policies();
    let keys = policies.filter_map(|policy| {
        let secret = policy.auth.clone()?;
        Some(Keys {
            policy: policy.name.clone(),
            secret,
        })
    });
    keys.collect()
}
