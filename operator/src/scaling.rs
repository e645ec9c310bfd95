//! How many replicas each deployment is to have, decided every second and sooner by
//! [`weir_policy::scale::decide`] while this operator leads.
//!
//! - A deployment comes in by its pass, with the count that it has; so a new leader and a restart begin with
//!   what is there.
//! - A decision wakes the pass, which makes it so and says it in the status. Nothing is written here.

mod inputs;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use tokio::time::Instant;
use weir_crds::{SLMDeployment, ScalingDecision};
use weir_policy::scale::{Bounds, History, decide};

use crate::cache::Key;
use crate::context::Context;
use inputs::World;

/// Between two looks at every deployment.
pub const EVERY: Duration = Duration::from_secs(1);
/// Decisions that are told.
const TOLD: usize = 5;

/// The deployments that are scaled here. Clones share them.
#[derive(Clone, Debug)]
pub struct Scales {
    scales: Arc<Mutex<BTreeMap<Of, Scale>>>,
    began: Instant,
}

/// A deployment, by namespace and name.
type Of = (String, String);

#[derive(Clone, Debug)]
struct Scale {
    /// So that a namesake does not inherit a history.
    uid: String,
    history: History,
    wanted: u32,
    /// Of the spec that is made, which is not the one that is written where that is refused.
    bounds: Bounds,
    /// Newest first.
    decisions: VecDeque<ScalingDecision>,
}

/// What was decided of one deployment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scaled {
    pub wanted: u32,
    pub decisions: Vec<ScalingDecision>,
}

impl Default for Scales {
    fn default() -> Self {
        Self {
            scales: Arc::default(),
            began: Instant::now(),
        }
    }
}

impl Scales {
    /// What was decided last of `deployment`, which has `wanted` replicas where nothing was decided yet; within
    /// `bounds` from now on.
    pub fn of(
        &self,
        deployment: &SLMDeployment,
        bounds: Bounds,
        wanted: impl FnOnce() -> u32,
    ) -> Scaled {
        let uid = deployment.uid().unwrap_or_default();
        let mut scales = self.lock();
        let of = (
            deployment.namespace().unwrap_or_default(),
            deployment.name_any(),
        );
        let scale = scales.entry(of).or_insert_with(|| Scale {
            uid: String::new(),
            history: History::default(),
            wanted: 0,
            bounds,
            decisions: VecDeque::new(),
        });
        scale.bounds = bounds;
        if scale.uid != uid {
            let told = deployment
                .status
                .as_ref()
                .and_then(|status| status.scaling.clone());
            *scale = Scale {
                uid,
                history: History::default(),
                wanted: wanted(),
                bounds,
                decisions: told.unwrap_or_default().decisions.into(),
            };
        }
        Scaled {
            wanted: scale.wanted,
            decisions: scale.decisions.iter().cloned().collect(),
        }
    }

    /// Somebody else owns its count, or it is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.lock().remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// What was seen while somebody else led is not known here: everything begins with what is there.
    pub fn begin_term(&self) {
        self.lock().clear();
    }

    /// Decides anew, of all deployments or only of those that have no replica; says whose count changes.
    pub fn look(&self, ctx: &Context, only_at_zero: bool, now: Timestamp) -> Vec<Key> {
        if only_at_zero && self.lock().values().all(|scale| scale.wanted > 0) {
            return Vec::new();
        }
        let (world, at) = (World::look(ctx), Instant::now());
        let at_ms = at.saturating_duration_since(self.began).as_millis();
        let at_ms = u64::try_from(at_ms).unwrap_or(u64::MAX);
        let mut changed = Vec::new();
        for (of, scale) in self.lock().iter_mut() {
            if only_at_zero && scale.wanted > 0 {
                continue;
            }
            let Some(seen) = world.deployment(of, &scale.uid) else {
                continue;
            };
            let inputs = world.inputs(seen, (of, scale.wanted), (at, at_ms));
            if scale.decide(&inputs, now) {
                changed.push(Key::Deployment {
                    namespace: of.0.clone(),
                    name: of.1.clone(),
                });
            }
        }
        changed
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Of, Scale>> {
        self.scales
            .lock()
            .expect("nothing panics while it holds the scales")
    }
}

impl Scale {
    /// Whether another count is wanted now.
    fn decide(&mut self, inputs: &weir_policy::scale::Inputs, now: Timestamp) -> bool {
        let history = std::mem::take(&mut self.history);
        let (history, decision) = decide(history, inputs, &self.bounds);
        self.history = history;
        if !decision.is_change() {
            return false;
        }
        self.wanted = decision.to;
        self.decisions.push_front(ScalingDecision {
            at: Some(Time(now)),
            from: decision.from,
            to: decision.to,
            reason: format!("{:?}", decision.reason),
            message: decision.message,
        });
        self.decisions.truncate(TOLD);
        true
    }
}
