//! What the pods of workers and routers have in common.

use k8s_openapi::api::core::v1::{
    Capabilities, ContainerPort, HTTPGetAction, Lifecycle, LifecycleHandler, LocalObjectReference,
    PodSecurityContext, Probe, SeccompProfile, SecurityContext, SleepAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::settings::Settings;

/// The Secrets with registry credentials that whoever installed Weir named.
pub fn registry_secrets(settings: &Settings) -> impl Iterator<Item = LocalObjectReference> + '_ {
    let names = settings.image_pull_secrets.iter();
    names.map(|name| LocalObjectReference { name: name.clone() })
}

/// What *restricted* asks of a pod.
pub fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".into(),
            ..SeccompProfile::default()
        }),
        ..PodSecurityContext::default()
    }
}

/// What *restricted* asks of a container, and a root file system that cannot be written.
pub fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".into()]),
            ..Capabilities::default()
        }),
        ..SecurityContext::default()
    }
}

pub fn port(name: &str, port: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.into()),
        container_port: i32::from(port),
        ..ContainerPort::default()
    }
}

/// Between being no endpoint of a Service any more and being told to end: for as long as whoever asks
/// may take to notice. Counts against the grace period.
pub fn notice(seconds: u64) -> Lifecycle {
    Lifecycle {
        pre_stop: Some(LifecycleHandler {
            sleep: Some(SleepAction {
                seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
            }),
            ..LifecycleHandler::default()
        }),
        ..Lifecycle::default()
    }
}

/// Asks the admin port every `period_seconds`.
pub fn probe(path: &str, period_seconds: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::String("admin".into()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        ..Probe::default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use weir_crds::value::{duration_argument, duration_text};
    use weir_process::parse_duration;

    proptest! {
        #[test]
        fn a_duration_that_is_written_for_a_pod_is_read_back_as_it_was(millis in 0..100_000_000_000u64) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&duration_argument(duration)), Ok(duration));
        }

        /// The text is part of a revision's hash: another one would roll every deployment.
        #[test]
        fn whole_seconds_are_written_for_a_pod_as_they_are_for_a_reader(seconds in 1..100_000_000u64) {
            let duration = Duration::from_secs(seconds);
            prop_assert_eq!(duration_argument(duration), duration_text(duration));
        }
    }
}
