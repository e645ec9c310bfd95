//! The harness' own promises about the API server that most tests use.

use std::path::Path;
use std::{fs, process};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, ListParams};
use weir_e2e::ApiServer;

#[tokio::test]
async fn an_api_server_serves_our_two_kinds() {
    let server = ApiServer::shared().await;
    let resources = server
        .kubectl()
        .run("api-resources --api-group=weir.dev -o name")
        .unwrap();
    let mut names: Vec<&str> = resources.lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["routepolicies.weir.dev", "slmdeployments.weir.dev"]);
}

#[tokio::test]
async fn a_test_has_a_namespace_to_itself() {
    let server = ApiServer::shared().await;
    let [mine, yours] = [
        server.namespace("mine").await,
        server.namespace("yours").await,
    ];
    let yaml = format!(
        "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: noted, namespace: {mine}}}}}"
    );
    server.kubectl().apply(&yaml).unwrap();
    let client = server.client().await;
    let count = async |namespace: &str| {
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        maps.list(&ListParams::default()).await.unwrap().items.len()
    };
    assert_eq!(count(&mine).await, 1);
    assert_eq!(count(&yours).await, 0);
}

#[tokio::test]
async fn an_api_server_that_is_dropped_leaves_nothing() {
    let server = ApiServer::start().await.unwrap();
    let Some(folder) = server.folder().map(Path::to_path_buf) else {
        return; // The user's own, which stays.
    };
    let pid = fs::read_to_string(folder.join("kube-apiserver.pid")).unwrap();
    drop(server);
    assert!(!folder.exists());
    let args = process::Command::new("ps")
        .args(["-o", "args=", "-p", &pid])
        .output()
        .unwrap();
    assert!(!String::from_utf8_lossy(&args.stdout).contains("kube-apiserver"));
}

#[tokio::test]
async fn namespaces_on_a_cluster_of_the_users_go_and_no_other_does() {
    let server = ApiServer::shared().await;
    let stays = server.namespace("stays").await;
    let of_the_user = ApiServer::of_the_user(server.kubeconfig().into()).unwrap();
    let goes = of_the_user.namespace("goes").await;
    drop(of_the_user);
    let namespaces: Api<Namespace> = Api::all(server.client().await);
    let is_going = async |name: &str| {
        let found = namespaces.get_opt(name).await.unwrap();
        found.is_none_or(|found| found.metadata.deletion_timestamp.is_some())
    };
    assert!(is_going(&goes).await);
    assert!(!is_going(&stays).await);
}
