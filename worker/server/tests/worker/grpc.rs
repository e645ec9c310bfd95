//! The contract over gRPC.

use futures::StreamExt;
use weir_worker_api::{
    self as api, ErrorCode, Evidence, FinishReason, GenerateRequest, detail_of,
    generate_event::Event, prompt::Form,
};

use crate::harness::Worker;

const CLEAR: &str = "Hello, I was charged twice for my subscription this month. Please help!";

pub fn prompt(ticket: &str) -> Option<api::Prompt> {
    let message = api::Message {
        role: "user".to_owned(),
        content: ticket.to_owned(),
        ..api::Message::default()
    };
    Some(api::Prompt {
        form: Some(Form::Chat(api::Chat {
            messages: vec![message],
            ..api::Chat::default()
        })),
    })
}

pub fn request(ticket: &str) -> GenerateRequest {
    GenerateRequest {
        prompt: prompt(ticket),
        ..GenerateRequest::default()
    }
}

pub fn endless(seed: u64, max_tokens: u32) -> GenerateRequest {
    GenerateRequest {
        sampling: Some(api::Sampling {
            temperature: Some(2.0),
            repetition_penalty: Some(3.0),
            seed: Some(seed),
            ..api::Sampling::default()
        }),
        limits: Some(api::Limits {
            max_tokens: Some(max_tokens),
            ignore_eos: true,
            ..api::Limits::default()
        }),
        ..request("hello")
    }
}

/// One choice, read to its end.
#[derive(Debug, Default, PartialEq)]
pub struct Read {
    pub started: api::Started,
    pub ids: Vec<u32>,
    pub evidence: Vec<Evidence>,
    pub text: String,
    pub finished: api::Finished,
}

pub async fn read(worker: &Worker, request: GenerateRequest) -> Read {
    let mut client = worker.grpc().await;
    let mut events = client.generate(request).await.unwrap().into_inner();
    let mut read = Read::default();
    while let Some(event) = events.next().await {
        match event.unwrap().event.unwrap() {
            Event::Started(started) => {
                assert!(read.started.prompt_ids.is_empty(), "started comes once");
                read.started = started;
            }
            Event::Tokens(tokens) => {
                assert!(!read.started.prompt_ids.is_empty(), "started comes first");
                for token in tokens.tokens {
                    read.ids.push(token.id);
                    read.evidence.push(token.evidence.unwrap());
                }
                read.text.push_str(&tokens.text);
            }
            Event::Prompt(_) => panic!("nobody asked for it"),
            Event::Finished(finished) => read.finished = finished,
        }
    }
    read
}

#[tokio::test]
async fn generate_says_what_a_resume_will_need_and_evidence_for_every_token() {
    let worker = Worker::start(&[]).await;
    let answer = read(&worker, request(CLEAR)).await;
    assert_eq!(answer.text, "billing");
    assert_eq!(answer.finished.reason(), FinishReason::Stop);
    assert_eq!(answer.finished.completion_tokens as usize, answer.ids.len());
    assert_eq!(
        answer.finished.prompt_tokens as usize,
        answer.started.prompt_ids.len()
    );
    assert_eq!(answer.evidence.len(), answer.ids.len());

    let mut client = worker.grpc().await;
    let tokenize = api::TokenizeRequest {
        prompt: prompt(CLEAR),
        ..api::TokenizeRequest::default()
    };
    let ids = client.tokenize(tokenize).await.unwrap().into_inner().ids;
    assert_eq!(ids, answer.started.prompt_ids);
    let as_ids = GenerateRequest {
        prompt: Some(api::Prompt {
            form: Some(Form::Tokens(api::TokenIds { ids })),
        }),
        ..GenerateRequest::default()
    };
    assert_eq!(read(&worker, as_ids).await.ids, answer.ids);
}

#[tokio::test]
async fn an_answer_is_resumed_on_another_replica_without_a_seam() {
    let (first, second) = (Worker::start(&[]).await, Worker::start(&[]).await);
    let whole = read(&first, endless(9, 40)).await;
    let described = second
        .grpc()
        .await
        .describe(api::DescribeRequest {})
        .await
        .unwrap()
        .into_inner();
    let resume = api::Resume {
        model_digest: described.model_digest,
        adapter_digest: String::new(),
        tokenizer_digest: described.tokenizer_digest,
        kernel_class: described.kernel_class,
        prompt_ids: whole.started.prompt_ids.clone(),
        seed: whole.started.seed,
        choices: vec![api::ChoiceProgress {
            choice: 0,
            produced: whole.ids[..17].to_vec(),
            sent_text_bytes: 5,
        }],
    };
    let resumed = GenerateRequest {
        resume: Some(resume.clone()),
        ..endless(0, 40)
    };
    let rest = read(&second, resumed.clone()).await;
    assert_eq!(rest.ids, whole.ids[17..]);
    assert_eq!(rest.evidence, whole.evidence[17..]);
    assert_eq!(rest.text, whole.text[5..]);
    assert_eq!(rest.finished, whole.finished);

    for (field, change) in [
        (
            "resume.model_digest",
            (|r: &mut api::Resume| r.model_digest.push('x')) as fn(&mut api::Resume),
        ),
        ("resume.tokenizer_digest", |r| r.tokenizer_digest.clear()),
        ("resume.adapter_digest", |r| r.adapter_digest.push('x')),
        ("resume.kernel_class", |r| r.kernel_class.push('x')),
    ] {
        let mut other = resume.clone();
        change(&mut other);
        let request = GenerateRequest {
            resume: Some(other),
            ..endless(0, 40)
        };
        let status = second.grpc().await.generate(request).await.unwrap_err();
        let detail = detail_of(&status);
        assert_eq!(
            (detail.code(), detail.field.as_str()),
            (ErrorCode::Mismatch, field)
        );
        assert!(detail.retry_elsewhere);
    }
}

#[tokio::test]
async fn an_unset_seed_is_drawn_and_told() {
    let worker = Worker::start(&[]).await;
    let mut free = endless(0, 12);
    free.sampling.as_mut().unwrap().seed = None;
    let first = read(&worker, free.clone()).await;
    assert_ne!(first.started.seed, read(&worker, free).await.started.seed);
    assert_eq!(
        read(&worker, endless(first.started.seed, 12)).await.ids,
        first.ids
    );
}

#[tokio::test]
async fn choose_scores_every_option_in_the_order_of_the_request() {
    let worker = Worker::start(&[]).await;
    let mut client = worker.grpc().await;
    let options = ["delivery", "billing", "general"].map(str::to_owned);
    let asked = api::ChooseRequest {
        prompt: prompt(CLEAR),
        options: options.to_vec(),
        ..api::ChooseRequest::default()
    };
    let chosen = client.choose(asked.clone()).await.unwrap().into_inner();
    let total: f64 = chosen.scores.iter().map(|score| score.probability).sum();
    assert!((total - 1.0).abs() < 1e-9);
    assert!(chosen.scores[1].probability > 0.9, "{chosen:?}");
    for (score, option) in chosen.scores.iter().zip(&options) {
        assert_eq!(&score.option, option);
        assert!(score.tokens > 0 && score.logprob < 0.0);
    }
    let again = client.choose(asked.clone()).await.unwrap().into_inner();
    assert_eq!(again.scores, chosen.scores);
    assert_eq!(
        (chosen.cached_tokens, again.cached_tokens),
        (0, (again.prompt_tokens - 1) / 16 * 16)
    );
    // The written answer says the same as its score.
    let written = read(&worker, request(CLEAR)).await;
    let sum: f64 = written.evidence.iter().map(|e| f64::from(e.logprob)).sum();
    assert!((sum - chosen.scores[1].logprob).abs() < 1e-4);

    for (wrong, field) in [
        (vec![], "options"),
        (vec!["one".to_owned()], "options"),
        (vec!["one".to_owned(), "one".to_owned()], "options"),
        (vec!["one".to_owned(), String::new()], "options"),
    ] {
        let request = api::ChooseRequest {
            options: wrong,
            ..asked.clone()
        };
        let detail = detail_of(&client.choose(request).await.unwrap_err());
        assert_eq!(
            (detail.code(), detail.field.as_str()),
            (ErrorCode::Invalid, field)
        );
    }
}

#[tokio::test]
async fn evidence_for_the_prompt_comes_once_and_before_the_answer() {
    let worker = Worker::start(&[]).await;
    let mut client = worker.grpc().await;
    let asked = GenerateRequest {
        prompt_logprobs: Some(2),
        choices: 2,
        spelled: true,
        ..endless(3, 4)
    };
    let mut events = client.generate(asked).await.unwrap().into_inner();
    let (mut started, mut told, mut written) = (None, Vec::new(), [0, 0]);
    while let Some(event) = events.next().await {
        match event.unwrap().event.unwrap() {
            Event::Started(first) => started = Some(first),
            Event::Prompt(prompt) => {
                assert_eq!(
                    written[0], 0,
                    "the choice that reads the prompt waits for it"
                );
                told.extend(prompt.tokens);
            }
            Event::Tokens(tokens) => written[tokens.choice as usize] += tokens.tokens.len(),
            Event::Finished(_) => {}
        }
    }
    let ids: Vec<u32> = told.iter().map(|token| token.id).collect();
    let started = started.unwrap();
    assert_eq!(ids, started.prompt_ids[1..]);
    let spelled: String = told.iter().map(|token| token.text.as_str()).collect();
    let whole = "<|begin|><|user|>hello<|end|><|assistant|>";
    assert_eq!(started.first_text + &spelled, whole);
    assert_eq!(started.prompt_text, "hello");
    assert!(
        told.iter()
            .all(|token| token.alternatives.len() == 2 && token.evidence.is_some())
    );
    assert_eq!(written, [4, 4]);
}

#[tokio::test]
async fn what_is_not_done_here_is_refused_by_name() {
    let worker = Worker::start(&[]).await;
    let mut client = worker.grpc().await;
    let constrained = GenerateRequest {
        constraint: Some(api::Constraint {
            form: Some(api::constraint::Form::Regex("a(".to_owned())),
        }),
        ..request("x")
    };
    let adapted = GenerateRequest {
        model: "triage:tickets".to_owned(),
        ..request("x")
    };
    let long = GenerateRequest {
        prompt: Some(api::Prompt {
            form: Some(Form::Text("parcel ".repeat(900))),
        }),
        ..GenerateRequest::default()
    };
    let foreign = GenerateRequest {
        prompt: Some(api::Prompt {
            form: Some(Form::Tokens(api::TokenIds { ids: vec![1 << 20] })),
        }),
        ..GenerateRequest::default()
    };
    let greedy_for_logprobs = GenerateRequest {
        prompt_logprobs: Some(21),
        ..request("x")
    };
    let resumed = GenerateRequest {
        prompt_logprobs: Some(1),
        resume: Some(api::Resume::default()),
        ..request("x")
    };
    let silent = endless(1, 0);
    for (request, code, field) in [
        (constrained, ErrorCode::Invalid, "constraint"),
        (adapted, ErrorCode::UnknownModel, "model"),
        (long, ErrorCode::TooLong, "prompt"),
        (foreign, ErrorCode::Invalid, "prompt.tokens"),
        (GenerateRequest::default(), ErrorCode::Invalid, "prompt"),
        (greedy_for_logprobs, ErrorCode::Invalid, "prompt_logprobs"),
        (resumed, ErrorCode::Invalid, "prompt_logprobs"),
        (silent, ErrorCode::Invalid, "limits.max_tokens"),
    ] {
        let detail = detail_of(&client.generate(request).await.unwrap_err());
        assert_eq!((detail.code(), detail.field.as_str()), (code, field));
        assert!(!detail.retry_elsewhere);
    }
    let nothing = client.embed(api::EmbedRequest::default()).await;
    let detail = detail_of(&nothing.unwrap_err());
    assert_eq!(
        (detail.code(), detail.field.as_str()),
        (ErrorCode::Invalid, "inputs")
    );
}

#[tokio::test]
async fn a_closed_stream_frees_its_place_and_watch_tells_of_it() {
    let worker = Worker::start(&["--max-sequences=8"]).await;
    let mut client = worker.grpc().await;
    let mut watch = client
        .watch(api::WatchRequest {})
        .await
        .unwrap()
        .into_inner();
    let first = watch.next().await.unwrap().unwrap();
    assert_eq!((first.running, first.draining), (0, false));
    assert_eq!(first.blocks_total % first.max_sequences, 0);
    let mut events = client.generate(endless(1, 500)).await.unwrap().into_inner();
    events.next().await.unwrap().unwrap();
    while watch.next().await.unwrap().unwrap().blocks_used == 0 {}
    drop(events);
    loop {
        let event = watch.next().await.unwrap().unwrap();
        if event.running == 0 && event.blocks_used == 0 {
            break;
        }
    }
}
