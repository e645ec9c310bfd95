//! From the objects of a namespace to what every model name means, by one pure function that
//! routers follow and the operator reports.
//!
//! - A policy whose live spec is not valid is served by its last good one, if it has one.
//! - A model name belongs to the oldest policy that claims it (creationTimestamp, then UID); a spec
//!   that claims a name of an older policy is not valid.
//! - A deployment has its own name, unless a policy claims it. Under its own name it asks for the
//!   keys of every policy that uses it, also of one that is refused: a fault elsewhere in a spec
//!   opens nothing.

mod foreign;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use weir_crds::{
    Hold, Money, Protocol, RoutePolicy, RoutePolicySpec, SLMDeployment, reasons, value,
};

use crate::calibration;
use crate::last_good::LastGood;
use crate::tier::{Inside, Target, Tier, model_name};
use crate::validate::{self, Problem, Settings};
use foreign::Foreign;

/// What every model name of a namespace means.
#[derive(Clone, Debug, Default)]
pub struct Table {
    routes: BTreeMap<String, Route>,
    policies: BTreeMap<String, Arc<Policy>>,
    deployments: BTreeMap<String, Arc<Deployment>>,
    problems: BTreeMap<String, Vec<Problem>>,
    /// What is wrong with what was learnt of policies, by their names.
    miscalibrated: BTreeMap<String, Vec<String>>,
    /// Of the specs that are refused: the deployments that they name and the keys for these.
    refused_keys: Vec<(String, Keys)>,
    foreign: Foreign,
}

/// A policy as it is served.
#[derive(Debug)]
pub struct Policy {
    pub name: String,
    /// Of the spec that is served: lower than the live one where that is refused.
    pub generation: i64,
    pub models: Vec<String>,
    /// The Secret with its keys; nothing means open.
    pub auth: Option<String>,
    /// Of the spec that is served.
    pub digest: [u8; 32],
    pub settings: Arc<Settings>,
}

/// A revision on trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    pub revision: String,
    /// Per cent of the asks.
    pub weight: u32,
}

/// What the table needs to know of a deployment.
#[derive(Debug, PartialEq, Eq)]
pub struct Deployment {
    pub name: String,
    /// The revision that its status names as the one that serves.
    pub stable: Option<String>,
    /// The one on trial, once it gets any asks.
    pub canary: Option<Canary>,
    /// Of one replica.
    pub replica_hour: Option<Money>,
    /// The names of its adapters.
    pub adapters: BTreeSet<String>,
    /// What tells the files of each adapter apart from others of its name. Nothing of one of which replicas
    /// still serve different ones, or none.
    pub adapter_digests: BTreeMap<String, String>,
    pub hold: HoldBounds,
    /// How long its first replica took to become ready, once one has.
    pub cold_start: Option<Duration>,
}

/// What a router holds of asks for a deployment that has no replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldBounds {
    pub asks: usize,
    pub bytes: u64,
    pub wait: Duration,
}

impl Default for HoldBounds {
    fn default() -> Self {
        Self::of(&Hold::default())
    }
}

impl HoldBounds {
    /// What cannot be read, which admission refuses, is as if it were left out.
    fn of(hold: &Hold) -> Self {
        let default = Hold::default();
        let bytes = [&hold.bytes, &default.bytes].map(|bytes| bytes.bytes().ok());
        let wait = [&hold.wait, &default.wait].map(|wait| value::duration(wait).ok());
        Self {
            asks: hold.asks as usize,
            bytes: bytes.into_iter().flatten().next().unwrap_or_default(),
            wait: wait.into_iter().flatten().next().unwrap_or_default(),
        }
    }
}

/// A duration as a status tells it: whole, or in seconds and tenths.
pub fn told(text: &str) -> Option<Duration> {
    let in_tenths = || {
        let seconds: f64 = text.strip_suffix('s')?.parse().ok()?;
        Duration::try_from_secs_f64(seconds).ok()
    };
    value::duration(text).ok().or_else(in_tenths)
}

/// What one model name means.
#[derive(Clone, Debug)]
pub struct Route {
    pub owner: Owner,
    pub settings: Arc<Settings>,
    /// One of these keys is needed; none means open.
    pub keys: Vec<Keys>,
}

/// Whose name it is.
#[derive(Clone, Debug)]
pub enum Owner {
    Policy(Arc<Policy>),
    /// A deployment under its own name.
    Deployment(String),
}

/// The Secret with the keys of a policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Keys {
    pub policy: String,
    pub secret: String,
}

impl Keys {
    /// What one of their tenants is called where those of other policies are too.
    pub fn of(&self, tenant: &str) -> String {
        format!("{}/{tenant}", self.policy)
    }
}

/// Compiles the objects of one namespace; the result depends on nothing else.
pub fn compile<'a>(
    policies: impl IntoIterator<Item = &'a RoutePolicy>,
    deployments: impl IntoIterator<Item = &'a SLMDeployment>,
    last_good: &BTreeMap<String, LastGood>,
) -> Table {
    let deployments: Vec<&SLMDeployment> = deployments.into_iter().collect();
    let mut table = Table {
        foreign: Foreign::among(&deployments),
        ..Table::default()
    };
    let mut policies: Vec<&RoutePolicy> = policies.into_iter().collect();
    policies.sort_by_key(|policy| age(policy));
    for policy in policies {
        table.add_policy(policy, last_good);
    }
    for deployment in deployments {
        table.add_deployment(deployment);
    }
    table
}

impl Table {
    /// What `model` means.
    pub fn route(&self, model: &str) -> Option<&Route> {
        self.routes.get(model)
    }

    /// Every model name and what it means.
    pub fn routes(&self) -> impl Iterator<Item = (&str, &Route)> {
        self.routes
            .iter()
            .map(|(name, route)| (name.as_str(), route))
    }

    /// The policies that are served, by name.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.policies.values().map(Arc::as_ref)
    }

    /// The policy as it is served; nothing where neither its live nor its last spec is valid.
    pub fn policy(&self, name: &str) -> Option<&Policy> {
        self.policies.get(name).map(Arc::as_ref)
    }

    pub fn deployments(&self) -> impl Iterator<Item = &Deployment> {
        self.deployments.values().map(Arc::as_ref)
    }

    pub fn deployment(&self, name: &str) -> Option<&Deployment> {
        self.deployments.get(name).map(Arc::as_ref)
    }

    /// Why the live spec of the policy is not served; empty where it is.
    pub fn problems(&self, policy: &str) -> &[Problem] {
        self.problems.get(policy).map_or(&[], Vec::as_slice)
    }

    /// What of a policy's status is not valid, and is not used.
    pub fn miscalibrated(&self, policy: &str) -> &[String] {
        self.miscalibrated.get(policy).map_or(&[], Vec::as_slice)
    }

    /// The policies whose live spec is not served, and why.
    pub fn refused(&self) -> impl Iterator<Item = (&str, &[Problem])> {
        let refused = self.problems.iter();
        refused.map(|(policy, problems)| (policy.as_str(), problems.as_slice()))
    }

    /// The deployments that tiers of the policy or its classifier name and that do not exist: no fault
    /// of the spec, but those tiers are out.
    pub fn missing_deployments(&self, policy: &str) -> Vec<&str> {
        let policy = self.policies.get(policy);
        let named = policy.into_iter();
        let named = named.flat_map(|policy| policy.settings.deployments());
        let missing: BTreeSet<&str> = named
            .filter(|name| !self.deployments.contains_key(*name))
            .collect();
        missing.into_iter().collect()
    }

    /// The adapters, as model names, that tiers of the policy name and that their deployments do not
    /// have.
    pub fn missing_adapters(&self, policy: &str) -> Vec<String> {
        let tiers = self
            .policies
            .get(policy)
            .map(|policy| &policy.settings.tiers);
        let named = tiers.into_iter().flatten().filter_map(|tier| {
            let (name, adapter) = (tier.deployment()?, tier.adapter()?);
            let has = self.deployments.get(name)?.adapters.contains(adapter);
            (!has).then(|| model_name(name, Some(adapter)))
        });
        let missing: BTreeSet<String> = named.collect();
        missing.into_iter().collect()
    }

    fn add_policy(&mut self, object: &RoutePolicy, last_good: &BTreeMap<String, LastGood>) {
        let name = object.metadata.name.clone().unwrap_or_default();
        let live = (object.metadata.generation.unwrap_or_default(), &object.spec);
        let last = last_good
            .get(&name)
            .map(|last| (last.generation, &last.spec));
        match self.settings(live.1) {
            Ok(settings) => {
                let settings = self.learnt(object, settings);
                self.serve(name, live, settings);
            }
            Err(problems) => {
                self.problems.insert(name.clone(), problems);
                self.refused_keys.extend(keys_of_refused(&name, live.1));
                // A name may have gone to an older policy since, so that too is checked again.
                if let Some(last) = last
                    && let Ok(settings) = self.settings(last.1)
                {
                    let settings = self.learnt(object, settings);
                    self.serve(name, last, settings);
                }
            }
        }
    }

    /// The settings with what the object's status says was learnt.
    fn learnt(&mut self, object: &RoutePolicy, mut settings: Settings) -> Settings {
        let status = object.status.as_ref();
        if let Some(learnt) = status.and_then(|status| status.calibration.as_ref()) {
            let wrong = calibration::apply(&mut settings, learnt);
            if let (false, Some(name)) = (wrong.is_empty(), &object.metadata.name) {
                self.miscalibrated.insert(name.clone(), wrong);
            }
        }
        settings
    }

    /// What `spec` means beside the policies that are already served.
    fn settings(&self, spec: &RoutePolicySpec) -> Result<Settings, Vec<Problem>> {
        let checked = validate::settings(spec);
        let mut taken = Vec::new();
        for (index, model) in spec.models.iter().enumerate() {
            if let Some(Route {
                owner: Owner::Policy(policy),
                ..
            }) = self.routes.get(model)
            {
                let field = format!("spec.models[{index}]");
                taken.push(Problem {
                    reason: reasons::MODEL_NAME_TAKEN,
                    message: format!(
                        "{field}: {model:?} belongs already to the policy {:?}",
                        policy.name
                    ),
                    field,
                });
            }
        }
        match (checked, taken.is_empty()) {
            (Ok(settings), true) => Ok(settings),
            (Ok(_), false) => Err(taken),
            (Err(mut problems), _) => {
                problems.extend(taken);
                Err(problems)
            }
        }
    }

    fn serve(
        &mut self,
        name: String,
        (generation, spec): (i64, &RoutePolicySpec),
        mut settings: Settings,
    ) {
        self.foreign.tell(&mut settings);
        let auth = spec
            .auth
            .as_ref()
            .map(|auth| auth.keys_secret_ref.name.clone());
        let policy = Arc::new(Policy {
            name: name.clone(),
            generation,
            models: spec.models.clone(),
            auth,
            digest: Sha256::digest(serde_json::to_vec(spec).unwrap_or_default()).into(),
            settings: Arc::new(settings),
        });
        for model in &spec.models {
            let route = Route {
                owner: Owner::Policy(policy.clone()),
                settings: policy.settings.clone(),
                keys: policy.keys().into_iter().collect(),
            };
            self.routes.insert(model.clone(), route);
        }
        self.policies.insert(name, policy);
    }

    fn add_deployment(&mut self, object: &SLMDeployment) {
        let name = object.metadata.name.clone().unwrap_or_default();
        let status = object.status.as_ref();
        let rollout = status.and_then(|status| status.rollout.as_ref());
        let price = object.spec.price.as_ref();
        let deployment = Deployment {
            name: name.clone(),
            stable: rollout
                .map(|rollout| rollout.stable.clone())
                .filter(|stable| !stable.is_empty()),
            canary: rollout
                .filter(|rollout| !rollout.canary.is_empty() && rollout.weight > 0)
                .map(|rollout| Canary {
                    revision: rollout.canary.clone(),
                    weight: rollout.weight,
                }),
            replica_hour: price.and_then(|price| price.replica_hour.parse().ok()),
            adapters: object
                .spec
                .adapters
                .iter()
                .map(|of| of.name.clone())
                .collect(),
            hold: HoldBounds::of(&object.spec.scaling.hold),
            cold_start: status
                .and_then(|status| status.cold_start.as_ref())
                .and_then(|cold| told(cold.total_text.as_deref()?)),
            adapter_digests: adapter_digests(object),
        };
        let adapters = deployment.adapters.clone();
        self.deployments.insert(name.clone(), Arc::new(deployment));
        // A key that some policy asks for on the way to a deployment is asked for here as well.
        let users = self.policies.values().filter(|policy| policy.uses(&name));
        let refused = self.refused_keys.iter();
        let refused = refused.filter(|(of, _)| *of == name);
        let refused = refused.map(|(_, keys)| keys.clone());
        let keys: BTreeSet<Keys> = users
            .filter_map(|policy| policy.keys())
            .chain(refused)
            .collect();
        let keys: Vec<Keys> = keys.into_iter().collect();
        let adapters = adapters.iter().map(|adapter| Some(adapter.as_str()));
        for adapter in adapters.chain([None]) {
            let route = self.routes.entry(model_name(&name, adapter));
            let mut alone = alone(&name, adapter);
            self.foreign.tell(&mut alone);
            route.or_insert_with(|| Route {
                settings: Arc::new(alone),
                owner: Owner::Deployment(name.clone()),
                keys: keys.clone(),
            });
        }
    }
}

impl Policy {
    fn keys(&self) -> Option<Keys> {
        let secret = self.auth.clone()?;
        let policy = self.name.clone();
        Some(Keys { policy, secret })
    }

    fn uses(&self, deployment: &str) -> bool {
        let mut used = self.settings.deployments();
        used.any(|used| used == deployment)
    }
}

/// What a refused spec asks for on the way to the deployments that it names.
fn keys_of_refused(policy: &str, spec: &RoutePolicySpec) -> Vec<(String, Keys)> {
    let Some(auth) = &spec.auth else {
        return Vec::new();
    };
    let keys = Keys {
        policy: policy.to_owned(),
        secret: auth.keys_secret_ref.name.clone(),
    };
    let tiers = spec.tiers.iter();
    let tiers = tiers.filter_map(|tier| Some(&tier.deployment.as_ref()?.name));
    let classifier = spec.classifier.as_ref();
    let classifier = classifier.and_then(|classifier| Some(&classifier.deployment.as_ref()?.name));
    tiers
        .chain(classifier)
        .map(|name| (name.clone(), keys.clone()))
        .collect()
}

/// A deployment under its own name, or that of an adapter: one tier, nothing held back, the defaults of
/// a policy.
fn alone(deployment: &str, adapter: Option<&str>) -> Settings {
    let spec: RoutePolicySpec = serde_json::from_value(serde_json::json!({
        "models": [deployment],
        "tiers": [{ "name": deployment, "deployment": { "name": deployment } }],
    }))
    .expect("a policy of one tier reads");
    let mut settings = validate::settings(&spec).expect("a policy of one tier is valid");
    settings.tiers = vec![Tier::Inside(Arc::new(Inside {
        name: model_name(deployment, adapter),
        target: Target::Deployment {
            name: deployment.to_owned(),
            adapter: adapter.map(str::to_owned),
            protocol: Protocol::Weir,
        },
        accept: None,
    }))];
    settings
}

/// Where nobody writes a status, on a laptop, an adapter stays what it was at the start.
fn adapter_digests(object: &SLMDeployment) -> BTreeMap<String, String> {
    let adapters = object.spec.adapters.iter();
    let known = adapters.filter_map(|adapter| {
        let digest = match &object.status {
            None => Some(adapter.source.clone()),
            Some(status) => {
                let mut served = status.adapters.iter();
                served
                    .find(|served| served.name == adapter.name)?
                    .digest
                    .clone()
            }
        };
        Some((adapter.name.clone(), digest?))
    });
    known.collect()
}

/// Oldest first; an object that was never stored is younger than all that were.
fn age(policy: &RoutePolicy) -> impl Ord + use<> {
    let created = policy
        .metadata
        .creation_timestamp
        .as_ref()
        .map(|time| time.0);
    let uid = policy.metadata.uid.clone();
    let name = policy.metadata.name.clone();
    (created.is_none(), created, uid, name)
}

#[cfg(test)]
mod tests;
