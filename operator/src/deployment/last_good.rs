//! The spec that goes on where the one that is written now cannot be made.

use weir_crds::SLMDeployment;

use super::entry::Entry;
use super::kept::Kept;
use super::observe::Observed;
use super::validate::{Valid, validate};

/// A deployment as it was when it could be made last.
#[derive(Clone, Debug)]
pub struct LastGood {
    deployment: SLMDeployment,
    chat_template: Option<Entry>,
    hash: String,
}

impl LastGood {
    /// Nothing where none is kept.
    pub fn of(observed: &Observed) -> Option<Self> {
        let kept = Kept::of(&observed.deployment, &observed.owned);
        let good = kept.good?;
        let revisions = observed.revisions.iter();
        let mut of_spec = revisions.filter(|revision| revision.spec.as_ref() == Some(&good.hash));
        let text = of_spec.find_map(|revision| revision.chat_template.clone());
        Some(Self {
            deployment: SLMDeployment {
                spec: serde_json::from_value(good.spec).ok()?,
                ..observed.deployment.clone()
            },
            chat_template: text.map(|text| Entry::Text(text.into())),
            hash: good.hash,
        })
    }

    /// What can be made of it.
    pub fn valid(&self) -> Option<Valid<'_>> {
        let valid = validate(&self.deployment, self.chat_template.as_ref()).ok()?;
        Some(Valid {
            spec_hash: self.hash.clone(),
            ..valid
        })
    }
}
