//! Why a replica is not ready, in the words of a condition: what the scheduler, the kubelet and the
//! worker's own last line say.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use weir_crds::reasons;

/// A reason that a person can act on, and the words of whoever gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    pub reason: &'static str,
    pub message: String,
}

/// What a worker may say of itself before it ends, as `<Reason>: <message>`.
const OF_WORKERS: [&str; 9] = [
    reasons::MODEL_NOT_FOUND,
    reasons::UNSUPPORTED,
    reasons::DIGEST_MISMATCH,
    reasons::OUT_OF_MEMORY,
    reasons::UNAUTHORIZED,
    reasons::AMBIGUOUS_SOURCE,
    reasons::SOURCE_UNAVAILABLE,
    reasons::DISK_FULL,
    reasons::CRASH_LOOP,
];

/// These do not pass by themselves: somebody has to change the deployment or the model.
pub const FINAL: [&str; 4] = [
    reasons::MODEL_NOT_FOUND,
    reasons::UNSUPPORTED,
    reasons::DIGEST_MISMATCH,
    reasons::AMBIGUOUS_SOURCE,
];

/// Why `pod` is not ready; nothing where it is simply starting.
pub fn of(pod: &Pod) -> Option<Cause> {
    let status = pod.status.as_ref()?;
    let unscheduled = status.conditions.iter().flatten().find(|condition| {
        condition.type_ == "PodScheduled"
            && condition.status == "False"
            && condition.reason.as_deref() == Some("Unschedulable")
    });
    if let Some(condition) = unscheduled {
        let message = condition.message.clone().unwrap_or_default();
        return Some(busy(&message).unwrap_or_else(|| unschedulable(message)));
    }
    status
        .container_statuses
        .iter()
        .flatten()
        .find_map(of_container)
}

/// The scheduler says neither which claim it is nor what to do.
fn busy(message: &str) -> Option<Cause> {
    let is_busy = message.contains("ReadWriteOncePod access mode");
    is_busy.then(|| Cause {
        reason: reasons::VOLUME_BUSY,
        message: format!(
            "another pod has the claim of this one, which is for one pod at a time: name one that is ReadWriteMany, or \
             ReadWriteOnce where all replicas are on one node: {message}"
        ),
    })
}

fn unschedulable(message: String) -> Cause {
    let gpu = message.contains("Insufficient nvidia.com/");
    Cause {
        reason: if gpu {
            reasons::INSUFFICIENT_GPU
        } else {
            reasons::UNSCHEDULABLE
        },
        message,
    }
}

fn of_container(container: &ContainerStatus) -> Option<Cause> {
    let state = container.state.clone().unwrap_or_default();
    let waiting = state.waiting.unwrap_or_default();
    let message = waiting.message.unwrap_or_default();
    match waiting.reason.as_deref() {
        Some("ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull") => {
            return Some(Cause {
                reason: reasons::IMAGE_PULL_FAILED,
                message,
            });
        }
        Some(
            reason @ ("CreateContainerConfigError" | "CreateContainerError" | "RunContainerError"),
        ) => {
            return Some(Cause {
                reason: reasons::CRASH_LOOP,
                message: format!("{reason}: {message}"),
            });
        }
        _ => {}
    }
    let last = container.last_state.clone().unwrap_or_default();
    let ended = state.terminated.or(last.terminated)?;
    if ended.exit_code == 0 {
        return None;
    }
    let killed = ended.reason.as_deref() == Some("OOMKilled");
    let words = ended.message.as_deref().unwrap_or_default().trim();
    Some(match last_words(words) {
        Some(cause) => cause,
        None if killed => Cause {
            reason: reasons::OUT_OF_MEMORY,
            message: "the kernel ended the worker because it went over its memory: raise resources.memory"
                .into(),
        },
        None => Cause {
            reason: reasons::CRASH_LOOP,
            message: format!("exit code {}: {}", ended.exit_code, last_line(words)),
        },
    })
}

/// Whether a container of `pod` was started again.
pub fn has_ended_before(pod: &Pod) -> bool {
    let statuses = pod
        .status
        .iter()
        .flat_map(|status| &status.container_statuses);
    statuses
        .flatten()
        .any(|container| container.restart_count > 0)
}

/// The reason of that name, where it is one that workers give.
pub fn of_worker(reason: &str) -> Option<&'static str> {
    OF_WORKERS.into_iter().find(|known| *known == reason)
}

fn last_words(words: &str) -> Option<Cause> {
    let (reason, message) = last_line(words).split_once(": ")?;
    let reason = of_worker(reason)?;
    Some(Cause {
        reason,
        message: message.to_owned(),
    })
}

fn last_line(words: &str) -> &str {
    words.lines().last().unwrap_or("no last words")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn cause(status: Value) -> Option<(&'static str, String)> {
        let pod: Pod = serde_json::from_value(json!({ "status": status })).unwrap();
        of(&pod).map(|cause| (cause.reason, cause.message))
    }

    fn container(status: Value) -> Value {
        let mut status = status;
        for (key, value) in [
            ("name", json!("worker")),
            ("image", json!("")),
            ("imageID", json!("")),
            ("ready", json!(false)),
            ("restartCount", json!(1)),
        ] {
            status[key] = value;
        }
        json!({ "containerStatuses": [status] })
    }

    fn ended(exit_code: i32, reason: &str, message: &str) -> Value {
        container(json!({
            "state": { "waiting": { "reason": "CrashLoopBackOff" } },
            "lastState": { "terminated": { "exitCode": exit_code, "reason": reason, "message": message } },
        }))
    }

    #[test]
    fn an_image_that_cannot_be_pulled_is_told_with_its_message() {
        let status = container(
            json!({ "state": { "waiting": { "reason": "ImagePullBackOff", "message": "no such image" } } }),
        );
        assert_eq!(
            cause(status),
            Some(("ImagePullFailed", "no such image".into()))
        );
    }

    #[test]
    fn a_pod_that_no_node_takes_is_told_in_the_schedulers_words() {
        let pending = |message: &str| {
            json!({ "conditions": [{
                "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
            }] })
        };
        assert_eq!(
            cause(pending("0/2 nodes: Insufficient memory.")),
            Some(("Unschedulable", "0/2 nodes: Insufficient memory.".into()))
        );
        let gpu = cause(pending("0/2 nodes: 2 Insufficient nvidia.com/gpu.")).unwrap();
        assert_eq!(gpu.0, "InsufficientGpu");
        let busy =
            "0/2 nodes: PersistentVolumeClaim with ReadWriteOncePod access mode already in-use";
        let (reason, message) = cause(pending(busy)).unwrap();
        assert_eq!(reason, "VolumeBusy");
        assert!(message.contains("ReadWriteMany") && message.ends_with(busy));
    }

    #[test]
    fn the_last_line_of_a_worker_names_the_reason() {
        let status = ended(
            1,
            "Error",
            "log\nModelNotFound: nothing at /models/triage\n",
        );
        assert_eq!(
            cause(status),
            Some(("ModelNotFound", "nothing at /models/triage".into()))
        );
    }

    #[test]
    fn what_stands_in_the_way_of_a_download_is_a_reason_of_its_own() {
        for (reason, is_final) in [
            ("SourceUnavailable", false),
            ("DiskFull", false),
            ("Unauthorized", false),
            ("AmbiguousSource", true),
            ("DigestMismatch", true),
        ] {
            let line = format!("{reason}: hf://a/b: why\n");
            let expected = Some((reason, "hf://a/b: why".into()));
            assert_eq!(cause(ended(1, "Error", &line)), expected);
            assert_eq!(FINAL.contains(&reason), is_final, "{reason}");
        }
    }

    #[test]
    fn a_worker_that_ends_without_a_reason_is_in_a_crash_loop() {
        assert_eq!(
            cause(ended(101, "Error", "thread panicked: Surprise: x")),
            Some((
                "CrashLoop",
                "exit code 101: thread panicked: Surprise: x".into()
            ))
        );
    }

    #[test]
    fn a_worker_that_the_kernel_ended_ran_out_of_memory() {
        assert_eq!(cause(ended(137, "OOMKilled", "")).unwrap().0, "OutOfMemory");
    }

    #[test]
    fn a_replica_that_runs_again_is_told_of_until_it_is_ready() {
        let status = container(json!({
            "state": { "running": {} },
            "lastState": { "terminated": { "exitCode": 1, "message": "Unsupported: tensor x" } },
        }));
        assert_eq!(cause(status), Some(("Unsupported", "tensor x".into())));
    }

    #[test]
    fn a_replica_that_starts_has_no_cause() {
        let status =
            container(json!({ "state": { "waiting": { "reason": "ContainerCreating" } } }));
        assert_eq!(cause(status), None);
        assert_eq!(cause(json!({})), None);
    }
}
