//! One try on a tier: find who answers, ask, and let the answer flow.

use std::collections::VecDeque;
use std::time::Duration;

use http::HeaderValue;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;
use weir_policy::table::HoldBounds;
use weir_policy::tier::{Endpoint, Target, Tier, model_name};

use super::ending::{Judging, Known, ending};
use super::gate::Gate;
use super::ledger::{Line, Place, Rate};
use super::resume::At;
use super::{Arrival, Ended, Finish, Pursuit, endpoint, worker};
use crate::answer::{Piece, Usage};
use crate::balance::{Wish, first_number, mixed};
use crate::bundle::Bundle;
use crate::credentials::Credentials;
use crate::decision::Whom;
use crate::dial::Reach;
use crate::endpoints::Pass;
use crate::hold::{OVERDUE, Waited, until_started};
use crate::load::Doing;
use crate::refusal::Failure;
use crate::replicas::{Lease, Shares, Wanted};
use crate::shared::Shared;
use crate::wire::Wire;

/// A tier that asks for more than this is passed over sooner by going up a tier.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Doubled with each try, so that a tier that is coming back is not met by everybody at once.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// An answer on its way, from wherever it comes.
pub(super) enum Source {
    Worker(Box<worker::Source>),
    /// With what it is told of the endpoint, once it has begun.
    Endpoint(Box<endpoint::Source>, Option<Pass>),
    /// All of it is here.
    Here(VecDeque<Arrival>),
}

impl Source {
    pub async fn next(&mut self) -> Result<Arrival, Failure> {
        match self {
            Source::Worker(source) => source.next().await,
            Source::Endpoint(source, pass) => {
                let next = source.next().await;
                match (&next, pass) {
                    (Err(failure), Some(pass)) => pass.failed(failure),
                    (Ok(Arrival::Finished(_)), Some(pass)) if source.was_mute() => {
                        pass.found_mute()
                    }
                    _ => {}
                }
                next
            }
            Source::Here(arrivals) => match arrivals.pop_front() {
                Some(arrival) => Ok(arrival),
                // Nothing is read behind the end.
                None => std::future::pending().await,
            },
        }
    }

    /// What is known of the tokens so far.
    pub fn usage(&self) -> Usage {
        match self {
            Source::Worker(source) => source.usage(),
            Source::Endpoint(source, _) => source.usage(),
            Source::Here(_) => Usage::default(),
        }
    }

    pub fn here((piece, finish): (Piece, Finish)) -> Self {
        let evidence = Vec::new();
        let arrivals = [
            Arrival::Tokens { evidence, piece },
            Arrival::Finished(finish),
        ];
        Source::Here(arrivals.into())
    }
}

/// How long to wait before try number `tries`, counted from 1; nothing where more was asked for
/// than is worth a wait. Half of the pause is by lot, so that those who failed together come back apart.
pub(super) fn pause(asked_for: Duration, tries: u32, draw: u64) -> Option<Duration> {
    let doublings = 2_u32.saturating_pow(tries.saturating_sub(1));
    let half = FIRST_PAUSE.saturating_mul(doublings).min(LONGEST_PAUSE) / 2;
    let lot = half.mul_f64(draw as f64 / u64::MAX as f64);
    (asked_for <= LONGEST_PAUSE).then(|| asked_for.max(half) + lot)
}

/// What is needed to ask an endpoint, and the leave to do so.
pub(super) struct Entered {
    pub key: Option<HeaderValue>,
    pub bundle: Option<Bundle>,
    pub pass: Pass,
}

/// Gets the endpoint's credential, its authorities and a place among those that ask it; waits for
/// the last one until `until`. The ask's `own` credentials, as they were when it came, go before newer ones:
/// those may be for another address than the policy named then.
pub(super) async fn enter(
    shared: &Shared,
    own: &Credentials,
    (tier, endpoint, tenant): (&Tier, &Endpoint, &str),
    until: Instant,
) -> Result<Entered, Failure> {
    let name = || tier.name().to_owned();
    let newest = shared.view.borrow().credentials.clone();
    let mut known = [own, &*newest].into_iter();
    let key = endpoint.api_key.as_ref().map(|entry| {
        let key = known
            .clone()
            .find_map(|known| known.api_key(&entry.name, &entry.key));
        key.cloned()
            .ok_or_else(|| Failure::NoCredential { tier: name() })
    });
    let bundle = endpoint.ca_bundle.as_ref().map(|entry| {
        let bundle = known.find_map(|known| known.bundle(entry));
        bundle
            .cloned()
            .ok_or_else(|| Failure::NoBundle { tier: name() })
    });
    let (key, bundle) = (key.transpose()?, bundle.transpose()?);
    let of = (tier.name(), tenant);
    let pass = shared.endpoints.enter(endpoint, of, until).await?;
    Ok(Entered { key, bundle, pass })
}

impl Pursuit<'_> {
    /// Whether the tier has a replica that has not been tried.
    pub(super) fn has_fresh_replica(&self, tier: &Tier) -> bool {
        let view = self.shared.view.borrow();
        let place = self.wish(tier).place();
        let replicas = tier.deployment().map(|name| view.replicas_of(name, place));
        let mut replicas = replicas.into_iter().flatten();
        replicas.any(|(address, _)| !self.trail.tried.contains(&address))
    }

    /// What the ask begins with for the model of the tier, and what is drawn for it.
    pub(super) fn wish(&self, tier: &Tier) -> Wish {
        let model = Sha256::digest(model_name(
            tier.deployment().unwrap_or_default(),
            tier.adapter(),
        ));
        let salt = Sha256::new()
            .chain_update(model)
            .chain_update(&self.decision.state().tenant);
        let salt = first_number(&salt.finalize());
        Wish {
            beginning: self
                .ask
                .beginning()
                .map(|beginning| mixed(beginning ^ salt)),
            draws: self.decision.draws(self.trail.tried.len()),
        }
    }

    pub(super) async fn once(&mut self, tier: &Tier, gate: Gate) -> Result<(), Ended> {
        let call = match tier {
            Tier::Inside(inside) => match inside.target() {
                Target::Deployment { name, .. } => {
                    return Box::pin(self.at_replica(tier, name, gate)).await;
                }
                Target::Endpoint(endpoint) => (endpoint.as_ref(), Reach::Inside),
            },
            Tier::Outside(outside) => (outside.endpoint(), Reach::Outside),
        };
        Box::pin(self.at_endpoint(tier, call, gate)).await
    }

    async fn at_replica(&mut self, tier: &Tier, deployment: &str, gate: Gate) -> Result<(), Ended> {
        let (lease, revision) = match self.replica(tier, deployment).await {
            Ok(found) => found,
            Err(failure) => return Err(self.not_begun(tier, failure)),
        };
        let shares = Shares::begin(lease.share.clone());
        let judging = self.judging(tier, &gate);
        self.trail.tried.insert(lease.address);
        self.trail.at = Some(At {
            address: lease.address,
            began: lease.began,
            revision: revision.clone(),
            resumes: 0,
            has_failed: false,
            shares: shares.clone(),
        });
        let mut line = Line::begin(
            self.decision,
            Place {
                tier: tier.name(),
                whom: self.whom(tier, &lease),
                replica: Some(lease.address),
                revision: &revision,
                rate: Rate::Time {
                    replica_hour: self.shared.replica_hour(deployment),
                    shares,
                },
                prompt_estimate: 0,
            },
        );
        let _running = self.shared.book.count(deployment, Doing::Running);
        let opening = self.ask_replica(tier, lease);
        let opening = Box::pin(opening.instrument(line.span()));
        let ended = match self.within(tier, false, opening).await {
            Ok((source, _lease)) => self.flow(tier, source, gate, &mut line).await,
            Err(failure) => {
                line.outcome(failure.word());
                Err(Ended::Failed(failure))
            }
        };
        // One more can be taken.
        self.shared.release(deployment);
        if let Some(at) = &self.trail.at {
            let attempt = (at.address, at.began);
            match &ended {
                Ok(()) | Err(Ended::Dropped { .. }) => self.shared.pool.answered(attempt),
                Err(Ended::Failed(failure) | Ended::Cut(failure)) => {
                    self.shared.pool.failed(attempt, failure);
                }
                Err(Ended::Unheard) => {}
            }
            let known = Known {
                has_failed: at.has_failed,
                first_token: line.first_token(),
                record: line.record(),
                judging,
            };
            if let Some(ending) = ending(&ended, &known) {
                let of = (deployment, at.revision.as_str());
                self.shared.book.ended(of, &ending);
            }
        }
        ended
    }

    /// What the answer behind `gate` says of the revision that it comes from.
    fn judging(&self, tier: &Tier, gate: &Gate) -> Judging {
        match tier.accept() {
            _ if gate.is_last_resort() || self.ask.is_read_only() => Judging::Nothing,
            Some(_) => Judging::Whole,
            None => Judging::Score,
        }
    }

    /// A replica of the deployment and its revision; where there is none, one is waited for.
    async fn replica(&mut self, tier: &Tier, deployment: &str) -> Result<(Lease, String), Failure> {
        let has_replica = self.shared.view.borrow().has_replica(deployment);
        if !has_replica || self.shared.holds.is_holding(deployment) {
            Box::pin(self.hold(tier, deployment)).await?;
        }
        let view = self.shared.view.borrow().clone();
        let wish = self.wish(tier);
        let replicas = view.replicas_of(deployment, wish.place());
        let addresses: Vec<_> = replicas.iter().map(|(address, _)| *address).collect();
        let wanted = Wanted {
            wish,
            adapter: tier.adapter(),
            sequences: self.ask.at_once(),
        };
        let pool = &self.shared.pool;
        let lease = pool.pick(&addresses, &self.trail.tried, wanted);
        let lease = lease.ok_or_else(|| Failure::NoReplica {
            deployment: deployment.to_owned(),
            retry_after: None,
        })?;
        let of = replicas
            .iter()
            .find(|(address, _)| *address == lease.address);
        let revision = of.map(|(_, revision)| (*revision).to_owned());
        Ok((lease, revision.unwrap_or_default()))
    }

    /// Waits until a replica is there and has room: as long as the deployment says, or only a little where a
    /// tier above can be asked. That wait does not count against the ask.
    async fn hold(&mut self, tier: &Tier, deployment: &str) -> Result<(), Failure> {
        let (bounds, cold_start) = {
            let view = self.shared.view.borrow();
            let facts = view.table.deployment(deployment);
            match facts {
                Some(facts) => (facts.hold, facts.cold_start),
                // A policy may name what is not there.
                None => (HoldBounds::default(), None),
            }
        };
        let longest = match self.has_above {
            true => bounds.wait.min(self.shared.args.replica_wait),
            false => bounds.wait,
        };
        let tenant = self.sharer();
        let began = Instant::now();
        let _held = self.shared.book.count(deployment, Doing::Held);
        let ask = (tenant.as_str(), self.body_bytes);
        let holds = &self.shared.holds;
        let waited = holds.wait(deployment, ask, &bounds, longest).await;
        self.commit_by += began.elapsed();
        match waited {
            Waited::Released => Ok(()),
            // Somebody may have come this moment.
            Waited::Enough { .. } if self.shared.view.borrow().has_replica(deployment) => Ok(()),
            Waited::Enough { since } => Err(Failure::NoReplica {
                deployment: deployment.to_owned(),
                retry_after: Some(until_started(cold_start, since)),
            }),
            // Places come free while replicas work; else not before one has started.
            Waited::Full { since } => Err(Failure::Overloaded {
                tier: tier.name().to_owned(),
                retry_after: Some(match self.shared.view.borrow().has_replica(deployment) {
                    true => OVERDUE,
                    false => until_started(cold_start, since),
                }),
            }),
        }
    }

    /// Who shares places with others.
    pub(super) fn sharer(&self) -> String {
        let state = self.decision.state();
        format!("{}/{}", state.policy, state.tenant)
    }

    async fn at_endpoint(
        &mut self,
        tier: &Tier,
        (endpoint, reach): (&Endpoint, Reach),
        gate: Gate,
    ) -> Result<(), Ended> {
        // Whoever waits for money keeps nobody from a place at the endpoint.
        let aside = match self.shared.endpoints.may_enter(endpoint, tier.name()) {
            Ok(()) => self.reserve(tier, endpoint).await,
            Err(failure) => Err(failure),
        };
        let aside = match aside {
            Ok(aside) => aside,
            Err(failure) => return Err(self.not_begun(tier, failure)),
        };
        let tenant = self.sharer();
        let entered = enter(
            self.shared,
            self.credentials,
            (tier, endpoint, &tenant),
            self.commit_by,
        )
        .await;
        let Entered { key, bundle, pass } = match entered {
            Ok(entered) => entered,
            Err(failure) => return Err(self.not_begun(tier, failure)),
        };
        let mut line = Line::begin(
            self.decision,
            Place {
                tier: tier.name(),
                whom: Whom::at(tier),
                replica: None,
                revision: "",
                rate: Rate::Tokens(endpoint.price),
                prompt_estimate: self.ask.prompt_estimate(),
            },
        );
        line.paid_from(aside.spend());
        let call = endpoint::Call {
            tier: tier.name(),
            endpoint,
            reach,
            key,
            bundle,
            redaction: self.settings.redaction.as_ref(),
            decision: Some(self.decision),
            pass: &pass,
            is_judged: tier.accept().is_some() && !self.ask.is_read_only(),
        };
        line.sent();
        let dialler = &self.shared.dialler;
        let opening = async {
            let opened = match self.ask.wire {
                Wire::Embeddings => endpoint::embed(call, dialler, self.ask)
                    .await
                    .map(Source::here),
                _ => endpoint::open(call, dialler, self.ask)
                    .await
                    .map(|source| Source::Endpoint(Box::new(source), None)),
            };
            pass.opened(&opened);
            opened
        };
        let opening = Box::pin(opening.instrument(line.span()));
        match self.within(tier, false, opening).await {
            Ok(mut source) => {
                if let Source::Endpoint(_, kept) = &mut source {
                    *kept = Some(pass);
                }
                self.flow(tier, source, gate, &mut line).await
            }
            Err(failure) => {
                line.outcome(failure.word());
                Err(Ended::Failed(failure))
            }
        }
    }

    /// What a tier does next, within its time: until something is committed, what is left of the
    /// policy's `timeout`; and a replica is never silent for longer than `idleTimeout`, so that one
    /// that hangs leaves time for the tier above. An endpoint has an idle time of its own.
    pub(super) async fn within<T>(
        &self,
        tier: &Tier,
        has_begun: bool,
        next: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let now = Instant::now();
        let late = match has_begun {
            false => self.commit_by,
            true => now + self.settings.max_duration,
        };
        let silent = match tier.deployment() {
            Some(_) => now + self.settings.idle_timeout,
            None => late,
        };
        let result = timeout_at(late.min(silent), next).await;
        let tier = tier.name().to_owned();
        result.unwrap_or_else(|_| match silent < late {
            true => Err(Failure::Silent { tier }),
            false => Err(Failure::TooSlow { tier }),
        })
    }

    /// An attempt that nobody could be asked for is in the record all the same.
    fn not_begun(&self, tier: &Tier, failure: Failure) -> Ended {
        let mut line = Line::begin(
            self.decision,
            Place {
                tier: tier.name(),
                whom: Whom::at(tier),
                replica: None,
                revision: "",
                rate: Rate::Tokens(weir_policy::tier::Price::default()),
                prompt_estimate: 0,
            },
        );
        line.outcome(failure.word());
        Ended::Failed(failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_doubles_and_is_at_least_as_long_as_was_asked_for_within_reason() {
        let millis = |asked_for, tries, draw| {
            let pause = pause(Duration::from_millis(asked_for), tries, draw);
            pause.map(|pause| pause.as_millis())
        };
        assert_eq!(millis(0, 1, u64::MAX), Some(50));
        assert_eq!(millis(0, 3, u64::MAX), Some(200));
        assert_eq!(millis(0, 60, u64::MAX), Some(2000));
        assert_eq!(millis(1500, 1, 0), Some(1500));
        assert_eq!(millis(2001, 1, 0), None);
    }

    #[test]
    fn those_who_failed_together_come_back_apart() {
        let at = |draw| pause(Duration::from_secs(1), 4, draw).unwrap();
        let draws = [0, u64::MAX / 2, u64::MAX].map(at);
        let millis = draws.map(|pause| pause.as_millis());
        assert_eq!(millis, [1000, 1100, 1200]);
    }
}
