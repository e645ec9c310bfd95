//! Asks pods what they have in hand, and goes on asking.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use weir_crds::labels;
use weir_policy::load::Load;

use super::poll::{AskError, ask, ask_on};
use super::{Loads, Of, of};
use crate::cache::Key;

/// A pod that is to answer at once has answered by then.
const FIRST_ANSWER: Duration = Duration::from_secs(2);
/// Pods asked at once in the first round.
const AT_ONCE: usize = 32;

/// Asks every pod that runs, once.
pub async fn round(http: &reqwest::Client, pods: Vec<Arc<Pod>>, loads: &Loads) -> Vec<Key> {
    let asked = pods
        .into_iter()
        .filter_map(|pod| Some((address(&pod)?, pod)));
    futures::stream::iter(asked)
        .map(|(address, pod)| async move {
            let answered = ask(http, &address, FIRST_ANSWER).await;
            hear(loads, &pod, answered)
        })
        .buffer_unordered(AT_ONCE)
        .concat()
        .await
}

/// The pods that are asked again and again, each by a task of its own, until this is dropped.
#[derive(Debug, Default)]
pub struct Followed {
    tasks: JoinSet<()>,
    by_pod: BTreeMap<(Of, String), AbortHandle>,
}

impl Followed {
    /// Follows `pods`, those of them that run, and no others. `told` hears what is to be looked at.
    pub fn follow(
        &mut self,
        http: &reqwest::Client,
        pods: &[Arc<Pod>],
        loads: &Loads,
        told: impl Fn(Vec<Key>) + Clone + Send + 'static,
    ) {
        loads.keep(&pods.iter().map(|pod| of(pod)).collect());
        let running = pods
            .iter()
            .filter_map(|pod| Some(((of(pod), address(pod)?), pod)));
        let running: BTreeMap<_, _> = running.collect();
        self.by_pod.retain(|pod, task| {
            let is_running = running.contains_key(pod);
            if !is_running {
                task.abort();
            }
            is_running && !task.is_finished()
        });
        // What has ended is not kept.
        while self.tasks.try_join_next().is_some() {}
        let followed: BTreeSet<_> = self.by_pod.keys().cloned().collect();
        for (key, pod) in running {
            if followed.contains(&key) {
                continue;
            }
            let (http, loads, told) = (http.clone(), loads.clone(), told.clone());
            let (pod, address) = (pod.clone(), key.1.clone());
            let task = async move {
                ask_on(&http, &address, move |answered| {
                    let keys = hear(&loads, &pod, answered);
                    if !keys.is_empty() {
                        told(keys);
                    }
                })
                .await;
            };
            self.by_pod.insert(key, self.tasks.spawn(task));
        }
    }

    /// Follows nobody any more.
    pub fn stop(&mut self) {
        self.by_pod.clear();
        self.tasks.abort_all();
        while self.tasks.try_join_next().is_some() {}
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.by_pod.len()
    }
}

fn hear(loads: &Loads, pod: &Pod, answered: Result<Load, AskError>) -> Vec<Key> {
    match answered {
        Ok(load) => loads.hear(pod, load, Instant::now()),
        Err(error) => {
            tracing::debug!(pod = pod.name_any(), %error, "no report");
            Vec::new()
        }
    }
}

/// Where a pod that runs reports; nothing of one whose server is not ours.
fn address(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    if status.phase.as_deref() != Some("Running") || !reports(pod) {
        return None;
    }
    let ip: std::net::IpAddr = status.pod_ip.as_deref()?.parse().ok()?;
    let socket = std::net::SocketAddr::from((ip, labels::ADMIN_PORT));
    Some(format!("http://{socket}/load"))
}

/// Whether the pod's server says what it has in hand, as ours do.
pub fn reports(pod: &Pod) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
    ports.any(|port| port.container_port == i32::from(labels::ADMIN_PORT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::poll::client;
    use crate::load::tests::pod;

    #[test]
    fn only_a_pod_that_runs_and_reports_is_asked() {
        assert_eq!(address(&pod("Pending", "")), None);
        let mut foreign = Pod::clone(&pod("Running", "10.0.0.1"));
        foreign.spec.as_mut().unwrap().containers[0].ports = None;
        assert_eq!(address(&foreign), None);
        assert_eq!(
            address(&pod("Running", "fd00::1")).as_deref(),
            Some("http://[fd00::1]:9090/load")
        );
    }

    #[tokio::test]
    async fn pods_that_run_are_followed_once_and_those_that_are_gone_no_more() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (http, loads) = (client().unwrap(), Loads::default());
        let mut followed = Followed::default();
        let follow = |followed: &mut Followed, pods: &[Arc<Pod>]| {
            followed.follow(&http, pods, &loads, |_| {});
            followed.len()
        };
        let running = [pod("Running", "127.0.0.1")];
        assert_eq!(follow(&mut followed, &running), 1);
        assert_eq!(follow(&mut followed, &running), 1);
        assert_eq!(follow(&mut followed, &[pod("Running", "127.0.0.2")]), 1);
        assert_eq!(follow(&mut followed, &[pod("Pending", "")]), 0);
        follow(&mut followed, &running);
        followed.stop();
        assert_eq!(followed.len(), 0);
    }
}
