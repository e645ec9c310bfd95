//! What server-side apply makes of nulls and of several managers.

use weir_e2e::{ApiServer, Said};

async fn apply(namespace: &str, flags: &str, yaml: &str) -> Said {
    let server = ApiServer::shared().await;
    let arguments = format!("apply --namespace {namespace} --output json {flags} --filename -");
    server.kubectl().said(&arguments, yaml).unwrap()
}

fn deployment(spec: &str) -> String {
    format!(
        "{{apiVersion: weir.dev/v1alpha1, kind: SLMDeployment, metadata: {{name: triage}}, spec: {spec}}}"
    )
}

fn policy(rest: &str) -> String {
    format!(
        "{{apiVersion: weir.dev/v1alpha1, kind: RoutePolicy, metadata: {{name: support}}, spec: \
         {{models: [m], tiers: [{{name: small, deployment: {{name: triage}}}}], {rest}}}}}"
    )
}

fn spec(said: &Said) -> serde_json::Value {
    assert!(said.ok, "{}", said.stderr);
    serde_json::from_str::<serde_json::Value>(&said.stdout).unwrap()["spec"].take()
}

#[tokio::test]
async fn kubectl_apply_drops_a_null() {
    let namespace = ApiServer::shared().await.namespace("null").await;
    let yaml = deployment(
        "{model: {source: pvc://m/t, revision: null}, replicas: null, scaling: null, drain: null, cache: null}",
    );
    let deployment = spec(&apply(&namespace, "", &yaml).await);
    for absent in ["/replicas", "/cache", "/model/revision"] {
        assert_eq!(deployment.pointer(absent), None, "{absent}");
    }
    assert_eq!(deployment["scaling"]["max"], 1);
    assert_eq!(deployment["drain"], "2m");

    let policy = spec(
        &apply(
            &namespace,
            "",
            &policy("quality: null, auth: null, timeout: null"),
        )
        .await,
    );
    assert_eq!((policy.get("quality"), policy.get("auth")), (None, None));
    assert_eq!(policy["timeout"], "2m");
}

#[tokio::test]
async fn server_side_apply_refuses_a_null_by_name() {
    let namespace = ApiServer::shared().await.namespace("null").await;
    for (yaml, field) in [
        (
            deployment("{model: {source: pvc://m/t}, replicas: null}"),
            "spec.replicas",
        ),
        (
            deployment("{model: {source: pvc://m/t}, cache: null}"),
            "spec.cache",
        ),
        (
            deployment("{model: {source: pvc://m/t, revision: null}}"),
            "spec.model.revision",
        ),
        (policy("quality: null"), "spec.quality"),
        (policy("auth: null"), "spec.auth"),
    ] {
        let said = apply(&namespace, "--server-side", &yaml).await;
        assert!(!said.ok, "{field}: {}", said.stdout);
        let refusal = format!("{field}: Invalid value: \"null\"");
        assert!(said.stderr.contains(&refusal), "{field}: {}", said.stderr);
    }
}

#[tokio::test]
async fn two_managers_of_different_fields_do_not_fight() {
    let namespace = ApiServer::shared().await.namespace("managers").await;
    let git = deployment(
        "{model: {source: pvc://m/t}, scaling: {max: 4}, rollout: {guard: {minAsks: 50}}}",
    );
    let autoscaler = deployment("{replicas: 3, scaling: {hold: {wait: 1m}}}");
    for _ in 0..2 {
        spec(&apply(&namespace, "--server-side --field-manager git", &git).await);
        spec(
            &apply(
                &namespace,
                "--server-side --field-manager autoscaler",
                &autoscaler,
            )
            .await,
        );
    }
    let server = ApiServer::shared().await;
    let get = format!("get slm triage --namespace {namespace} --output");
    let both = server
        .kubectl()
        .run(&format!(
            "{get} jsonpath={{.spec.scaling.max}},{{.spec.replicas}},{{.spec.scaling.hold.wait}},{{.metadata.generation}}"
        ))
        .unwrap();
    // The second round changed nothing, so that the generation counts two applies.
    assert_eq!(both, "4,3,1m,2");

    let other = deployment("{model: {source: pvc://m/t}, scaling: {max: 5}}");
    let said = apply(&namespace, "--server-side --field-manager other", &other).await;
    assert!(said.stderr.contains(".spec.scaling.max"), "{}", said.stderr);

    // Whoever stops naming a field gives it back to its default.
    let less = deployment("{model: {source: pvc://m/t}}");
    let git = spec(&apply(&namespace, "--server-side --field-manager git", &less).await);
    assert_eq!(
        (&git["scaling"]["max"], &git["replicas"]),
        (&1.into(), &3.into())
    );
}

#[tokio::test]
async fn a_manager_of_status_leaves_the_spec_to_its_owners() {
    let namespace = ApiServer::shared().await.namespace("status").await;
    spec(
        &apply(
            &namespace,
            "--server-side --field-manager git",
            &policy("timeout: 1m"),
        )
        .await,
    );
    let status = "{apiVersion: weir.dev/v1alpha1, kind: RoutePolicy, metadata: {name: support}, status: \
                  {observedGeneration: 1, tiers: [{name: small, ready: true}]}}";
    let flags = "--server-side --subresource status --field-manager weir-operator";
    spec(&apply(&namespace, flags, status).await);
    let again = apply(
        &namespace,
        "--server-side --field-manager git",
        &policy("timeout: 1m"),
    )
    .await;
    let again: serde_json::Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(again["status"]["tiers"][0]["ready"], true);
    assert_eq!(again["metadata"]["generation"], 1);
}
