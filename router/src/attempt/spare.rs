//! The tiers that were passed over as not worth trying: where all others have failed, their answer is better than
//! none.

use weir_policy::tier::Tier;

use super::{Ended, Pursuit};
use crate::refusal::Refusal;

impl Pursuit<'_> {
    /// Whether nothing tells the tier's good answers from its bad ones. One that was named, by its client or by a
    /// rule, is what was wanted.
    pub(super) fn is_useless(&self, tier: &Tier) -> bool {
        let useless = self.settings.useless.as_deref();
        tier.accept().is_some() && useless == Some(tier.name())
    }

    /// Gives the answer of a tier that was passed over, flagged; `refusal` where none answers. One that says what is
    /// wrong with the request is the client's to know, and nobody else is asked.
    pub(super) async fn ask_spare(&mut self, mut refusal: Refusal) {
        for tier in std::mem::take(&mut self.spare) {
            if self.is_late() || refusal.is_of_request() {
                break;
            }
            // It has answered in the place of those that there is no money for.
            if self.decision.was_asked(tier.name()) {
                continue;
            }
            self.decision.spared(tier.name());
            let config = self.judge(&tier, true);
            match self.on_tier(&tier, config, true).await {
                Ok(()) | Err(Ended::Unheard) => return,
                Err(Ended::Cut(failure)) => return self.fail(self.failed(failure)).await,
                // What all others failed of says more.
                Err(Ended::Failed(failure)) => _ = self.heeded(failure),
                // What is not held back is not dropped.
                Err(Ended::Dropped { .. }) => {}
            }
        }
        if let Refusal::Failed { attempts, .. } | Refusal::AllUnsure { attempts } = &mut refusal {
            *attempts = self.decision.history();
        }
        self.fail(refusal).await;
    }
}
