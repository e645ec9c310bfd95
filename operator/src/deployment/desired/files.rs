//! How the files of a model get into its pod: claims, what a download needs, a place to keep it, and
//! what its revision keeps.

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, EmptyDirVolumeSource, HostPathVolumeSource, KeyToPath,
    PersistentVolumeClaimVolumeSource, PodTemplateSpec, SecretVolumeSource, Volume, VolumeMount,
};
use weir_crds::{Model, ModelCache};
use weir_policy::source::{Roots, claim};

use super::super::validate::Valid;
use super::{CHAT_TEMPLATE, adapters};

/// Where a worker looks for downloads unless it is told otherwise.
pub(super) const CACHE: &str = "/cache";
const CREDENTIALS: &str = "/credentials";
const CA_BUNDLE: &str = "/ca-bundle";
/// Where the list of adapters is.
const ADAPTERS: &str = "/adapters";
/// Where the revision's own ConfigMap is.
const REVISION: &str = "/revision";
/// The volume of it.
const OF_REVISION: &str = "revision";
/// The one file below [`CA_BUNDLE`].
const CERTIFICATES: &str = "ca.crt";

/// The group of the worker's image: claims are made writable for it.
pub const GROUP: i64 = 65532;

/// What a pod has so that its worker finds the model.
#[derive(Clone, Debug, Default)]
pub struct Files {
    pub arguments: Vec<String>,
    pub volumes: Vec<Volume>,
    pub mounts: Vec<VolumeMount>,
    /// Whether a claim is written to, which belongs to root unless the pod says otherwise.
    pub writes_to_a_claim: bool,
}

/// A list of adapters and a place for downloads are always there: adapters come and go without a new
/// pod.
pub fn files(valid: &Valid<'_>) -> Files {
    let mut files = Files::default();
    if let Some(claim) = claim(&valid.source) {
        files.add_claim(claim);
    }
    files.add_cache(valid.spec.cache.as_ref());
    files.add_access(&valid.spec.model);
    files.add_adapters(&valid.name);
    files.add_revision(valid.chat_template.is_some());
    files
}

/// What a server finds that is not ours: the model's claim, a place to write to, and memory that its processes
/// share where it has several accelerators.
pub fn files_of_others(valid: &Valid<'_>) -> Files {
    let mut files = Files::default();
    if let Some(claim) = claim(&valid.source) {
        files.add_claim(claim);
    }
    files.add_cache(valid.spec.cache.as_ref());
    if valid.spec.resources.count.unwrap_or(1) > 1 {
        files.add_shared_memory();
    }
    files
}

/// Says of which ConfigMap the revision's files are: its name has the hash of all else.
pub fn mount_revision(template: &mut PodTemplateSpec, config: &str) {
    let volumes = template.spec.as_mut().and_then(|pod| pod.volumes.as_mut());
    let mut volumes = volumes.into_iter().flatten();
    let volume = volumes.find(|volume| volume.name == OF_REVISION);
    if let Some(map) = volume.and_then(|volume| volume.config_map.as_mut()) {
        config.clone_into(&mut map.name);
    }
}

impl Files {
    fn add_claim(&mut self, claim: &str) {
        let at = Roots::default().volumes.join(claim);
        let volume = Volume {
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim.to_owned(),
                read_only: Some(true),
            }),
            ..Volume::default()
        };
        self.mount("models", volume, &at.display().to_string(), true);
    }

    /// What outlives the pod keeps packed weights too. An emptyDir counts against the pod's own
    /// storage, and is as new as the pod. A folder of the node is made where there is none, but whose
    /// it is stays as it is: the worker's group has to be able to write there.
    fn add_cache(&mut self, cache: Option<&ModelCache>) {
        let claim = cache.and_then(|cache| cache.persistent_volume_claim.as_ref());
        let claimed = claim.map(|claim| PersistentVolumeClaimVolumeSource {
            claim_name: claim.name.clone(),
            read_only: None,
        });
        let host_path = cache.and_then(|cache| cache.host_path.as_ref());
        let of_node = host_path.map(|folder| HostPathVolumeSource {
            path: folder.path.clone(),
            type_: Some("DirectoryOrCreate".to_owned()),
        });
        let outlives_the_pod = claimed.is_some() || of_node.is_some();
        self.writes_to_a_claim = claimed.is_some();
        let volume = Volume {
            empty_dir: (!outlives_the_pod).then(EmptyDirVolumeSource::default),
            persistent_volume_claim: claimed,
            host_path: of_node,
            ..Volume::default()
        };
        if outlives_the_pod {
            self.arguments
                .push(format!("--packed-cache={CACHE}/packed"));
        }
        self.mount("cache", volume, CACHE, false);
    }

    /// The usual 64 MiB are too little for what passes between accelerators. It counts as the pod's memory.
    fn add_shared_memory(&mut self) {
        let volume = Volume {
            empty_dir: Some(EmptyDirVolumeSource {
                medium: Some("Memory".to_owned()),
                ..EmptyDirVolumeSource::default()
            }),
            ..Volume::default()
        };
        self.mount("shared-memory", volume, "/dev/shm", false);
    }

    /// Revision, digest, credentials and certificates.
    fn add_access(&mut self, model: &Model) {
        if let Some(revision) = &model.revision {
            self.arguments.push(format!("--revision={revision}"));
        }
        if let Some(sha256) = &model.sha256 {
            self.arguments.push(format!("--sha256={sha256}"));
        }
        if let Some(secret) = &model.credentials_secret_ref {
            let volume = Volume {
                secret: Some(SecretVolumeSource {
                    secret_name: Some(secret.name.clone()),
                    ..SecretVolumeSource::default()
                }),
                ..Volume::default()
            };
            self.arguments.push(format!("--credentials={CREDENTIALS}"));
            self.mount("credentials", volume, CREDENTIALS, true);
        }
        if let Some(bundle) = &model.ca_bundle {
            let entry = &bundle.config_map_ref;
            let volume = Volume {
                config_map: Some(ConfigMapVolumeSource {
                    name: entry.name.clone(),
                    items: Some(vec![KeyToPath {
                        key: entry.key.clone(),
                        path: CERTIFICATES.to_owned(),
                        mode: None,
                    }]),
                    ..ConfigMapVolumeSource::default()
                }),
                ..Volume::default()
            };
            self.arguments
                .push(format!("--ca-bundle={CA_BUNDLE}/{CERTIFICATES}"));
            self.mount("ca-bundle", volume, CA_BUNDLE, true);
        }
    }

    /// As a folder, because a single file of a ConfigMap stays what it was.
    fn add_adapters(&mut self, deployment: &str) {
        let volume = Volume {
            config_map: Some(ConfigMapVolumeSource {
                name: adapters::name(deployment),
                // A pod may begin before the list is there.
                optional: Some(true),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        };
        self.arguments.push(format!("--adapters={ADAPTERS}"));
        self.mount("adapters", volume, ADAPTERS, true);
    }

    /// As a folder: what its first replica finds is there for the pods after it.
    fn add_revision(&mut self, has_template: bool) {
        let volume = Volume {
            config_map: Some(ConfigMapVolumeSource::default()),
            ..Volume::default()
        };
        self.arguments.push(format!("--pins={REVISION}"));
        if has_template {
            let argument = format!("--chat-template={REVISION}/{CHAT_TEMPLATE}");
            self.arguments.push(argument);
        }
        self.mount(OF_REVISION, volume, REVISION, true);
    }

    fn mount(&mut self, name: &str, volume: Volume, at: &str, read_only: bool) {
        self.volumes.push(Volume {
            name: name.to_owned(),
            ..volume
        });
        self.mounts.push(VolumeMount {
            name: name.to_owned(),
            mount_path: at.to_owned(),
            read_only: read_only.then_some(true),
            ..VolumeMount::default()
        });
    }
}
