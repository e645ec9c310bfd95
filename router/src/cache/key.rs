//! What two asks must have in common for one to get the other's answer. Pure.
//!
//! The request is compared as it was sent, but for whether it is streamed: the same on another wire is another
//! ask, because an answer keeps what only its own wire can say.

use std::collections::BTreeSet;

use http::HeaderMap;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use weir_policy::table::Policy;
use weir_policy::tier::{Tier, model_name};

use crate::ask::Ask;
use crate::world::View;

/// A digest of all of it.
pub(crate) type Key = [u8; 32];

/// These say how an answer is sent, and change nothing of it.
const HOW_IT_IS_SENT: [&str; 2] = ["stream", "stream_options"];

/// The models inside the cluster that a policy's answers come from now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Models {
    /// Each with its revisions, and its adapters with what tells these apart.
    names: BTreeSet<(String, String)>,
    revisions: BTreeSet<String>,
}

impl Models {
    /// Nothing where it is not known which adapter answers just now.
    pub fn of(policy: &Policy, view: &View) -> Option<Self> {
        let mut models = Self::default();
        for name in policy.settings.deployments() {
            // At both ends of the hundred: a canary answers some of them.
            let ready = [0, 99].map(|place| view.replicas_of(name, place));
            let ready = ready.concat();
            let mut revisions: BTreeSet<&str> =
                ready.iter().map(|(_, revision)| *revision).collect();
            let facts = view.table.deployment(name);
            if revisions.is_empty() {
                // While there is none, what they said stays true.
                revisions.extend(facts.and_then(|facts| facts.stable.as_deref()));
            }
            for revision in revisions {
                models.names.insert((name.to_owned(), revision.to_owned()));
                models.revisions.insert(revision.to_owned());
            }
        }
        for tier in &policy.settings.tiers {
            models.add_adapter(tier, view)?;
        }
        Some(models)
    }

    fn add_adapter(&mut self, tier: &Tier, view: &View) -> Option<()> {
        let (Some(deployment), Some(adapter)) = (tier.deployment(), tier.adapter()) else {
            return Some(());
        };
        let facts = view.table.deployment(deployment)?;
        let digest = facts.adapter_digests.get(adapter)?;
        let name = model_name(deployment, Some(adapter));
        self.names.insert((name, digest.clone()));
        Some(())
    }

    #[cfg(test)]
    pub fn with_revision(revision: &str) -> Self {
        Self {
            revisions: [revision.to_owned()].into(),
            ..Self::default()
        }
    }

    /// Whether an answer of this revision is one of theirs; an endpoint has none.
    pub fn have(&self, revision: &str) -> bool {
        revision.is_empty() || self.revisions.contains(revision)
    }
}

/// The key of `ask`, whose headers named in `deciding` change what is done with it.
pub(crate) fn key(
    (policy, models): (&Policy, &Models),
    tenant: Option<&str>,
    (ask, headers): (&Ask, &HeaderMap),
    deciding: &BTreeSet<String>,
) -> Key {
    let mut digest = Sha256::new();
    let mut add = |part: &[u8]| {
        digest.update(part.len().to_le_bytes());
        digest.update(part);
    };
    add(policy.name.as_bytes());
    add(&policy.digest);
    for (model, what) in &models.names {
        add(b"model");
        add(model.as_bytes());
        add(what.as_bytes());
    }
    if let Some(tenant) = tenant {
        add(b"tenant");
        add(tenant.as_bytes());
    }
    for name in deciding {
        for value in headers.get_all(name) {
            add(name.as_bytes());
            add(value.as_bytes());
        }
    }
    add(ask.wire.word().as_bytes());
    for (field, value) in sorted(&ask.body) {
        add(field.as_bytes());
        add(value.to_string().as_bytes());
    }
    digest.finalize().into()
}

/// The order of fields says nothing; that of what is in them may, to a model that reads it.
fn sorted(body: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let fields = body.iter();
    let fields = fields.filter(|(field, _)| !HOW_IT_IS_SENT.contains(&field.as_str()));
    let mut fields: Vec<_> = fields.collect();
    fields.sort_by_key(|(field, _)| *field);
    fields
}

#[cfg(test)]
mod tests;
