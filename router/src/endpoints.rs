//! Endpoints as this router has met them: how many asks each has in hand, when it wants to be asked
//! again, and whether it is down. One is known by its address and its credential, whichever policies
//! name it, and outlives their changes. Providers limit each model by itself, so that one may be left
//! alone while another answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use reqwest::Url;
use tokio::time::Instant;
use weir_policy::table::Table;
use weir_policy::tier::Endpoint;

use crate::circuit::{Circuit, Health, Permission, State};
use crate::metrics::{Metrics, TierLabels};
use crate::refusal::Failure;
use crate::throttle;
use crate::turns::{Turn, Turns};
use crate::wire::Wire;

/// Beyond them the one that was asked longest ago is forgotten.
const MOST_KNOWN: usize = 1024;
/// The most models of one endpoint that are left alone at a time: one too many is asked too soon, and
/// says so again.
const MOST_LIMITS: usize = 64;
/// A server that is changed says more then.
const MUTE_FOR: Duration = Duration::from_secs(600);
/// After so long nothing is worth remembering: the longest pause is over.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// All that have been asked.
pub(crate) struct Endpoints {
    known: Mutex<BTreeMap<Key, Arc<Known>>>,
    most_asks: usize,
    /// Of which the circuit is among the metrics.
    shown: Mutex<BTreeSet<(String, String)>>,
}

/// The base URL, and the name and entry of the credential.
type Key = (String, Option<(String, String)>);

struct Known {
    places: Arc<Turns>,
    record: Mutex<Record>,
    /// Where it takes asks: parsing that is not done for each of them.
    urls: Mutex<Vec<(Wire, Url)>>,
}

struct Record {
    circuit: Circuit,
    /// It asked for that, by model.
    not_before: BTreeMap<String, Instant>,
    /// The models that say nothing of their tokens, and until when nothing is expected of them.
    mute: BTreeMap<String, Instant>,
    asked: Instant,
}

/// One ask at one endpoint, until it is dropped.
pub(crate) struct Pass {
    known: Arc<Known>,
    /// Of the endpoint, for the log.
    tier: String,
    model: String,
    /// Nothing once it has been handed back.
    permission: Mutex<Option<Permission>>,
    asked: Instant,
    /// Whoever gives it up after this has waited long enough to say that it hangs.
    patience: Duration,
    _place: Turn,
}

impl Endpoints {
    /// `most_asks`: at one of them, at once.
    pub fn new(most_asks: usize) -> Self {
        Self {
            known: Mutex::default(),
            most_asks,
            shown: Mutex::default(),
        }
    }

    /// Waits for a place at the endpoint, no longer than until `late`, in turn with other tenants. Refused at
    /// once while the endpoint is down or wants to be left alone.
    pub async fn enter(
        &self,
        endpoint: &Endpoint,
        (tier, tenant): (&str, &str),
        late: Instant,
    ) -> Result<Pass, Failure> {
        let known = self.known(endpoint, Instant::now());
        let at = (tier, endpoint.model.as_str());
        known.record().is_closed(Instant::now(), at)?;
        let Some(place) = known.places.take(tenant, late).await else {
            return Err(Failure::Overloaded {
                tier: tier.to_owned(),
                retry_after: None,
            });
        };
        // Meanwhile others may have found it down.
        let permission = {
            let mut record = known.record();
            let now = Instant::now();
            record.is_closed(now, at)?;
            record.asked = now;
            record.circuit.ask(now).map_err(|wait| open(tier, wait))?
        };
        Ok(Pass {
            known,
            tier: tier.to_owned(),
            model: endpoint.model.clone(),
            permission: Mutex::new(Some(permission)),
            asked: Instant::now(),
            patience: endpoint.timeouts.first_byte / 2,
            _place: place,
        })
    }

    /// Fails while [`Self::enter`] would be refused at once.
    pub fn may_enter(&self, endpoint: &Endpoint, tier: &str) -> Result<(), Failure> {
        let now = Instant::now();
        let known = self.known(endpoint, now);
        let at = (tier, endpoint.model.as_str());
        known.record().is_closed(now, at)
    }

    fn known(&self, endpoint: &Endpoint, now: Instant) -> Arc<Known> {
        let key = key_of(endpoint);
        let mut all = lock(&self.known);
        if let Some(known) = all.get(&key) {
            return known.clone();
        }
        forget(&mut all, now);
        let known = Arc::new(Known {
            places: Turns::new(self.most_asks),
            record: Mutex::new(Record {
                circuit: Circuit::new(now),
                not_before: BTreeMap::new(),
                mute: BTreeMap::new(),
                asked: now,
            }),
            urls: Mutex::default(),
        });
        all.insert(key, known.clone());
        known
    }

    /// Writes the circuits of the tiers there are to the metrics, and takes out those that are gone.
    pub fn show(&self, table: &Table, metrics: &Metrics) {
        let mut now_shown = BTreeSet::new();
        for policy in table.policies() {
            for tier in &policy.settings.tiers {
                let Some(endpoint) = tier.endpoint() else {
                    continue;
                };
                let labels = (policy.name.clone(), tier.name().to_owned());
                let gauge = metrics.endpoint_circuit.get_or_create(&labelled(&labels));
                gauge.set(self.state(endpoint));
                now_shown.insert(labels);
            }
        }
        let mut shown = lock(&self.shown);
        for gone in shown.difference(&now_shown) {
            metrics.endpoint_circuit.remove(&labelled(gone));
        }
        *shown = now_shown;
    }

    fn state(&self, endpoint: &Endpoint) -> i64 {
        let known = lock(&self.known).get(&key_of(endpoint)).cloned();
        let state = known.map(|known| known.record().circuit.state());
        match state {
            None | Some(State::Closed) => 0,
            Some(State::Probing) => 1,
            Some(State::Open { .. }) => 2,
        }
    }
}

fn key_of(endpoint: &Endpoint) -> Key {
    let credential = endpoint.api_key.as_ref();
    let credential = credential.map(|entry| (entry.name.clone(), entry.key.clone()));
    (endpoint.base_url.clone(), credential)
}

fn labelled((policy, tier): &(String, String)) -> TierLabels {
    TierLabels {
        policy: policy.clone(),
        tier: tier.clone(),
    }
}

/// Makes room for one more. What has asks in hand is kept, and there are no more of these than the
/// router takes asks.
fn forget(all: &mut BTreeMap<Key, Arc<Known>>, now: Instant) {
    let is_idle = |known: &Arc<Known>| Arc::strong_count(known) == 1;
    all.retain(|_, known| !is_idle(known) || now - known.record().asked < FORGOTTEN_AFTER);
    while all.len() >= MOST_KNOWN {
        let idle = all.iter().filter(|(_, known)| is_idle(known));
        let oldest = idle.min_by_key(|(_, known)| known.record().asked);
        let Some(oldest) = oldest.map(|(key, _)| key.clone()) else {
            return;
        };
        all.remove(&oldest);
    }
}

impl Known {
    fn record(&self) -> MutexGuard<'_, Record> {
        lock(&self.record)
    }
}

impl Record {
    /// Fails while nothing may be asked.
    fn is_closed(&self, now: Instant, (tier, model): (&str, &str)) -> Result<(), Failure> {
        if let Some(wait) = self.circuit.closed_to_all(now) {
            return Err(open(tier, wait));
        }
        match self.not_before.get(model) {
            Some(then) if now < *then => Err(Failure::Overloaded {
                tier: tier.to_owned(),
                retry_after: Some(*then - now),
            }),
            _ => Ok(()),
        }
    }

    /// The model is not to be asked before `then`.
    fn leave_alone(&mut self, model: &str, now: Instant, then: Instant) {
        keep_until(&mut self.not_before, model, now, then);
    }
}

/// Remembers something of a model until `then`, and forgets what is over by now.
fn keep_until(kept: &mut BTreeMap<String, Instant>, model: &str, now: Instant, then: Instant) {
    kept.retain(|_, until| now < *until);
    if kept.len() >= MOST_LIMITS && !kept.contains_key(model) {
        let soonest = kept.iter().min_by_key(|(_, until)| **until);
        let soonest = soonest.map(|(model, _)| model.clone());
        soonest.and_then(|soonest| kept.remove(&soonest));
    }
    // What was said before holds as well.
    let until = kept.entry(model.to_owned()).or_insert(then);
    *until = then.max(*until);
}

fn open(tier: &str, wait: Duration) -> Failure {
    Failure::CircuitOpen {
        tier: tier.to_owned(),
        retry_after: wait,
    }
}

impl Pass {
    /// The model says nothing of its tokens, or will not be asked to: it is not asked for a while.
    pub fn found_mute(&self) {
        let now = Instant::now();
        let mut record = self.known.record();
        keep_until(&mut record.mute, &self.model, now, now + MUTE_FOR);
    }

    /// Whether the model was found to say nothing of its tokens.
    pub fn is_mute(&self) -> bool {
        let until = self.known.record().mute.get(&self.model).copied();
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Where the endpoint takes asks on `wire`, which `url` says the first time; nothing where that is no URL.
    pub fn url(&self, wire: Wire, url: impl FnOnce() -> String) -> Option<Url> {
        let mut urls = lock(&self.known.urls);
        if let Some((_, known)) = urls.iter().find(|(of, _)| *of == wire) {
            return Some(known.clone());
        }
        let url: Url = url().parse().ok()?;
        urls.push((wire, url.clone()));
        Some(url)
    }

    /// The endpoint has begun to answer.
    pub fn heard(&self, status: StatusCode, headers: &HeaderMap) {
        if let Some(wait) = throttle::wait(status, headers, Timestamp::now()) {
            let now = Instant::now();
            let mut record = self.known.record();
            record.leave_alone(&self.model, now, now + wait);
            drop(record);
            let seconds = wait.as_secs_f64();
            tracing::info!(
                tier = self.tier,
                seconds,
                "the endpoint wants to be left alone"
            );
        }
        match status.as_u16() {
            // What it begins with 200 may break off yet.
            200 => {}
            // It is there, and does not do that (501), or has too much to do (529).
            501 | 529 => self.ended(Health::Well),
            500..=599 => self.ended(Health::Down),
            _ => self.ended(Health::Well),
        }
    }

    /// What came of asking for the answer: its first bytes, or why there are none.
    pub fn opened<T>(&self, opened: &Result<T, Failure>) {
        // Its status has said all.
        if lock(&self.permission).is_none() {
            return;
        }
        match opened {
            Ok(_) => self.ended(Health::Well),
            Err(failure) => self.failed(failure),
        }
    }

    /// The answer came to nothing.
    pub fn failed(&self, failure: &Failure) {
        match failure {
            Failure::Connect { .. }
            | Failure::TooSlow { .. }
            | Failure::Lost { .. }
            | Failure::Broken { .. } => self.ended(Health::Down),
            _ => self.ended(Health::Unknown),
        }
    }

    /// The probe has its say once; an answer that breaks off after it has begun has another one.
    fn ended(&self, health: Health) {
        let permission = lock(&self.permission).take();
        let permission = permission.unwrap_or(Permission::Ordinary);
        let mut record = self.known.record();
        let before = record.circuit.state();
        record.circuit.ended(Instant::now(), permission, health);
        let after = record.circuit.state();
        drop(record);
        match (before, after) {
            (State::Closed | State::Probing, State::Open { .. }) if health == Health::Down => {
                let was_probed = before == State::Probing;
                tracing::warn!(
                    tier = self.tier,
                    was_probed,
                    "the endpoint is down: its circuit is open"
                );
            }
            (State::Probing, State::Closed) => {
                tracing::info!(
                    tier = self.tier,
                    "the endpoint is back: its circuit is closed"
                );
            }
            _ => {}
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if lock(&self.permission).is_some() {
            self.ended(match self.asked.elapsed() < self.patience {
                true => Health::Unknown,
                false => Health::Down,
            });
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
