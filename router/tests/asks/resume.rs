//! Answers that are begun at one replica and go on at another.

use http::HeaderMap;
use serde_json::{Value, json};
use weir_worker_api::ErrorCode;

use crate::rig::{Rig, Setup, header, json_of, streamed, world};
use crate::worker::{Play, Scripted, sure};

const BEGUN: [Play; 2] = [Play::Say("bil", -0.01), Play::Die];

fn rest() -> Vec<Play> {
    vec![Play::Say("ling", -0.01), Play::End]
}

/// One that begins an answer and is lost, and goes on with those of others.
async fn replica(begin: &[Play], kernel_class: &'static str) -> Scripted {
    let worker = Scripted::start([begin.to_vec()]).await;
    worker.of(kernel_class, "tickets").goes_on(rest())
}

async fn rig(workers: &[Scripted], policy: Value) -> Rig {
    let rig = Rig::start(Setup {
        policy,
        workers: workers.to_vec(),
        ..Setup::default()
    })
    .await;
    for worker in workers {
        worker.until_known().await;
    }
    rig
}

/// The first attempt of an answer, once it is over.
async fn attempt(rig: &Rig, id: &str) -> Value {
    rig.until_counted("weir_router_asks_running 0").await;
    let path = format!("/v1/decisions/{id}");
    let record = rig.get(&path, HeaderMap::new()).await;
    json_of(record).await["attempts"][0].clone()
}

fn unheld() -> Value {
    json!({ "streaming": { "holdBack": "None" } })
}

#[tokio::test]
async fn a_stream_whose_replica_dies_goes_on_at_another_of_its_kind() {
    let workers = [replica(&BEGUN, "avx2").await, replica(&BEGUN, "avx2").await];
    let rig = rig(&workers, unheld()).await;
    let response = rig.ask(json!({ "stream": true })).await;
    let id = header(&response, "x-weir-decision");
    assert_eq!(streamed(response).await.text, "billing");

    let asked = workers.iter().flat_map(Scripted::asked);
    let (begun, resumed): (Vec<_>, Vec<_>) = asked.partition(|asked| asked.resume.is_none());
    assert_eq!((begun.len(), resumed.len()), (1, 1));
    let resume = resumed[0].resume.clone().unwrap();
    assert_eq!(resume.prompt_ids, [1, 2, 3]);
    assert_eq!(
        (resume.model_digest.as_str(), resume.kernel_class.as_str()),
        ("model", "avx2")
    );
    let progress = &resume.choices[0];
    assert_eq!(
        (progress.produced.as_slice(), progress.sent_text_bytes),
        (&[1][..], 3)
    );
    assert_eq!(resumed[0].prompt, begun[0].prompt);

    let attempt = attempt(&rig, &id).await;
    assert_eq!(
        (&attempt["outcome"], &attempt["resumed"]),
        (&json!("committed"), &json!(1))
    );
    let to = workers
        .iter()
        .find(|worker| worker.asked()[0].resume.is_some());
    assert_eq!(attempt["replica"], to.unwrap().address.to_string());
}

#[tokio::test]
async fn an_answer_that_is_held_back_goes_on_with_the_evidence_that_it_has() {
    let workers = [replica(&BEGUN, "avx2").await, replica(&BEGUN, "avx2").await];
    let rig = rig(&workers, json!({ "retries": { "max": 0 } })).await;
    let response = rig.ask(json!({})).await;
    assert_eq!(header(&response, "x-weir-tier"), "small");
    let score: f64 = header(&response, "x-weir-score").parse().unwrap();
    assert!(
        (0.97..0.99).contains(&score),
        "two tokens at -0.01: {score}"
    );
    let body = json_of(response).await;
    assert_eq!(body["choices"][0]["message"]["content"], "billing");
}

#[tokio::test]
async fn a_stream_whose_replica_falls_silent_goes_on_and_nobody_works_on_it_twice() {
    let begin = [Play::Say("bil", -0.01), Play::Hang];
    let workers = [replica(&begin, "avx2").await, replica(&begin, "avx2").await];
    let mut policy = unheld();
    policy["idleTimeout"] = "1s".into();
    let rig = rig(&workers, policy).await;
    let response = rig.ask(json!({ "stream": true })).await;
    assert_eq!(streamed(response).await.text, "billing");
    let cancelled = workers.iter().map(Scripted::cancelled).sum::<usize>();
    assert_eq!(cancelled, 1);
}

#[tokio::test]
async fn a_stream_is_not_continued_by_another_kind_and_ends_in_one_error() {
    let workers = [
        replica(&BEGUN, "avx2").await,
        replica(&BEGUN, "avx512").await,
    ];
    let mut policy = unheld();
    policy["idleTimeout"] = "1s".into();
    let rig = rig(&workers, policy).await;
    let response = rig.ask(json!({ "stream": true })).await;
    let id = header(&response, "x-weir-decision");
    let stream = streamed(response).await;
    assert_eq!(stream.text, "bil");
    let last = stream.chunks.last().unwrap();
    assert_eq!(last["error"]["code"], "lost");
    let asked = workers.iter().flat_map(Scripted::asked);
    assert!(asked.clone().all(|asked| asked.resume.is_none()));
    assert_eq!(attempt(&rig, &id).await["outcome"], "lost");
}

#[tokio::test]
async fn a_prompt_whose_turn_comes_when_its_replica_is_gone_goes_on_elsewhere_under_the_same_stream()
 {
    let begin = || vec![Play::Say("bil", -0.01), Play::End];
    // Eight prompts are worked on at a time, so that the ninth is asked for when something was shown.
    let mut scripts = vec![begin(); 8];
    scripts.push(vec![Play::Refuse(ErrorCode::Starting)]);
    let mut workers = Vec::new();
    for _ in 0..2 {
        let worker = Scripted::start(scripts.clone()).await;
        workers.push(worker.of("avx2", "tickets").goes_on(rest()));
    }
    let rig = rig(&workers, unheld()).await;
    let prompts: Vec<String> = (0..9).map(|index| format!("p{index}")).collect();
    let body = json!({ "model": "assistant", "prompt": prompts, "stream": true });
    let request = rig.client.post(format!("{}/v1/completions", rig.url));
    let response = request.body(body.to_string()).send().await.unwrap();
    let stream = streamed(response).await;
    let choices = stream.chunks.iter().map(|chunk| &chunk["choices"][0]);
    let ended = choices.filter(|choice| choice["finish_reason"] == "stop");
    assert_eq!(ended.count(), 9, "{:?}", stream.chunks);
    assert!(stream.chunks.iter().all(|chunk| chunk["error"].is_null()));
    let refused = |worker: &Scripted| worker.asked().len() == 9;
    assert!(workers.iter().any(refused));
}

#[tokio::test]
async fn a_stream_waits_for_another_replica_to_come() {
    let begin = [Play::Say("bil", -0.01), Play::Wait, Play::Die];
    let first = replica(&begin, "avx2").await;
    let rig = rig(std::slice::from_ref(&first), unheld()).await;
    let mut response = rig.ask(json!({ "stream": true })).await;
    let mut text = String::new();
    while !text.contains("bil") {
        let chunk = response.chunk().await.unwrap().expect("more of it");
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    first.go_on();
    let second = replica(&BEGUN, "avx2").await;
    rig.follow(world(unheld(), &rig.frontier, &[second.address]))
        .await;
    let rest = response.text().await.unwrap();
    assert!(rest.contains("ling") && rest.contains("[DONE]"), "{rest}");
    assert!(!rest.contains("error"), "{rest}");
}

#[tokio::test]
async fn an_answer_is_not_carried_on_without_end() {
    let mut workers = Vec::new();
    for _ in 0..8 {
        let worker = replica(&BEGUN, "avx2").await;
        workers.push(worker.goes_on(BEGUN.to_vec()));
    }
    let mut policy = unheld();
    policy["idleTimeout"] = "1s".into();
    let rig = rig(&workers, policy).await;
    let stream = streamed(rig.ask(json!({ "stream": true })).await).await;
    assert_eq!(stream.text, "bil".repeat(5));
    assert_eq!(stream.chunks.last().unwrap()["error"]["code"], "lost");
}

#[tokio::test]
async fn a_conversation_stays_at_its_replica_as_it_goes_on() {
    let workers = [
        Scripted::start([sure()]).await,
        Scripted::start([sure()]).await,
        Scripted::start([sure()]).await,
    ];
    let rig = rig(&[], json!({})).await;
    let addresses: Vec<_> = workers.iter().map(|worker| worker.address).collect();
    rig.follow(world(json!({}), &rig.frontier, &addresses))
        .await;
    let mut places = Vec::new();
    for conversation in 0..12 {
        let first = json!({ "role": "user", "content": format!("Where is order {conversation}?") });
        let mut messages = vec![first];
        let before: Vec<usize> = workers.iter().map(|worker| worker.asked().len()).collect();
        for turn in 0..3 {
            rig.ask(json!({ "messages": messages })).await;
            messages.push(json!({ "role": "assistant", "content": "billing" }));
            messages.push(json!({ "role": "user", "content": format!("And then? {turn}") }));
        }
        let taken = workers.iter().zip(before);
        let taken: Vec<usize> = taken
            .map(|(worker, before)| worker.asked().len() - before)
            .collect();
        assert!(taken.contains(&3), "{taken:?}");
        places.push(taken.iter().position(|count| *count == 3));
    }
    assert!(
        places.iter().any(|place| *place != places[0]),
        "they are spread"
    );
}
