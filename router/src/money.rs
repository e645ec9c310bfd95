//! Money: what this run of the router may spend at endpoints, and what it spends.
//!
//! - Nothing is sent to an endpoint of a policy with budgets before the most that it may cost is put aside
//!   in each of them. All of them must have so much: no slice, no call.
//! - What was put aside comes back by whatever way the call ends: see [`Reservation`].
//! - What it may spend is granted elsewhere: by the leader in a cluster, heard through the world; on a
//!   laptop by [`own`].

mod closing;
mod own;
mod prompt;
mod purse;
mod reservation;
mod within;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};
use weir_crds::{Money, Period};
use weir_policy::Table;
use weir_policy::budget::account::Account;
use weir_policy::budget::estimate::{Call, most};
use weir_policy::budget::ledger::Ledgers;
use weir_policy::budget::{Moment, PurseLoad, Tally};
use weir_policy::tier::Endpoint;
use weir_policy::validate::Settings;
use weir_process::Process;

use crate::ask::Ask;
use crate::shared::Shared;
use crate::wire::Wire;
use crate::world::World;
use purse::Purse;
pub(crate) use purse::Short;
pub(crate) use reservation::{Aside, Reservation};
pub(crate) use within::within;

/// The purses of all policies with budgets; clones are the same.
#[derive(Clone)]
pub(crate) struct Purses(Arc<Inner>);

struct Inner {
    /// The name of this run.
    run: String,
    began: std::time::Instant,
    /// How long a call may wait for the next slice.
    patience: Duration,
    /// Calls that have waited.
    waits: AtomicU64,
    state: Mutex<State>,
    /// Something was granted, or given back by a call.
    news: watch::Sender<()>,
    /// A call waits, somebody has a purse that had none, or nothing more is spent.
    need: Notify,
    /// What was left is given back.
    is_over: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    policies: BTreeMap<String, Purse>,
    /// As it was heard last, also for policies that are not known yet.
    heard: BTreeMap<String, Ledgers>,
    /// Nothing more is spent.
    is_closed: bool,
}

impl Purses {
    /// Empty ones, of the run of that name.
    pub fn new(run: String, patience: Duration) -> Self {
        Self(Arc::new(Inner {
            run,
            began: std::time::Instant::now(),
            patience,
            waits: AtomicU64::new(0),
            state: Mutex::default(),
            news: watch::Sender::new(()),
            need: Notify::new(),
            is_over: watch::Sender::new(false),
        }))
    }

    pub fn run(&self) -> &str {
        &self.0.run
    }

    /// Follows the policies that are served.
    pub fn keep(&self, table: &Table) {
        let now = self.now();
        let mut state = self.state();
        let State {
            policies, heard, ..
        } = &mut *state;
        policies
            .values_mut()
            .for_each(|purse| purse.is_served = false);
        for policy in table.policies() {
            match policies.get_mut(&policy.name) {
                Some(purse) => purse.follow(&policy.settings),
                None if policy.settings.budgets.is_empty() => continue,
                None => {
                    let purse = Purse::new(&policy.settings);
                    policies.insert(policy.name.clone(), purse);
                    self.0.need.notify_one();
                }
            }
            let ledgers = heard.get(&policy.name);
            if let (Some(purse), Some(ledgers)) = (policies.get_mut(&policy.name), ledgers) {
                purse.hear(ledgers, &self.0.run);
            }
        }
        policies.retain(|_, purse| purse.is_live(now));
        drop(state);
        // What a call waits for may bind no more.
        self.0.news.send_replace(());
    }

    /// Takes over what was granted.
    pub fn hear(&self, ledgers: &BTreeMap<String, Ledgers>) {
        let mut state = self.state();
        if state.heard == *ledgers {
            return;
        }
        state.heard.clone_from(ledgers);
        for (policy, purse) in &mut state.policies {
            if let Some(ledgers) = ledgers.get(policy) {
                purse.hear(ledgers, &self.0.run);
                purse.silence.end();
                purse.stillness.end();
            }
        }
        drop(state);
        self.0.news.send_replace(());
    }

    /// What is needed and spent, by policy and period.
    pub fn report(&self) -> BTreeMap<String, BTreeMap<Period, PurseLoad>> {
        let now = self.now();
        let mut state = self.state();
        let policies = state.policies.iter_mut();
        let reports = policies.map(|(policy, purse)| {
            let accounts = purse.accounts.iter_mut();
            let loads = accounts.map(|account| (account.budget.period, account.report(now)));
            (policy.clone(), loads.collect())
        });
        reports.collect()
    }

    /// What keeps `policy` from spending `amount` now; nothing where it may.
    pub fn short(&self, policy: &str, settings: &Settings, amount: Money) -> Option<Short> {
        let now = self.now();
        let mut state = self.state();
        let purse = state.purse((policy, settings), &self.0.run)?;
        purse.short(amount, now)
    }

    /// The tightest of the policy's budgets: what it has at hand.
    pub fn tightest(&self, policy: &str) -> Option<(Period, Money)> {
        let now = self.now();
        let state = self.state();
        let accounts = state.policies.get(policy)?.accounts.iter();
        accounts
            .map(|account| (account.budget.period, account.left(now)))
            .min_by_key(|(_, left)| *left)
    }

    /// What may be spent now, by policy and period.
    pub fn left(&self) -> Vec<(String, Period, Money)> {
        let now = self.now();
        let state = self.state();
        let all = state.policies.iter().flat_map(|(policy, purse)| {
            let accounts = purse.accounts.iter();
            accounts.map(|account| {
                let left = account.left(now);
                (policy.clone(), account.budget.period, left)
            })
        });
        all.collect()
    }

    /// An ask of the policy that began then is over and came to so much.
    pub fn count(&self, policy: &str, tally: Tally, began: Timestamp) {
        self.each(policy, |account| account.count(tally, began));
    }

    /// Puts `amount` aside in every budget of the policy, or in none. Where the next slice, or what calls in
    /// flight give back, may be enough, that is waited for, until `until` at the latest.
    pub async fn reserve(
        &self,
        (policy, settings): (&str, &Settings),
        amount: Money,
        until: Instant,
    ) -> Result<Aside, Short> {
        let until = until.min(Instant::now() + self.0.patience);
        let mut news = self.0.news.subscribe();
        let mut waiting = None;
        loop {
            let short = match self.try_reserve(policy, settings, amount) {
                Ok(reservation) => return Ok(Aside::new(reservation)),
                Err(short) if !short.may_come => return Err(short),
                Err(short) => short,
            };
            // A budget may have been put into the policy, or back, since it was said last.
            let waiting = waiting.get_or_insert_with(|| self.wait(policy, amount));
            waiting.say();
            if timeout_at(until, news.changed()).await.is_err() {
                if let Ok(reservation) = self.try_reserve(policy, settings, amount) {
                    return Ok(Aside::new(reservation));
                }
                let now = self.now();
                if let Some(purse) = self.state().policies.get_mut(policy) {
                    purse.waited(amount, now);
                }
                return Err(short);
            }
        }
    }

    fn try_reserve(
        &self,
        policy: &str,
        settings: &Settings,
        amount: Money,
    ) -> Result<Reservation, Short> {
        let now = self.now();
        let mut state = self.state();
        let is_closed = state.is_closed;
        let Some(purse) = state.purse((policy, settings), &self.0.run) else {
            return Ok(Reservation::of_nothing());
        };
        if is_closed
            && !amount.is_zero()
            && let Some(short) = purse.closed()
        {
            return Err(short);
        }
        if let Some(short) = purse.short(amount, now) {
            return Err(short);
        }
        let accounts = purse.accounts.iter_mut();
        let parts = accounts.filter_map(|account| {
            let reserved = account.reserve(amount, now)?;
            Some((account.budget.period, reserved))
        });
        let parts = parts.collect();
        purse.calls += 1;
        Ok(Reservation::new(self.clone(), policy, amount, parts))
    }

    /// A call that may be said to wait, until what this gives is dropped.
    fn wait(&self, policy: &str, amount: Money) -> Waiting {
        Waiting {
            purses: self.clone(),
            call: self.0.waits.fetch_add(1, Ordering::Relaxed),
            policy: policy.to_owned(),
            amount,
        }
    }

    fn each(&self, policy: &str, change: impl FnMut(&mut Account)) {
        let mut state = self.state();
        let purse = state.policies.get_mut(policy);
        let accounts = purse.into_iter().flat_map(|purse| &mut purse.accounts);
        accounts.for_each(change);
    }

    fn now(&self) -> Moment {
        Moment {
            time: Timestamp::now(),
            up: self.0.began.elapsed(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The purse of the policy; nothing where it has no budget. One that nobody follows yet has what was
    /// heard of it.
    fn purse(&mut self, (policy, settings): (&str, &Settings), run: &str) -> Option<&mut Purse> {
        let is_bound = |purse: &Purse| purse.is_served && !purse.accounts.is_empty();
        if settings.budgets.is_empty() && !self.policies.get(policy).is_some_and(is_bound) {
            return None;
        }
        let ledgers = self.heard.get(policy);
        let purse = self.policies.entry(policy.to_owned()).or_insert_with(|| {
            let mut purse = Purse::new(settings);
            if let Some(ledgers) = ledgers {
                purse.hear(ledgers, run);
            }
            purse
        });
        Some(purse)
    }
}

/// A call that waits for a slice.
struct Waiting {
    purses: Purses,
    /// Its number.
    call: u64,
    policy: String,
    amount: Money,
}

impl Waiting {
    /// To all budgets of the policy; those that know it already take no notice.
    fn say(&self) {
        let now = self.purses.now();
        let mut is_news = false;
        let each = |account: &mut Account| is_news |= account.wait(self.call, self.amount, now);
        self.purses.each(&self.policy, each);
        if is_news {
            self.purses.0.need.notify_one();
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let each = |account: &mut Account| account.wait_over(self.call);
        self.purses.each(&self.policy, each);
    }
}

/// Follows what is granted, as tasks of the process: out of the router's own ledger where it has one, else
/// what the leader says in `worlds`. And gives back what is left, at the end.
pub(crate) fn start(
    process: &Process,
    shared: &Arc<Shared>,
    mut worlds: watch::Receiver<Arc<World>>,
) -> anyhow::Result<()> {
    let (tasks, purses) = (process.tasks(), shared.purses.clone());
    let closing = closing::close(
        Arc::downgrade(shared),
        purses.clone(),
        process.shutdown().clone(),
    );
    tasks.spawn("give back", closing);
    purses.keep(&shared.view.borrow().table);
    if let Some(path) = &shared.args.ledger_file {
        return own::keep(process, path, (purses, shared.view.clone()));
    }
    tasks.spawn("hear grants", async move {
        loop {
            let world = worlds.borrow_and_update().clone();
            purses.hear(&world.ledgers);
            tokio::select! {
                changed = worlds.changed() => if changed.is_err() {
                    return;
                },
                () = purses.over() => return,
            }
        }
    });
    Ok(())
}

/// The most that the ask may cost at the endpoint.
pub(crate) fn most_of(ask: &Ask, endpoint: &Endpoint) -> Money {
    most(endpoint, call(ask, endpoint))
}

/// The most that its prompt may cost there.
pub(crate) fn most_of_prompt(ask: &Ask, endpoint: &Endpoint) -> Money {
    let call = Call {
        is_read_only: true,
        ..call(ask, endpoint)
    };
    most(endpoint, call)
}

fn call(ask: &Ask, endpoint: &Endpoint) -> Call {
    Call {
        prompt_tokens: prompt::most_tokens(ask, endpoint),
        max_tokens: ask.max_tokens,
        is_read_only: ask.is_read_only() || ask.wire == Wire::Embeddings,
        choices: ask.choices,
    }
}

#[cfg(test)]
mod tests;
