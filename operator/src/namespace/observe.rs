//! What there is in a namespace: policies, deployments, the routers' objects and their reports.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
use weir_crds::{RoutePolicy, SLMDeployment, labels};
use weir_policy::budget::ledger::Book;
use weir_policy::last_good::{self, LastGood};
use weir_policy::load::RouterLoad;

use crate::cache::Cache;
use crate::load::Loads;
use crate::object::Live;

/// A namespace and all in it that is shared.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    pub namespace: String,
    pub policies: Vec<RoutePolicy>,
    /// Names of policies that are there and that this version cannot read.
    pub unreadable: BTreeSet<String>,
    pub deployments: Vec<SLMDeployment>,
    pub owned: Vec<Live>,
    /// The last good policies as they were written last, and the version that was read.
    pub last_good: BTreeMap<String, LastGood>,
    pub last_good_version: Option<String>,
    /// What is granted of budgets: as it was written last, until this pass deals; and the version that was
    /// read.
    pub budgets: Book,
    pub budgets_version: Option<String>,
    /// Policies of which a router is granted nothing because the ConfigMap is full.
    pub without_room: BTreeSet<String>,
    /// The reports of routers that are ready; nothing from one that has not reported yet.
    pub routers: Vec<Option<RouterLoad>>,
    /// Every router that may still spend, by its pod's name, also one that is leaving.
    pub spenders: Vec<(String, Option<RouterLoad>)>,
}

impl Observed {
    pub fn look(cache: &Cache, loads: &Loads, namespace: &str) -> Self {
        let owned = cache.owned(namespace, None);
        let kept = config(&owned, labels::LAST_GOOD_POLICIES);
        let budgets = config(&owned, labels::BUDGETS);
        let mut policies = cache.policies(namespace);
        let mut deployments = cache.deployments(namespace);
        policies.retain(|policy| policy.metadata.deletion_timestamp.is_none());
        deployments.retain(|deployment| deployment.metadata.deletion_timestamp.is_none());
        let routers = routers(cache, namespace);
        let spenders = running_routers(cache, namespace);
        Self {
            namespace: namespace.to_owned(),
            policies,
            unreadable: cache.unreadable_policies(namespace),
            deployments,
            last_good_version: kept
                .as_ref()
                .and_then(|config| config.metadata.resource_version.clone()),
            last_good: kept
                .and_then(|config| config.data)
                .map(|data| last_good::read(&data))
                .unwrap_or_default(),
            budgets_version: budgets
                .as_ref()
                .and_then(|config| config.metadata.resource_version.clone()),
            budgets: budgets
                .and_then(|config| config.data)
                .map(|data| Book::read(&data))
                .unwrap_or_default(),
            without_room: BTreeSet::new(),
            owned,
            spenders: spenders
                .iter()
                .map(|pod| (pod.name_any(), loads.router(pod)))
                .collect(),
            routers: routers.iter().map(|pod| loads.router(pod)).collect(),
        }
    }
}

fn config(owned: &[Live], name: &str) -> Option<ConfigMap> {
    let mut named = owned.iter().filter(|live| live.name() == name);
    named.find_map(Live::parse::<ConfigMap>)
}

/// The routers of a namespace that are ready.
pub fn routers(cache: &Cache, namespace: &str) -> Vec<Arc<Pod>> {
    let mut pods = cache.pods(namespace);
    pods.retain(|pod| {
        is_router(pod) && pod.metadata.deletion_timestamp.is_none() && crate::load::is_ready(pod)
    });
    pods
}

/// The routers of a namespace whose processes may not be over.
pub fn running_routers(cache: &Cache, namespace: &str) -> Vec<Arc<Pod>> {
    let mut pods = cache.pods(namespace);
    pods.retain(|pod| {
        let status = pod.status.as_ref();
        let phase = status.and_then(|status| status.phase.as_deref());
        is_router(pod) && !matches!(phase, Some("Succeeded" | "Failed"))
    });
    pods
}

fn is_router(pod: &Pod) -> bool {
    pod.labels().get(labels::COMPONENT).map(String::as_str) == Some(labels::ROUTER)
}
