//! The reasons of conditions and Events: each names a cause that a person can act on.

/// All is well: what the condition says holds.
pub const SERVING: &str = "Serving";
/// Pods are starting and nothing is wrong yet.
pub const STARTING: &str = "Starting";
/// The object was seen and work on it has begun.
pub const PROGRESSING: &str = "Progressing";
/// A field has a value that no code honours yet; the message names the field.
pub const NOT_IMPLEMENTED: &str = "NotImplemented";
/// The object contradicts itself or the world in a way that admission cannot see.
pub const INVALID: &str = "Invalid";
/// Applying an object of ours failed; the message has the API server's answer.
pub const APPLY_FAILED: &str = "ApplyFailed";

/// A new revision takes over step by step.
pub const ROLLING_OUT: &str = "RollingOut";
/// A rollout waits for a person: see the annotation `weir.dev/rollout`.
pub const ROLLOUT_PAUSED: &str = "RolloutPaused";
/// The last good revision was taken back.
pub const ROLLED_BACK: &str = "RolledBack";
/// A canary broke its guard; the message has both numbers.
pub const CANARY_FAILED: &str = "CanaryFailed";
/// There is no replica, and the next ask starts one.
pub const SCALED_TO_ZERO: &str = "ScaledToZero";
/// The replica count follows `spec.replicas`.
pub const REPLICAS_SET: &str = "ReplicasSet";

/// The model is on its way; the message has percent and rate.
pub const DOWNLOADING: &str = "Downloading";
/// The model is being read into memory.
pub const LOADING: &str = "Loading";
/// The model is loaded.
pub const LOADED: &str = "Loaded";
/// The files are not the ones that were asked for or pinned, or not the same on all replicas.
pub const DIGEST_MISMATCH: &str = "DigestMismatch";
/// Nothing is at the source.
pub const MODEL_NOT_FOUND: &str = "ModelNotFound";
/// The source refused the credentials, or wants some.
pub const UNAUTHORIZED: &str = "Unauthorized";
/// The source does not answer, or cuts every answer; it is tried again.
pub const SOURCE_UNAVAILABLE: &str = "SourceUnavailable";
/// The disk of the cache has no room for the model; the message has both numbers.
pub const DISK_FULL: &str = "DiskFull";
/// A ConfigMap that a field names is not there, or has no such key; the message names all three.
pub const CONFIG_MAP_NOT_FOUND: &str = "ConfigMapNotFound";
/// The model has a tensor, a key or an architecture that our worker does not know.
pub const UNSUPPORTED: &str = "Unsupported";
/// The model does not fit into the memory it was given.
pub const OUT_OF_MEMORY: &str = "OutOfMemory";
/// The source holds several models; the message lists the choices.
pub const AMBIGUOUS_SOURCE: &str = "AmbiguousSource";

/// The image of the pods cannot be pulled.
pub const IMAGE_PULL_FAILED: &str = "ImagePullFailed";
/// No node has a free accelerator of the kind asked for.
pub const INSUFFICIENT_GPU: &str = "InsufficientGpu";
/// No node takes the pods; the message has the scheduler's words.
pub const UNSCHEDULABLE: &str = "Unschedulable";
/// A quota or a webhook refuses the pods.
pub const REPLICAS_REFUSED: &str = "ReplicasRefused";
/// An object of the name we need exists and is not ours; it is never adopted.
pub const NAME_TAKEN: &str = "NameTaken";
/// The cache volume is mounted elsewhere.
pub const VOLUME_BUSY: &str = "VolumeBusy";
/// The worker ends again and again; the message has its last line.
pub const CRASH_LOOP: &str = "CrashLoop";

/// An older policy of the namespace claims one of the model names.
pub const MODEL_NAME_TAKEN: &str = "ModelNameTaken";
/// A tier names a deployment that does not exist.
pub const DEPLOYMENT_NOT_FOUND: &str = "DeploymentNotFound";
/// A tier names an adapter that its deployment does not have.
pub const ADAPTER_NOT_FOUND: &str = "AdapterNotFound";
/// A tier that the policy needs has nothing that answers.
pub const TIER_UNAVAILABLE: &str = "TierUnavailable";
/// No router of the namespace is ready.
pub const ROUTER_UNAVAILABLE: &str = "RouterUnavailable";
/// A Secret, or an entry of one, is missing; the message names it and the tier that is out.
pub const CREDENTIALS_MISSING: &str = "CredentialsMissing";
/// Every Secret that the policy names is there.
pub const CREDENTIALS_FOUND: &str = "CredentialsFound";
/// Nothing has been spent beyond a budget.
pub const WITHIN_LIMIT: &str = "WithinLimit";
/// A budget is exhausted, and `onExhausted` applies.
pub const BUDGET_EXHAUSTED: &str = "BudgetExhausted";
/// Labels are still being collected; nothing is certified yet.
pub const COLLECTING: &str = "Collecting";
/// A threshold is certified.
pub const CERTIFIED: &str = "Certified";
/// The traffic has changed and the certificate no longer holds.
pub const DRIFTED: &str = "Drifted";
/// The small tier's score says too little to decide on.
pub const USELESS: &str = "Useless";
/// The reference disagrees with itself by more than the regret allowed.
pub const UNREACHABLE: &str = "Unreachable";
