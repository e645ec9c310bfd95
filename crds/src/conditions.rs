//! The types of the conditions that both kinds report.
//!
//! Conditions follow `metav1.Condition`. [`RECONCILING`] and [`STALLED`] are there only while they
//! are true.

/// The current generation serves alone (a deployment), or is what routers follow (a policy).
pub const READY: &str = "Ready";
/// Work towards the current generation goes on.
pub const RECONCILING: &str = "Reconciling";
/// The current generation cannot be served until somebody changes something.
pub const STALLED: &str = "Stalled";

/// Some revision of the deployment serves.
pub const AVAILABLE: &str = "Available";
/// The model of the current revision has been found, verified and loaded.
pub const MODEL_READY: &str = "ModelReady";
/// Every adapter of the deployment is served by every replica that is ready.
pub const ADAPTERS_READY: &str = "AdaptersReady";
/// The canary holds its guard.
pub const CANARY_HEALTHY: &str = "CanaryHealthy";
/// `spec.replicas` is set, so that `spec.scaling` does nothing.
pub const AUTOSCALING_SUSPENDED: &str = "AutoscalingSuspended";

/// The quality that the policy declares is certified.
pub const CERTIFIED: &str = "Certified";
/// No budget of the policy is exhausted.
pub const WITHIN_BUDGET: &str = "WithinBudget";
/// Every Secret that the policy names is there.
pub const CREDENTIALS_READY: &str = "CredentialsReady";

/// Every condition type of an `SLMDeployment`.
pub const OF_DEPLOYMENTS: [&str; 8] = [
    READY,
    AVAILABLE,
    MODEL_READY,
    ADAPTERS_READY,
    CANARY_HEALTHY,
    AUTOSCALING_SUSPENDED,
    RECONCILING,
    STALLED,
];
/// Every condition type of a `RoutePolicy`.
pub const OF_POLICIES: [&str; 6] = [
    READY,
    CERTIFIED,
    WITHIN_BUDGET,
    CREDENTIALS_READY,
    RECONCILING,
    STALLED,
];
