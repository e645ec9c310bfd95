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

use super::{Loads, Of, of};
use crate::cache::Key;

/// Between two answers of one pod, whatever happens there: this late is what is held known at most.
const LEAST: Duration = Duration::from_millis(250);
/// A pod that does not answer is asked again after this.
const PAUSE: Duration = Duration::from_secs(1);
/// Longer than a pod waits for news.
const ANSWER: Duration = Duration::from_secs(8);
/// A pod that is to answer at once has answered by then.
const FIRST_ANSWER: Duration = Duration::from_secs(2);
/// A report of a namespace's thousand policies is far below this; a pod that says more is not ours.
const LONGEST_REPORT: usize = 1 << 20;
/// Pods asked at once in the first round.
const AT_ONCE: usize = 32;

/// What asks the pods. A pod is asked itself: redirects are not followed and no proxy is asked, or
/// whoever runs as a pod of ours would choose what the operator connects to.
pub fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
}

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
            let task = async move { ask_on(&http, &address, &pod, (&loads, told)).await };
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

/// Asks one pod for what is new, for ever.
async fn ask_on(
    http: &reqwest::Client,
    address: &str,
    pod: &Pod,
    (loads, told): (&Loads, impl Fn(Vec<Key>)),
) {
    let mut version = None;
    loop {
        let began = Instant::now();
        let url = match version {
            Some(version) => format!("{address}?after={version}"),
            None => address.to_owned(),
        };
        let answered = ask(http, &url, ANSWER).await;
        version = answered.as_ref().ok().map(|load| load.version);
        let pause = if version.is_some() { LEAST } else { PAUSE };
        let keys = hear(loads, pod, answered);
        if !keys.is_empty() {
            told(keys);
        }
        tokio::time::sleep_until(began + pause).await;
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

async fn ask(http: &reqwest::Client, url: &str, longest: Duration) -> Result<Load, AskError> {
    let answer = http.get(url).timeout(longest).send().await;
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
    use crate::load::tests::{pod, report};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

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
        let ask = async |url: &str| ask(&http, url, ANSWER).await;
        assert_eq!(ask(&elsewhere).await.unwrap(), report(1, "a"));
        let pod = stand_in(format!("HTTP/1.1 302 Found\r\nlocation: {elsewhere}\r\n")).await;
        let asked = ask(&pod).await;
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
