//! What there is in a namespace: policies, deployments, the routers' objects and their reports.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
use weir_crds::{RoutePolicy, SLMDeployment, labels};
use weir_policy::last_good::{self, LastGood};
use weir_policy::load::RouterLoad;

use crate::cache::Cache;
use crate::load::Loads;
use crate::object::Live;

/// A namespace and all in it that is shared.
#[derive(Clone, Debug)]
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
    /// The reports of routers that are ready; nothing from one that has not reported yet.
    pub routers: Vec<Option<RouterLoad>>,
}

impl Observed {
    pub fn look(cache: &Cache, loads: &Loads, namespace: &str) -> Self {
        let owned = cache.owned(namespace, |live| live.label(labels::DEPLOYMENT).is_none());
        let config = owned
            .iter()
            .filter(|live| live.name() == labels::LAST_GOOD_POLICIES)
            .find_map(Live::parse::<ConfigMap>);
        let mut policies = cache.policies(namespace);
        let mut deployments = cache.deployments(namespace);
        policies.retain(|policy| policy.metadata.deletion_timestamp.is_none());
        deployments.retain(|deployment| deployment.metadata.deletion_timestamp.is_none());
        let routers = routers(cache, namespace);
        Self {
            namespace: namespace.to_owned(),
            policies,
            unreadable: cache.unreadable_policies(namespace),
            deployments,
            last_good_version: config
                .as_ref()
                .and_then(|config| config.metadata.resource_version.clone()),
            last_good: config
                .and_then(|config| config.data)
                .map(|data| last_good::read(&data))
                .unwrap_or_default(),
            owned,
            routers: routers.iter().map(|pod| loads.router(pod)).collect(),
        }
    }
}

/// The routers of a namespace that are ready.
pub fn routers(cache: &Cache, namespace: &str) -> Vec<Arc<Pod>> {
    let mut pods = cache.pods(namespace);
    pods.retain(|pod| {
        pod.labels().get(labels::COMPONENT).map(String::as_str) == Some(labels::ROUTER)
            && pod.metadata.deletion_timestamp.is_none()
            && crate::load::is_ready(pod)
    });
    pods
}
