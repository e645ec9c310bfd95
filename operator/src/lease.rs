//! Who leads: one operator of several, by a Lease, so that only one of them writes.
//!
//! - No write starts after the renew deadline, measured on the monotonic clock from *before* the
//!   renewing request was sent ([`Leadership::leads`]).
//! - A request may last [`Timing::request`], which is shorter than lease minus renew deadline: what
//!   was begun in time has ended before anybody else may lead.
//! - Another holder's wall clock is never trusted: its lease has run out when the record was not
//!   seen to change for one whole lease, on our own clock, from *after* the read that first saw it.

mod turn;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::sync::watch;
use tokio::time::Instant;

use turn::{Seen, Turn};

/// How long a lease lasts and how it is kept.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    pub lease: Duration,
    pub renew_deadline: Duration,
    pub retry: Duration,
    pub request: Duration,
}

impl Default for Timing {
    /// What Kubernetes' own controllers use, so that a failover takes as long as people expect.
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
            request: Duration::from_secs(4),
        }
    }
}

/// One candidate's name and the Lease it runs for.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub namespace: String,
    pub lease: String,
    /// Unique among the candidates: a pod's name.
    pub identity: String,
}

/// A time of leading; it grows when leading was lost and gained again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Term {
    number: u64,
    /// No write starts after this.
    until: Instant,
}

/// What everybody who writes looks at before each write.
#[derive(Clone, Debug)]
pub struct Leadership {
    term: watch::Receiver<Option<Term>>,
}

impl Leadership {
    /// Whether a write may start now.
    pub fn leads(&self) -> bool {
        self.number().is_some()
    }

    /// The current time of leading, if a write may start now.
    pub fn number(&self) -> Option<u64> {
        let term = *self.term.borrow();
        term.filter(|term| Instant::now() < term.until)
            .map(|term| term.number)
    }

    /// Resolves when the election said something new: gained, renewed or lost.
    /// Never resolves again once the election has ended.
    pub async fn changed(&mut self) {
        if self.term.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Says who leads without any Lease, for tests of those who follow.
#[cfg(test)]
pub struct Told(watch::Sender<Option<Term>>);

#[cfg(test)]
impl Told {
    /// Nobody leads yet.
    pub fn new() -> (Self, Leadership) {
        let (sender, term) = watch::channel(None);
        (Self(sender), Leadership { term })
    }

    /// The time of leading with this number began, or goes on.
    pub fn leads(&self, number: u64) {
        let until = Instant::now() + Duration::from_secs(3600);
        self.0.send_replace(Some(Term { number, until }));
    }

    pub fn lost(&self) {
        self.0.send_replace(None);
    }
}

/// Runs for a Lease until it is stopped.
pub struct Election {
    api: Api<Lease>,
    candidate: Candidate,
    timing: Timing,
    term: watch::Sender<Option<Term>>,
    terms: u64,
    seen: Option<Seen>,
}

#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error("cannot read the lease")]
    Read(#[source] kube::Error),
    #[error("cannot write the lease")]
    Write(#[source] kube::Error),
}

impl Election {
    pub fn new(client: Client, candidate: Candidate, timing: Timing) -> (Self, Leadership) {
        let (term, receiver) = watch::channel(None);
        let election = Self {
            api: Api::namespaced(client, &candidate.namespace),
            candidate,
            timing,
            term,
            terms: 0,
            seen: None,
        };
        (election, Leadership { term: receiver })
    }

    /// Takes and keeps the lease whenever it is free, until `stop` resolves; then gives it back.
    /// Whoever calls this has to have ended its own writes before `stop` resolves.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        loop {
            self.round_and_publish().await;
            tokio::select! {
                () = tokio::time::sleep(self.timing.retry) => {}
                () = &mut stop => break,
            }
        }
        self.release().await;
    }

    async fn round_and_publish(&mut self) {
        let started = Instant::now();
        let request = self.timing.request;
        match tokio::time::timeout(request, self.round()).await {
            Ok(Ok(true)) => self.hold_from(started),
            Ok(Ok(false)) => self.lose("another operator holds the lease"),
            // Not renewed, but not lost either: what was granted before runs out by itself.
            Ok(Err(error)) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "could not renew the lease");
            }
            Err(_) => tracing::warn!("could not renew the lease in time"),
        }
    }

    fn hold_from(&mut self, started: Instant) {
        let until = started + self.timing.renew_deadline;
        let current = *self.term.borrow();
        let fresh = current.is_none_or(|term| term.until <= Instant::now());
        if fresh {
            self.terms += 1;
            tracing::info!(identity = self.candidate.identity, "leading");
        }
        self.term.send_replace(Some(Term {
            number: self.terms,
            until,
        }));
    }

    fn lose(&mut self, why: &str) {
        if self.term.send_replace(None).is_some() {
            tracing::warn!(why, "no longer leading");
        }
    }

    /// One look at the lease, and one write where it is ours to take or to keep.
    async fn round(&mut self) -> Result<bool, RoundError> {
        let name = &self.candidate.lease;
        let read = self.api.get_opt(name);
        let (live, at) = answered(read).await.map_err(RoundError::Read)?;
        self.seen = live
            .as_ref()
            .map(|lease| Seen::update(self.seen.take(), lease, at));
        let turn = turn::decide(
            self.seen.as_ref(),
            &self.candidate.identity,
            at,
            self.timing.lease,
        );
        let spec = match turn {
            Turn::Wait => return Ok(false),
            Turn::Take { transitions } => self.spec(Timestamp::now(), transitions, None),
            Turn::Renew { transitions } => {
                let acquired = live
                    .as_ref()
                    .and_then(|lease| lease.spec.as_ref()?.acquire_time.clone());
                self.spec(Timestamp::now(), transitions, acquired)
            }
        };
        self.write(live, spec).await
    }

    async fn write(&self, live: Option<Lease>, spec: LeaseSpec) -> Result<bool, RoundError> {
        let params = PostParams::default();
        let written = match live {
            // The resourceVersion that was read rides along: of two who take, one is refused.
            Some(mut lease) => {
                lease.spec = Some(spec);
                self.api
                    .replace(&self.candidate.lease, &params, &lease)
                    .await
            }
            None => {
                let lease = Lease {
                    metadata: ObjectMeta {
                        name: Some(self.candidate.lease.clone()),
                        ..ObjectMeta::default()
                    },
                    spec: Some(spec),
                };
                self.api.create(&params, &lease).await
            }
        };
        match written {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(source) => Err(RoundError::Write(source)),
        }
    }

    fn spec(&self, now: Timestamp, transitions: i32, acquired: Option<MicroTime>) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.candidate.identity.clone()),
            lease_duration_seconds: i32::try_from(self.timing.lease.as_secs()).ok(),
            acquire_time: Some(acquired.unwrap_or(MicroTime(now))),
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }

    /// Gives the lease back, so that a successor need not wait for it to run out.
    async fn release(mut self) {
        let held = self.term.borrow().is_some();
        self.lose("stopping");
        if !held {
            return;
        }
        let give_back = async {
            let mut lease = self.api.get(&self.candidate.lease).await?;
            let ours = lease
                .spec
                .as_ref()
                .and_then(|spec| spec.holder_identity.as_ref())
                == Some(&self.candidate.identity);
            if let Some(spec) = lease.spec.as_mut().filter(|_| ours) {
                spec.holder_identity = None;
                spec.renew_time = Some(MicroTime(Timestamp::now()));
                self.api
                    .replace(&self.candidate.lease, &PostParams::default(), &lease)
                    .await?;
            }
            Ok::<_, kube::Error>(())
        };
        match tokio::time::timeout(self.timing.request, give_back).await {
            Ok(Ok(())) => tracing::info!("gave the lease back"),
            Ok(Err(error)) => tracing::warn!(%error, "could not give the lease back"),
            Err(_) => tracing::warn!("could not give the lease back in time"),
        }
    }
}

/// What `read` answers, and the instant it was known: until the answer came its holder may have
/// renewed, so that nothing before it says that the record stood still.
async fn answered<T, E>(read: impl Future<Output = Result<T, E>>) -> Result<(T, Instant), E> {
    let live = read.await?;
    Ok((live, Instant::now()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leadership(until: Duration) -> (watch::Sender<Option<Term>>, Leadership) {
        let (sender, term) = watch::channel(Some(Term {
            number: 3,
            until: Instant::now() + until,
        }));
        (sender, Leadership { term })
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_may_be_written_after_the_renew_deadline() {
        let (_sender, leadership) = leadership(Duration::from_secs(10));
        tokio::time::advance(Duration::from_millis(9_999)).await;
        assert_eq!(leadership.number(), Some(3));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!leadership.leads());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_may_be_written_once_another_holds_the_lease() {
        let (sender, mut leadership) = leadership(Duration::from_secs(10));
        sender.send_replace(None);
        leadership.changed().await;
        assert!(!leadership.leads());
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_that_took_long_to_read_stood_still_only_since_it_was_read() {
        let timing = Timing::default();
        let lease = Lease {
            spec: Some(LeaseSpec {
                holder_identity: Some("b".into()),
                ..LeaseSpec::default()
            }),
            ..Lease::default()
        };
        let read = async {
            tokio::time::sleep(timing.request).await;
            Ok::<_, RoundError>(lease)
        };
        let started = Instant::now();
        let (live, at) = answered(read).await.unwrap();
        let seen = Seen::update(None, &live, at);
        let turn = |at| turn::decide(Some(&seen), "a", at, timing.lease);
        assert_eq!(turn(started + timing.lease), Turn::Wait);
        let after = started + timing.request + timing.lease;
        assert_eq!(turn(after), Turn::Take { transitions: 1 });
    }

    #[test]
    fn a_request_ends_before_anybody_else_may_lead() {
        let timing = Timing::default();
        assert!(timing.request < timing.lease - timing.renew_deadline);
        assert!(timing.retry * 3 < timing.renew_deadline);
    }
}
