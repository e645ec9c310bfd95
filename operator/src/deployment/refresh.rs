//! Which pods have not been told yet that their list of adapters is another one.
//!
//! A kubelet looks at mounted ConfigMaps each minute or so, and at once where its pod changes: so an
//! annotation of the pod says which list there is. Whether it says so changes nothing else.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::desired::{Desired, LIST};
use super::observe::Observed;
use crate::object::short_hash;

/// A hash of the list.
pub const ANNOTATION: &str = "weir.dev/adapters";

/// The pods to annotate, and what with.
pub fn stale<'a>(observed: &'a Observed, desired: &Desired) -> (Vec<&'a Pod>, String) {
    let data = desired.adapters.data.as_ref();
    let list = data
        .and_then(|data| data.get(LIST))
        .map_or("", String::as_str);
    let hash = short_hash(list.as_bytes(), 8);
    let is_stale = |pod: &Pod| {
        let told = pod.annotations().get(ANNOTATION);
        // Most deployments never have an adapter.
        let is_old = match told {
            Some(told) => *told != hash,
            None => list != "[]",
        };
        is_old && pod.metadata.deletion_timestamp.is_none()
    };
    let pods = observed.replicas.iter().map(|replica| &*replica.pod);
    (pods.filter(|pod| is_stale(pod)).collect(), hash)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};
    use weir_crds::SLMDeployment;

    use super::*;
    use crate::deployment::desired::{Given, desired};
    use crate::deployment::observe::Replica;
    use crate::deployment::validate::validate;
    use crate::reach::Reach;
    use crate::settings::Settings;

    fn pod(name: &str, annotation: Option<&str>, deleted: bool) -> Replica {
        let mut pod = json!({ "metadata": { "name": name } });
        if let Some(told) = annotation {
            pod["metadata"]["annotations"] = json!({ ANNOTATION: told });
        }
        if deleted {
            pod["metadata"]["deletionTimestamp"] = "2026-11-21T06:00:00Z".into();
        }
        Replica {
            revision: "new".into(),
            ready: true,
            pod: Arc::new(serde_json::from_value(pod).unwrap()),
            load: None,
        }
    }

    fn names(adapters: Value, replicas: Vec<Replica>) -> (Vec<String>, String) {
        let deployment: SLMDeployment = serde_json::from_value(json!({
            "apiVersion": "weir.dev/v1alpha1", "kind": "SLMDeployment",
            "metadata": { "name": "triage", "namespace": "support" },
            "spec": { "model": { "source": "file:///models/triage" }, "adapters": adapters },
        }))
        .unwrap();
        let valid = validate(&deployment, None).unwrap();
        let desired = desired(&valid, &Settings::default(), Given::default());
        let observed = Observed {
            deployment: deployment.clone(),
            owned: Vec::new(),
            revisions: Vec::new(),
            replicas,
            reach: Reach {
                routers: true,
                taken: Vec::new(),
            },
            chat_template: None,
        };
        let (pods, hash) = stale(&observed, &desired);
        (pods.iter().map(|pod| pod.name_any()).collect(), hash)
    }

    #[test]
    fn pods_are_told_of_another_list_once_and_those_without_adapters_never() {
        let list = json!([{ "name": "a", "source": "s3://m/a" }]);
        let (told, hash) = names(list.clone(), vec![pod("new", None, false)]);
        assert_eq!(told, ["new"]);
        let replicas = vec![
            pod("told", Some(&hash), false),
            pod("old", Some("0"), false),
            pod("leaving", None, true),
        ];
        assert_eq!(names(list, replicas).0, ["old"]);
        let replicas = vec![pod("never", None, false), pod("had", Some(&hash), false)];
        assert_eq!(names(json!([]), replicas).0, ["had"]);
    }
}
