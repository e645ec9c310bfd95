//! What this router has in hand and what came of it, counted, and served at `/load` for whoever scales and rolls
//! out by it.

mod revisions;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Query;
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::Instant;
use weir_policy::load::{Load, MissingCredential, RouterLoad};

use crate::money::Purses;
use crate::world::View;
pub(crate) use revisions::Ending;
use revisions::Revisions;

/// What is spent is no news to end a wait for, nor what came of attempts: whoever grants slices or rolls out knows
/// of it this late.
const LONGEST_POLL: Duration = Duration::from_secs(1);

/// The counts; clones are the same.
#[derive(Clone)]
pub(crate) struct Book {
    load: Arc<watch::Sender<Load>>,
    revisions: Arc<Revisions>,
}

/// What an ask is doing at a deployment.
#[derive(Clone, Copy)]
pub(crate) enum Doing {
    Running,
    Held,
}

/// One ask counted at one deployment, until this is dropped.
pub(crate) struct Counted {
    book: Book,
    deployment: String,
    doing: Doing,
}

impl Book {
    pub fn new() -> Self {
        let load = Load {
            version: 1,
            worker: None,
            router: Some(RouterLoad::default()),
        };
        Self {
            load: Arc::new(watch::Sender::new(load)),
            revisions: Arc::default(),
        }
    }

    pub fn count(&self, deployment: &str, doing: Doing) -> Counted {
        self.count_one(deployment, doing, 1);
        Counted {
            book: self.clone(),
            deployment: deployment.to_owned(),
            doing,
        }
    }

    /// An attempt at a replica of this deployment and revision is over. Whoever is told of the next change knows of
    /// it: an attempt that is still counted as running makes one.
    pub fn ended(&self, of: (&str, &str), ending: &Ending) {
        self.revisions.count(of, ending);
    }

    /// Takes over what follows from the objects and from the secrets that were found.
    pub fn follow(&self, view: &View, missing: Vec<MissingCredential>) {
        let deployments = view.table.deployments();
        let present: Vec<String> = deployments
            .map(|deployment| deployment.name.clone())
            .collect();
        let policies = view.table.policies();
        let policies: BTreeMap<String, i64> = policies
            .map(|policy| (policy.name.clone(), policy.generation))
            .collect();
        self.revisions.follow(&view.replicas, Instant::now());
        self.change(|router| {
            router
                .deployments
                .retain(|name, load| load.running > 0 || load.held > 0 || present.contains(name));
            for name in present {
                router.deployments.entry(name).or_default();
            }
            router.missing_credentials = missing;
            router.policies = policies;
        });
    }

    /// The route to mount on the admin port. What is spent, and what came of attempts, is looked up when somebody
    /// asks.
    pub fn route(&self, purses: Purses) -> Router {
        let book = self.clone();
        let load = move |query| load(book.clone(), purses.clone(), query);
        Router::new().route("/load", get(load))
    }

    /// One more or one fewer, which is a change in any case.
    fn count_one(&self, deployment: &str, doing: Doing, by: i32) {
        self.load.send_modify(|load| {
            let router = load.router.get_or_insert_default();
            let load_of = router.deployments.entry(deployment.to_owned()).or_default();
            let count = match doing {
                Doing::Running => &mut load_of.running,
                Doing::Held => &mut load_of.held,
            };
            *count = count.saturating_add_signed(by);
            // Whoever was held before begins only now.
            load_of.asked += u64::from(by > 0 && matches!(doing, Doing::Running));
            load.version += 1;
        });
    }

    fn change(&self, change: impl FnOnce(&mut RouterLoad)) {
        self.load.send_if_modified(|load| {
            let router = load.router.get_or_insert_default();
            let before = router.clone();
            change(router);
            let changed = *router != before;
            load.version += u64::from(changed);
            changed
        });
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.book.count_one(&self.deployment, self.doing, -1);
    }
}

#[derive(Deserialize)]
struct After {
    after: Option<u64>,
}

async fn load(book: Book, purses: Purses, Query(query): Query<After>) -> Json<Load> {
    let mut loads = book.load.subscribe();
    // Another version, not a later one: a router that began anew counts from the beginning.
    let news = loads.wait_for(|load| query.after.is_none_or(|after| load.version != after));
    // Neither running out of time nor the sender's end takes away what there is to say.
    let _ = tokio::time::timeout(LONGEST_POLL, news).await;
    let mut load = book.load.borrow().clone();
    let router = load.router.get_or_insert_default();
    purses.run().clone_into(&mut router.run);
    router.purses = purses.report();
    router.revisions = book.revisions.sums();
    Json(load)
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_policy::load::DeploymentLoad;

    fn purses() -> Purses {
        Purses::new("a".into(), Duration::ZERO)
    }

    fn now(book: &Book) -> (u64, DeploymentLoad) {
        let load = book.load.borrow();
        (
            load.version,
            load.router.as_ref().unwrap().deployments["triage"],
        )
    }

    #[test]
    fn what_is_in_hand_is_counted_while_it_is() {
        let book = Book::new();
        let running = book.count("triage", Doing::Running);
        let held = book.count("triage", Doing::Held);
        assert_eq!(
            now(&book),
            (
                3,
                DeploymentLoad {
                    running: 1,
                    held: 1,
                    asked: 1,
                }
            )
        );
        drop((running, held));
        let idle = DeploymentLoad {
            asked: 1,
            ..DeploymentLoad::default()
        };
        assert_eq!(now(&book), (5, idle));
    }

    #[tokio::test]
    async fn a_poll_is_answered_by_the_next_change() {
        let book = Book::new();
        let after = Query(After { after: Some(1) });
        let poll = load(book.clone(), purses(), after);
        let change = async { drop(book.count("triage", Doing::Held)) };
        let (Json(load), ()) = tokio::join!(poll, change);
        assert!(load.version > 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_of_an_attempt_is_told_and_ends_no_wait() {
        let book = Book::new();
        let running = book.count("triage", Doing::Running);
        let after = Query(After { after: Some(2) });
        let began = Instant::now();
        let poll = load(book.clone(), purses(), after);
        let end = async { book.ended(("triage", "one"), &Ending::default()) };
        let (Json(told), ()) = tokio::join!(poll, end);
        assert_eq!(told.version, 2);
        assert!(began.elapsed() >= LONGEST_POLL);
        let asks = |told: Load| told.router.unwrap().revisions["triage"]["one"].asks;
        assert_eq!(asks(told), 1);
        let after = Query(After { after: Some(2) });
        let poll = load(book.clone(), purses(), after);
        let end = async {
            book.ended(("triage", "one"), &Ending::default());
            drop(running);
        };
        let (Json(told), ()) = tokio::join!(poll, end);
        assert_eq!(told.version, 3);
        assert_eq!(asks(told), 2, "who is told that it ended knows how");
    }

    #[tokio::test]
    async fn a_router_that_began_anew_answers_at_once_whoever_knew_the_old_one() {
        let after = Query(After { after: Some(99) });
        let poll = load(Book::new(), purses(), after);
        let soon = tokio::time::timeout(Duration::from_secs(5), poll).await;
        assert_eq!(soon.unwrap().0.version, 1);
    }
}
