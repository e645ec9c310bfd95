//! The objects that we make: their kinds, labels and owners, and what tells ours from others'.

pub mod ownership;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Resource;
use kube::api::{ApiResource, DynamicObject};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Label of a revision's Deployment: [`STABLE`] or [`CANARY`]. What a revision is must survive a
/// lost status.
pub const ROLE: &str = "weir.dev/role";
pub const STABLE: &str = "stable";
pub const CANARY: &str = "canary";
/// Annotation: hash of what was applied last, so that a field we no longer want is noticed.
pub const APPLIED_HASH: &str = "weir.dev/applied-hash";

/// The kinds of object that we make, in the order in which they are applied: what others mount,
/// name or run as, and what closes them in, comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    ServiceAccount,
    Role,
    RoleBinding,
    ConfigMap,
    NetworkPolicy,
    Service,
    Deployment,
    PodDisruptionBudget,
}

impl Kind {
    pub const ALL: [Self; 8] = [
        Self::ServiceAccount,
        Self::Role,
        Self::RoleBinding,
        Self::ConfigMap,
        Self::NetworkPolicy,
        Self::Service,
        Self::Deployment,
        Self::PodDisruptionBudget,
    ];

    pub fn resource(self) -> ApiResource {
        match self {
            Self::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
            Self::Role => ApiResource::erase::<Role>(&()),
            Self::RoleBinding => ApiResource::erase::<RoleBinding>(&()),
            Self::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
            Self::NetworkPolicy => ApiResource::erase::<NetworkPolicy>(&()),
            Self::Service => ApiResource::erase::<Service>(&()),
            Self::Deployment => ApiResource::erase::<Deployment>(&()),
            Self::PodDisruptionBudget => ApiResource::erase::<PodDisruptionBudget>(&()),
        }
    }

    /// Whether what it says is an allowance, to which nobody else adds.
    pub fn is_closed(self) -> bool {
        matches!(self, Self::Role | Self::RoleBinding | Self::NetworkPolicy)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

/// A Rust type for each [`Kind`].
pub trait Ours: Resource<DynamicType = ()> + Serialize {
    const KIND: Kind;
}

macro_rules! ours {
    ($($kind:ident),*) => {
        $(impl Ours for $kind {
            const KIND: Kind = Kind::$kind;
        })*
    };
}
ours!(
    ServiceAccount,
    Role,
    RoleBinding,
    ConfigMap,
    NetworkPolicy,
    Service,
    Deployment,
    PodDisruptionBudget
);

/// One object as we want it to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
    /// Apply only onto this version: for what must not overwrite a change it has not seen.
    pub onto_version: Option<String>,
    /// Everything that we want to own, as it is sent.
    pub body: Value,
}

impl Wanted {
    /// `object` has a name and a namespace.
    pub fn new<T: Ours>(object: &T) -> Self {
        Self {
            kind: T::KIND,
            namespace: object.meta().namespace.clone().unwrap_or_default(),
            name: object.meta().name.clone().unwrap_or_default(),
            onto_version: None,
            body: serde_json::to_value(object).expect("Kubernetes objects are JSON"),
        }
    }

    /// What the annotation [`APPLIED_HASH`] says once this has been applied.
    pub fn hash(&self) -> String {
        short_hash(self.body.to_string().as_bytes(), 16)
    }
}

/// `Service triage`.
impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// An object of ours as it was last seen.
#[derive(Clone, Debug)]
pub struct Live {
    pub kind: Kind,
    pub object: std::sync::Arc<DynamicObject>,
}

impl Live {
    pub fn name(&self) -> &str {
        self.object.metadata.name.as_deref().unwrap_or_default()
    }

    pub fn label(&self, key: &str) -> Option<&str> {
        let labels = self.object.metadata.labels.as_ref()?;
        labels.get(key).map(String::as_str)
    }

    pub fn uid(&self) -> Option<&str> {
        self.object.metadata.uid.as_deref()
    }

    /// The object as its own type; nothing if it is of another kind.
    pub fn parse<T: Ours + serde::de::DeserializeOwned>(&self) -> Option<T> {
        if self.kind != T::KIND {
            return None;
        }
        self.object.as_ref().clone().try_parse().ok()
    }
}

/// The first `digits` hex digits of the SHA-256 of `bytes`.
pub fn short_hash(bytes: &[u8], digits: usize) -> String {
    let mut hex: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    hex.truncate(digits);
    hex
}
