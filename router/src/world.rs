//! What a router knows of the world around it, and what it makes of that.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;
use weir_crds::{RoutePolicy, SLMDeployment};
use weir_policy::budget::ledger::Ledgers;
use weir_policy::last_good::LastGood;
use weir_policy::{Table, compile};
use weir_process::Tasks;

use crate::credentials::Credentials;

/// Everything that is routed by: from the API server in a cluster, from files on a laptop.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub policies: Vec<Arc<RoutePolicy>>,
    pub deployments: Vec<Arc<SLMDeployment>>,
    /// The last valid spec of each policy, by name.
    pub last_good: BTreeMap<String, LastGood>,
    pub replicas: Replicas,
    /// Those of them whose server is not ours, and speaks OpenAI's wire.
    pub foreign: BTreeSet<SocketAddr>,
    /// How many routers of this namespace are ready; what is not known counts as one.
    pub routers: usize,
    /// What the leader granted of budgets, by policy.
    pub ledgers: BTreeMap<String, Ledgers>,
}

/// The addresses of ready replicas, by deployment and revision.
pub type Replicas = BTreeMap<String, BTreeMap<String, BTreeSet<SocketAddr>>>;

/// A world with its policies compiled, and the secrets that those name.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub table: Arc<Table>,
    pub replicas: Replicas,
    /// Those of them whose server is not ours.
    pub foreign: BTreeSet<SocketAddr>,
    pub routers: usize,
    pub credentials: Arc<Credentials>,
}

/// The policies that this router has served and that still exist: with the operator away, nobody
/// else may have kept the last good one.
#[derive(Default)]
struct Memory {
    served: BTreeMap<String, Served>,
}

struct Served {
    uid: Option<String>,
    last_good: LastGood,
}

impl Memory {
    fn view(&mut self, world: &World) -> View {
        let exists = |name: &String, served: &mut Served| {
            let mut policies = world.policies.iter();
            policies.any(|policy| {
                policy.metadata.name.as_ref() == Some(name) && policy.metadata.uid == served.uid
            })
        };
        self.served.retain(exists);
        let mut last_good = world.last_good.clone();
        for (name, served) in &self.served {
            let kept = last_good.get(name).map(|kept| kept.generation);
            if kept.is_none_or(|generation| generation < served.last_good.generation) {
                last_good.insert(name.clone(), served.last_good.clone());
            }
        }
        let policies = world.policies.iter().map(Arc::as_ref);
        let deployments = world.deployments.iter().map(Arc::as_ref);
        let table = compile(policies, deployments, &last_good);
        self.remember(world, &table);
        View {
            table: table.into(),
            replicas: world.replicas.clone(),
            foreign: world.foreign.clone(),
            routers: world.routers.max(1),
            credentials: Arc::default(),
        }
    }

    fn remember(&mut self, world: &World, table: &Table) {
        for policy in &world.policies {
            let name = policy.metadata.name.clone().unwrap_or_default();
            if table.policy(&name).is_none() || !table.problems(&name).is_empty() {
                continue;
            }
            let last_good = LastGood {
                generation: policy.metadata.generation.unwrap_or_default(),
                spec: policy.spec.clone(),
            };
            let uid = policy.metadata.uid.clone();
            self.served.insert(name, Served { uid, last_good });
        }
    }
}

impl View {
    /// The replicas that an ask for the deployment goes to, each with its revision: those of the stable
    /// revision, or of the canary where `place` falls into its share of a hundred; or any if there are none
    /// of those, because an answer of another revision is better than none.
    pub fn replicas_of(&self, deployment: &str, place: u64) -> Vec<(SocketAddr, &str)> {
        let Some(revisions) = self.replicas.get(deployment) else {
            return Vec::new();
        };
        let facts = self.table.deployment(deployment);
        let stable = facts.and_then(|deployment| deployment.stable.as_deref());
        let canary = facts.and_then(|deployment| deployment.canary.as_ref());
        let canary = canary.filter(|canary| place % 100 < u64::from(canary.weight));
        let wanted = [canary.map(|canary| canary.revision.as_str()), stable];
        let chosen = wanted.into_iter().flatten().find_map(|revision| {
            let of = revisions.get_key_value(revision)?;
            (!of.1.is_empty()).then(|| vec![of])
        });
        let chosen = chosen.unwrap_or_else(|| revisions.iter().collect());
        let chosen = chosen.into_iter();
        chosen
            .flat_map(|(revision, addresses)| {
                addresses
                    .iter()
                    .map(|address| (*address, revision.as_str()))
            })
            .collect()
    }

    /// Whether anybody can be asked for the deployment.
    pub fn has_replica(&self, deployment: &str) -> bool {
        let revisions = self.replicas.get(deployment);
        revisions.is_some_and(|revisions| revisions.values().any(|of| !of.is_empty()))
    }

    /// Whether the deployment is there, and nobody can be asked for it.
    pub fn lacks_replica(&self, deployment: &str) -> bool {
        self.table.deployment(deployment).is_some() && !self.has_replica(deployment)
    }

    /// The replicas of one revision.
    pub fn replicas_at(&self, deployment: &str, revision: &str) -> Vec<SocketAddr> {
        let revisions = self.replicas.get(deployment);
        let addresses = revisions.and_then(|revisions| revisions.get(revision));
        addresses.into_iter().flatten().copied().collect()
    }
}

/// Compiles every new world as a task, and tells who is refused when that changes. Credentials are
/// not read yet.
pub(crate) fn compiled(
    tasks: &Tasks,
    mut worlds: watch::Receiver<Arc<World>>,
) -> watch::Receiver<Arc<View>> {
    let mut memory = Memory::default();
    let first = memory.view(&worlds.borrow_and_update());
    report(&first, &View::default());
    let (sender, views) = watch::channel(Arc::new(first));
    // Ends when whoever feeds the world does, and then the last view goes on being served; or when
    // nobody looks any more.
    tasks.spawn("compile", async move {
        loop {
            tokio::select! {
                () = sender.closed() => return,
                changed = worlds.changed() => if changed.is_err() {
                    return;
                },
            }
            let world = worlds.borrow_and_update().clone();
            let view = memory.view(&world);
            report(&view, &sender.borrow());
            sender.send_replace(Arc::new(view));
        }
    });
    views
}

fn report(view: &View, before: &View) {
    for policy in view.table.policies() {
        let served = before
            .table
            .policy(&policy.name)
            .map(|policy| policy.generation);
        if served != Some(policy.generation) {
            tracing::info!(
                policy = policy.name,
                generation = policy.generation,
                "policy served"
            );
        }
    }
    for policy in view.table.policies() {
        let wrong = view.table.miscalibrated(&policy.name);
        if !wrong.is_empty() && before.table.miscalibrated(&policy.name) != wrong {
            tracing::warn!(
                policy = policy.name,
                ?wrong,
                "what was learnt of the policy is not valid: its built-in score and threshold stay"
            );
        }
    }
    for (policy, problems) in view.table.refused() {
        if before.table.problems(policy) != problems {
            let problems: Vec<_> = problems.iter().map(|problem| &problem.message).collect();
            tracing::warn!(policy, ?problems, "policy refused");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(stable: &str, replicas: &[(&str, &[&str])]) -> View {
        let deployment: SLMDeployment = serde_json::from_value(serde_json::json!({
            "apiVersion": "weir.dev/v1alpha1", "kind": "SLMDeployment",
            "metadata": { "name": "triage" },
            "spec": { "model": { "source": "file:///models/triage" } },
            "status": { "rollout": { "stable": stable, "canary": "new", "weight": 10 } },
        }))
        .unwrap();
        let revisions = replicas.iter().map(|(revision, addresses)| {
            let addresses = addresses.iter().map(|address| address.parse().unwrap());
            ((*revision).to_owned(), addresses.collect())
        });
        Memory::default().view(&World {
            deployments: vec![Arc::new(deployment)],
            replicas: [("triage".to_owned(), revisions.collect())].into(),
            ..World::default()
        })
    }

    fn chosen(view: &View) -> Vec<String> {
        chosen_at(view, 99)
    }

    fn chosen_at(view: &View, place: u64) -> Vec<String> {
        let replicas = view.replicas_of("triage", place);
        replicas
            .iter()
            .map(|(address, revision)| format!("{revision} {address}"))
            .collect()
    }

    #[test]
    fn asks_go_to_the_stable_revision_while_it_has_replicas() {
        let both: &[(&str, &[&str])] = &[("new", &["10.0.0.2:1"]), ("old", &["10.0.0.1:1"])];
        assert_eq!(chosen(&view("old", both)), ["old 10.0.0.1:1"]);
        let gone: &[(&str, &[&str])] = &[("new", &["10.0.0.2:1"]), ("old", &[])];
        assert_eq!(chosen(&view("old", gone)), ["new 10.0.0.2:1"]);
    }

    #[test]
    fn a_replica_is_lacked_where_there_is_a_deployment_and_none_of_it_is_ready() {
        assert!(view("old", &[]).lacks_replica("triage"));
        assert!(view("old", &[("old", &[])]).lacks_replica("triage"));
        assert!(!view("old", &[("old", &["10.0.0.1:1"])]).lacks_replica("triage"));
        assert!(!view("old", &[]).lacks_replica("gone"));
    }

    #[test]
    fn a_canary_with_replicas_gets_its_share() {
        let both: &[(&str, &[&str])] = &[("new", &["10.0.0.2:1"]), ("old", &["10.0.0.1:1"])];
        let shared = view("old", both);
        let of_new = (0..100).filter(|place| chosen_at(&shared, *place) == ["new 10.0.0.2:1"]);
        assert_eq!(of_new.count(), 10);
        let gone: &[(&str, &[&str])] = &[("new", &[]), ("old", &["10.0.0.1:1"])];
        assert_eq!(chosen_at(&view("old", gone), 0), ["old 10.0.0.1:1"]);
    }

    #[test]
    fn a_deployment_whose_status_is_not_written_yet_is_served_by_what_is_ready() {
        assert_eq!(
            chosen(&view("", &[("new", &["10.0.0.2:1"])])),
            ["new 10.0.0.2:1"]
        );
        assert!(chosen(&view("", &[])).is_empty());
    }

    fn policy(uid: &str, generation: i64, timeout: &str) -> World {
        let policy = serde_json::from_value(serde_json::json!({
            "apiVersion": "weir.dev/v1alpha1", "kind": "RoutePolicy",
            "metadata": { "name": "support", "uid": uid, "generation": generation },
            "spec": {
                "models": ["assistant"], "timeout": timeout,
                "tiers": [{ "name": "small", "deployment": { "name": "triage" } }],
            },
        }));
        World {
            policies: vec![Arc::new(policy.unwrap())],
            ..World::default()
        }
    }

    #[test]
    fn a_refused_update_leaves_what_was_served_also_where_nobody_kept_it() {
        let mut memory = Memory::default();
        let served = |view: &View| view.table.policy("support").map(|policy| policy.generation);
        assert_eq!(served(&memory.view(&policy("a", 1, "2m"))), Some(1));
        assert_eq!(served(&memory.view(&policy("a", 2, "soon"))), Some(1));
        assert_eq!(served(&memory.view(&policy("a", 3, "3m"))), Some(3));
        assert_eq!(
            served(&memory.view(&policy("b", 1, "soon"))),
            None,
            "another object of that name"
        );
    }
}
