//! Whether anybody can reach what a namespace's deployments serve: through its routers, which are
//! looked after by another pass than the deployments are.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

/// What keeps clients from the replicas of a namespace, or does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Whether any router is ready.
    pub routers: bool,
    /// Names that the routers need and that are not ours to use: `kind name: whose it is`.
    pub taken: Vec<String>,
}

/// What the last pass over each namespace found. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Reaches(Arc<RwLock<BTreeMap<String, Reach>>>);

impl Reaches {
    /// What was found last; that nobody is reached where nobody has looked.
    pub fn of(&self, namespace: &str) -> Reach {
        let all = self
            .0
            .read()
            .expect("nothing panics while it holds the reaches");
        all.get(namespace).cloned().unwrap_or_default()
    }

    /// A pass found this many routers ready.
    pub fn found(&self, namespace: &str, routers: usize) {
        self.change(namespace, |reach| reach.routers = routers > 0);
    }

    /// A pass was refused these names.
    pub fn taken(&self, namespace: &str, taken: &[String]) {
        self.change(namespace, |reach| reach.taken = taken.to_vec());
    }

    fn change(&self, namespace: &str, change: impl FnOnce(&mut Reach)) {
        let mut all = self
            .0
            .write()
            .expect("nothing panics while it holds the reaches");
        change(all.entry(namespace.to_owned()).or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routers_and_names_of_a_namespace_are_its_own() {
        let reaches = Reaches::default();
        reaches.found("a", 2);
        reaches.taken("b", &["Service weir-router: somebody's".to_owned()]);
        assert!(reaches.of("a").routers && reaches.of("a").taken.is_empty());
        assert!(!reaches.of("b").routers && reaches.of("b").taken.len() == 1);
        let before = reaches.of("a");
        reaches.found("a", 1);
        assert_eq!(reaches.of("a"), before);
    }
}
