//! What each phase of an ask takes by itself: `bench/run router-phases`.
//!
//! Asks of kind `small` are recorded ones with a tool, of a kilobyte and less; `32 KB` are conversations of
//! twenty turns. Answers are recorded too, with a text and a call; reading and writing one takes the time
//! that is shown for as many events as it has.
#![allow(
    clippy::unwrap_used,
    reason = "a measurement that cannot begin has failed"
)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use weir_cascade::{Asked as Asks, Attempt, Config, Token};
use weir_crds::RoutePolicySpec;
use weir_policy::redact::Redaction;
use weir_policy::tier::{Endpoint, Tier};
use weir_policy::validate::Settings;
use weir_router::phases::{Asked, Decided};

macro_rules! recorded {
    ($name:literal) => {
        include_bytes!(concat!("../src/attempt/endpoint/recorded/", $name))
    };
}

/// A wire, a small ask on it, and an answer to that.
const WIRES: [(&str, &[u8], &[u8]); 4] = [
    ("openai.chat", recorded!("chat.json"), recorded!("chat.sse")),
    (
        "openai.responses",
        recorded!("responses.json"),
        recorded!("responses.sse"),
    ),
    (
        "anthropic.messages",
        recorded!("messages.json"),
        recorded!("messages.sse"),
    ),
    (
        "openai.completions",
        recorded!("completions.json"),
        recorded!("completions.sse"),
    ),
];

/// The kinds of endpoints.
const PROVIDERS: [&str; 3] = ["OpenAI", "OpenAICompatible", "Anthropic"];

const SENTENCE: &str = "The printer in room 4 shows an error since this morning, and I have tried the \
    usual things: paper, power, and the other cable that was in the drawer. ";

/// About so many bytes of text.
fn text(bytes: usize) -> String {
    SENTENCE.repeat(bytes / SENTENCE.len())
}

/// A conversation of twenty turns on a wire, about 32 KB of it.
fn long(wire: &str) -> Vec<u8> {
    let turn = |index: usize| {
        let role = if index.is_multiple_of(2) {
            "user"
        } else {
            "assistant"
        };
        json!({ "role": role, "content": text(1700) })
    };
    let turns: Vec<Value> = (0..21).map(turn).collect();
    let body = match wire {
        "openai.chat" => json!({ "model": "m", "stream": true, "messages": turns }),
        "openai.responses" => json!({ "model": "m", "stream": true, "input": turns }),
        "anthropic.messages" => {
            json!({ "model": "m", "stream": true, "max_tokens": 100, "messages": turns })
        }
        _ => json!({ "model": "m", "stream": true, "prompt": text(32 << 10) }),
    };
    body.to_string().into_bytes()
}

fn asked(wire: &str, body: &[u8]) -> Asked {
    Asked::decode(wire, body).unwrap()
}

fn settings(provider: &str, rules: Value) -> Settings {
    let spec: RoutePolicySpec = serde_json::from_value(json!({
        "models": ["m"],
        "tiers": [
            { "name": "small", "deployment": { "name": "triage" },
              "accept": { "task": "Choice", "threshold": "0.9" } },
            { "name": "big", "endpoint": { "provider": provider, "model": "big",
              "baseUrl": "http://127.0.0.1:1/v1", "defaultOutputTokens": 100 } },
        ],
        "rules": rules,
    }))
    .unwrap();
    weir_policy::validate::settings(&spec).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn endpoint(settings: &Settings) -> &Endpoint {
    settings.tiers.last().and_then(Tier::endpoint).unwrap()
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for (wire, small, _) in WIRES {
        for (size, body) in [("small", small.to_vec()), ("32 KB", long(wire))] {
            let id = BenchmarkId::new(wire, size);
            group.bench_function(id, |bencher| bencher.iter(|| asked(wire, black_box(&body))));
        }
    }
}

/// Rules of which only the last matches.
fn rules(kind: &str, count: usize) -> Value {
    let when = |index: usize| {
        let value = if index + 1 == count {
            "this".to_owned()
        } else {
            format!("other-{index}")
        };
        match kind {
            "header" => json!({ "header": { "name": "x-team", "values": [value] } }),
            "metadata" => json!({ "metadata": { "name": "team", "values": [value] } }),
            _ => json!({ "language": if value == "this" { "en" } else { "sv" } }),
        }
    };
    let rule = |index| json!({ "name": format!("rule-{index}"), "when": when(index), "then": { "start": "big" } });
    (0..count).map(rule).collect()
}

fn route(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route");
    let mut headers = HeaderMap::new();
    headers.insert("x-team", HeaderValue::from_static("this"));
    let body = json!({
        "model": "m", "metadata": { "team": "this" },
        "messages": [{ "role": "user", "content": text(500) }],
    });
    let ask = asked("openai.chat", body.to_string().as_bytes());
    for kind in ["header", "metadata", "language"] {
        for count in [1, 20, 100] {
            let settings = settings("OpenAI", rules(kind, count));
            assert_eq!(
                ask.rule(&settings, &headers),
                Some(&*format!("rule-{}", count - 1))
            );
            group.bench_function(
                BenchmarkId::new(kind, format!("{count} rules")),
                |bencher| {
                    // Each ask finds its language anew.
                    bencher.iter(|| ask.rule(black_box(&settings), &headers).map(str::len));
                },
            );
        }
    }
    let settings = settings("OpenAI", json!([]));
    group.bench_function(BenchmarkId::new("plan", "2 tiers"), |bencher| {
        bencher.iter(|| ask.plan(black_box(&settings), &headers));
    });
}

fn redact(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("redact");
    let redact = json!({ "kinds": ["Email", "Phone", "CreditCard", "IpAddress"] });
    let redaction = Redaction::compile(&serde_json::from_value(redact).unwrap()).unwrap();
    for kilobytes in [4, 64] {
        let plain = text(kilobytes << 10);
        let mut index = 0;
        let many: String = plain
            .split_inclusive(", ")
            .map(|part| {
                index += 1;
                format!("{part}user{index}@example.com, ")
            })
            .collect();
        let many = many[..plain.len()].to_owned();
        for (finds, text) in [("nothing to find", plain), ("much to find", many)] {
            let body = json!({ "model": "m", "messages": [{ "role": "user", "content": text }] });
            let found = redaction.apply(&mut body.clone()).unwrap().len();
            assert_eq!(
                found > 0,
                finds == "much to find",
                "{found} in {kilobytes} KB"
            );
            let id = BenchmarkId::new(format!("{kilobytes} KB"), format!("{finds} ({found})"));
            group.bench_function(id, |bencher| {
                let apply = |mut body| redaction.apply(&mut body).map(|found| (body, found.len()));
                bencher.iter_batched(|| body.clone(), apply, BatchSize::SmallInput);
            });
        }
    }
}

fn request(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("request");
    for provider in PROVIDERS {
        let settings = settings(provider, json!([]));
        for (wire, small, _) in WIRES {
            for (size, body) in [("small", small.to_vec()), ("32 KB", long(wire))] {
                let ask = asked(wire, &body);
                if ask.request(endpoint(&settings)).is_none() {
                    continue;
                }
                let id = BenchmarkId::new(format!("{wire} to {provider}"), size);
                group.bench_function(id, |bencher| {
                    bencher.iter(|| {
                        ask.request(black_box(endpoint(&settings)))
                            .map(|it| it.len())
                    });
                });
            }
        }
    }
}

/// The answers that come of a provider to asks on a wire: where both speak it, and where not.
const ANSWERED: [(&str, &str, &[u8]); 7] = [
    ("openai.chat", "OpenAI", recorded!("chat.sse")),
    ("openai.responses", "OpenAI", recorded!("responses.sse")),
    ("anthropic.messages", "Anthropic", recorded!("messages.sse")),
    ("openai.completions", "OpenAI", recorded!("completions.sse")),
    ("openai.chat", "Anthropic", recorded!("messages.sse")),
    ("openai.responses", "Anthropic", recorded!("messages.sse")),
    ("anthropic.messages", "OpenAI", recorded!("chat.sse")),
];

fn events(criterion: &mut Criterion) {
    for (wire, provider, answer) in ANSWERED {
        let (_, body, _) = WIRES.iter().find(|(known, ..)| *known == wire).unwrap();
        let (ask, settings) = (asked(wire, body), settings(provider, json!([])));
        let endpoint = endpoint(&settings);
        let answered = ask.read(endpoint, answer).expect("it is an answer");
        let name = format!("{wire} from {provider}");
        let came = answer.windows(5).filter(|five| five == b"data:").count() as u64;
        let mut group = criterion.benchmark_group("read");
        group.throughput(Throughput::Elements(came));
        group.bench_function(
            BenchmarkId::new(&name, format!("{came} events")),
            |bencher| {
                bencher.iter(|| {
                    ask.read(endpoint, black_box(answer))
                        .map(|read| read.events())
                });
            },
        );
        group.finish();
        let goes = answered.events() as u64;
        let mut group = criterion.benchmark_group("write");
        group.throughput(Throughput::Elements(goes));
        group.bench_function(
            BenchmarkId::new(&name, format!("{goes} events")),
            |bencher| {
                let write = |answered| ask.write(answered);
                bencher.iter_batched(|| answered.clone(), write, BatchSize::SmallInput);
            },
        );
    }
}

fn record(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("record");
    let decided = Decided::over(&settings("OpenAI", json!([])));
    group.bench_function(BenchmarkId::new("line", "2 attempts"), |bencher| {
        bencher.iter(|| black_box(&decided).line().len());
    });
}

/// An answer of 256 tokens as it comes of a replica: as evidence alone, and judged as well where that is due.
fn cascade(criterion: &mut Criterion) {
    let tokens = (0..=255_u8).map(|number| Token {
        logprob: -f32::from(number % 16) / 10.0,
        margin: 1.5,
        entropy: Some(0.4),
        ..Token::default()
    });
    let tokens: Vec<Token> = tokens.collect();
    let asked = Asks {
        choices: 1,
        max_tokens: Some(512),
        ..Asks::default()
    };
    let config = Config {
        threshold: Some(0.5),
        ..Config::default()
    };
    let begun = || Attempt::new(config.clone(), asked);
    let mut group = criterion.benchmark_group("cascade");
    group.throughput(Throughput::Elements(256));
    group.bench_function("evidence", |bencher| {
        let observe = |attempt: &mut Attempt| {
            for token in &tokens {
                attempt.observe(black_box(token));
            }
        };
        bencher.iter_batched_ref(begun, observe, BatchSize::SmallInput);
    });
    group.bench_function("evidence, words and verdicts", |bencher| {
        let judge = |attempt: &mut Attempt| {
            for token in &tokens {
                attempt.observe(black_box(token));
                attempt.text(black_box(" word"));
                black_box(attempt.checkpoint());
            }
        };
        bencher.iter_batched_ref(begun, judge, BatchSize::SmallInput);
    });
    group.finish();
}

criterion_group! {
    name = phases;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1));
    targets = decode, route, redact, request, events, cascade, record
}
criterion_main!(phases);
