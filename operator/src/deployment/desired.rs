//! What a valid deployment is made of: its revision, and the objects of it. Pure, and cannot fail.

mod adapters;
mod disruption;
mod engine;
mod files;
mod pod;

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment,
};
use k8s_openapi::api::core::v1::{ConfigMap, PodTemplateSpec, Service, ServicePort, ServiceSpec};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use weir_crds::labels;

pub use self::adapters::LIST;
use self::adapters::adapters;
use self::files::mount_revision;
use super::asked::SPEC;
use super::began::Began;
use super::rollout::Pins;
use super::validate::Valid;
use crate::namespace::desired::router_service;
use crate::object::{CANARY, ROLE, STABLE, Wanted, short_hash};
use crate::settings::Settings;

/// The entry of a revision's ConfigMap with the source as it was written.
pub const SOURCE: &str = "source";
/// The entry with the digest that the revision's first ready replica found.
pub const DIGEST: &str = "digest";
/// The entry with what the source resolved to for it, where there is such a thing.
pub const RESOLVED: &str = "resolved";
/// The entry with the chat template that the revision began with, if it has one of its own.
pub const CHAT_TEMPLATE: &str = "chat_template.jinja";

/// What a deployment is made of.
#[derive(Clone, Debug)]
pub struct Desired {
    pub revision: String,
    /// The replicas of the revision.
    pub deployment: Deployment,
    /// How routers find the replicas.
    pub headless: Service,
    /// What the revision serves, and what it was found to be.
    pub config: ConfigMap,
    /// What clients talk to: the routers, under the deployment's name.
    pub service: Service,
    /// The list of adapters, which the pods of all revisions have mounted.
    pub adapters: ConfigMap,
    /// How many replicas may be evicted at once, of all revisions together.
    pub disruption: PodDisruptionBudget,
}

/// What is known of the revision besides the spec.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given<'a> {
    /// What it began with and keeps. Absent for a new one.
    pub began: Option<&'a Began>,
    /// What is pinned.
    pub pins: Option<&'a Pins>,
    /// Whether another revision serves while this one is on trial.
    pub canary: bool,
    /// How many replicas it is to have of those that are wanted. Absent means all.
    pub replicas: Option<u32>,
}

impl Desired {
    pub fn objects(&self) -> Vec<Wanted> {
        vec![
            Wanted::new(&self.config),
            Wanted::new(&self.adapters),
            Wanted::new(&self.headless),
            Wanted::new(&self.service),
            Wanted::new(&self.deployment),
            Wanted::new(&self.disruption),
        ]
    }

    /// Those of all revisions together.
    pub fn shared(&self) -> Vec<Wanted> {
        vec![
            Wanted::new(&self.adapters),
            Wanted::new(&self.service),
            Wanted::new(&self.disruption),
        ]
    }
}

/// The objects of the revision that `valid` asks for.
pub fn desired(valid: &Valid<'_>, settings: &Settings, given: Given<'_>) -> Desired {
    let template = template(valid, settings, given.began);
    let revision = revision_of(valid, &template);
    Desired {
        deployment: deployment(valid, &revision, template, given),
        headless: headless(valid, &revision),
        config: config(valid, &revision, given.pins),
        service: service(valid),
        adapters: adapters(valid),
        disruption: disruption::budget(valid),
        revision,
    }
}

/// The revision that `valid` asks for: the hash of everything that makes its pods, what it began
/// with included.
pub fn revision(valid: &Valid<'_>, settings: &Settings, began: Option<&Began>) -> String {
    revision_of(valid, &template(valid, settings, began))
}

fn template(valid: &Valid<'_>, settings: &Settings, began: Option<&Began>) -> PodTemplateSpec {
    match began {
        Some(began) => pod::template(valid, settings, began),
        None => pod::template(valid, settings, &Began::now(valid.spec, settings)),
    }
}

/// The chat template counts too: it is in none of the pod's fields.
fn revision_of(valid: &Valid<'_>, template: &PodTemplateSpec) -> String {
    let mut text = serde_json::to_string(template).expect("a pod template is JSON");
    text.extend(valid.chat_template);
    short_hash(text.as_bytes(), 8)
}

fn deployment(
    valid: &Valid<'_>,
    revision: &str,
    mut template: PodTemplateSpec,
    given: Given<'_>,
) -> Deployment {
    let selector = BTreeMap::from([
        (labels::DEPLOYMENT.to_owned(), valid.name.clone()),
        (labels::REVISION.to_owned(), revision.to_owned()),
    ]);
    let pod = template.metadata.get_or_insert_default();
    pod.labels
        .get_or_insert_default()
        .insert(labels::REVISION.into(), revision.into());
    let name = labels::revision_name(&valid.name, revision);
    mount_revision(&mut template, &name);
    let mut metadata = metadata(valid, &name, revision);
    metadata
        .annotations
        .get_or_insert_default()
        .insert(SPEC.into(), valid.spec_hash.clone());
    let role = if given.canary { CANARY } else { STABLE };
    metadata
        .labels
        .get_or_insert_default()
        .insert(ROLE.into(), role.into());
    let replicas = given.replicas.unwrap_or(valid.replicas);
    Deployment {
        metadata,
        spec: Some(DeploymentSpec {
            replicas: Some(i32::try_from(replicas).unwrap_or(i32::MAX)),
            selector: LabelSelector {
                match_labels: Some(selector),
                ..LabelSelector::default()
            },
            // A revision changes its pods only when a node or a person does; never fewer serve.
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            revision_history_limit: Some(1),
            template,
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

/// By the name of its port routers know what is spoken there.
fn headless(valid: &Valid<'_>, revision: &str) -> Service {
    let port = match valid.foreign {
        None => labels::WEIR_PORT,
        Some(_) => labels::OPENAI_PORT,
    };
    Service {
        metadata: metadata(
            valid,
            &labels::revision_name(&valid.name, revision),
            revision,
        ),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".into()),
            selector: Some(BTreeMap::from([
                (labels::DEPLOYMENT.to_owned(), valid.name.clone()),
                (labels::REVISION.to_owned(), revision.to_owned()),
            ])),
            ports: Some(vec![ServicePort {
                name: Some(port.into()),
                port: i32::from(labels::WORKER_PORT),
                target_port: Some(IntOrString::Int(i32::from(labels::WORKER_PORT))),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn config(valid: &Valid<'_>, revision: &str, pins: Option<&Pins>) -> ConfigMap {
    let resolved = pins.and_then(|pins| pins.resolved.as_deref());
    let entries = [
        (SOURCE, Some(valid.spec.model.source.as_str())),
        (DIGEST, pins.map(|pins| pins.digest.as_str())),
        (RESOLVED, resolved),
        (CHAT_TEMPLATE, valid.chat_template),
    ];
    let entries = entries.into_iter();
    let data: BTreeMap<String, String> = entries
        .filter_map(|(key, text)| Some((key.to_owned(), text?.to_owned())))
        .collect();
    ConfigMap {
        metadata: metadata(
            valid,
            &labels::revision_name(&valid.name, revision),
            revision,
        ),
        data: Some(data),
        ..ConfigMap::default()
    }
}

/// Under its own name a deployment is reached through the routers, so that a policy that claims
/// the name, its keys and its limits hold there too.
fn service(valid: &Valid<'_>) -> Service {
    let mut labels = labels::of_router();
    labels.insert(labels::DEPLOYMENT.into(), valid.name.clone());
    Service {
        metadata: ObjectMeta {
            name: Some(valid.name.clone()),
            namespace: Some(valid.namespace.clone()),
            labels: Some(labels),
            owner_references: valid.owner.clone().map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(router_service()),
        ..Service::default()
    }
}

fn metadata(valid: &Valid<'_>, name: &str, revision: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        namespace: Some(valid.namespace.clone()),
        labels: Some(labels::of_revision(&valid.name, revision)),
        owner_references: valid.owner.clone().map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests;
