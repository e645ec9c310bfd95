//! The YAML files a user names, read into the two kinds.
//!
//! Documents of other kinds are listed and left alone, so that a folder made for `kubectl apply`
//! works here too; but for ConfigMaps that a deployment or a policy names. A field that neither kind has is
//! refused: there is no API server to warn.

mod config_maps;

use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;
use weir_crds::{ConfigMapKeyRef, RoutePolicy, SLMDeployment};
use weir_operator::deployment::entry::Entry;

use crate::laptop::Laptop;
use config_maps::{ConfigMaps, Reference};

/// Everything that the files said.
#[derive(Debug, Default)]
pub(crate) struct Manifests {
    pub(crate) deployments: Vec<SLMDeployment>,
    pub(crate) policies: Vec<RoutePolicy>,
    config_maps: ConfigMaps,
    /// `Kind/name` of other kinds.
    others: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{origin} is not YAML: {message}")]
    Syntax { origin: String, message: String },
    #[error("{origin}: {kind}/{name}: {message}")]
    Object {
        origin: String,
        kind: String,
        name: String,
        message: String,
    },
    #[error("{0} holds no SLMDeployment and no RoutePolicy")]
    Empty(String),
    #[error("{kind}/{name} is there twice")]
    Twice { kind: &'static str, name: String },
}

/// Reads files, and of folders every `.yaml`, `.yml` and `.json` in them, in order of name.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Manifests, ManifestError> {
    let mut manifests = Manifests::default();
    for path in paths {
        for file in files(path)? {
            let text = fs::read_to_string(&file).map_err(|source| ManifestError::Read {
                path: file.clone(),
                source,
            })?;
            manifests.add(&file.display().to_string(), &text)?;
        }
    }
    if manifests.deployments.is_empty() && manifests.policies.is_empty() {
        let named: Vec<_> = paths.iter().map(|p| p.display().to_string()).collect();
        return Err(ManifestError::Empty(named.join(", ")));
    }
    Ok(manifests)
}

impl Manifests {
    /// Adds the documents of one file; `origin` names it in errors.
    pub(crate) fn add(&mut self, origin: &str, text: &str) -> Result<(), ManifestError> {
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(text).map_err(|error| ManifestError::Syntax {
                origin: origin.into(),
                message: error.to_string(),
            })?;
        for document in documents.into_iter().filter(|d| !d.is_null()) {
            self.add_document(origin, document)?;
        }
        Ok(())
    }

    /// What its chat template is to be read from; nothing where it names none.
    pub(crate) fn chat_template(
        &self,
        deployment: &SLMDeployment,
    ) -> Result<Option<Entry>, ManifestError> {
        let named = Reference::of(deployment);
        named
            .map(|named| self.config_maps.entry(&named))
            .transpose()
    }

    /// The entries that hold authorities of endpoints, each with what is there.
    pub(crate) fn ca_bundles(&self) -> Result<Vec<(&ConfigMapKeyRef, Entry)>, ManifestError> {
        let named = self.policies.iter().flat_map(Reference::of_bundles);
        let read = named.map(|named| Ok((named.named(), self.config_maps.entry(&named)?)));
        read.collect()
    }

    /// `Kind/name` of what nobody needs here.
    pub(crate) fn left_alone(&self) -> Vec<String> {
        let named = self.deployments.iter().filter_map(Reference::of);
        let named = named.chain(self.policies.iter().flat_map(Reference::of_bundles));
        let maps = self.config_maps.not_of(&named.collect::<Vec<_>>());
        self.others.iter().cloned().chain(maps).collect()
    }

    /// The same objects with what differs on a laptop.
    pub(crate) fn on(self, laptop: &Laptop) -> Self {
        Self {
            deployments: self
                .deployments
                .into_iter()
                .map(|d| laptop.deployment(d))
                .collect(),
            policies: self
                .policies
                .into_iter()
                .map(|p| laptop.policy(p))
                .collect(),
            ..self
        }
    }

    fn add_document(&mut self, origin: &str, document: Value) -> Result<(), ManifestError> {
        let text = |pointer| document.pointer(pointer).and_then(Value::as_str);
        let kind = text("/kind").unwrap_or("document without kind").to_owned();
        let name = text("/metadata/name").unwrap_or("(no name)").to_owned();
        let ours = text("/apiVersion") == Some("weir.dev/v1alpha1");
        let refused = |message| ManifestError::Object {
            origin: origin.into(),
            kind: kind.clone(),
            name: name.clone(),
            message,
        };
        match kind.as_str() {
            "SLMDeployment" if ours => {
                let object: SLMDeployment = typed(&document).map_err(refused)?;
                once(&self.deployments, "SLMDeployment", &name)?;
                self.deployments.push(object);
            }
            "RoutePolicy" if ours => {
                let object: RoutePolicy = typed(&document).map_err(refused)?;
                once(&self.policies, "RoutePolicy", &name)?;
                self.policies.push(object);
            }
            "ConfigMap" if text("/apiVersion") == Some("v1") => {
                self.config_maps.add(origin, document);
            }
            _ => self.others.push(format!("{kind}/{name}")),
        }
        Ok(())
    }
}

fn once<K: kube::Resource>(
    there: &[K],
    kind: &'static str,
    name: &str,
) -> Result<(), ManifestError> {
    if there.iter().any(|o| o.meta().name.as_deref() == Some(name)) {
        return Err(ManifestError::Twice {
            kind,
            name: name.into(),
        });
    }
    Ok(())
}

fn files(path: &Path) -> Result<Vec<PathBuf>, ManifestError> {
    let read = |source| ManifestError::Read {
        path: path.into(),
        source,
    };
    if !fs::metadata(path).map_err(read)?.is_dir() {
        return Ok(vec![path.into()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(read)? {
        let file = entry.map_err(read)?.path();
        let yaml = matches!(
            file.extension().and_then(|e| e.to_str()),
            Some("yaml" | "yml" | "json")
        );
        if yaml && file.is_file() {
            found.push(file);
        }
    }
    found.sort();
    Ok(found)
}

fn typed<K: DeserializeOwned>(document: &Value) -> Result<K, String> {
    if document
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .is_none()
    {
        return Err("metadata.name is missing".into());
    }
    let object: K = serde_json::from_value(document.clone()).map_err(|e| e.to_string())?;
    match weir_crds::unknown_fields(document) {
        unknown if unknown.is_empty() => Ok(object),
        unknown => Err(format!("unknown field {}", unknown.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(text: &str) -> Result<Manifests, ManifestError> {
        let mut manifests = Manifests::default();
        manifests.add("app.yaml", text)?;
        Ok(manifests)
    }

    const DEPLOYMENT: &str = "apiVersion: weir.dev/v1alpha1
kind: SLMDeployment
metadata: { name: triage }
spec: { model: { source: file:///models/triage } }
";

    #[test]
    fn other_kinds_are_listed_and_left_alone() {
        let manifests = add(&format!(
            "{DEPLOYMENT}---\napiVersion: v1\nkind: Service\nmetadata: {{ name: frontier }}\n"
        ))
        .unwrap();
        assert_eq!(manifests.deployments.len(), 1);
        assert_eq!(manifests.left_alone(), ["Service/frontier"]);
    }

    #[test]
    fn a_field_that_the_kind_does_not_have_is_refused_by_its_path() {
        let text = DEPLOYMENT.replace("source:", "sorce: x, source:");
        let error = add(&text).unwrap_err().to_string();
        assert!(error.contains("unknown field spec.model.sorce"), "{error}");
        assert!(error.contains("SLMDeployment/triage"), "{error}");
    }

    #[test]
    fn an_object_without_a_name_is_refused() {
        let error = add(&DEPLOYMENT.replace("name: triage", "")).unwrap_err();
        assert!(
            error.to_string().contains("metadata.name is missing"),
            "{error}"
        );
    }

    #[test]
    fn the_same_object_twice_is_refused() {
        let error = add(&format!("{DEPLOYMENT}---\n{DEPLOYMENT}")).unwrap_err();
        assert_eq!(error.to_string(), "SLMDeployment/triage is there twice");
    }

    #[test]
    fn what_is_not_yaml_names_its_file() {
        let error = add("a: [").unwrap_err().to_string();
        assert!(error.starts_with("app.yaml is not YAML"), "{error}");
    }
}
