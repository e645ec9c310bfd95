//! What a namespace with a deployment or a policy has: its routers, what they and the workers run
//! as, and whom both may speak to. Pure, and cannot fail.
//!
//! Every object is owned by every deployment and policy of the namespace, so that the garbage
//! collector takes it away with the last of them, also while the operator is down.

mod network;
mod pod;

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment,
};
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount, ServicePort, ServiceSpec};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Resource;
use weir_crds::labels;
use weir_policy::last_good::{self, LastGood};

use super::observe::Observed;
use crate::object::Wanted;
use crate::settings::Settings;

/// The objects of a namespace; none where nobody needs them.
pub fn desired(
    observed: &Observed,
    last_good: &BTreeMap<String, LastGood>,
    settings: &Settings,
) -> Vec<Wanted> {
    let shared = Shared {
        namespace: &observed.namespace,
        owners: owners(observed),
    };
    if shared.owners.is_empty() {
        return Vec::new();
    }
    let kept = Wanted::new(&shared.config(labels::LAST_GOOD_POLICIES, last_good::write(last_good)));
    let mut wanted = vec![
        Wanted::new(&shared.worker_account()),
        Wanted::new(&shared.router_account()),
        Wanted::new(&shared.role()),
        Wanted::new(&shared.role_binding()),
        onto(kept, &observed.last_good_version),
    ];
    let budgets = observed.budgets.write();
    if !budgets.is_empty() {
        let ledger = Wanted::new(&shared.config(labels::BUDGETS, budgets));
        wanted.push(onto(ledger, &observed.budgets_version));
    }
    let network = network::policies(&shared, last_good, settings);
    wanted.extend(network.iter().map(Wanted::new));
    wanted.extend([
        Wanted::new(&shared.service()),
        Wanted::new(&shared.routers(last_good, settings)),
        Wanted::new(&shared.disruption_budget()),
    ]);
    wanted
}

/// What must not overwrite a change that it has not seen.
fn onto(wanted: Wanted, version: &Option<String>) -> Wanted {
    Wanted {
        onto_version: version.clone(),
        ..wanted
    }
}

/// Port 80 of every router of the namespace.
pub fn router_service() -> ServiceSpec {
    ServiceSpec {
        selector: Some(labels::of_router()),
        ports: Some(vec![ServicePort {
            name: Some("http".into()),
            port: i32::from(labels::SERVICE_PORT),
            target_port: Some(IntOrString::Int(i32::from(labels::ROUTER_PORT))),
            ..ServicePort::default()
        }]),
        ..ServiceSpec::default()
    }
}

fn owners(observed: &Observed) -> Vec<OwnerReference> {
    let deployments = observed
        .deployments
        .iter()
        .filter_map(|owner| owner.owner_ref(&()));
    let policies = observed
        .policies
        .iter()
        .filter_map(|owner| owner.owner_ref(&()));
    deployments.chain(policies).collect()
}

/// What every object of the namespace has in common.
struct Shared<'a> {
    namespace: &'a str,
    owners: Vec<OwnerReference>,
}

impl Shared<'_> {
    fn of_routers(&self, name: &str) -> ObjectMeta {
        self.metadata(name, labels::of_router())
    }

    fn metadata(&self, name: &str, labels: BTreeMap<String, String>) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.into()),
            namespace: Some(self.namespace.into()),
            labels: Some(labels),
            owner_references: Some(self.owners.clone()),
            ..ObjectMeta::default()
        }
    }

    fn worker_account(&self) -> ServiceAccount {
        ServiceAccount {
            metadata: self.metadata(labels::WORKER_SERVICE_ACCOUNT, network::of_workers()),
            automount_service_account_token: Some(false),
            ..ServiceAccount::default()
        }
    }

    fn router_account(&self) -> ServiceAccount {
        ServiceAccount {
            metadata: self.of_routers(labels::ROUTER_NAME),
            ..ServiceAccount::default()
        }
    }

    /// Routers read what they route by, and nothing else; they write nothing.
    fn role(&self) -> Role {
        let read = |group: &str, resources: &[&str], names: &[&str]| {
            let all = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
            PolicyRule {
                api_groups: Some(vec![group.into()]),
                resources: Some(all(resources)),
                resource_names: Some(all(names)).filter(|names| !names.is_empty()),
                verbs: all(&["get", "list", "watch"]),
                ..PolicyRule::default()
            }
        };
        Role {
            metadata: self.of_routers(labels::ROUTER_NAME),
            rules: Some(vec![
                read(weir_crds::GROUP, &["slmdeployments", "routepolicies"], &[]),
                read("discovery.k8s.io", &["endpointslices"], &[]),
                read(
                    "",
                    &["configmaps"],
                    &[labels::LAST_GOOD_POLICIES, labels::BUDGETS],
                ),
            ]),
        }
    }

    fn role_binding(&self) -> RoleBinding {
        RoleBinding {
            metadata: self.of_routers(labels::ROUTER_NAME),
            role_ref: RoleRef {
                api_group: "rbac.authorization.k8s.io".into(),
                kind: "Role".into(),
                name: labels::ROUTER_NAME.into(),
            },
            subjects: Some(vec![Subject {
                kind: "ServiceAccount".into(),
                name: labels::ROUTER_NAME.into(),
                namespace: Some(self.namespace.into()),
                ..Subject::default()
            }]),
        }
    }

    fn config(&self, name: &str, data: BTreeMap<String, String>) -> ConfigMap {
        ConfigMap {
            metadata: self.of_routers(name),
            data: Some(data),
            ..ConfigMap::default()
        }
    }

    fn service(&self) -> Service {
        Service {
            metadata: self.of_routers(labels::ROUTER_NAME),
            spec: Some(router_service()),
            ..Service::default()
        }
    }

    fn routers(&self, last_good: &BTreeMap<String, LastGood>, settings: &Settings) -> Deployment {
        Deployment {
            metadata: self.of_routers(labels::ROUTER_NAME),
            spec: Some(DeploymentSpec {
                replicas: Some(settings.router_replicas),
                selector: LabelSelector {
                    match_labels: Some(labels::of_router()),
                    ..LabelSelector::default()
                },
                // A new router is ready before an old one leaves: nobody is turned away.
                strategy: Some(DeploymentStrategy {
                    type_: Some("RollingUpdate".into()),
                    rolling_update: Some(RollingUpdateDeployment {
                        max_surge: Some(IntOrString::Int(1)),
                        max_unavailable: Some(IntOrString::Int(0)),
                    }),
                }),
                revision_history_limit: Some(1),
                template: pod::template(self.namespace, last_good, settings),
                ..DeploymentSpec::default()
            }),
            ..Deployment::default()
        }
    }

    /// One router at a time; a minimum would keep a node with the only router from being drained.
    fn disruption_budget(&self) -> PodDisruptionBudget {
        PodDisruptionBudget {
            metadata: self.of_routers(labels::ROUTER_NAME),
            spec: Some(PodDisruptionBudgetSpec {
                max_unavailable: Some(IntOrString::Int(1)),
                selector: Some(LabelSelector {
                    match_labels: Some(labels::of_router()),
                    ..LabelSelector::default()
                }),
                // One that is not ready serves nobody: it never keeps a node from being drained.
                unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
                ..PodDisruptionBudgetSpec::default()
            }),
            ..PodDisruptionBudget::default()
        }
    }
}

#[cfg(test)]
mod tests;
