//! What a policy's status says: pure, from what was seen of its namespace and what was decided.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use weir_crds::{
    RoutePolicy, RoutePolicySpec, RoutePolicyStatus, SLMDeployment, Tier, TierDeployment,
    TierStatus, conditions, labels, reasons,
};
use weir_policy::load::MissingCredential;
use weir_policy::table::Table;

use super::budgets;
use super::observe::Observed;
use crate::apply::Applied;
use crate::condition::{Conditions, Verdict, refused, said};
use crate::deployment::status::urls;

/// The status of `policy`, one of the namespace's.
pub fn status(
    policy: &RoutePolicy,
    observed: &Observed,
    table: &Table,
    applied: &Applied,
    now: Timestamp,
) -> RoutePolicyStatus {
    let name = policy.name_any();
    let before = policy.status.clone().unwrap_or_default();
    let facts = Facts {
        policy,
        observed,
        table,
        applied,
        missing: missing(observed, &name),
        before: &before,
        name,
    };
    RoutePolicyStatus {
        observed_generation: policy.metadata.generation,
        conditions: facts.conditions(now),
        urls: Some(urls(labels::ROUTER_NAME, &observed.namespace)),
        tiers: policy
            .spec
            .tiers
            .iter()
            .map(|tier| TierStatus {
                name: tier.name.clone(),
                ready: facts.answers(tier),
                ..TierStatus::default()
            })
            .collect(),
        // Nobody learns this yet.
        calibration: None,
        spend: budgets::spend(observed, &policy.name_any()),
    }
}

/// What any router that is ready misses for the policy, each once.
fn missing(observed: &Observed, policy: &str) -> Vec<MissingCredential> {
    let mut missing: Vec<MissingCredential> = observed
        .routers
        .iter()
        .flatten()
        .flat_map(|router| &router.missing_credentials)
        .filter(|missing| missing.policy == policy)
        .cloned()
        .collect();
    missing.sort();
    missing.dedup();
    missing
}

/// What the conditions are made from.
struct Facts<'a> {
    policy: &'a RoutePolicy,
    /// What goes on being said where no router has reported.
    before: &'a RoutePolicyStatus,
    name: String,
    observed: &'a Observed,
    table: &'a Table,
    applied: &'a Applied,
    missing: Vec<MissingCredential>,
}

impl Facts<'_> {
    fn conditions(&self, now: Timestamp) -> Vec<Condition> {
        let generation = self.policy.metadata.generation.unwrap_or(0);
        let mut conditions = Conditions::new(&self.before.conditions, generation, now);
        let ready = self.ready();
        let stalled = !self.table.problems(&self.name).is_empty()
            || !self.applied.taken.is_empty()
            || !self.applied.refused.is_empty();
        conditions.say(conditions::READY, &ready);
        if let Some(credentials) = self.credentials() {
            conditions.say(conditions::CREDENTIALS_READY, &credentials);
        }
        if let Some(within) = budgets::verdict(self.observed, self.table, &self.name) {
            conditions.say(conditions::WITHIN_BUDGET, &within);
        }
        if stalled {
            conditions.set(conditions::STALLED, true, ready.1, ready.2);
        } else if !ready.0 {
            conditions.set(conditions::RECONCILING, true, reasons::PROGRESSING, ready.2);
        }
        conditions.finish()
    }

    fn ready(&self) -> Verdict {
        let problems = self.table.problems(&self.name);
        if !problems.is_empty() {
            let (_, reason, message) = refused(problems);
            return (false, reason, format!("{message}; {}", self.instead()));
        }
        if !self.applied.taken.is_empty() {
            return (false, reasons::NAME_TAKEN, self.applied.taken.join("; "));
        }
        if !self.applied.refused.is_empty() {
            let message = self.applied.refused.join("; ");
            return (false, reasons::APPLY_FAILED, message);
        }
        let ready = self.routers().unwrap_or_else(|| self.tiers());
        // Which Secrets are missing only routers know.
        let blind = ready.0 && self.unreported() && names_files(&self.policy.spec);
        self.followed().filter(|_| blind).unwrap_or(ready)
    }

    fn unreported(&self) -> bool {
        self.observed.routers.iter().flatten().next().is_none()
    }

    /// What was said of this generation when routers followed it; nothing if they never did.
    fn followed(&self) -> Option<Verdict> {
        let generation = self.policy.metadata.generation;
        let said = said(&self.before.conditions, conditions::READY, generation)?;
        let reason = [
            reasons::SERVING,
            reasons::TIER_UNAVAILABLE,
            reasons::DEPLOYMENT_NOT_FOUND,
            reasons::ADAPTER_NOT_FOUND,
        ]
        .into_iter()
        .find(|reason| *reason == said.reason)?;
        Some((said.status == "True", reason, said.message.clone()))
    }

    /// Whether a tier answers, as far as we see or, without a report, saw.
    fn answers(&self, tier: &Tier) -> bool {
        let same = self.before.observed_generation == self.policy.metadata.generation;
        let mut before = self.before.tiers.iter();
        let before = before.find(|before| before.name == tier.name);
        let before = before.filter(|_| same && tier.endpoint.is_some() && self.unreported());
        self.out(tier).is_none() && before.is_none_or(|before| before.ready)
    }

    /// What is served in the place of a generation that is refused.
    fn instead(&self) -> String {
        match self.table.policy(&self.name) {
            Some(served) => format!("generation {} goes on serving", served.generation),
            None => "nothing is served under its model names".into(),
        }
    }

    /// What keeps routers from following this generation.
    fn routers(&self) -> Option<Verdict> {
        let not_ready = |reason, message: String| Some((false, reason, message));
        let routers = &self.observed.routers;
        if routers.is_empty() {
            let message = "no router of the namespace is ready yet".into();
            return not_ready(reasons::ROUTER_UNAVAILABLE, message);
        }
        let generation = self.policy.metadata.generation;
        let following = routers
            .iter()
            .filter(|router| match router {
                Some(router) => router.policies.get(&self.name).copied() == generation,
                None => self.followed().is_some(),
            })
            .count();
        (following < routers.len()).then(|| {
            let message = format!("{following} of {} routers follow it", routers.len());
            (false, reasons::PROGRESSING, message)
        })
    }

    /// The policy serves while any of its tiers answers; says which ones do not.
    fn tiers(&self) -> Verdict {
        let spec = &self.policy.spec;
        let out: Vec<(&'static str, String)> = spec
            .tiers
            .iter()
            .filter_map(|tier| self.out(tier))
            .collect();
        let unclassified = self.unclassified();
        let said = out.iter().map(|(_, message)| message.as_str());
        let said: Vec<&str> = said.chain(unclassified.as_deref()).collect();
        const NOT_FOUND: [&str; 2] = [reasons::DEPLOYMENT_NOT_FOUND, reasons::ADAPTER_NOT_FOUND];
        match (out.first(), out.len() == spec.tiers.len()) {
            (None, _) if said.is_empty() => (true, reasons::SERVING, "every tier answers".into()),
            (None, _) => (true, reasons::SERVING, said.join("; ")),
            (Some((reason, _)), true) if NOT_FOUND.contains(reason) => {
                (false, reason, said.join("; "))
            }
            (Some(_), true) => (false, reasons::TIER_UNAVAILABLE, said.join("; ")),
            (Some(_), false) => (true, reasons::SERVING, said.join("; ")),
        }
    }

    /// Why nobody says where asks begin although somebody is to.
    fn unclassified(&self) -> Option<String> {
        let classifier = self.policy.spec.classifier.as_ref()?;
        let name = &classifier.deployment.as_ref()?.name;
        let mut deployments = self.observed.deployments.iter();
        let found = deployments.find(|deployment| deployment.name_any() == *name)?;
        found.spec.engine.image.as_ref()?;
        Some(format!(
            "classifier: the server of SLMDeployment {name} is another's, which cannot classify: asks begin at the \
             first tier"
        ))
    }

    /// Why a tier does not answer; nothing if it does, as far as we see.
    fn out(&self, tier: &Tier) -> Option<(&'static str, String)> {
        let missing = self
            .missing
            .iter()
            .find(|missing| missing.tier.as_ref() == Some(&tier.name));
        if let Some(missing) = missing {
            return Some((reasons::CREDENTIALS_MISSING, told(missing)));
        }
        let TierDeployment { name, adapter } = tier.deployment.as_ref()?;
        let found = self
            .observed
            .deployments
            .iter()
            .find(|deployment| deployment.name_any() == *name);
        match found {
            None => Some((
                reasons::DEPLOYMENT_NOT_FOUND,
                format!("tier {}: there is no SLMDeployment {name}", tier.name),
            )),
            Some(deployment) => {
                let ready = deployment
                    .status
                    .as_ref()
                    .map_or(0, |status| status.ready_replicas);
                if ready == 0 && !wakes(deployment) {
                    let message = format!("tier {}: no replica of {name} is ready", tier.name);
                    return Some((reasons::TIER_UNAVAILABLE, message));
                }
                let (reason, why) = adapter_out(deployment, adapter.as_deref()?)?;
                Some((reason, format!("tier {}: {why}", tier.name)))
            }
        }
    }

    /// Nothing where no Secret and no bundle is named, and until a router has ever reported.
    fn credentials(&self) -> Option<Verdict> {
        if !names_files(&self.policy.spec) {
            return None;
        }
        if self.unreported() {
            let generation = self.policy.metadata.generation;
            let type_ = conditions::CREDENTIALS_READY;
            let said = said(&self.before.conditions, type_, generation)?;
            let found = said.status == "True";
            let reason = match found {
                true => reasons::CREDENTIALS_FOUND,
                false => reasons::CREDENTIALS_MISSING,
            };
            return Some((found, reason, said.message.clone()));
        }
        if self.missing.is_empty() {
            let message = "every Secret and CA bundle that the policy names is there";
            return Some((true, reasons::CREDENTIALS_FOUND, message.into()));
        }
        let said: Vec<String> = self.missing.iter().map(told).collect();
        Some((false, reasons::CREDENTIALS_MISSING, said.join("; ")))
    }
}

/// Whether the next ask is held until a replica is there: it has gone to zero by itself, or comes back from there.
fn wakes(deployment: &SLMDeployment) -> bool {
    let mut said = deployment
        .status
        .iter()
        .flat_map(|status| &status.conditions);
    let is_ready =
        |condition: &Condition| condition.type_ == conditions::READY && condition.status == "True";
    deployment.spec.replicas.is_none() && said.any(is_ready)
}

/// Why an adapter does not answer, though replicas of its deployment are ready.
fn adapter_out(deployment: &SLMDeployment, adapter: &str) -> Option<(&'static str, String)> {
    let name = deployment.name_any();
    let mut listed = deployment.spec.adapters.iter();
    if !listed.any(|listed| listed.name == adapter) {
        let why = format!("SLMDeployment {name} has no adapter {adapter}");
        return Some((reasons::ADAPTER_NOT_FOUND, why));
    }
    let status = deployment.status.as_ref()?;
    let mut served = status.adapters.iter();
    let is_served =
        served.any(|served| served.name == adapter && served.ready + served.outdated > 0);
    (!is_served).then(|| {
        let why = format!("no replica of {name} has its adapter {adapter}");
        (reasons::TIER_UNAVAILABLE, why)
    })
}

fn told(missing: &MissingCredential) -> String {
    let of = match &missing.tier {
        _ if missing.is_for_records => "records are not written".into(),
        Some(tier) => format!("tier {tier} is out"),
        None => "nobody is let in".into(),
    };
    if missing.is_config_map {
        let (name, key) = (&missing.secret, missing.key.as_deref().unwrap_or_default());
        return format!(
            "{of}: entry {key} of ConfigMap {name} is missing or holds no certificate authorities"
        );
    }
    match &missing.key {
        Some(key) => format!("{of}: entry {key} of Secret {} is missing", missing.secret),
        None => format!("{of}: Secret {} is missing", missing.secret),
    }
}

fn names_files(spec: &RoutePolicySpec) -> bool {
    let of_tier = |tier: &Tier| {
        let endpoint = tier.endpoint.as_ref();
        endpoint.is_some_and(|endpoint| {
            endpoint.api_key_secret_ref.is_some() || endpoint.ca_bundle.is_some()
        })
    };
    spec.auth.is_some()
        || spec.tiers.iter().any(of_tier)
        || spec.records.credentials_secret_ref.is_some()
}

#[cfg(test)]
mod tests;
