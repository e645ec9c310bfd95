//! What differs, and that nothing of others is touched.

use std::convert::Infallible;
use std::sync::Mutex;

use http::{Method, Request, Response};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::client::Body;
use weir_process::{Process, ProcessArgs};

use super::*;
use crate::lease::Told;
use crate::metrics::OperatorMetrics;

fn wanted(data: &str) -> Wanted {
    Wanted::new(&ConfigMap {
        metadata: ObjectMeta {
            name: Some("a".into()),
            namespace: Some("ns".into()),
            ..ObjectMeta::default()
        },
        data: Some([("key".to_owned(), data.to_owned())].into()),
        ..ConfigMap::default()
    })
}

fn live(body: Value) -> DynamicObject {
    serde_json::from_value(body).unwrap()
}

#[test]
fn what_was_applied_and_not_touched_since_does_not_differ() {
    let wanted = wanted("1");
    assert!(!differs(&wanted, &live(body_to_send(&wanted, None))));
}

#[test]
fn an_object_out_of_a_list_which_does_not_say_its_kind_does_not_differ() {
    let wanted = wanted("1");
    let mut body = body_to_send(&wanted, None);
    for field in ["apiVersion", "kind"] {
        body.as_object_mut().unwrap().remove(field);
    }
    assert!(!differs(&wanted, &live(body)));
}

#[test]
fn what_somebody_changed_under_the_same_hash_differs() {
    let wanted = wanted("1");
    let mut body = body_to_send(&wanted, None);
    body["data"]["key"] = json!("2");
    assert!(differs(&wanted, &live(body)));
}

#[test]
fn a_field_that_is_no_longer_wanted_differs_though_the_rest_holds() {
    let mut before = wanted("1");
    before.body["data"]["other"] = json!("x");
    let live = live(body_to_send(&before, None));
    assert!(differs(&wanted("1"), &live));
}

#[test]
fn an_apply_names_the_object_that_was_read() {
    let before = live(
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "uid": "u"}}),
    );
    let body = body_to_send(&wanted("1"), Some(&before));
    assert_eq!(body["metadata"]["uid"], "u");
}

/// What an API server was asked: the method, and the version that the body names.
type Asked = Arc<Mutex<Vec<(Method, Option<String>)>>>;

/// An API server with this object, or none, under every name. It takes what is not onto another
/// version, and does not imitate that anything changes.
fn api_server(object: Option<Value>, asked: Asked) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let (object, asked) = (object.clone(), asked.clone());
        async move {
            let method = request.method().clone();
            let body = request.into_body().collect_bytes().await.unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let version = body["metadata"]["resourceVersion"].as_str();
            asked
                .lock()
                .unwrap()
                .push((method.clone(), version.map(str::to_owned)));
            let (status, said) = match (object, method) {
                (Some(_), Method::PATCH) if version.is_some() => (409, failure(409)),
                (None, Method::GET) => (404, failure(404)),
                (Some(object), Method::GET) => (200, object),
                (_, _) => (200, body),
            };
            let response = Response::builder().status(status);
            let body = Body::from(said.to_string().into_bytes());
            Ok::<_, Infallible>(response.body(body).unwrap())
        }
    });
    Client::new(service, "default")
}

fn failure(code: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code,
        "reason": "", "message": "",
    })
}

/// What comes of applying an object that is not seen where there is `object`, and what was asked.
async fn applied(object: Option<Value>) -> (Applied, Vec<(Method, Option<String>)>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let process = Process::start("weir-operator", &ProcessArgs::embedded()).unwrap();
    let (told, leadership) = Told::new();
    told.leads(1);
    let asked = Asked::default();
    let client = api_server(object, asked.clone());
    let writes = OperatorMetrics::register(process.metrics()).writes;
    let writer = Writer::new(client, leadership, Duration::from_secs(4), "one", writes);
    let applied = writer.apply(&[wanted("1")], &[], |_| false).await.unwrap();
    let asked = asked.lock().unwrap().clone();
    (applied, asked)
}

fn there(labels: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "a", "namespace": "ns", "uid": "u", "labels": labels },
    })
}

#[tokio::test]
async fn what_does_not_exist_is_made_with_one_call() {
    let (applied, asked) = applied(None).await;
    assert!(applied.taken.is_empty() && applied.refused.is_empty());
    assert_eq!(asked, [(Method::PATCH, Some("1".into()))]);
}

#[tokio::test]
async fn what_somebody_else_has_made_is_never_written_onto() {
    let (applied, asked) = applied(Some(there(json!({})))).await;
    assert_eq!(applied.taken, ["ConfigMap a: it was not made by weir"]);
    // A version that it cannot have, and nothing after what was read.
    let expected = [(Method::PATCH, Some("1".into())), (Method::GET, None)];
    assert_eq!(asked, expected);
}

#[tokio::test]
async fn what_is_ours_and_not_seen_yet_is_mended() {
    let ours = there(json!({ "app.kubernetes.io/managed-by": "weir" }));
    let (applied, asked) = applied(Some(ours)).await;
    assert_eq!(applied, Applied::default());
    assert_eq!(asked[2..], [(Method::PATCH, None)]);
}
