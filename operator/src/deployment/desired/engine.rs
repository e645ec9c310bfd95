//! The container of a server that is not ours: what it is told, and what is known of it from outside.
//!
//! It has no admin port. It is ready while `GET /health` on its port answers, and what it has in hand when it
//! leaves nobody knows: so it stays for the whole of its drain, while nobody asks it anything new.

use k8s_openapi::api::core::v1::{
    Container, EnvVar, HTTPGetAction, Lifecycle, LifecycleHandler, Probe, SecurityContext,
    SleepAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use weir_crds::labels;

use super::super::validate::{Foreign, Valid};
use super::files::{CACHE, Files};
use super::pod::resources;
use crate::pod::{container_security, port};
use crate::settings::Settings;

const HEALTH: &str = "/health";
/// How its port is called, by which routers know what is spoken there.
const PORT: &str = labels::OPENAI_PORT;
/// It may be busy with a prompt.
const ANSWER_SECONDS: i32 = 10;
/// The longest that weights may take to be read: an hour.
const START: Often = Often {
    period_seconds: 2,
    failures: 1800,
};
/// After two minutes without an answer it is started again.
const ALIVE: Often = Often {
    period_seconds: 30,
    failures: 4,
};
const READY: Often = Often {
    period_seconds: 2,
    failures: 3,
};

/// How often it is asked, and how often it may fail.
struct Often {
    period_seconds: i32,
    failures: i32,
}

pub(super) fn container(
    valid: &Valid<'_>,
    foreign: &Foreign<'_>,
    settings: &Settings,
    files: Files,
) -> Container {
    let drain = i64::try_from(valid.drain.as_millis().div_ceil(1000)).unwrap_or(i64::MAX);
    let arguments = &valid.spec.engine.args;
    Container {
        name: labels::WORKER.into(),
        image: Some(foreign.image.to_owned()),
        image_pull_policy: Some(settings.image_pull_policy.clone()),
        args: Some(arguments.clone()).filter(|all| !all.is_empty()),
        env: Some(environment(valid, foreign)),
        ports: Some(vec![port(PORT, labels::WORKER_PORT)]),
        startup_probe: Some(health(&START)),
        readiness_probe: Some(health(&READY)),
        liveness_probe: Some(health(&ALIVE)),
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                sleep: Some(SleepAction { seconds: drain }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        resources: Some(resources(valid)),
        // Where it writes beside its cache nobody knows.
        security_context: Some(SecurityContext {
            read_only_root_filesystem: None,
            ..container_security()
        }),
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        volume_mounts: Some(files.mounts).filter(|all| !all.is_empty()),
        ..Container::default()
    }
}

/// Ours first, so that the user's may refer to them. No user of the image's has a home where ours runs.
fn environment(valid: &Valid<'_>, foreign: &Foreign<'_>) -> Vec<EnvVar> {
    let theirs = &valid.spec.placement.env;
    let has_home = theirs.iter().any(|variable| variable.name == "HOME");
    let home = (!has_home).then(|| ("HOME", CACHE.to_owned()));
    let ours: Vec<(&str, String)> = foreign.variables.iter().cloned().chain(home).collect();
    let is_ours = |name: &str| ours.iter().any(|(known, _)| *known == name);
    let theirs: Vec<EnvVar> = theirs
        .iter()
        .filter(|variable| !is_ours(&variable.name))
        .cloned()
        .collect();
    let ours = ours.into_iter().map(|(name, value)| EnvVar {
        name: name.to_owned(),
        value: Some(value),
        ..EnvVar::default()
    });
    ours.chain(theirs).collect()
}

fn health(often: &Often) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(HEALTH.to_owned()),
            port: IntOrString::String(PORT.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(often.period_seconds),
        timeout_seconds: Some(ANSWER_SECONDS),
        failure_threshold: Some(often.failures),
        ..Probe::default()
    }
}
