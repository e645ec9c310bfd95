//! ConfigMaps among the files: nobody's here, but for those that a deployment or a policy names.
//!
//! One that nobody names is not looked into, and may be there as often as somebody likes.

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::Value;
use weir_crds::{ConfigMapKeyRef, RoutePolicy, SLMDeployment};
use weir_operator::deployment::entry::Entry;

use super::ManifestError;

/// Where objects are that name no namespace, if nobody says otherwise.
const NAMESPACE: &str = "default";

/// All of them, as they are written.
#[derive(Debug, Default)]
pub(super) struct ConfigMaps(Vec<Written>);

#[derive(Debug)]
struct Written {
    /// Of which file.
    origin: String,
    document: Value,
}

/// One entry, as a deployment or a policy names it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reference<'a> {
    namespace: &'a str,
    entry: &'a ConfigMapKeyRef,
}

impl<'a> Reference<'a> {
    /// What its chat template is to be read from, if it names that.
    pub(super) fn of(deployment: &'a SLMDeployment) -> Option<Self> {
        let template = deployment.spec.model.chat_template.as_ref()?;
        let namespace = deployment.metadata.namespace.as_deref();
        Some(Self {
            namespace: namespace.unwrap_or(NAMESPACE),
            entry: &template.config_map_ref,
        })
    }

    /// Where its endpoints' authorities are.
    pub(super) fn of_bundles(policy: &'a RoutePolicy) -> impl Iterator<Item = Self> {
        let namespace = policy.metadata.namespace.as_deref().unwrap_or(NAMESPACE);
        let endpoints = policy.spec.tiers.iter();
        let endpoints = endpoints.filter_map(|tier| tier.endpoint.as_ref());
        let bundles = endpoints.filter_map(|endpoint| endpoint.ca_bundle.as_ref());
        bundles.map(move |bundle| Self {
            namespace,
            entry: &bundle.config_map_ref,
        })
    }

    pub(super) fn named(&self) -> &'a ConfigMapKeyRef {
        self.entry
    }
}

impl ConfigMaps {
    pub(super) fn add(&mut self, origin: &str, document: Value) {
        self.0.push(Written {
            origin: origin.into(),
            document,
        });
    }

    /// What is there.
    ///
    /// # Errors
    /// Where the ConfigMap is there twice, or is none.
    pub(super) fn entry(&self, named: &Reference<'_>) -> Result<Entry, ManifestError> {
        let mut found = self.0.iter().filter(|written| written.is(named));
        let Some(written) = found.next() else {
            return Ok(Entry::NoConfigMap);
        };
        if found.next().is_some() {
            return Err(ManifestError::Twice {
                kind: "ConfigMap",
                name: named.entry.name.clone(),
            });
        }
        Ok(Entry::of(&written.read()?, &named.entry.key))
    }

    /// `Kind/name` of all but these.
    pub(super) fn not_of(&self, named: &[Reference<'_>]) -> Vec<String> {
        let others = self.0.iter();
        let others = others.filter(|written| !named.iter().any(|named| written.is(named)));
        others
            .map(|written| format!("ConfigMap/{}", written.name()))
            .collect()
    }
}

impl Written {
    fn is(&self, named: &Reference<'_>) -> bool {
        let namespace = self.text("/metadata/namespace").unwrap_or(NAMESPACE);
        namespace == named.namespace && self.name() == named.entry.name
    }

    fn read(&self) -> Result<ConfigMap, ManifestError> {
        serde_json::from_value(self.document.clone()).map_err(|error| ManifestError::Object {
            origin: self.origin.clone(),
            kind: "ConfigMap".into(),
            name: self.name().into(),
            message: error.to_string(),
        })
    }

    fn name(&self) -> &str {
        self.text("/metadata/name").unwrap_or("(no name)")
    }

    fn text(&self, pointer: &str) -> Option<&str> {
        self.document.pointer(pointer).and_then(Value::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Manifests;
    use super::*;

    const DEPLOYMENT: &str = "apiVersion: weir.dev/v1alpha1
kind: SLMDeployment
metadata: { name: triage, namespace: support }
spec:
  model:
    source: file:///models/triage
    chatTemplate: { configMapRef: { name: ours, key: chat } }
";

    fn map(metadata: &str, data: &str) -> String {
        format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{ {metadata} }}\ndata: {{ {data} }}\n"
        )
    }

    /// What the deployment reads where these are among the files, and what is left alone.
    fn read(deployment: &str, maps: &[String]) -> (Result<Entry, String>, Vec<String>) {
        let mut manifests = Manifests::default();
        let text = format!("{deployment}{}", maps.concat());
        manifests.add("app.yaml", &text).unwrap();
        let entry = manifests.chat_template(&manifests.deployments[0]);
        let entry = entry.map(Option::unwrap);
        (
            entry.map_err(|error| error.to_string()),
            manifests.left_alone(),
        )
    }

    fn text(text: &str) -> Result<Entry, String> {
        Ok(Entry::Text(text.into()))
    }

    #[test]
    fn a_config_map_that_nobody_names_is_left_alone_whatever_and_how_often_it_is() {
        let maps = [
            map("name: ca, namespace: sales", "a: x"),
            map("name: ca, namespace: support", "a: y"),
            map("name: ca, namespace: support", "a: y"),
            map("name: numbers", "a: 1"),
            map("", ""),
            map("name: ours, namespace: support", "chat: x"),
        ];
        let others = ["ca", "ca", "ca", "numbers", "(no name)"];
        let others = others.map(|name| format!("ConfigMap/{name}")).to_vec();
        assert_eq!(read(DEPLOYMENT, &maps), (text("x"), others));
    }

    #[test]
    fn a_template_is_of_the_deployments_own_namespace() {
        let maps = [
            map("name: ours", "chat: of no namespace"),
            map("name: ours, namespace: support", "chat: of support"),
        ];
        assert_eq!(
            read(DEPLOYMENT, &maps),
            (text("of support"), vec!["ConfigMap/ours".into()])
        );
        assert_eq!(read(DEPLOYMENT, &maps[..1]).0, Ok(Entry::NoConfigMap));
        let anywhere = DEPLOYMENT.replace(", namespace: support", "");
        assert_eq!(read(&anywhere, &maps).0, text("of no namespace"));
        let named = [map("name: ours, namespace: default", "other: x")];
        assert_eq!(read(&anywhere, &named).0, Ok(Entry::NoKey));
    }

    #[test]
    fn a_config_map_that_is_named_is_there_once_and_is_one() {
        let ours = "name: ours, namespace: support";
        let twice = [map(ours, "chat: x"), map(ours, "chat: y")];
        assert_eq!(
            read(DEPLOYMENT, &twice).0,
            Err("ConfigMap/ours is there twice".into())
        );
        let refused = read(DEPLOYMENT, &[map(ours, "chat: 1")]).0.unwrap_err();
        assert!(
            refused.starts_with("app.yaml: ConfigMap/ours: invalid type"),
            "{refused}"
        );
    }
}
