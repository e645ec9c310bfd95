//! Which revision a deployment asks for: by its spec, by the operator's own part in a pod, and by what there is.
//!
//! - A revision is the hash of its pod template, in which the operator has a part: its image, its collector, how
//!   it writes a pod, the profiles of the chart. So each carries a hash of what the spec alone says, and one
//!   that has the spec's goes on whatever became of the operator's part.
//! - Its pods stay as they are, also where the operator would write them in another way today.
//! - Where it would, the revision is old, and is replaced in its turn: a few deployments at a time, by a rollout
//!   as any other.

use serde_json::{Map, Value, json};
use weir_crds::SLMDeploymentSpec;
use weir_policy::rollout::state::State;

use super::began::Began;
use super::rollout::Revision;
use crate::object::short_hash;

/// Annotation of a revision's Deployment: the hash of what the spec alone says of it.
pub const SPEC: &str = "weir.dev/spec";
/// What changes without a new revision.
const FREE: [&str; 5] = ["replicas", "scaling", "rollout", "price", "adapters"];

/// The revision that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub revision: String,
    /// The hash of what the spec alone says.
    pub spec: String,
    /// What it began with, if it exists and its pods are what they would be made today with that.
    pub began: Option<Began>,
    /// Whether it replaces one of the same spec.
    pub is_upgrade: bool,
    /// Whether it is to be replaced when its turn comes.
    pub waits: bool,
}

/// How the spec's pods are made today.
pub struct Forms<'a> {
    /// The hash of what the spec alone says.
    pub spec: &'a str,
    /// What a revision that begins now begins with.
    pub now: Began,
    /// The revision of the pods that are made of something begun with.
    pub revision: &'a dyn Fn(&Began) -> String,
}

impl Forms<'_> {
    fn is_exact(&self, revision: &Revision) -> bool {
        (self.revision)(&revision.began) == revision.name
    }

    fn fits(&self, revision: &Revision) -> bool {
        revision.spec.as_deref() == Some(self.spec) || self.is_exact(revision)
    }

    /// A collector and a log level are no reason to replace anything.
    fn is_old(&self, revision: &Revision) -> bool {
        let today = Began {
            image: self.now.image.clone(),
            ..revision.began.clone()
        };
        (self.revision)(&today) != revision.name
    }
}

/// Finds it among `revisions`. `may_upgrade` is asked only where something old could be replaced now.
pub fn asked(
    revisions: &[Revision],
    state: &State,
    forms: &Forms<'_>,
    may_upgrade: impl FnOnce() -> bool,
) -> Asked {
    let fresh = (forms.revision)(&forms.now);
    let there = |name: &str| revisions.iter().find(|revision| revision.name == name);
    let fitting = |name: &str| there(name).filter(|revision| forms.fits(revision));
    // One that was never ready may never be: it is what an operator mends that comes after.
    let goes_on = |name: &str| {
        let there = fitting(name);
        there.is_some_and(|there| there.ready > 0 || !forms.is_old(there))
    };
    let trial = state.trial.as_ref().map(|trial| trial.revision.as_str());
    let stable = fitting(&state.stable);
    let refused = state.refused.as_ref();
    let is_refused = |name: &str| refused.is_some_and(|refused| refused.revision == name);
    let is_of_spec = refused.is_some_and(|refused| refused.spec == forms.spec);
    let is_old = stable.is_some_and(|stable| forms.is_old(stable) && !is_refused(&fresh));
    let mut waits = false;
    let name = if let Some(trial) = trial.filter(|name| goes_on(name) || *name == fresh) {
        trial.to_owned()
    } else if let Some(stable) = stable {
        let upgrades = is_old && (!state.has_served || may_upgrade());
        waits = is_old && !upgrades;
        match upgrades {
            true => fresh,
            false => stable.name.clone(),
        }
    } else if let Some(refused) = refused.filter(|_| is_of_spec) {
        refused.revision.clone()
    } else {
        let fitting = revisions.iter().filter(|revision| forms.fits(revision));
        let newest = fitting.max_by_key(|revision| (revision.name == fresh, revision.created));
        newest.map_or(fresh, |revision| revision.name.clone())
    };
    let exact = there(&name).filter(|revision| forms.is_exact(revision));
    Asked {
        began: exact.map(|revision| revision.began.clone()),
        is_upgrade: stable.is_some_and(|stable| stable.name != name),
        spec: forms.spec.to_owned(),
        revision: name,
        waits,
    }
}

/// What a spec says of the revision, as text. What is at its default counts as not said, so that a field that is
/// new to the API changes nothing.
pub fn said(spec: &SLMDeploymentSpec) -> String {
    let least = json!({ "model": { "source": "" } });
    let least: SLMDeploymentSpec = serde_json::from_value(least).expect("a spec needs a source");
    let as_json = |spec: &SLMDeploymentSpec| serde_json::to_value(spec).expect("a spec is JSON");
    let mut said = as_json(spec);
    if let Some(said) = said.as_object_mut() {
        FREE.iter().for_each(|field| drop(said.remove(*field)));
        without(said, &as_json(&least));
    }
    said.to_string()
}

/// The hash of what a spec says, and of its chat template.
pub fn spec_hash(said: &str, chat_template: Option<&str>) -> String {
    let mut text = said.to_owned();
    text.extend(chat_template);
    short_hash(text.as_bytes(), 8)
}

/// Takes out what is the same in `default`, null or empty.
fn without(said: &mut Map<String, Value>, default: &Value) {
    said.retain(|field, value| {
        let default = &default[field];
        if let Value::Object(value) = value {
            without(value, default);
            return !value.is_empty();
        }
        let is_empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        !is_empty && value != default
    });
}

#[cfg(test)]
mod tests;
