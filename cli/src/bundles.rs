//! Certificate authorities of endpoints, from ConfigMaps among the files to where the router reads
//! them.

use std::fs;
use std::path::Path;

use anyhow::Context;
use weir_crds::{is_entry_name, is_object_name};

use crate::manifests::Manifests;

/// Writes each entry below `root`, in a folder of its ConfigMap. Gives in words what is not there:
/// without it a tier is out, and nothing else.
pub(crate) fn lay_out(manifests: &Manifests, root: &Path) -> anyhow::Result<Vec<String>> {
    let mut missing = Vec::new();
    for (named, entry) in manifests.ca_bundles()? {
        // What is no name is refused with its policy.
        if !is_object_name(&named.name) || !is_entry_name(&named.key) {
            continue;
        }
        let folder = root.join(&named.name);
        let file = folder.join(&named.key);
        let Ok(text) = entry.text("caBundle", named) else {
            // Of an earlier run.
            let _ = fs::remove_file(&file);
            missing.push(format!(
                "tiers whose caBundle is in ConfigMap/{}: it has no text under {}",
                named.name, named.key
            ));
            continue;
        };
        let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&file, text));
        written.with_context(|| format!("write {}", file.display()))?;
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "apiVersion: weir.dev/v1alpha1
kind: RoutePolicy
metadata: { name: support, namespace: support }
spec:
  models: [assistant]
  tiers:
    - name: one
      endpoint:
        provider: OpenAI
        model: big
        caBundle: { configMapRef: { name: ours, key: ca.pem } }
    - name: two
      endpoint:
        provider: OpenAI
        model: big
        caBundle: { configMapRef: { name: theirs, key: ca.pem } }
";

    const OURS: &str = "apiVersion: v1
kind: ConfigMap
metadata: { name: ours, namespace: support }
data: { ca.pem: certificates }
";

    #[test]
    fn authorities_lie_where_the_router_looks_and_what_is_missing_is_named() {
        let mut manifests = Manifests::default();
        manifests.add("policy.yaml", POLICY).unwrap();
        manifests.add("ours.yaml", OURS).unwrap();
        let other = OURS.replace("ours", "other");
        manifests.add("other.yaml", &other).unwrap();
        assert_eq!(manifests.left_alone(), ["ConfigMap/other"]);
        let root = tempfile::tempdir().unwrap();
        let stale = root.path().join("theirs");
        fs::create_dir_all(&stale).unwrap();
        fs::write(stale.join("ca.pem"), "of yesterday").unwrap();
        let missing = lay_out(&manifests, root.path()).unwrap();
        let laid_out = fs::read_to_string(root.path().join("ours/ca.pem")).unwrap();
        assert_eq!(laid_out, "certificates");
        assert!(!stale.join("ca.pem").exists());
        assert_eq!(
            missing,
            ["tiers whose caBundle is in ConfigMap/theirs: it has no text under ca.pem"]
        );
    }
}
