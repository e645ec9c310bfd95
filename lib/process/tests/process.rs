//! A process as its neighbours see it: through the admin port, and in how it ends.

#![allow(
    clippy::unwrap_used,
    reason = "a test that panics has failed, and says so"
)]

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::bail;
use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use weir_process::prometheus_client::metrics::gauge::Gauge;
use weir_process::{Process, ProcessArgs};

fn started() -> Process {
    Process::start("weir-test", &ProcessArgs::embedded()).unwrap()
}

fn client() -> reqwest::Client {
    // The default client brings a TLS provider, which nobody has installed here.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

async fn fetch(process: &Process, path: &str) -> (u16, String) {
    let url = format!("http://{}{path}", process.admin_address());
    let response = client().get(url).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn readiness_names_the_gates_that_are_closed_while_liveness_is_given() {
    let process = started();
    let model = process.readiness().gate("model");
    let leader = process.readiness().gate("leader");
    model.close("loading, 40 %");
    leader.open();
    assert_eq!(fetch(&process, "/livez").await, (200, "alive\n".into()));
    assert_eq!(
        fetch(&process, "/readyz").await,
        (503, "not ready\nmodel: loading, 40 %\n".into())
    );
    model.open();
    assert_eq!(fetch(&process, "/readyz").await, (200, "ready\n".into()));
}

#[tokio::test]
async fn metrics_are_printed_with_their_prefix_and_the_build() {
    let process = started();
    let running = Gauge::<i64>::default();
    running.set(3);
    process
        .metrics()
        .register(|registry| registry.register("running", "Asks that run", running));
    let (status, text) = fetch(&process, "/metrics").await;
    assert_eq!(status, 200);
    assert!(text.contains("weir_test_running 3\n"), "{text}");
    assert!(
        text.contains("weir_build_info{component=\"weir-test\""),
        "{text}"
    );
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[tokio::test]
async fn the_log_level_is_changed_from_the_machine_itself_and_only_to_one_that_exists() {
    let process = started();
    let url = format!("http://{}/log-level", process.admin_address());
    let put = async |directives: &'static str| {
        let response = client().put(&url).body(directives).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    assert_eq!(
        put("warn,weir_test=debug\n").await,
        (200, "weir_test=debug,warn\n".into())
    );
    let (status, message) = put("weir_test=loud").await;
    assert_eq!(status, 400);
    assert!(message.contains("weir_test=loud"), "{message}");
    assert_eq!(
        fetch(&process, "/log-level").await,
        (200, "weir_test=debug,warn\n".into())
    );
    assert_eq!(put("info").await.0, 200);
}

#[tokio::test]
async fn routes_are_mounted_while_the_port_is_served() {
    let process = started();
    assert_eq!(fetch(&process, "/load").await.0, 404);
    process.mount(Router::new().route("/load", get(async || "{}")));
    process.mount(Router::new().route("/models", get(async || "[]")));
    assert_eq!(fetch(&process, "/load").await, (200, "{}".into()));
    assert_eq!(fetch(&process, "/models").await, (200, "[]".into()));
}

#[tokio::test]
async fn several_processes_live_in_one_and_share_nothing() {
    let (first, second) = (started(), started());
    first.readiness().gate("model");
    assert_eq!(fetch(&first, "/readyz").await.0, 503);
    assert_eq!(fetch(&second, "/readyz").await.0, 200);
    first.shutdown().begin("test");
    first.finish().await.unwrap();
    assert_eq!(fetch(&second, "/livez").await.0, 200);
}

#[tokio::test]
async fn a_taken_admin_port_is_an_error_that_names_it() {
    let first = started();
    let args = ProcessArgs {
        admin: first.admin_address(),
        ..ProcessArgs::embedded()
    };
    let error = Process::start("weir-test", &args).unwrap_err();
    assert!(
        format!("{error:#}").contains(&first.admin_address().to_string()),
        "{error:#}"
    );
}

#[tokio::test]
async fn the_end_comes_in_order() {
    let process = Process::start(
        "weir-test",
        &ProcessArgs {
            shutdown_delay: Duration::from_millis(50),
            ..ProcessArgs::embedded()
        },
    )
    .unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let (shutdown, readiness, seen) = (
        process.shutdown().clone(),
        process.readiness().clone(),
        Arc::clone(&order),
    );
    process.tasks().spawn_required("serve", async move {
        shutdown.begun().await;
        seen.lock().unwrap().push("told");
        assert!(
            !shutdown.is_draining(),
            "asks that are on their way are still accepted"
        );
        shutdown.draining().await;
        seen.lock().unwrap().push(if readiness.is_ready() {
            "ready"
        } else {
            "not ready"
        });
        tokio::task::yield_now().await;
        seen.lock().unwrap().push("drained");
        Ok(())
    });
    process.shutdown().begin("test");
    process.finish().await.unwrap();
    assert_eq!(*order.lock().unwrap(), ["told", "not ready", "drained"]);
}

#[tokio::test]
async fn an_answer_that_was_begun_is_finished_and_no_new_one_is_accepted() {
    let process = started();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (begun, has_begun) = oneshot::channel();
    let (release, released) = oneshot::channel::<()>();
    let once = Arc::new(Mutex::new(Some((begun, released))));
    let slow = get(async move || {
        let (begun, released) = once.lock().unwrap().take().unwrap();
        begun.send(()).unwrap();
        released.await.unwrap();
        "whole"
    });
    process.serve("http", listener, Router::new().route("/", slow));
    let answer = tokio::task::JoinSet::from_iter([async move {
        client()
            .get(format!("http://{address}"))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    }]);
    has_begun.await.unwrap();
    let draining = process.shutdown().draining();
    process.shutdown().begin("test");
    let (ended, ()) = tokio::join!(process.finish(), async {
        draining.await;
        // The listener is dropped by the server's own task, soon after draining begins.
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        release.send(()).unwrap();
    });
    ended.unwrap();
    assert_eq!(answer.join_all().await, ["whole"]);
}

#[tokio::test]
async fn what_does_not_drain_is_dropped_at_the_deadline() {
    let args = ProcessArgs {
        shutdown_deadline: Duration::from_millis(20),
        ..ProcessArgs::embedded()
    };
    let process = Process::start("weir-test", &args).unwrap();
    let (held, dropped) = oneshot::channel::<()>();
    process.tasks().spawn("stuck", async move {
        let _held = held;
        pending().await
    });
    process.shutdown().begin("test");
    process.finish().await.unwrap();
    assert!(
        dropped.await.is_err(),
        "the task's state was dropped with it"
    );
}

#[tokio::test]
async fn what_does_not_drain_may_say_so_before_the_deadline() {
    let args = ProcessArgs {
        shutdown_deadline: Duration::from_secs(2),
        ..ProcessArgs::embedded()
    };
    let process = Process::start("weir-test", &args).unwrap();
    let (shutdown, (said, heard)) = (process.shutdown().clone(), oneshot::channel());
    process.tasks().spawn("endless", async move {
        shutdown.closing().await;
        said.send("nothing more comes").unwrap();
    });
    process.shutdown().begin("test");
    process.finish().await.unwrap();
    assert_eq!(heard.await, Ok("nothing more comes"));
}

#[tokio::test]
async fn a_failure_that_ends_the_process_is_what_it_returns() {
    let process = started();
    process
        .tasks()
        .spawn_required("watch", async { bail!("lost the API server") });
    let error = process.finish().await.unwrap_err();
    assert_eq!(
        format!("{error:#}"),
        "task watch failed: lost the API server"
    );
}

#[tokio::test]
async fn a_part_ends_with_the_whole_and_its_failure_ends_the_whole() {
    let whole = started();
    let part = whole.child("weir-part", &ProcessArgs::embedded()).unwrap();
    part.tasks()
        .spawn_required("route", async { bail!("no table") });
    whole.tasks().spawn_required("router", part.finish());
    let error = whole.finish().await.unwrap_err();
    assert_eq!(
        format!("{error:#}"),
        "task router failed: task route failed: no table"
    );

    let whole = started();
    let part = whole.child("weir-part", &ProcessArgs::embedded()).unwrap();
    whole.shutdown().begin("test");
    part.finish().await.unwrap();
    whole.finish().await.unwrap();
}

#[tokio::test]
async fn a_process_that_is_dropped_leaves_no_task_and_no_port() {
    let process = started();
    let (held, dropped) = oneshot::channel::<()>();
    process.tasks().spawn("stuck", async move {
        let _held = held;
        pending().await
    });
    let address = process.admin_address();
    drop(process);
    assert!(dropped.await.is_err());
    while TcpListener::bind(address).await.is_err() {
        tokio::task::yield_now().await;
    }
}
