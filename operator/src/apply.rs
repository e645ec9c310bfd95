//! The only place that writes: server-side apply where something differs, prune what is ours and
//! no longer wanted, statuses and Events.
//!
//! - Every write looks at the leadership before it starts and ends within a time that is shorter
//!   than what is left of the lease then.
//! - An unchanged world is sent nothing.
//! - Nothing foreign is adopted: see [`ownership`](crate::object::ownership).

pub mod difference;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::runtime::events::{Event, Recorder, Reporter};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use weir_crds::labels::FIELD_MANAGER;

use crate::lease::Leadership;
use crate::metrics::Writes;
use crate::object::ownership::{self, Claim};
use crate::object::{APPLIED_HASH, Kind, Live, ROLE, Wanted};

/// Why a write was not done. Each of these may pass: the caller tries again later.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("no longer leading")]
    NotLeading,
    #[error("ConfigMap {0} is of a deployment of this name that was deleted, and has to go first")]
    Leaving(String),
    #[error("{step} {name} took too long")]
    TooLong { step: &'static str, name: String },
    #[error("cannot {step} {name}")]
    Api {
        step: &'static str,
        name: String,
        #[source]
        source: kube::Error,
    },
}

impl ApplyError {
    /// Somebody else wrote in between: what was read is old, nothing is wrong.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Api { source: kube::Error::Api(status), .. } if status.code == 409)
    }
}

/// What the API server would not take, and names that are not ours to use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// `kind name: whose it is`.
    pub taken: Vec<String>,
    /// `kind name: what the API server said`.
    pub refused: Vec<String>,
    /// Something has to go before it can be made again.
    pub leaving: bool,
    /// The version of what was written last; nothing where nothing was.
    pub version: Option<String>,
}

/// Sends what has to be sent.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    leadership: Leadership,
    request: Duration,
    recorder: Recorder,
    writes: Writes,
}

impl Writer {
    /// `identity` is the name of this operator's pod; a single write may last `request`.
    pub fn new(
        client: Client,
        leadership: Leadership,
        request: Duration,
        identity: &str,
        writes: Writes,
    ) -> Self {
        let reporter = Reporter {
            controller: FIELD_MANAGER.into(),
            instance: Some(identity.into()),
        };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            leadership,
            request,
            writes,
        }
    }

    /// Makes the world hold every one of `wanted`, and of `live` nothing that is not wanted and
    /// that `keep` does not ask to keep. `owners` are those of every wanted object.
    pub async fn apply(
        &self,
        wanted: &[Wanted],
        live: &[Live],
        keep: impl Fn(&Live) -> bool,
    ) -> Result<Applied, ApplyError> {
        let mut applied = Applied::default();
        for wanted in wanted {
            let seen = live
                .iter()
                .find(|live| live.kind == wanted.kind && live.name() == wanted.name)
                .map(|live| live.object.clone());
            self.apply_one(wanted, seen, &mut applied).await?;
        }
        for live in live {
            let is_wanted = wanted
                .iter()
                .any(|wanted| wanted.kind == live.kind && wanted.name == live.name());
            if !is_wanted && !keep(live) && live.object.metadata.deletion_timestamp.is_none() {
                self.delete(live).await?;
            }
        }
        Ok(applied)
    }

    async fn apply_one(
        &self,
        wanted: &Wanted,
        seen: Option<Arc<DynamicObject>>,
        applied: &mut Applied,
    ) -> Result<(), ApplyError> {
        match seen {
            Some(live) => self.mend(wanted, &live, applied).await,
            None => self.make(wanted, applied).await,
        }
    }

    /// Makes what we do not see among ours. It may still exist, and be somebody else's.
    async fn make(&self, wanted: &Wanted, applied: &mut Applied) -> Result<(), ApplyError> {
        // Whatever exists has another version: this is refused before anything of it is touched.
        let mut new = body_to_send(wanted, None);
        new["metadata"]["resourceVersion"] = json!(NO_VERSION);
        match self.put(wanted, &new, false, applied).await {
            Err(error) if error.is_conflict() => {}
            ended => return ended,
        }
        let api = self.api(wanted.kind, &wanted.namespace);
        let found = tokio::time::timeout(self.request, api.get_opt(&wanted.name)).await;
        match self.unwrap("read", &wanted.to_string(), found)? {
            Some(live) => self.mend(wanted, &live, applied).await,
            // It has gone meanwhile. What somebody may be making now must not lose a field to us.
            None => {
                let body = body_to_send(wanted, None);
                self.put(wanted, &body, false, applied).await
            }
        }
    }

    /// Makes `live` what is wanted, if it is ours and is not.
    async fn mend(
        &self,
        wanted: &Wanted,
        live: &DynamicObject,
        applied: &mut Applied,
    ) -> Result<(), ApplyError> {
        match ownership::claim(&live.metadata, &owners(&wanted.body)) {
            Claim::Ours if !differs(wanted, live) => Ok(()),
            // What is ours is ours whole.
            Claim::Ours => {
                let body = body_to_send(wanted, Some(live));
                self.put(wanted, &body, true, applied).await
            }
            Claim::Leaving => {
                applied.leaving = true;
                Ok(())
            }
            Claim::Foreign(whose) => {
                let name = wanted.to_string();
                tracing::warn!(name, namespace = wanted.namespace, whose, "a name is taken");
                applied.taken.push(format!("{name}: {whose}"));
                Ok(())
            }
        }
    }

    async fn put(
        &self,
        wanted: &Wanted,
        body: &Value,
        force: bool,
        applied: &mut Applied,
    ) -> Result<(), ApplyError> {
        let api = self.api(wanted.kind, &wanted.namespace);
        let name = wanted.to_string();
        let mut params = PatchParams::apply(FIELD_MANAGER);
        params.force = force;
        let patch = Patch::Apply(body);
        let patched = api.patch(&wanted.name, &params, &patch);
        match self.send("apply", &name, patched).await {
            Ok(written) => {
                applied.version = written.metadata.resource_version;
                Ok(())
            }
            Err(error) => match refusal(&error) {
                Some(message) => {
                    let namespace = &wanted.namespace;
                    tracing::warn!(name, namespace, message, "an object of ours is refused");
                    applied.refused.push(format!("{name}: {message}"));
                    Ok(())
                }
                None => Err(error),
            },
        }
    }

    /// Gives the Deployment of a revision its role and so many replicas, and changes nothing else of it: a later
    /// apply of the whole object has the last word.
    pub async fn serve(
        &self,
        live: &Live,
        (role, replicas): (&str, u32),
    ) -> Result<(), ApplyError> {
        let metadata = &live.object.metadata;
        let api = self.api(live.kind, metadata.namespace.as_deref().unwrap_or_default());
        let body = json!({
            // Should the name have changed hands since it was read, the patch is refused.
            "metadata": { "uid": metadata.uid, "labels": { ROLE: role } },
            "spec": { "replicas": replicas },
        });
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..PatchParams::default()
        };
        let name = format!("{} {}", live.kind, live.name());
        let patch = Patch::Merge(&body);
        let resized = api.patch(live.name(), &params, &patch);
        self.send("resize", &name, resized).await.map(drop)
    }

    /// Annotates a pod. One that cannot be is logged and forgotten: what it is told so it finds by
    /// itself, a little later.
    pub async fn annotate(&self, pod: &Pod, (key, value): (&str, &str)) {
        let name = pod.name_any();
        let namespace = pod.namespace().unwrap_or_default();
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
        let body = json!({
            // Should the name have changed hands since it was read, the patch is refused.
            "metadata": { "uid": pod.metadata.uid, "annotations": { key: value } },
        });
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(&body);
        let annotated = api.patch_metadata(&name, &params, &patch);
        if let Err(error) = self
            .send("annotate", &format!("Pod {name}"), annotated)
            .await
        {
            tracing::warn!(%error, namespace, "a pod was not told of its adapters");
        }
    }

    async fn delete(&self, live: &Live) -> Result<(), ApplyError> {
        let namespace = live
            .object
            .metadata
            .namespace
            .as_deref()
            .unwrap_or_default();
        let params = DeleteParams::background().preconditions(Preconditions {
            uid: live.object.metadata.uid.clone(),
            resource_version: None,
        });
        let name = format!("{} {}", live.kind, live.name());
        let api = self.api(live.kind, namespace);
        match self
            .send("delete", &name, api.delete(live.name(), &params))
            .await
        {
            Ok(_) => Ok(()),
            Err(ApplyError::Api {
                source: kube::Error::Api(status),
                ..
            }) if status.code == 404 => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes `status` where it differs from what `object` has, onto the version that was read.
    pub async fn status<K, S>(
        &self,
        object: &K,
        before: Option<&S>,
        status: &S,
    ) -> Result<(), ApplyError>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
        S: Serialize + PartialEq,
    {
        if before == Some(status) {
            return Ok(());
        }
        let meta = object.meta();
        let name = meta.name.as_deref().unwrap_or_default();
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let body = json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": { "name": name, "resourceVersion": meta.resource_version },
            "status": status,
        });
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let what = format!("{} {name}", K::kind(&()));
        let patch = Patch::Apply(&body);
        let written = self
            .send(
                "write the status of",
                &what,
                api.patch_status(name, &params, &patch),
            )
            .await;
        match written {
            // It was deleted under us: nobody is left to tell.
            Err(ApplyError::Api {
                source: kube::Error::Api(status),
                ..
            }) if status.code == 404 => Ok(()),
            other => other.map(drop),
        }
    }

    /// Tells an Event about `object`. One that cannot be told is logged and forgotten: Events are
    /// hints, the condition is the truth.
    pub async fn event<K: Resource<DynamicType = ()>>(&self, object: &K, event: Event) {
        let reference = object.object_ref(&());
        let name = reference.name.clone().unwrap_or_default();
        let told = self
            .send(
                "tell an event of",
                &name,
                self.recorder.publish(&event, &reference),
            )
            .await;
        if let Err(error) = told {
            tracing::warn!(%error, reason = event.reason, "an event was lost");
        }
    }

    async fn send<T>(
        &self,
        step: &'static str,
        name: &str,
        write: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ApplyError> {
        if !self.leadership.leads() {
            return Err(ApplyError::NotLeading);
        }
        self.writes.count(step);
        tracing::debug!(step, name, "writing");
        let written = tokio::time::timeout(self.request, write).await;
        self.unwrap(step, name, written)
    }

    fn unwrap<T>(
        &self,
        step: &'static str,
        name: &str,
        result: Result<kube::Result<T>, tokio::time::error::Elapsed>,
    ) -> Result<T, ApplyError> {
        let name = name.to_owned();
        match result {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(source)) => Err(ApplyError::Api { step, name, source }),
            Err(_) => Err(ApplyError::TooLong { step, name }),
        }
    }

    fn api(&self, kind: Kind, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &kind.resource())
    }
}

/// Whether `live` lacks something of `wanted`, or has something that we wanted and no longer do.
fn differs(wanted: &Wanted, live: &DynamicObject) -> bool {
    let applied = live
        .metadata
        .annotations
        .as_ref()
        .and_then(|all| all.get(APPLIED_HASH));
    if applied != Some(&wanted.hash()) {
        return true;
    }
    let live = serde_json::to_value(live).expect("what was read as JSON is JSON");
    let is_closed = wanted.kind.is_closed();
    let mut wanted = wanted.body.clone();
    if let Some(fields) = wanted.as_object_mut() {
        // The items of a list do not say of what kind they are.
        fields.remove("apiVersion");
        fields.remove("kind");
    }
    !difference::holds(&wanted, &live) || (is_closed && difference::adds(&wanted, &live))
}

/// A version that no object has: the first that is ever given is 2. An apply onto it makes what does
/// not exist, and is refused where something does.
pub const NO_VERSION: &str = "1";

fn body_to_send(wanted: &Wanted, live: Option<&DynamicObject>) -> Value {
    let mut body = wanted.body.clone();
    let metadata = &mut body["metadata"];
    metadata["annotations"][APPLIED_HASH] = json!(wanted.hash());
    // Should the name have changed hands since it was read, the apply is refused.
    if let Some(uid) = live.and_then(|live| live.metadata.uid.as_ref()) {
        metadata["uid"] = json!(uid);
    }
    if let Some(version) = &wanted.onto_version {
        metadata["resourceVersion"] = json!(version);
    }
    body
}

fn owners(body: &Value) -> Vec<OwnerReference> {
    serde_json::from_value(body["metadata"]["ownerReferences"].clone()).unwrap_or_default()
}

/// What the API server said where asking again for the same will be answered the same: a quota, a
/// webhook, a field it does not take.
fn refusal(error: &ApplyError) -> Option<&str> {
    match error {
        ApplyError::Api {
            source: kube::Error::Api(status),
            ..
        } if matches!(status.code, 400 | 403 | 422) => Some(&status.message),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
