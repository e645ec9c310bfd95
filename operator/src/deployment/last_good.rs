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
        Some(Self {
            deployment: SLMDeployment {
                spec: serde_json::from_value(good.spec).ok()?,
                ..observed.deployment.clone()
            },
            chat_template: good.chat_template.map(|text| Entry::Text(text.into())),
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
