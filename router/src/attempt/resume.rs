//! An answer that breaks off at one replica goes on at another of its kind, under the same stream.
//!
//! Only there would the tokens be the same: of the same revision, with the same model, adapter, tokenizer and
//! kernels. What was sent is not sent again, and evidence goes on where it was.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use weir_policy::tier::{Tier, model_name};

use super::ending::is_of_replica;
use super::tries::Source;
use super::{Pursuit, worker};
use crate::refusal::Failure;
use crate::replicas::{Kind, Lease, Shares, Wanted};

/// So many replicas may be lost under one answer.
const MOST_RESUMES: u32 = 4;
/// How often one is looked for while there is none.
const LOOKED_FOR_EVERY: Duration = Duration::from_millis(100);

/// Where the answer of a replica is being written.
pub(super) struct At {
    pub address: SocketAddr,
    pub began: Instant,
    pub revision: String,
    pub resumes: u32,
    /// A replica failed it, and did not go because it was told to.
    pub has_failed: bool,
    /// Of its time, and of the time of those before it.
    pub shares: Shares,
}

impl Pursuit<'_> {
    /// Has another replica go on with the answer of `source`, which has failed. Gives whether one does. Once
    /// something was shown one is waited for, as long as a replica may be silent.
    pub(super) async fn resume(
        &mut self,
        tier: &Tier,
        source: &mut Source,
        failure: &Failure,
        has_begun: bool,
    ) -> bool {
        let Source::Worker(source) = source else {
            return false;
        };
        let is_of_the_replica = matches!(
            failure,
            Failure::Lost { .. } | Failure::Leaving { .. } | Failure::Silent { .. }
        );
        if !is_of_the_replica || !source.can_go_on() {
            return false;
        }
        let lost = source.address();
        let Some(kind) = self.shared.pool.kind(lost) else {
            return false;
        };
        if let Some(at) = &mut self.trail.at {
            at.has_failed |= is_of_replica(failure);
            self.shared.pool.failed((at.address, at.began), failure);
        }
        let until = match has_begun {
            true => Instant::now() + self.settings.idle_timeout,
            false => Instant::now(),
        };
        let tenant = self.decision.state().tenant.clone();
        let model = model_name(tier.deployment().unwrap_or_default(), tier.adapter());
        let call = worker::Call {
            tier: tier.name(),
            model: &model,
            tenant: &tenant,
        };
        while self
            .trail
            .at
            .as_ref()
            .is_some_and(|at| at.resumes < MOST_RESUMES)
        {
            let Some(lease) = self.of_its_kind(tier, &kind) else {
                if Instant::now() >= until {
                    return false;
                }
                sleep(LOOKED_FOR_EVERY).await;
                continue;
            };
            let (address, began) = (lease.address, lease.began);
            if let Some(at) = &mut self.trail.at {
                at.address = address;
                at.began = began;
                at.resumes += 1;
                at.shares.add(lease.share.clone());
            }
            self.trail.tried.insert(address);
            let going_on = source.go_on(lease, &kind, (&call, tier.adapter()), self.ask);
            match self.within(tier, has_begun, going_on).await {
                Ok(()) => return true,
                Err(failure) => {
                    if let Some(at) = &mut self.trail.at {
                        at.has_failed |= is_of_replica(&failure);
                    }
                    self.shared.pool.failed((address, began), &failure);
                }
            }
        }
        false
    }

    /// A replica of the revision that writes the same tokens, and has not had this answer.
    fn of_its_kind(&self, tier: &Tier, kind: &Arc<Kind>) -> Option<Lease> {
        let (deployment, at) = (tier.deployment()?, self.trail.at.as_ref()?);
        let pool = &self.shared.pool;
        let view = self.shared.view.borrow().clone();
        let mut replicas = view.replicas_at(deployment, &at.revision);
        replicas.retain(|address| {
            let is_same = |other: Arc<Kind>| other.writes_as(kind, tier.adapter());
            !self.trail.tried.contains(address) && pool.kind(*address).is_some_and(is_same)
        });
        let wanted = Wanted {
            wish: self.wish(tier),
            adapter: tier.adapter(),
            sequences: self.ask.at_once(),
        };
        pool.pick(&replicas, &self.trail.tried, wanted)
    }
}
