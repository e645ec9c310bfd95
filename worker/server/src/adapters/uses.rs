//! Which adapters answers are being written with, and which are waited for.
//!
//! This is what the Gateway API Inference Extension reads to send requests where an adapter is in use.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// By adapter.
#[derive(Debug, Clone, Default)]
pub struct Uses(Arc<Mutex<BTreeMap<Arc<str>, Count>>>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    waiting: usize,
    running: usize,
}

/// One request with an adapter, from its place in the queue to its end.
#[derive(Debug)]
pub struct Use {
    uses: Uses,
    adapter: Arc<str>,
    is_running: bool,
}

impl Uses {
    /// A request that waits.
    pub fn begin(&self, adapter: Arc<str>) -> Use {
        self.change(&adapter, |count| count.waiting += 1);
        Use {
            uses: self.clone(),
            adapter,
            is_running: false,
        }
    }

    /// The names of adapters with running requests, and with waiting ones.
    pub fn names(&self) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let named = |is_there: fn(&Count) -> bool| {
            let there = counts.iter().filter(|(_, count)| is_there(count));
            there.map(|(name, _)| name.clone()).collect()
        };
        let running = named(|count| count.running > 0);
        (running, named(|count| count.waiting > 0))
    }

    fn change(&self, adapter: &Arc<str>, change: impl FnOnce(&mut Count)) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(adapter.clone()).or_default();
        change(count);
        if *count == Count::default() {
            counts.remove(adapter);
        }
    }
}

impl Use {
    /// It waits no longer.
    pub fn run(&mut self) {
        if !self.is_running {
            self.is_running = true;
            self.uses.change(&self.adapter, |count| {
                count.waiting -= 1;
                count.running += 1;
            });
        }
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let is_running = self.is_running;
        self.uses.change(&self.adapter, |count| match is_running {
            true => count.running -= 1,
            false => count.waiting -= 1,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_is_named_as_long_as_a_request_uses_it() {
        let uses = Uses::default();
        let told = || {
            let (running, waiting) = uses.names();
            (running.join(","), waiting.join(","))
        };
        let mut first = uses.begin("b".into());
        let second = uses.begin("a".into());
        assert_eq!(told(), (String::new(), "a,b".to_owned()));
        first.run();
        first.run();
        assert_eq!(told(), ("b".to_owned(), "a".to_owned()));
        let third = uses.begin("b".into());
        assert_eq!(told(), ("b".to_owned(), "a,b".to_owned()));
        drop((first, third));
        assert_eq!(told(), (String::new(), "a".to_owned()));
        drop(second);
        assert_eq!(told(), (String::new(), String::new()));
    }
}
