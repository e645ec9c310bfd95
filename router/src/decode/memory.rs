//! The memory for bodies, of which so much may be taken together, and what is taken is given back by whoever drops it.
//! No tenant has all of it: of what is free the rule of `admit` keeps some for whoever comes. The more tenants are
//! greedy, the smaller is what is kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::admit::{may_have, most_alone};
use crate::refusal::Refusal;

/// So much there is.
pub(super) struct Memory {
    all: usize,
    state: Mutex<State>,
}

struct State {
    free: usize,
    /// In bytes. Who has taken nothing is not remembered.
    by_tenant: HashMap<String, usize>,
}

/// What one body of a tenant has taken. Dropping it gives that back.
pub(super) struct Part {
    memory: Arc<Memory>,
    tenant: String,
    bytes: usize,
}

impl Memory {
    pub fn of(bytes: usize) -> Arc<Self> {
        let state = State {
            free: bytes,
            by_tenant: HashMap::new(),
        };
        Arc::new(Self {
            all: bytes,
            state: Mutex::new(state),
        })
    }

    /// A part of it, which is nothing yet.
    pub fn part(self: &Arc<Self>, tenant: &str) -> Part {
        Part {
            memory: self.clone(),
            tenant: tenant.to_owned(),
            bytes: 0,
        }
    }

    #[cfg(test)]
    pub fn free(&self) -> usize {
        self.state().free
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    /// Takes what is missing to `bytes` in all; nothing where that is refused. A body that needs more than one tenant
    /// may have counts as just that much, so that it can be read where nobody has anything else in hand.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let wanted = bytes.min(most_alone(self.memory.all));
        let more = wanted.saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        let mut state = self.memory.state();
        let limit = self.memory.all;
        let free = state.free.checked_sub(more);
        let free = free.ok_or(Refusal::BodiesTooLarge { limit })?;
        let taken = state.by_tenant.get(&self.tenant).copied();
        let taken = taken.unwrap_or_default();
        let bytes = taken + more;
        if !may_have(bytes, free) {
            return Err(Refusal::BodiesOfOne { bytes });
        }
        state.free = free;
        state.by_tenant.insert(self.tenant.clone(), bytes);
        self.bytes = wanted;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let mut state = self.memory.state();
        state.free += self.bytes;
        match state.by_tenant.get_mut(&self.tenant) {
            Some(taken) if *taken > self.bytes => *taken -= self.bytes,
            _ => drop(state.by_tenant.remove(&self.tenant)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_leaves_an_eighth_and_who_comes_leaves_an_eighth_of_that() {
        let memory = Memory::of(800);
        let mut greedy = memory.part("greedy");
        let mut second = memory.part("greedy");
        greedy.grow(600).unwrap();
        second.grow(100).unwrap();
        let bytes = 701;
        assert_eq!(second.grow(101), Err(Refusal::BodiesOfOne { bytes }));
        let mut modest = memory.part("modest");
        modest.grow(87).unwrap();
        assert!(modest.grow(88).is_err());
        assert!(memory.part("late").grow(11).is_ok());
        let limit = 800;
        let none_left = Err(Refusal::BodiesTooLarge { limit });
        assert_eq!(memory.part("late").grow(14), none_left);
    }

    #[test]
    fn what_was_taken_is_there_again_once_it_is_dropped_and_who_has_none_is_forgotten() {
        let memory = Memory::of(800);
        let (mut one, mut two) = (memory.part("a"), memory.part("a"));
        one.grow(10).unwrap();
        one.grow(5).unwrap();
        two.grow(20).unwrap();
        drop(one);
        assert_eq!((memory.free(), memory.state().by_tenant["a"]), (780, 20));
        drop(memory.part("a"));
        assert_eq!(memory.state().by_tenant["a"], 20);
        drop(two);
        assert_eq!(memory.free(), 800);
        assert!(memory.state().by_tenant.is_empty());
    }

    #[test]
    fn one_body_that_needs_more_than_there_is_counts_as_all_that_one_may_have() {
        let memory = Memory::of(800);
        let mut huge = memory.part("a");
        huge.grow(10_000).unwrap();
        huge.grow(20_000).unwrap();
        assert_eq!(memory.free(), 100);
        assert!(memory.part("a").grow(1).is_err());
        assert!(memory.part("b").grow(1).is_ok());
    }
}
