//! Which replicas go where there are to be fewer: said to the ReplicaSet's controller by an annotation of
//! their pods, before the count changes.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use weir_policy::scale::least_to_lose;
use weir_policy::scale::leaving::Candidate;

use super::observe::{Observed, Replica};

pub const ANNOTATION: &str = "controller.kubernetes.io/pod-deletion-cost";
/// Below what a pod without the annotation costs.
const GOES: &str = "-1";
const STAYS: &str = "0";

/// The pods whose annotation is to change so that, of `revision`, those go that have least to lose; none
/// where none has to go.
pub fn costs<'a>(
    observed: &'a Observed,
    revision: &'a str,
    replicas: u32,
    now: Timestamp,
) -> Vec<(&'a Pod, &'static str)> {
    let pods: Vec<&Replica> = observed.replicas_of(revision).collect();
    let surplus = pods.len().saturating_sub(replicas as usize);
    let is_resized = observed
        .revisions
        .iter()
        .any(|seen| seen.name == revision && seen.wanted > replicas);
    // All go, or none.
    if surplus == 0 || replicas == 0 || !is_resized {
        return Vec::new();
    }
    let candidates: Vec<Candidate> = pods.iter().map(|pod| candidate(pod, now)).collect();
    let leaving = &least_to_lose(&candidates)[..surplus];
    let costs = pods.into_iter().filter_map(|replica| {
        let cost = match leaving.contains(&&*replica.pod.name_any()) {
            true => GOES,
            false => STAYS,
        };
        let said = replica.pod.annotations().get(ANNOTATION);
        let said = said.map_or(STAYS, String::as_str);
        (said != cost).then_some((&*replica.pod, cost))
    });
    costs.collect()
}

fn candidate(replica: &Replica, now: Timestamp) -> Candidate {
    let created = replica.pod.creation_timestamp();
    let age = created.map(|created| now.duration_since(created.0).as_millis());
    let age_ms = age.and_then(|age| u64::try_from(age).ok()).unwrap_or(0);
    Candidate::of(
        replica.pod.name_any(),
        replica.ready,
        replica.load.as_ref(),
        age_ms,
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use weir_policy::load::WorkerLoad;

    use super::*;
    use crate::deployment::began::Began;
    use crate::deployment::rollout::Revision;
    use crate::reach::Reach;

    fn replica(name: &str, running: u32, annotation: Option<&str>) -> Replica {
        let mut pod = json!({ "metadata": { "name": name } });
        if let Some(cost) = annotation {
            pod["metadata"]["annotations"] = json!({ ANNOTATION: cost });
        }
        Replica {
            revision: "new".into(),
            ready: true,
            pod: Arc::new(serde_json::from_value(pod).unwrap()),
            load: Some(WorkerLoad {
                running,
                ..WorkerLoad::default()
            }),
        }
    }

    fn told(replicas: u32, of: Vec<Replica>) -> Vec<(String, &'static str)> {
        let wanted = of.len() as u32;
        let deployment = json!({
            "apiVersion": "weir.dev/v1alpha1", "kind": "SLMDeployment", "metadata": { "name": "triage" },
            "spec": { "model": { "source": "file:///models/triage" } },
        });
        let revision = Revision {
            name: "new".into(),
            created: Timestamp::UNIX_EPOCH,
            stable: true,
            spec: None,
            began: Began::default(),
            wanted,
            replicas: wanted,
            ready: wanted,
            refused: None,
            pins: None,
        };
        let observed = Observed {
            deployment: serde_json::from_value(deployment).unwrap(),
            owned: Vec::new(),
            revisions: vec![revision],
            replicas: of,
            reach: Reach::default(),
            chat_template: None,
        };
        costs(&observed, "new", replicas, Timestamp::UNIX_EPOCH)
            .into_iter()
            .map(|(pod, cost)| (pod.name_any(), cost))
            .collect()
    }

    #[test]
    fn the_idle_replica_is_said_to_go_and_one_that_was_to_go_before_is_not() {
        let replicas = || {
            vec![
                replica("busy", 5, None),
                replica("idle", 0, None),
                replica("was-idle", 3, Some("-1")),
            ]
        };
        let expected = [("idle".to_owned(), "-1"), ("was-idle".to_owned(), "0")];
        assert_eq!(told(2, replicas()), expected);
        assert_eq!(told(3, replicas()), []);
        assert_eq!(told(0, replicas()), [], "all go");
    }
}
