//! Names that more than one part must agree on: labels, annotations, objects, ports.

use std::collections::BTreeMap;

/// On every object of ours, with the value [`MANAGER`].
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Who manages what carries [`MANAGED_BY`].
pub const MANAGER: &str = "weir";
/// [`WORKER`] or [`ROUTER`].
pub const COMPONENT: &str = "weir.dev/component";
/// The value of [`COMPONENT`] on workers and what belongs to them.
pub const WORKER: &str = "worker";
/// The value of [`COMPONENT`] on routers and what belongs to them.
pub const ROUTER: &str = "router";
/// The name of the deployment that an object belongs to.
pub const DEPLOYMENT: &str = "weir.dev/deployment";
/// The revision of the deployment that an object belongs to: 8 hex digits.
pub const REVISION: &str = "weir.dev/revision";

/// On EndpointSlices, by Kubernetes: the Service that they are of.
pub const SERVICE: &str = "kubernetes.io/service-name";

/// Annotation by which a person ends a paused rollout: `promote@<revision>` or
/// `rollback@<revision>`.
pub const ROLLOUT: &str = "weir.dev/rollout";

/// The field manager of the operator.
pub const FIELD_MANAGER: &str = "weir-operator";
/// The router's Deployment, Service, ServiceAccount, Role, RoleBinding, PodDisruptionBudget and
/// NetworkPolicy, one each per namespace; no deployment or policy may be called so.
pub const ROUTER_NAME: &str = "weir-router";
/// The ServiceAccount of workers, which has no token, and their NetworkPolicy.
pub const WORKER_SERVICE_ACCOUNT: &str = "weir-worker";
/// The ConfigMap of the last good policies: one key per policy.
pub const LAST_GOOD_POLICIES: &str = "weir-policies";
/// The ConfigMap of what is granted of budgets: one key per policy that has any.
pub const BUDGETS: &str = "weir-budgets";

/// A worker's port, for gRPC and HTTP alike.
pub const WORKER_PORT: u16 = 8000;
/// What [`WORKER_PORT`] is called where our worker listens.
pub const WEIR_PORT: &str = "worker";
/// What it is called where another's server does, which speaks OpenAI's wire.
pub const OPENAI_PORT: &str = "openai";
/// A router's port, for its clients.
pub const ROUTER_PORT: u16 = 8080;
/// Everybody's admin port.
pub const ADMIN_PORT: u16 = 9090;
/// The port of the Services that clients use.
pub const SERVICE_PORT: u16 = 80;

/// What the Kubernetes Deployment, headless Service and ConfigMap of a revision are called.
pub fn revision_name(deployment: &str, revision: &str) -> String {
    format!("{deployment}-{revision}")
}

/// The labels of everything that belongs to a router.
pub fn of_router() -> BTreeMap<String, String> {
    [(MANAGED_BY, MANAGER), (COMPONENT, ROUTER)]
        .map(|(key, value)| (key.into(), value.into()))
        .into()
}

/// The labels of everything that belongs to one revision of a deployment.
pub fn of_revision(deployment: &str, revision: &str) -> BTreeMap<String, String> {
    [
        (MANAGED_BY, MANAGER),
        (COMPONENT, WORKER),
        (DEPLOYMENT, deployment),
        (REVISION, revision),
    ]
    .map(|(key, value)| (key.into(), value.into()))
    .into()
}

/// The label selector of a deployment's replicas, as `/scale` shows it.
pub fn selector(deployment: &str) -> String {
    format!("{DEPLOYMENT}={deployment}")
}
