//! How many replicas of a deployment a drain of nodes may take away at once.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use weir_crds::labels;

use super::super::validate::Valid;

/// One at a time, also where there is only one: a minimum would keep its node from being drained for
/// ever. One that is not ready serves nobody and may always go.
pub fn budget(valid: &Valid<'_>) -> PodDisruptionBudget {
    let of_replicas = [
        (labels::MANAGED_BY, labels::MANAGER),
        (labels::COMPONENT, labels::WORKER),
        (labels::DEPLOYMENT, &valid.name),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()));
    PodDisruptionBudget {
        metadata: ObjectMeta {
            name: Some(valid.name.clone()),
            namespace: Some(valid.namespace.clone()),
            labels: Some(of_replicas.clone().into()),
            owner_references: valid.owner.clone().map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(of_replicas.into()),
                ..LabelSelector::default()
            }),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}
