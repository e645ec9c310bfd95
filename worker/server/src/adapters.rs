//! The adapters that a worker serves beside its model: a mounted list says which, and may change at
//! any time.
//!
//! Invariants: what is wrong with one adapter keeps no other from being served; a list that cannot be
//! read changes nothing; an adapter that is replaced is served until the new one is there, and one
//! that is taken off the list until its last answer is written; together they take no more memory
//! than they may.

mod follow;
mod gauges;
mod ledger;
mod list;
pub mod uses;

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::watch;
use weir_engine::model::Adapter;
use weir_policy::load::source_sha256;

pub use self::follow::{Following, follow};
pub use self::gauges::AdapterGauges;
use self::list::Listed;
use crate::failure::Failure;

/// What is known of each adapter of the list, by its name.
#[derive(Debug, Clone, Default)]
pub struct Adapters(BTreeMap<Arc<str>, Entry>);

#[derive(Debug, Clone)]
struct Entry {
    listed: Arc<Listed>,
    /// Of its address, for reports, of which there are many.
    source_sha256: Arc<str>,
    /// What answers are written with.
    served: Option<Arc<Adapter>>,
    state: State,
}

/// How far what is listed has come. An entry that changed may serve what it was all the while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Loading,
    Ready,
    Failed(Failure),
}

/// One adapter as it is told.
#[derive(Debug)]
pub struct Told<'a> {
    pub name: &'a str,
    /// Of the address that is listed.
    pub source_sha256: &'a str,
    pub served: Option<&'a Arc<Adapter>>,
    pub state: &'a State,
}

impl Adapters {
    pub fn all(&self) -> impl Iterator<Item = Told<'_>> {
        self.0.iter().map(|(name, entry)| Told {
            name,
            source_sha256: &entry.source_sha256,
            served: entry.served.as_ref(),
            state: &entry.state,
        })
    }

    /// Those that answers can be written with.
    pub fn served(&self) -> impl Iterator<Item = (&str, &Arc<Adapter>)> {
        let entries = self.0.iter();
        entries.filter_map(|(name, entry)| Some((&**name, entry.served.as_ref()?)))
    }

    /// The one of that name, and the name to keep.
    pub fn find(&self, name: &str) -> Option<(Arc<str>, Arc<Adapter>)> {
        let (name, entry) = self.0.get_key_value(name)?;
        Some((name.clone(), entry.served.clone()?))
    }

    /// Takes another list up, and gives what has to be loaded.
    fn list(&mut self, list: Vec<Listed>) -> Vec<(Arc<str>, Arc<Listed>)> {
        let mut before = std::mem::take(&mut self.0);
        let mut wanted = Vec::new();
        for listed in list {
            let name: Arc<str> = listed.name.as_str().into();
            let entry = match before.remove(&name) {
                Some(entry) if *entry.listed == listed => entry,
                other => {
                    let listed = Arc::new(listed);
                    wanted.push((name.clone(), listed.clone()));
                    Entry {
                        source_sha256: source_sha256(&listed.source).into(),
                        listed,
                        served: other.and_then(|entry| entry.served),
                        state: State::Loading,
                    }
                }
            };
            self.0.insert(name, entry);
        }
        wanted
    }

    /// Whether that is listed under the name.
    fn want(&self, name: &str, listed: &Listed) -> bool {
        let entry = self.0.get(name);
        entry.is_some_and(|entry| *entry.listed == *listed)
    }

    /// Takes up what came of loading; nothing where that is not listed any more. Gives whether it
    /// is news.
    fn loaded(
        &mut self,
        (name, listed): (&str, &Arc<Listed>),
        loaded: Result<Arc<Adapter>, Failure>,
    ) -> bool {
        if !self.want(name, listed) {
            return false;
        }
        let Some(entry) = self.0.get_mut(name) else {
            return false;
        };
        let state = match loaded {
            Ok(adapter) => {
                entry.served = Some(adapter);
                State::Ready
            }
            Err(failure) => State::Failed(failure),
        };
        let is_news = entry.state != state;
        entry.state = state;
        is_news
    }

    /// What has failed, to be tried again.
    fn failed(&self) -> Vec<(Arc<str>, Arc<Listed>)> {
        let entries = self.0.iter();
        let failed = entries.filter(|(_, entry)| matches!(entry.state, State::Failed(_)));
        failed
            .map(|(name, entry)| (name.clone(), entry.listed.clone()))
            .collect()
    }
}

/// What others see of them.
pub type Seen = watch::Receiver<Adapters>;

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(name: &str, source: &str) -> Listed {
        Listed {
            name: name.to_owned(),
            source: source.to_owned(),
            revision: None,
            sha256: None,
        }
    }

    fn names(wanted: &[(Arc<str>, Arc<Listed>)]) -> Vec<&str> {
        wanted.iter().map(|(name, _)| &**name).collect()
    }

    #[test]
    fn only_what_is_new_or_changed_is_loaded() {
        let mut adapters = Adapters::default();
        let wanted = adapters.list(vec![listed("a", "file:///a"), listed("b", "file:///b")]);
        assert_eq!(names(&wanted), ["a", "b"]);
        let wanted = adapters.list(vec![listed("b", "file:///c"), listed("a", "file:///a")]);
        assert_eq!(names(&wanted), ["b"]);
        let told: Vec<&str> = adapters.all().map(|told| told.name).collect();
        assert_eq!(told, ["a", "b"]);
        assert!(adapters.list(Vec::new()).is_empty());
        assert_eq!(adapters.all().count(), 0);
    }

    #[test]
    fn what_is_told_is_told_of_the_address_that_is_listed() {
        let mut adapters = Adapters::default();
        let mut told = |source: &str| {
            adapters.list(vec![listed("a", source)]);
            let told = adapters.all().next().unwrap();
            (told.source_sha256.to_owned(), told.state.clone())
        };
        for source in ["file:///a", "file:///b"] {
            assert_eq!(told(source), (source_sha256(source), State::Loading));
        }
    }

    #[test]
    fn what_comes_of_an_entry_that_has_changed_since_is_no_news() {
        let mut adapters = Adapters::default();
        let old = adapters.list(vec![listed("a", "file:///a")]).remove(0).1;
        let new = adapters.list(vec![listed("a", "file:///b")]).remove(0).1;
        let failure = Failure::of("Unsupported", "no");
        assert!(!adapters.loaded(("a", &old), Err(failure.clone())));
        assert!(adapters.failed().is_empty());
        assert!(adapters.loaded(("a", &new), Err(failure.clone())));
        assert!(
            !adapters.loaded(("a", &new), Err(failure)),
            "the same again"
        );
        assert_eq!(names(&adapters.failed()), ["a"]);
        assert!(adapters.find("a").is_none());
    }
}
