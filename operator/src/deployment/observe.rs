//! What there is of a deployment: its revisions, its replicas and what they report.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use weir_crds::{SLMDeployment, labels};
use weir_policy::load::WorkerLoad;

use super::asked::SPEC;
use super::began::Began;
use super::desired::{DIGEST, RESOLVED};
use super::entry::Entry;
use super::rollout::{Pins, Revision};
use crate::cache::Cache;
use crate::context::Context;
use crate::namespace::observe::routers;
use crate::object::{Live, ROLE, STABLE};
use crate::reach::Reach;

/// A deployment and all that is of it.
#[derive(Clone, Debug)]
pub struct Observed {
    pub deployment: SLMDeployment,
    pub owned: Vec<Live>,
    pub revisions: Vec<Revision>,
    pub replicas: Vec<Replica>,
    pub reach: Reach,
    /// What its chat template is to be read from; nothing where it names none.
    pub chat_template: Option<Entry>,
}

/// One pod.
#[derive(Clone, Debug)]
pub struct Replica {
    pub revision: String,
    pub ready: bool,
    pub pod: Arc<Pod>,
    pub load: Option<WorkerLoad>,
}

impl Observed {
    /// What there is; nothing if the deployment is gone.
    pub fn look(ctx: &Context, namespace: &str, name: &str) -> Option<Self> {
        let (cache, loads) = (&ctx.cache, &ctx.loads);
        let deployment = cache.deployment(namespace, name)?;
        let template = deployment.spec.model.chat_template.as_ref();
        let template = template.map(|template| &template.config_map_ref);
        let owned = owned(cache, namespace, name);
        let replicas = cache
            .pods(namespace)
            .into_iter()
            .filter(|pod| pod.labels().get(labels::DEPLOYMENT).map(String::as_str) == Some(name))
            .map(|pod| Replica {
                revision: pod
                    .labels()
                    .get(labels::REVISION)
                    .cloned()
                    .unwrap_or_default(),
                ready: crate::load::is_ready(&pod),
                load: loads.worker(&pod),
                pod,
            })
            .collect();
        Some(Self {
            chat_template: ctx.entries.named_by(namespace, name, template),
            deployment,
            revisions: revisions(&owned),
            owned,
            replicas,
            reach: Reach {
                routers: !routers(cache, namespace).is_empty(),
                ..ctx.reaches.of(namespace)
            },
        })
    }

    /// How many pods of a revision may still run, those that leave too.
    pub fn pods_of(&self, revision: &str) -> u32 {
        let is_over = |replica: &Replica| {
            let status = replica.pod.status.as_ref();
            let phase = status.and_then(|status| status.phase.as_deref());
            matches!(phase, Some("Succeeded" | "Failed"))
        };
        let pods = self.replicas.iter();
        let pods = pods.filter(|pod| pod.revision == revision && !is_over(pod));
        u32::try_from(pods.count()).unwrap_or(u32::MAX)
    }

    /// The replicas of a revision that are not on their way out.
    pub fn replicas_of<'a>(&'a self, revision: &'a str) -> impl Iterator<Item = &'a Replica> {
        self.replicas.iter().filter(move |replica| {
            replica.revision == revision && replica.pod.metadata.deletion_timestamp.is_none()
        })
    }
}

/// Everything that was made for the deployment of this name.
pub fn owned(cache: &Cache, namespace: &str, name: &str) -> Vec<Live> {
    cache.owned(namespace, Some(name))
}

fn revisions(owned: &[Live]) -> Vec<Revision> {
    let data = |name: &str| {
        let of_revision = |live: &&Live| live.label(labels::REVISION) == Some(name);
        let mut config = owned.iter().filter(of_revision);
        let config = config.find_map(Live::parse::<ConfigMap>);
        config.and_then(|config| config.data).unwrap_or_default()
    };
    owned
        .iter()
        .filter(|live| live.object.metadata.deletion_timestamp.is_none())
        .filter_map(Live::parse::<Deployment>)
        .filter_map(|deployment| {
            let name = deployment.labels().get(labels::REVISION)?.clone();
            let mut data = data(&name);
            let digest = data.remove(DIGEST);
            Some(Revision {
                pins: digest.map(|digest| Pins {
                    digest,
                    resolved: data.remove(RESOLVED),
                }),
                ..revision(name, deployment)
            })
        })
        .collect()
}

fn revision(name: String, deployment: Deployment) -> Revision {
    let of_spec = deployment.annotations().get(SPEC).cloned();
    let stable = deployment.labels().get(ROLE).map(String::as_str) == Some(STABLE);
    let created = deployment
        .creation_timestamp()
        .map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let spec = deployment.spec.unwrap_or_default();
    let status = deployment.status.unwrap_or_default();
    let container = spec
        .template
        .spec
        .and_then(|pod| pod.containers.into_iter().next());
    let refused = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")
        .and_then(|condition| condition.message.clone());
    let count = |count: Option<i32>| u32::try_from(count.unwrap_or(0)).unwrap_or(0);
    Revision {
        name,
        created,
        stable,
        spec: of_spec,
        began: container.map(Began::of).unwrap_or_default(),
        wanted: count(spec.replicas.or(Some(1))),
        replicas: count(status.replicas),
        ready: count(status.ready_replicas),
        refused,
        pins: None,
    }
}
