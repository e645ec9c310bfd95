//! More requests than there is room for, and clients that go away.

use std::{io::Write, net::TcpStream};

use futures::{StreamExt, future::join_all};
use serde_json::json;

use crate::harness::{Worker, about, endless, error_of};

#[tokio::test]
async fn a_full_queue_answers_429_with_a_time_to_come_back_and_loses_nobody() {
    let worker = Worker::start(&["--max-sequences=8", "--max-waiting=4"]).await;
    let body = endless(json!({ "max_tokens": 120 }));
    let responses = join_all((0..40).map(|_| worker.post(&body).send())).await;
    let (mut answered, mut refused) = (0, 0);
    for response in responses {
        let response = response.unwrap();
        if response.status() == 200 {
            answered += 1;
            continue;
        }
        refused += 1;
        let wait = response.headers()["retry-after"].to_str().unwrap();
        assert!((1..=120).contains(&wait.parse::<u32>().unwrap()));
        let (status, error) = error_of(response).await;
        assert_eq!((status, &error["code"]), (429, &json!("overloaded")));
    }
    assert!(
        answered >= 12,
        "those with a place are answered: {answered}"
    );
    assert!(refused > 0, "40 requests at once do not fit");
    worker.until_idle().await;
    worker.chat(&about("Where is my parcel?", json!({}))).await;
}

#[tokio::test]
async fn a_client_that_leaves_mid_stream_ends_the_work_and_the_next_is_served() {
    let worker = Worker::start(&[]).await;
    let body = endless(json!({ "stream": true }));
    let response = worker.post(&body).send().await.unwrap();
    let mut stream = response.bytes_stream();
    stream.next().await.unwrap().unwrap();
    worker.until(|load| load["running"] == 1).await;
    drop(stream);
    worker.until_idle().await;
    let (_, metrics) = worker.admin("/metrics").await;
    assert!(
        metrics.contains("weir_worker_kv_used_ratio 0.0"),
        "{metrics}"
    );
    let cancelled = "weir_worker_requests_total{call=\"generate\",outcome=\"cancelled\"} 1";
    assert!(metrics.contains(cancelled), "{metrics}");
    worker.chat(&about("Where is my parcel?", json!({}))).await;
}

#[tokio::test]
async fn a_client_that_leaves_before_its_whole_answer_ends_the_work() {
    let worker = Worker::start(&[]).await;
    let body = endless(json!({ "n": 8 }));
    {
        let mut request = Box::pin(worker.post(&body).send());
        tokio::select! {
            _ = &mut request => panic!("the answer cannot be there yet"),
            () = worker.until(|load| load["running"] == 8) => {}
        }
    }
    worker.until_idle().await;
}

#[tokio::test]
async fn clients_that_send_little_or_nothing_keep_nobody_out() {
    let worker = Worker::start(&[]).await;
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{";
    let _silent: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = TcpStream::connect(worker.address).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    for _ in 0..20 {
        let body = about("Where is my parcel?", json!({ "max_tokens": 1 }));
        worker.chat(&body).await;
    }
}

#[tokio::test]
async fn more_choices_than_ever_fit_are_refused_for_good() {
    let worker = Worker::start(&["--max-sequences=2", "--max-waiting=2"]).await;
    let (status, error) = worker.refused(&about("hello", json!({ "n": 8 }))).await;
    assert_eq!((status, &error["param"]), (400, &json!("n")));
    let four = about("hello", json!({ "n": 4, "max_tokens": 2 }));
    assert_eq!(
        worker.chat(&four).await["choices"]
            .as_array()
            .unwrap()
            .len(),
        4
    );
}

#[tokio::test]
async fn a_batch_that_has_begun_is_not_refused_for_those_who_come_later() {
    let worker = Worker::start(&["--max-sequences=1", "--max-waiting=1"]).await;
    let texts: Vec<String> = (0..200).map(|index| format!("Parcel {index}")).collect();
    let ask = |path: &str, body| {
        let url = format!("http://{}{path}", worker.address);
        worker.client.post(url).json(&body).send()
    };
    let vectors = ask(
        "/v1/embeddings",
        json!({ "model": "triage", "input": texts }),
    );
    let prompts = json!({ "model": "triage", "prompt": texts, "max_tokens": 1 });
    let completions = ask("/v1/completions", prompts);
    let short = about("hello", json!({ "max_tokens": 1 }));
    let others = async {
        for _ in 0..200 {
            worker.post(&short).send().await.unwrap();
        }
    };
    let (vectors, completions, ()) = tokio::join!(vectors, completions, others);
    let statuses = [vectors, completions].map(|response| response.unwrap().status().as_u16());
    // One of the two may have found no place to begin at.
    assert!(statuses.contains(&200), "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 429].contains(status)));
    worker.until_idle().await;
}
