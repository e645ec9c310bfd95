//! Entries of users' ConfigMaps that deployments name, as last seen.
//!
//! - A ConfigMap that nobody names is not asked for: each that is has a watch of its own, for as long
//!   as a deployment names it, and of what it holds only the named key is kept.
//! - A change wakes the deployments that name it; its absence is told as news, too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use futures::StreamExt;
use futures::channel::{mpsc, oneshot};
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::Api;
use kube::runtime::watcher::{self, Event, watcher};
use weir_crds::ConfigMapKeyRef;
use weir_process::watches::paced;

use crate::cache::Key;
use crate::deployment::entry::Entry;

/// A key of a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    namespace: String,
    map: String,
    key: String,
}

/// What is seen of one place.
#[derive(Debug)]
struct Watched {
    /// The deployments that name it.
    by: BTreeSet<String>,
    seen: Entry,
    /// What a list that is not over yet has brought.
    listed: Option<Entry>,
    /// The watch ends when this is dropped.
    _follows: oneshot::Sender<()>,
}

/// All that are named. Clones share them.
#[derive(Clone)]
pub struct Entries {
    client: Client,
    named: Named,
    begun: mpsc::UnboundedSender<BoxStream<'static, Vec<Key>>>,
}

#[derive(Clone, Debug, Default)]
struct Named(Arc<Mutex<BTreeMap<Place, Watched>>>);

impl Entries {
    /// The entries, and whom their changes wake. The stream has to be polled for anything to be seen.
    pub fn new(client: Client) -> (Self, BoxStream<'static, Vec<Key>>) {
        let (begun, watches) = mpsc::unbounded();
        let entries = Self {
            client,
            named: Named::default(),
            begun,
        };
        (entries, watches.flatten_unordered(None).boxed())
    }

    /// What is there, for a deployment that names this and nothing else from now on.
    pub fn named_by(
        &self,
        namespace: &str,
        deployment: &str,
        from: Option<&ConfigMapKeyRef>,
    ) -> Option<Entry> {
        let place = from.map(|from| Place {
            namespace: namespace.to_owned(),
            map: from.name.clone(),
            key: from.key.clone(),
        });
        let (seen, stopped) = self.named.name(namespace, deployment, place.clone())?;
        if let (Some(stopped), Some(place)) = (stopped, place) {
            let watch = self.watch(place, stopped);
            // Whoever would take it ended with the process.
            let _ = self.begun.unbounded_send(watch);
        }
        Some(seen)
    }

    fn watch(&self, place: Place, stopped: oneshot::Receiver<()>) -> BoxStream<'static, Vec<Key>> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &place.namespace);
        // By its name, so that a right to this one would do.
        let only = watcher::Config::default().fields(&format!("metadata.name={}", place.map));
        let named = self.named.clone();
        paced(watcher(api, only))
            .filter_map(move |event| {
                let woken = named.take(&place, event);
                std::future::ready((!woken.is_empty()).then_some(woken))
            })
            .take_until(stopped)
            .boxed()
    }
}

impl Named {
    /// What is seen of `place`, which `deployment` names instead of any other; and, where nobody
    /// named it before, what ends its watch.
    fn name(
        &self,
        namespace: &str,
        deployment: &str,
        place: Option<Place>,
    ) -> Option<(Entry, Option<oneshot::Receiver<()>>)> {
        let mut all = self.all();
        all.retain(|other, watched| {
            if other.namespace == namespace && Some(other) != place.as_ref() {
                watched.by.remove(deployment);
            }
            !watched.by.is_empty()
        });
        let place = place?;
        if let Some(watched) = all.get_mut(&place) {
            watched.by.insert(deployment.to_owned());
            return Some((watched.seen.clone(), None));
        }
        let (follows, stopped) = oneshot::channel();
        let watched = Watched {
            by: BTreeSet::from([deployment.to_owned()]),
            seen: Entry::Unseen,
            listed: None,
            _follows: follows,
        };
        all.insert(place, watched);
        Some((Entry::Unseen, Some(stopped)))
    }

    /// Takes up what a watch says of `place`; whose deployment's business it is.
    fn take(&self, place: &Place, event: watcher::Result<Event<ConfigMap>>) -> Vec<Key> {
        let mut all = self.all();
        let Some(watched) = all.get_mut(place) else {
            return Vec::new();
        };
        let of = |map: &ConfigMap| Entry::of(map, &place.key);
        let seen = match event {
            Ok(Event::Init) => {
                watched.listed = None;
                return Vec::new();
            }
            Ok(Event::InitApply(map)) => {
                watched.listed = Some(of(&map));
                return Vec::new();
            }
            Ok(Event::InitDone) => watched.listed.take().unwrap_or(Entry::NoConfigMap),
            Ok(Event::Apply(map)) => of(&map),
            Ok(Event::Delete(_)) => Entry::NoConfigMap,
            Err(error) => {
                tracing::warn!(map = place.map, namespace = place.namespace, %error, "a watch failed and is tried again");
                match forbidden(&error) {
                    Some(words) => Entry::Forbidden(words),
                    None => return Vec::new(),
                }
            }
        };
        if watched.seen == seen {
            return Vec::new();
        }
        watched.seen = seen;
        let deployments = watched.by.iter().cloned();
        deployments
            .map(|name| Key::Deployment {
                namespace: place.namespace.clone(),
                name,
            })
            .collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<Place, Watched>> {
        let all = self.0.lock();
        all.expect("nothing panics while it holds the entries")
    }
}

/// What the API server says where it does not let us look.
fn forbidden(error: &watcher::Error) -> Option<String> {
    use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
    let status = match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status)) => status,
        _ => return None,
    };
    (status.code == 403).then(|| status.message.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn place(map: &str) -> Place {
        Place {
            namespace: "support".into(),
            map: map.into(),
            key: "chat".into(),
        }
    }

    fn map(text: &str) -> ConfigMap {
        serde_json::from_value(json!({ "data": { "chat": text } })).unwrap()
    }

    fn text(text: &str) -> Entry {
        Entry::Text(text.into())
    }

    #[test]
    fn a_change_wakes_whoever_names_the_entry_and_the_same_again_nobody() {
        let named = Named::default();
        let (seen, begins) = named.name("support", "one", Some(place("a"))).unwrap();
        assert_eq!((seen, begins.is_some()), (Entry::Unseen, true));
        let (_, begins) = named.name("support", "two", Some(place("a"))).unwrap();
        assert!(begins.is_none(), "one watch is enough");
        let take = |event| Key::names(named.take(&place("a"), Ok(event)));
        assert!(take(Event::Init).is_empty());
        assert!(take(Event::InitApply(map("x"))).is_empty());
        assert_eq!(take(Event::InitDone), ["one", "two"]);
        assert!(take(Event::Apply(map("x"))).is_empty());
        assert_eq!(take(Event::Apply(map("y"))), ["one", "two"]);
        let (seen, _) = named.name("support", "one", Some(place("a"))).unwrap();
        assert_eq!(seen, text("y"));
        assert_eq!(take(Event::Delete(map("y"))), ["one", "two"]);
        assert!(take(Event::Init).is_empty());
        assert!(take(Event::InitDone).is_empty(), "it was gone already");
    }

    #[test]
    fn an_entry_that_was_listed_before_is_gone_where_the_next_list_has_it_not() {
        let named = Named::default();
        named.name("support", "one", Some(place("a")));
        let take = |event| Key::names(named.take(&place("a"), Ok(event)));
        take(Event::InitApply(map("x")));
        take(Event::InitDone);
        take(Event::Init);
        assert_eq!(take(Event::InitDone), ["one"]);
        let (seen, _) = named.name("support", "one", Some(place("a"))).unwrap();
        assert_eq!(seen, Entry::NoConfigMap);
    }

    #[test]
    fn a_watch_ends_when_nobody_names_its_entry_any_more() {
        let named = Named::default();
        let (_, first) = named.name("support", "one", Some(place("a"))).unwrap();
        let mut first = first.unwrap();
        named.name("support", "two", Some(place("a")));
        named.name("support", "one", Some(place("b")));
        assert_eq!(first.try_recv(), Ok(None), "two still names it");
        assert!(named.name("support", "two", None).is_none());
        assert!(first.try_recv().is_err());
        // And a namesake elsewhere is another one.
        named.name("sales", "one", None);
        let (_, begins) = named.name("support", "one", Some(place("b"))).unwrap();
        assert!(begins.is_none());
    }
}
