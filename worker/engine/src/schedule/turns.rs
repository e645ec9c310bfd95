//! Whose turn it is: the tenant's that was served the fewest tokens, and among its sequences the one
//! that came first.
//!
//! A tenant that comes back from having nothing to do is lifted to the least that any other was
//! served, so that nobody saves up turns. Whoever came first and was passed over too often goes
//! next all the same: nobody waits for ever behind tenants that are always new.

use std::collections::{BTreeMap, VecDeque};

use super::{SequenceId, Tenant, Waiting};

/// So often a sequence may be passed over by some that came after it.
const MOST_PASSED: u32 = 64;

/// Tenants without work whose tokens are remembered: they come from the wire.
const MOST_REMEMBERED: usize = 1024;

#[derive(Debug, Default)]
pub struct Turns {
    accounts: BTreeMap<Tenant, Account>,
}

/// The place of a sequence that waits.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    tenant: Tenant,
    place: usize,
}

#[derive(Debug, Default)]
struct Account {
    /// Tokens computed for it, or that it was lifted to.
    served: u64,
    waiting: VecDeque<Queued>,
    /// Its sequences that began and have not ended.
    begun: usize,
}

#[derive(Debug)]
struct Queued {
    sequence: Waiting,
    passed: u32,
}

impl Account {
    fn is_idle(&self) -> bool {
        self.begun == 0 && self.waiting.is_empty()
    }
}

impl Turns {
    pub fn join(&mut self, sequence: Waiting) {
        let active = self.accounts.values().filter(|account| !account.is_idle());
        let least = active.map(|account| account.served).min();
        self.remember(least);
        let account = self.accounts.entry(sequence.tenant).or_default();
        if account.is_idle() {
            account.served = account.served.max(least.unwrap_or(0));
        }
        account.waiting.push_back(Queued {
            sequence,
            passed: 0,
        });
    }

    /// Forgets tenants without work that coming back would lift, and those beyond a bound.
    fn remember(&mut self, least: Option<u64>) {
        let Some(least) = least else {
            self.accounts.clear();
            return;
        };
        self.accounts
            .retain(|_, account| !account.is_idle() || account.served > least);
        let idle = self
            .accounts
            .iter()
            .filter(|(_, account)| account.is_idle());
        if idle.clone().count() > MOST_REMEMBERED
            && let Some(tenant) = idle
                .min_by_key(|(_, account)| account.served)
                .map(|(t, _)| *t)
        {
            self.accounts.remove(&tenant);
        }
    }

    /// Whose turn it is of those that `may_begin`.
    pub fn next(&self, may_begin: impl Fn(&Waiting) -> bool) -> Option<Turn> {
        let candidates = self.accounts.iter().filter_map(|(tenant, account)| {
            let mut waiting = account.waiting.iter();
            let place = waiting.position(|queued| may_begin(&queued.sequence))?;
            let queued = &account.waiting[place];
            let rank = match queued.passed < MOST_PASSED {
                true => (1, account.served, queued.sequence.id),
                false => (0, 0, queued.sequence.id),
            };
            let tenant = *tenant;
            Some((rank, Turn { tenant, place }))
        });
        let first = candidates.min_by_key(|(rank, _)| *rank);
        first.map(|(_, turn)| turn)
    }

    pub fn at(&self, turn: Turn) -> &Waiting {
        &self.accounts[&turn.tenant].waiting[turn.place].sequence
    }

    /// The sequence begins, of which so many tokens need not be computed.
    pub fn begin(&mut self, turn: Turn, cached_tokens: usize) -> Option<Waiting> {
        let account = self.accounts.get_mut(&turn.tenant)?;
        let sequence = account.waiting.remove(turn.place)?.sequence;
        account.begun += 1;
        account.served += (sequence.known - cached_tokens) as u64;
        for account in self.accounts.values_mut() {
            if let Some(first) = account.waiting.front_mut()
                && first.sequence.id < sequence.id
            {
                first.passed += 1;
            }
        }
        Some(sequence)
    }

    /// More tokens of one of the tenant's sequences are to be computed.
    pub fn charge(&mut self, tenant: Tenant, tokens: usize) {
        if let Some(account) = self.accounts.get_mut(&tenant) {
            account.served += tokens as u64;
        }
    }

    /// One of the tenant's sequences that began has ended.
    pub fn end(&mut self, tenant: Tenant) {
        if let Some(account) = self.accounts.get_mut(&tenant) {
            account.begun -= 1;
        }
    }

    /// A sequence that waits will not begin.
    pub fn leave(&mut self, id: SequenceId) {
        for account in self.accounts.values_mut() {
            account.waiting.retain(|queued| queued.sequence.id != id);
        }
    }

    pub fn waiting(&self) -> usize {
        self.accounts
            .values()
            .map(|account| account.waiting.len())
            .sum()
    }
}
