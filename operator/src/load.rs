//! What pods say of themselves: `GET /load` on the admin port of every replica and router that
//! runs, asked by the leader every few seconds.
//!
//! Only what a status shows wakes a pass; counts of what runs and waits do not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use weir_crds::labels;
use weir_policy::load::{Arriving, Load, RouterLoad, WorkerLoad};

use crate::cache::{Cache, Key, of_labels};

/// Between two rounds: what a status shows may be this old.
pub const EVERY: Duration = Duration::from_secs(2);
/// A pod that has not answered by then is asked again in the next round.
const ANSWER: Duration = Duration::from_secs(2);
/// A report of a namespace's thousand policies is far below this; a pod that says more is not ours.
const LONGEST_REPORT: usize = 1 << 20;
/// Pods asked at once.
const AT_ONCE: usize = 32;

/// The last report of every pod, by namespace and name. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Loads(Arc<RwLock<BTreeMap<Of, Load>>>);

/// A pod: the UID, so that a namesake does not inherit a report.
type Of = (String, String);

impl Loads {
    pub fn worker(&self, pod: &Pod) -> Option<WorkerLoad> {
        self.get(pod)?.worker
    }

    pub fn router(&self, pod: &Pod) -> Option<RouterLoad> {
        self.get(pod)?.router
    }

    fn get(&self, pod: &Pod) -> Option<Load> {
        let reports = self
            .0
            .read()
            .expect("nothing panics while it holds the reports");
        reports.get(&of(pod)).cloned()
    }

    /// Takes the reports of one round; says whose status may look different now. Pods that are
    /// gone are forgotten, pods that did not answer keep their last report.
    fn take(&self, pods: &[Arc<Pod>], round: Vec<(Arc<Pod>, Load)>) -> Vec<Key> {
        let mut reports = self
            .0
            .write()
            .expect("nothing panics while it holds the reports");
        let alive: BTreeSet<Of> = pods.iter().map(|pod| of(pod)).collect();
        reports.retain(|pod, _| alive.contains(pod));
        round
            .into_iter()
            .flat_map(|(pod, load)| {
                let before = reports.insert(of(&pod), load.clone());
                let same = before.is_some_and(|before| shown(&before) == shown(&load));
                if same {
                    Vec::new()
                } else {
                    of_labels(pod.as_ref())
                }
            })
            .collect()
    }
}

/// What of a report a status shows.
fn shown(load: &Load) -> Load {
    Load {
        version: 0,
        worker: load.worker.clone().map(|worker| WorkerLoad {
            model: worker.model,
            cold_start: worker.cold_start,
            capacity: worker.capacity,
            adapters: worker.adapters,
            // How far it is changes all the time: that is looked at now and then.
            arriving: worker.arriving.map(|_| Arriving::default()),
            ..WorkerLoad::default()
        }),
        router: load.router.clone().map(|router| RouterLoad {
            deployments: BTreeMap::new(),
            ..router
        }),
    }
}

/// What asks the pods. A pod is asked itself: redirects are not followed and no proxy is asked, or
/// whoever runs as a pod of ours would choose what the operator connects to.
pub fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
}

/// Asks every pod that runs, once.
pub async fn round(http: &reqwest::Client, cache: &Cache, loads: &Loads) -> Vec<Key> {
    let pods: Vec<Arc<Pod>> = cache.all_pods();
    let asked: Vec<(Arc<Pod>, String)> = pods
        .iter()
        .filter_map(|pod| Some((pod.clone(), address(pod)?)))
        .collect();
    let answered: Vec<(Arc<Pod>, Load)> = futures::stream::iter(asked)
        .map(|(pod, address)| async move {
            match ask(http, &address).await {
                Ok(load) => Some((pod, load)),
                Err(error) => {
                    tracing::debug!(pod = pod.name_any(), %error, "no report");
                    None
                }
            }
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    loads.take(&pods, answered)
}

#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("cannot ask")]
    Ask(#[source] reqwest::Error),
    #[error("the answer is {0}")]
    Status(reqwest::StatusCode),
    #[error("the report is too long")]
    TooLong,
    #[error("cannot read the report")]
    Read(#[source] serde_json::Error),
}

async fn ask(http: &reqwest::Client, address: &str) -> Result<Load, AskError> {
    let answer = http.get(address).timeout(ANSWER).send().await;
    let mut answer = answer.map_err(AskError::Ask)?;
    if !answer.status().is_success() {
        return Err(AskError::Status(answer.status()));
    }
    let mut body = Vec::new();
    while let Some(bytes) = answer.chunk().await.map_err(AskError::Ask)? {
        body.extend_from_slice(&bytes);
        if body.len() > LONGEST_REPORT {
            return Err(AskError::TooLong);
        }
    }
    serde_json::from_slice(&body).map_err(AskError::Read)
}

/// Where a pod that runs reports; nothing of one whose server is not ours.
fn address(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let is_running = status.phase.as_deref() == Some("Running");
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
    if !is_running || !ports.any(|port| port.container_port == i32::from(labels::ADMIN_PORT)) {
        return None;
    }
    let ip: std::net::IpAddr = status.pod_ip.as_deref()?.parse().ok()?;
    let socket = std::net::SocketAddr::from((ip, labels::ADMIN_PORT));
    Some(format!("http://{socket}/load"))
}

/// Whether the kubelet says that `pod` is ready.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn of(pod: &Pod) -> Of {
    (
        pod.namespace().unwrap_or_default(),
        pod.uid().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use weir_policy::load::{AdapterLoad, ModelFacts};

    fn pod(phase: &str, ip: &str) -> Arc<Pod> {
        let pod = json!({
            "metadata": {
                "name": "a", "namespace": "ns", "uid": "u",
                "labels": { "weir.dev/deployment": "triage" },
            },
            "spec": { "containers": [{ "name": "worker", "ports": [{ "containerPort": 9090 }] }] },
            "status": { "phase": phase, "podIP": ip },
        });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn report(running: u32, digest: &str) -> Load {
        Load {
            version: u64::from(running),
            worker: Some(WorkerLoad {
                running,
                model: Some(ModelFacts {
                    digest: digest.into(),
                    ..ModelFacts::default()
                }),
                ..WorkerLoad::default()
            }),
            router: None,
        }
    }

    #[test]
    fn a_report_wakes_a_pass_only_if_a_status_would_show_it() {
        let loads = Loads::default();
        let pod = pod("Running", "10.0.0.1");
        let pods = [pod.clone()];
        let take = |load| loads.take(&pods, vec![(pod.clone(), load)]).len();
        assert_eq!(take(report(0, "a")), 1);
        assert_eq!(take(report(9, "a")), 0);
        assert_eq!(take(report(9, "b")), 1);
        assert_eq!(loads.worker(&pod).unwrap().running, 9);
        let mut adapted = report(9, "b");
        let worker = adapted.worker.as_mut().unwrap();
        worker.adapters.push(AdapterLoad::default());
        assert_eq!(take(adapted), 1);
    }

    #[test]
    fn a_pod_that_is_gone_is_forgotten_and_one_that_is_silent_is_not() {
        let loads = Loads::default();
        let pod = pod("Running", "10.0.0.1");
        let pods = [pod.clone()];
        loads.take(&pods, vec![(pod.clone(), report(1, "a"))]);
        loads.take(&pods, vec![]);
        assert!(loads.worker(&pod).is_some());
        loads.take(&[], vec![]);
        assert!(loads.worker(&pod).is_none());
    }

    /// Stands in for the admin port of one pod: it answers every connection with `head` and a report.
    async fn stand_in(head: String) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/load", listener.local_addr().unwrap());
        let body = serde_json::to_string(&report(1, "a")).unwrap();
        let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        #[allow(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let _ = connection.read(&mut [0; 4096]).await;
                let _ = connection.write_all(answer.as_bytes()).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn a_pod_cannot_send_the_operator_elsewhere() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = client().unwrap();
        let elsewhere = stand_in("HTTP/1.1 200 OK\r\n".into()).await;
        assert_eq!(ask(&http, &elsewhere).await.unwrap(), report(1, "a"));
        let pod = stand_in(format!("HTTP/1.1 302 Found\r\nlocation: {elsewhere}\r\n")).await;
        let asked = ask(&http, &pod).await;
        assert!(
            matches!(asked, Err(AskError::Status(status)) if status == 302),
            "{asked:?}"
        );
    }

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
}
