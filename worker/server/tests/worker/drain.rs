//! The end of a worker: what was begun is finished, new work is refused in its own protocol.

use futures::{StreamExt, future::join_all};
use reqwest::Response;
use serde_json::{Value, json};
use weir_worker_api::{ErrorCode, WatchRequest, detail_of};

use crate::harness::{Worker, about, endless, error_of, pieces};

/// Enough long answers to keep the worker busy while the test looks at it.
async fn keep_busy(worker: &Worker) -> Vec<Response> {
    let body = endless(json!({ "stream": true, "n": 4 }));
    let begun = join_all((0..12).map(|_| worker.post(&body).send())).await;
    begun.into_iter().map(Result::unwrap).collect()
}

#[tokio::test]
async fn answers_that_were_begun_are_finished_and_new_ones_refused() {
    let mut worker = Worker::start(&[]).await;
    let health = worker.get("/health").send().await.unwrap();
    assert_eq!(health.status(), 200);
    let begun = keep_busy(&worker).await;
    worker.terminate();
    let (status, error): (u16, Value) = loop {
        // Streamed, so that one which is still taken does not wait for its end.
        let body = about("hello", json!({ "stream": true }));
        let asked = worker.post(&body).send().await.unwrap();
        if asked.status() != 200 {
            assert!(asked.headers().contains_key("retry-after"));
            break error_of(asked).await;
        }
    };
    assert_eq!((status, &error["code"]), (503, &json!("draining")));
    let health = worker.get("/health").send().await.unwrap();
    assert_eq!(health.status(), 503);
    let (_, readiness) = worker.admin("/readyz").await;
    assert!(readiness.starts_with("not ready"), "{readiness}");
    for response in begun {
        let (all, ended) = pieces(response).await;
        assert!(ended, "the answer has its end mark");
        let finished = all
            .iter()
            .filter(|piece| piece["choices"][0]["finish_reason"] == "length");
        assert_eq!(finished.count(), 4);
    }
    assert!(worker.wait().await.success());
}

#[tokio::test]
async fn a_draining_worker_tells_routers_and_sends_them_elsewhere() {
    let mut worker = Worker::start(&[]).await;
    let mut client = worker.grpc().await;
    let begun = keep_busy(&worker).await;
    let mut watch = client.watch(WatchRequest {}).await.unwrap().into_inner();
    worker.terminate();
    while !watch.next().await.unwrap().unwrap().draining {}
    let status = loop {
        if let Err(status) = client.generate(crate::grpc::request("hello")).await {
            break status;
        }
    };
    let detail = detail_of(&status);
    assert_eq!(detail.code(), ErrorCode::Draining, "{status}");
    assert!(detail.retry_elsewhere);
    drop(begun);
    while watch.next().await.is_some() {}
    assert!(
        worker.wait().await.success(),
        "a watching router keeps no worker alive"
    );
}

#[tokio::test]
async fn an_answer_that_outlasts_the_drain_ends_with_an_error_of_its_own() {
    let mut worker = Worker::start(&["--drain", "250ms"]).await;
    let begun = keep_busy(&worker).await;
    worker.terminate();
    let mut cut = 0;
    for response in begun {
        let (all, _) = pieces(response).await;
        let last = all.last().unwrap();
        if last["choices"].is_null() {
            assert_eq!(last["error"]["code"], "draining", "{last}");
            cut += 1;
        }
    }
    assert!(cut > 0, "so many answers cannot end within the drain");
    assert!(worker.wait().await.success());
}
