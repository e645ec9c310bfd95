//! Objects appear, are kept as they should be, and go; nothing foreign is touched.

use serde_json::json;

use crate::process::{SUPPORT, TRIAGE, World, until};

const SHARED: [&str; 1] = ["weir-router"];

#[tokio::test]
async fn a_deployment_and_a_policy_become_objects() {
    let world = World::new("objects").await;
    let _operator = world.operator("one");
    world.apply(TRIAGE);
    world.apply(SUPPORT);
    until("False/Starting".to_owned(), || {
        world.condition("slm/triage", "Ready")
    })
    .await;
    until("False/RouterUnavailable".to_owned(), || {
        world.condition("rpol/support", "Ready")
    })
    .await;

    let deployment = world.get("slm/triage").unwrap();
    let revision = deployment["status"]["rollout"]["stable"].as_str().unwrap();
    let replicas = format!("triage-{revision}");
    assert_eq!(
        world.managed("deployments"),
        [replicas.clone(), "weir-router".into()]
    );
    assert_eq!(
        world.managed("services"),
        ["triage".to_owned(), replicas.clone(), "weir-router".into()]
    );
    let mut maps = [
        replicas.as_str(),
        "triage-adapters",
        "triage-rollout",
        "weir-policies",
    ];
    maps.sort_unstable();
    assert_eq!(world.managed("configmaps"), maps);
    assert_eq!(
        world.managed("serviceaccounts"),
        ["weir-router", "weir-worker"]
    );
    for kind in ["roles", "rolebindings"] {
        assert_eq!(world.managed(kind), SHARED, "{kind}");
    }
    let budgets = world.managed("poddisruptionbudgets");
    assert_eq!(budgets, ["triage", "weir-router"]);
    let networks = world.managed("networkpolicies");
    assert_eq!(networks, ["weir-router", "weir-worker"]);

    let owner = |object: &str| world.get(object).unwrap()["metadata"]["ownerReferences"].clone();
    let uid = &deployment["metadata"]["uid"];
    assert_eq!(owner(&format!("deployment/{replicas}"))[0]["uid"], *uid);
    assert_eq!(
        owner("deployment/weir-router").as_array().unwrap().len(),
        2,
        "routers belong to both"
    );
    let events = world.kubectl("get events --output=custom-columns=:reason,:regarding.name");
    assert!(events.contains("Starting"), "{events}");
}

#[tokio::test]
async fn what_is_made_passes_restricted_pod_security() {
    let world = World::new("restricted").await;
    let label = "pod-security.kubernetes.io/enforce=restricted";
    world.kubectl(&format!("label namespace {} {label}", world.namespace));
    let _operator = world.operator("one");
    world.apply(&TRIAGE.replace("file:///models/triage", "pvc://models/triage"));
    world.apply(SUPPORT);
    until(2, || world.managed("deployments").len()).await;
    for name in world.managed("deployments") {
        let mut pod = world.get(&format!("deployment/{name}")).unwrap()["spec"]["template"].clone();
        pod["apiVersion"] = json!("v1");
        pod["kind"] = json!("Pod");
        pod["metadata"]["name"] = json!(name);
        // The API server judges it as it judges the pods of a ReplicaSet.
        world.apply(&pod.to_string());
    }
}

#[tokio::test]
async fn what_somebody_changed_is_put_back() {
    let world = World::new("drift").await;
    let _operator = world.operator("one");
    world.apply(TRIAGE);
    until(true, || world.get("deployment/weir-router").is_some()).await;
    world.kubectl("set image deployment/weir-router router=example.test/other:1");
    world.kubectl("delete service weir-router");
    let image = || {
        let router = world.get("deployment/weir-router").unwrap();
        let image = &router["spec"]["template"]["spec"]["containers"][0]["image"];
        image.as_str().unwrap().contains("weir-dev/router")
    };
    until(true, image).await;
    until(true, || world.get("service/weir-router").is_some()).await;
}

#[tokio::test]
async fn what_somebody_allowed_more_than_we_do_is_taken_back() {
    let world = World::new("allowed").await;
    let _operator = world.operator("one");
    world.apply(TRIAGE);
    for (object, list, more) in [
        ("networkpolicy/weir-worker", "/spec/egress", "{}"),
        (
            "role/weir-router",
            "/rules",
            r#"{"apiGroups":[""],"resources":["secrets"],"verbs":["get"]}"#,
        ),
    ] {
        until(true, || world.get(object).is_some()).await;
        let before = world.get(object).unwrap();
        let patch = format!(r#"[{{"op":"add","path":"{list}/-","value":{more}}}]"#);
        world.kubectl(&format!("patch {object} --type=json --patch={patch}"));
        let at = |object: serde_json::Value| object.pointer(list).cloned();
        let was = at(before);
        until(was, || at(world.get(object).unwrap())).await;
    }
}

#[tokio::test]
async fn a_foreign_object_is_not_adopted_and_its_name_is_taken() {
    let world = World::new("foreign").await;
    let service = "
apiVersion: v1
kind: Service
metadata: { name: triage, labels: { theirs: 'yes' } }
spec: { selector: { app: theirs }, ports: [{ port: 1234 }] }
";
    world.apply(service);
    let before = world.get("service/triage").unwrap();
    let _operator = world.operator("one");
    world.apply(TRIAGE);
    until("True/NameTaken".to_owned(), || {
        world.condition("slm/triage", "Stalled")
    })
    .await;
    assert_eq!(world.get("service/triage").unwrap(), before);
    assert_eq!(world.managed("deployments").len(), 2, "the rest is made");

    world.kubectl("delete service triage");
    until(String::new(), || world.condition("slm/triage", "Stalled")).await;
    let service = world.get("service/triage").unwrap();
    assert_eq!(service["spec"]["ports"][0]["port"], 80);
}

#[tokio::test]
async fn what_is_deleted_takes_its_objects_along() {
    let world = World::new("deletion").await;
    let _operator = world.operator("one");
    world.apply(TRIAGE);
    world.apply(SUPPORT);
    until(2, || world.managed("deployments").len()).await;
    world.kubectl("delete slm triage");
    until(vec!["weir-router".to_owned()], || {
        world.managed("deployments")
    })
    .await;
    until(vec!["weir-router".to_owned()], || world.managed("services")).await;
    world.kubectl("delete rpol support");
    let kinds =
        "deployments,services,configmaps,serviceaccounts,roles,rolebindings,poddisruptionbudgets";
    until(Vec::<String>::new(), || world.managed(kinds)).await;
}

#[tokio::test]
async fn other_namespaces_are_left_alone() {
    let world = World::new("mine").await;
    let other = World::new("other").await;
    let _operator = world.operator("one");
    other.apply(TRIAGE);
    world.apply(TRIAGE);
    until(2, || world.managed("deployments").len()).await;
    assert_eq!(other.managed("deployments"), Vec::<String>::new());
    assert_eq!(other.condition("slm/triage", "Ready"), "");
}
