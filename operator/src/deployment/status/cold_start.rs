//! How long a replica took from having a node to being ready: as it tells itself, or as its pod shows.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::jiff::Timestamp;
use weir_crds::ColdStartStatus;
use weir_crds::value::duration_text;
use weir_policy::load::ColdStart;

/// A server that is not ours has so long to become ready: later it was ready before, and is again.
const LONGEST_START: Duration = Duration::from_secs(3600);

/// By the replica's own words.
pub(super) fn told(of: &ColdStart, pod: &Pod) -> ColdStartStatus {
    let image = before_start(pod);
    let parts = [of.download_ms, of.load_ms, of.warm_up_ms, of.adapters_ms];
    let parts = parts.map(Duration::from_millis);
    let total = parts.iter().sum::<Duration>() + image.unwrap_or_default();
    let [download, load, warm_up, adapters] = parts.map(|part| Some(duration_text(part)));
    ColdStartStatus {
        image: image.map(duration_text),
        download,
        load,
        warm_up,
        adapters: adapters.filter(|_| of.adapters_ms > 0),
        total_text: Some(duration_text(total)),
    }
}

/// By the pod alone, where its server tells nothing of itself.
pub(super) fn seen(pod: &Pod) -> Option<ColdStartStatus> {
    let image = before_start(pod)?;
    let load = between(started(container(pod)?)?, turned(pod, "Ready")?)?;
    (load < LONGEST_START).then(|| ColdStartStatus {
        image: Some(duration_text(image)),
        load: Some(duration_text(load)),
        total_text: Some(duration_text(image + load)),
        ..ColdStartStatus::default()
    })
}

/// From having a node to the container's start, which is mostly the image; unknown after a restart.
fn before_start(pod: &Pod) -> Option<Duration> {
    let container = container(pod)?;
    if container.restart_count > 0 {
        return None;
    }
    between(turned(pod, "PodScheduled")?, started(container)?)
}

fn container(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()
}

fn started(container: &ContainerStatus) -> Option<Timestamp> {
    let running = container.state.as_ref()?.running.as_ref()?;
    running.started_at.as_ref().map(|time| time.0)
}

/// When a condition of the pod became what it is.
fn turned(pod: &Pod, type_: &str) -> Option<Timestamp> {
    let mut conditions = pod.status.as_ref()?.conditions.iter().flatten();
    let condition = conditions.find(|condition| condition.type_ == type_)?;
    condition.last_transition_time.as_ref().map(|time| time.0)
}

fn between(from: Timestamp, to: Timestamp) -> Option<Duration> {
    Duration::try_from(to.duration_since(from)).ok()
}
