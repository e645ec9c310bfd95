//! What is made of what the API server says, and of its silence.

use super::*;
use serde_json::json;

#[tokio::test(start_paused = true)]
async fn while_the_api_server_is_silent_the_world_of_the_last_run_is_served() {
    let process = Process::start("test", &weir_process::ProcessArgs::embedded()).unwrap();
    let (sender, mut worlds) = watch::channel(Arc::default());
    let replicas: Replicas = [("triage".into(), BTreeMap::new())].into();
    let follow = Follow {
        seen: Seen::default(),
        listed: watch::channel(Arc::default()).0,
        remembered: Some(World {
            replicas: replicas.clone(),
            ..World::default()
        }),
        worlds: sender,
        readiness: process.readiness().clone(),
    };
    let silent = stream::pending().boxed();
    let followed = async {
        worlds.changed().await.unwrap();
        worlds.borrow().replicas.clone()
    };
    tokio::select! {
        ended = follow.run(silent) => panic!("{ended:?}"),
        served = followed => assert_eq!(served, replicas),
    }
}

fn slice(name: &str, revision: &str, endpoints: serde_json::Value) -> EndpointSlice {
    serde_json::from_value(json!({
        "metadata": { "name": name, "labels": {
            labels::DEPLOYMENT: "triage", labels::REVISION: revision,
        } },
        "addressType": "IPv4",
        "ports": [{ "port": 8000 }],
        "endpoints": endpoints,
    }))
    .unwrap()
}

#[test]
fn ready_addresses_are_grouped_by_deployment_and_revision() {
    let slices = [
        slice(
            "a",
            "11111111",
            json!([
                { "addresses": ["10.0.0.1"], "conditions": { "ready": true } },
                { "addresses": ["10.0.0.2"], "conditions": { "ready": false } },
            ]),
        ),
        slice("b", "11111111", json!([{ "addresses": ["10.0.0.3"] }])),
        slice("c", "22222222", json!([])),
    ];
    let found = replicas(slices.iter());
    let of = |revision: &str| -> Vec<String> {
        found["triage"][revision]
            .iter()
            .map(SocketAddr::to_string)
            .collect()
    };
    assert_eq!(of("11111111"), ["10.0.0.1:8000", "10.0.0.3:8000"]);
    assert!(of("22222222").is_empty());
}

#[test]
fn the_name_of_a_port_says_that_a_server_is_not_ours() {
    let named = |name: &str, port: &str, address: &str| {
        let mut slice = slice(name, name, json!([{ "addresses": [address] }]));
        slice.ports = serde_json::from_value(json!([{ "name": port, "port": 8000 }])).unwrap();
        slice
    };
    let slices = [
        named("11111111", "worker", "10.0.0.1"),
        named("22222222", "openai", "10.0.0.2"),
    ];
    assert_eq!(replicas(slices.iter())["triage"].len(), 2);
    assert_eq!(
        foreign(slices.iter()),
        ["10.0.0.2:8000".parse().unwrap()].into()
    );
}

#[test]
fn routers_are_counted_once_in_slices_of_two_families() {
    let of = |family: &str, ready: &[(&str, bool)]| {
        let endpoints = ready.iter().map(
            |(address, ready)| json!({ "addresses": [address], "conditions": { "ready": ready } }),
        );
        let slice = json!({
            "metadata": { "name": family }, "addressType": family,
            "endpoints": endpoints.collect::<Vec<_>>(),
        });
        serde_json::from_value::<EndpointSlice>(slice).unwrap()
    };
    let four = of(
        "IPv4",
        &[("10.0.0.1", true), ("10.0.0.2", true), ("10.0.0.3", false)],
    );
    let six = of("IPv6", &[("fd00::1", true), ("fd00::2", true)]);
    assert_eq!(routers([&four, &six].into_iter()), 2);
    assert_eq!(routers([&four, &four].into_iter()), 2);
    assert_eq!(routers([].into_iter()), 0);
}

#[test]
fn an_object_that_is_not_understood_leaves_the_one_before() {
    let mut kept = Kept::<String>::default();
    let map = |name: &str| ConfigMap {
        metadata: serde_json::from_value(json!({ "name": name })).unwrap(),
        ..ConfigMap::default()
    };
    kept.take(Event::Init, |_: ConfigMap| Ok("listed".into()));
    kept.take(Event::InitApply(map("a")), |_| Ok("listed".into()));
    assert!(
        kept.objects.is_empty() && !kept.was_listed,
        "a list counts when it is whole"
    );
    kept.take(Event::InitDone, |_: ConfigMap| Err("unused".into()));
    kept.take(Event::Apply(map("a")), |_| Err("odd".into()));
    assert_eq!(*kept.objects["a"], "listed");
    kept.take(Event::Delete(map("a")), |_| Err("unused".into()));
    assert!(kept.objects.is_empty() && kept.was_listed);
}
