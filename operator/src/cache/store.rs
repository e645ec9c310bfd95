//! Objects of one kind by namespace and name, as a watch tells of them.
//!
//! A list that comes after a break wakes for what it changes: for what is new, another, or gone. What
//! it has as it was wakes nobody.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock, RwLockReadGuard};

use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};
use tokio::sync::watch;

use super::Key;

/// What a store keeps.
pub trait Kept: ResourceExt {
    /// Drops what nobody reads.
    fn slim(&mut self);

    /// What is to be looked at when it comes, changes or goes.
    fn wakes(&self) -> Vec<Key>;
}

/// By namespace, and there by name.
type All<K> = BTreeMap<String, BTreeMap<String, Arc<K>>>;

/// What there is, as last seen. Clones share it.
#[derive(Debug)]
pub struct Store<K> {
    all: Arc<RwLock<All<K>>>,
    is_listed: watch::Receiver<bool>,
}

/// The only one who writes a store.
#[derive(Debug)]
pub struct Filling<K> {
    all: Arc<RwLock<All<K>>>,
    /// A list that is not over yet.
    list: All<K>,
    is_listed: watch::Sender<bool>,
}

/// A store in which nothing is, and what fills it.
pub fn store<K>() -> (Store<K>, Filling<K>) {
    let all = Arc::new(RwLock::new(All::new()));
    let (told, is_listed) = watch::channel(false);
    let filling = Filling {
        all: all.clone(),
        list: All::new(),
        is_listed: told,
    };
    (Store { all, is_listed }, filling)
}

impl<K> Clone for Store<K> {
    fn clone(&self) -> Self {
        Self {
            all: self.all.clone(),
            is_listed: self.is_listed.clone(),
        }
    }
}

impl<K> Store<K> {
    /// Resolves once the first list is over, or nobody fills this any more.
    pub async fn ready(&self) {
        let _ = self.is_listed.clone().wait_for(|listed| *listed).await;
    }

    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.read().get(namespace)?.get(name).cloned()
    }

    /// Those of a namespace that `wanted` says yes to, by name.
    pub fn of(&self, namespace: &str, wanted: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        let all = self.read();
        let found = all.get(namespace).into_iter().flat_map(BTreeMap::values);
        found.filter(|object| wanted(object)).cloned().collect()
    }

    pub fn all(&self) -> Vec<Arc<K>> {
        let all = self.read();
        all.values().flat_map(BTreeMap::values).cloned().collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, All<K>> {
        self.all
            .read()
            .expect("nothing panics while it holds the objects")
    }
}

impl<K: Kept> Filling<K> {
    /// Takes up what a watch says; what is to be looked at because of that.
    pub fn take(&mut self, event: Event<K>) -> Vec<Key> {
        match event {
            Event::Init => {
                self.list.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                self.list(object);
                Vec::new()
            }
            Event::InitDone => self.end_list(),
            Event::Apply(object) => self.apply(object),
            Event::Delete(object) => self.delete(&object),
        }
    }

    fn list(&mut self, mut object: K) {
        let (namespace, name) = place(&object);
        let before = {
            let all = self.all.read();
            let all = all.expect("nothing panics while it holds the objects");
            all.get(&namespace).and_then(|all| all.get(&name)).cloned()
        };
        // What has not changed is kept once, while both the list and what was there before are.
        let object = match before {
            Some(before) if before.resource_version() == object.resource_version() => before,
            _ => {
                object.slim();
                Arc::new(object)
            }
        };
        self.list.entry(namespace).or_default().insert(name, object);
    }

    fn end_list(&mut self) -> Vec<Key> {
        let now = std::mem::take(&mut self.list);
        let before = self.change(|all| std::mem::replace(all, now.clone()));
        self.is_listed.send_replace(true);
        let keys = missing(&now, &before).chain(missing(&before, &now));
        keys.flat_map(|object| object.wakes()).collect()
    }

    fn apply(&mut self, mut object: K) -> Vec<Key> {
        object.slim();
        let (namespace, name) = place(&object);
        let mut keys = object.wakes();
        let object = Arc::new(object);
        let before = self.change(|all| all.entry(namespace).or_default().insert(name, object));
        // It may have been somebody else's.
        for key in before.iter().flat_map(|before| before.wakes()) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }

    fn delete(&mut self, object: &K) -> Vec<Key> {
        let (namespace, name) = place(object);
        self.change(|all| {
            if let Some(there) = all.get_mut(&namespace) {
                there.remove(&name);
                if there.is_empty() {
                    all.remove(&namespace);
                }
            }
        });
        object.wakes()
    }

    fn change<T>(&mut self, change: impl FnOnce(&mut All<K>) -> T) -> T {
        let all = self.all.write();
        change(&mut all.expect("nothing panics while it holds the objects"))
    }
}

/// What `from` has and `of` has not, or has as another object or version.
fn missing<'a, K>(from: &'a All<K>, of: &'a All<K>) -> impl Iterator<Item = &'a Arc<K>> {
    from.iter().flat_map(move |(namespace, objects)| {
        let there = of.get(namespace);
        objects.iter().filter_map(move |(name, object)| {
            let same = there.and_then(|there| there.get(name));
            let same = same.is_some_and(|same| Arc::ptr_eq(same, object));
            (!same).then_some(object)
        })
    })
}

fn place<K: Resource>(object: &K) -> (String, String) {
    let meta = object.meta();
    let namespace = meta.namespace.clone().unwrap_or_default();
    (namespace, meta.name.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;
    use crate::cache::of_labels;

    impl Kept for ConfigMap {
        fn slim(&mut self) {
            self.managed_fields_mut().clear();
        }

        fn wakes(&self) -> Vec<Key> {
            of_labels(self)
        }
    }

    /// An object of the deployment `of`.
    fn object(name: &str, version: &str, of: &str) -> ConfigMap {
        let metadata = json!({
            "namespace": "support", "name": name, "resourceVersion": version,
            "labels": { "weir.dev/deployment": of },
        });
        serde_json::from_value(json!({ "metadata": metadata })).unwrap()
    }

    fn listed(filling: &mut Filling<ConfigMap>, objects: Vec<ConfigMap>) -> Vec<String> {
        let mut woken = filling.take(Event::Init);
        for object in objects {
            woken.extend(filling.take(Event::InitApply(object)));
        }
        assert!(woken.is_empty(), "a list is told as a whole");
        Key::names(filling.take(Event::InitDone))
    }

    #[test]
    fn a_list_after_a_break_wakes_for_what_is_new_or_another_or_gone_and_for_nothing_else() {
        let (store, mut filling) = store();
        let one = || object("one", "1", "a");
        let first = vec![one(), object("two", "2", "b"), object("three", "3", "c")];
        assert_eq!(listed(&mut filling, first), ["a", "c", "b"]);
        assert!(
            listed(&mut filling, vec![one()]).len() == 2,
            "both are gone"
        );
        let kept = store.get("support", "one").unwrap();
        let next = vec![one(), object("two", "4", "b")];
        assert_eq!(listed(&mut filling, next), ["b"]);
        assert!(Arc::ptr_eq(&kept, &store.get("support", "one").unwrap()));
        let other = vec![object("one", "5", "d"), object("two", "4", "b")];
        assert_eq!(listed(&mut filling, other), ["d", "a"], "whose it was, too");
        assert!(listed(&mut filling, Vec::new()).len() == 2 && store.all().is_empty());
    }

    #[test]
    fn a_list_that_breaks_off_changes_nothing() {
        let (store, mut filling) = store();
        listed(&mut filling, vec![object("one", "1", "a")]);
        filling.take(Event::Init);
        filling.take(Event::InitApply(object("two", "2", "b")));
        assert!(store.get("support", "one").is_some() && store.get("support", "two").is_none());
        assert_eq!(listed(&mut filling, vec![object("one", "1", "a")]), [""; 0]);
    }

    #[test]
    fn an_object_that_changes_hands_wakes_both_and_one_that_goes_its_last() {
        let (store, mut filling) = store();
        let mut take = |event| Key::names(filling.take(event));
        assert_eq!(take(Event::Apply(object("one", "1", "a"))), ["a"]);
        assert_eq!(take(Event::Apply(object("one", "2", "a"))), ["a"]);
        assert_eq!(take(Event::Apply(object("one", "3", "b"))), ["b", "a"]);
        assert_eq!(take(Event::Delete(object("one", "4", "b"))), ["b"]);
        assert!(store.all().is_empty());
    }

    #[test]
    fn a_namespace_has_its_own_by_name() {
        let (store, mut filling) = store();
        let mut elsewhere = object("one", "1", "a");
        elsewhere.metadata.namespace = Some("sales".into());
        let here = ["two", "one"].map(|name| object(name, "1", name));
        listed(&mut filling, [vec![elsewhere], here.to_vec()].concat());
        let all = |wanted: fn(&ConfigMap) -> bool| store.of("support", wanted);
        let found: Vec<String> = all(|_| true)
            .iter()
            .map(|object| object.name_any())
            .collect();
        assert_eq!(found, ["one", "two"]);
        assert_eq!(all(|object| object.name_any() == "two").len(), 1);
        assert_eq!(
            (store.all().len(), store.of("none", |_| true).len()),
            (3, 0)
        );
    }

    #[tokio::test]
    async fn a_store_is_ready_once_its_first_list_is_over() {
        let (store, mut filling) = store();
        filling.take(Event::Init);
        filling.take(Event::InitApply(object("one", "1", "a")));
        assert_eq!(store.ready().now_or_never(), None);
        filling.take(Event::InitDone);
        assert_eq!(store.ready().now_or_never(), Some(()));
    }
}
