//! Endpoints that misbehave in every way there is: on every wire of theirs and of the client's, whole
//! and as a stream, each way has one outcome.

use futures::future::join_all;
use http::HeaderMap;
use serde_json::{Value, json};

use crate::rig::{QUESTION, Rig, Setup, merge};
use crate::wires::{KEY, Seen, Wire};

const PROVIDERS: [&str; 3] = ["OpenAICompatible", "OpenAI", "Anthropic"];

/// What is to come of a fault: the word that the record has for the attempt, and when it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The client does not notice.
    Whole,
    /// Before anything was shown.
    Before(&'static str),
    /// Behind the first word of a stream.
    After(&'static str),
}

use Outcome::{After, Before, Whole};

/// Every fault of the stand-in that takes no time.
const AT_ONCE: [(&str, Outcome); 39] = [
    ("status=400", Before("refused")),
    ("status=401", Before("credential_refused")),
    ("status=403", Before("credential_refused")),
    ("status=404", Before("not_found")),
    ("status=405", Before("not_found")),
    ("status=408", Before("too_slow")),
    ("status=500", Before("broken")),
    ("status=503", Before("overloaded")),
    ("status=529", Before("overloaded")),
    ("throttle=1s", Before("overloaded")),
    ("redirect=http://127.0.0.1:1/", Before("broken")),
    ("reset-after-bytes=0", Before("lost")),
    ("reset-after-bytes=40", Before("lost")),
    ("cut-after=0", Before("lost")),
    ("cut-after=1", After("lost")),
    ("error-after=0", Before("broken")),
    ("error-after=1", After("broken")),
    ("garbage-after=0", Before("lost")),
    ("garbage-after=1", After("lost")),
    ("half-event-after=0", Before("lost")),
    ("half-event-after=1", After("lost")),
    ("garbage", Before("lost")),
    ("error-in-200", Before("broken")),
    ("wrong-type", Before("broken")),
    ("compressed", Before("broken")),
    ("big-line=5000000", Before("broken")),
    ("big-line=9999", Whole),
    ("trailing=9", Whole),
    ("trailing=5000000", Whole),
    ("split-utf8", Whole),
    ("crlf", Whole),
    ("wrong-usage=negative", Whole),
    ("wrong-usage=huge", Whole),
    ("wrong-usage=text", Whole),
    ("wrong-usage=missing", Whole),
    ("no-end-mark", Whole),
    ("no-finish", After("lost")),
    // Nothing is wrong: what the others are held against.
    ("stall=0s", Whole),
    ("slow-head=0s", Whole),
];

/// Those that are met by the endpoint's `firstByte` and `idle`, and by the policy's `timeout`.
const SLOW: [(&str, &str, Outcome); 6] = [
    ("stall=60s", "1m", Before("too_slow")),
    ("slow-head=60s", "1m", Before("too_slow")),
    ("hang-after=0", "1m", Before("too_slow")),
    ("hang-after=1", "1m", After("too_slow")),
    ("hang-at-end", "1m", Whole),
    ("drip=50ms", "2s", Before("too_slow")),
];

/// A policy whose only tier is the stand-in as this provider.
async fn rig(provider: &str, policy: Value) -> Rig {
    let then = json!({ "only": "frontier" });
    let key = json!({ "name": "frontier", "key": "api-key" });
    let endpoint = json!({ "provider": provider, "apiKeySecretRef": key });
    let mut all = json!({
        "rules": [{ "name": "up", "when": {}, "then": then }],
        "retries": { "max": 0 }, "tiers": [{}, { "endpoint": endpoint }],
    });
    merge(&mut all, policy);
    Rig::start(Setup {
        policy: all,
        secrets: &[("frontier", "api-key", KEY)],
        ..Setup::default()
    })
    .await
}

async fn see(rig: &Rig, wire: Wire, stream: bool) -> Seen {
    let body = wire.body(QUESTION, stream);
    let response = wire.ask(rig, &body, HeaderMap::new()).await;
    wire.see(response, stream).await
}

/// What a fault is to look like on this wire of this provider.
fn expected(fault: &str, outcome: Outcome, (provider, wire): (&str, Wire)) -> Outcome {
    match (fault, provider, wire) {
        // Here the end is in one event with all that is known of it.
        ("no-finish", "OpenAI", Wire::Responses) => Whole,
        ("no-end-mark", "OpenAI", Wire::Responses) => After("lost"),
        ("hang-at-end", "OpenAI", Wire::Responses) => After("too_slow"),
        _ => outcome,
    }
}

/// Holds what a client has seen against what is to come of the fault.
fn check(seen: &Seen, outcome: Outcome, wire: Wire, stream: bool, at: &str) {
    let (word, error) = match (outcome, seen) {
        (Whole, Seen::Whole(text)) => return assert!(text.starts_with("I am a stand-in"), "{at}"),
        (After(word), Seen::Broken(text, error)) if stream => {
            assert!(text.starts_with('I'), "{at}: {text:?}");
            if wire == Wire::Responses {
                assert_eq!(error["code"], "server_error", "{at}");
            }
            (word, error)
        }
        (Before(word) | After(word), Seen::Refused(status, error))
            if !stream || outcome == Before(word) =>
        {
            assert_eq!(*status, status_of(word, wire), "{at}");
            (word, error)
        }
        _ => panic!("{at}: {seen:?} where {outcome:?} should be"),
    };
    let message = error["message"].as_str().unwrap();
    let history = format!("(attempts: frontier {word})");
    assert!(message.ends_with(&history), "{at}: {message}");
    if wire == Wire::Messages {
        assert_eq!(error["type"], kind_of(word), "{at}");
    } else if matches!(seen, Seen::Refused(..)) || wire == Wire::Chat {
        assert_eq!(error["code"], word, "{at}");
    }
}

fn status_of(word: &str, wire: Wire) -> u16 {
    match word {
        "refused" => 400,
        "overloaded" if wire == Wire::Messages => 529,
        "overloaded" => 429,
        "too_slow" => 504,
        _ => 502,
    }
}

/// Anthropic's words.
fn kind_of(word: &str) -> &'static str {
    match word {
        "refused" => "invalid_request_error",
        "overloaded" => "overloaded_error",
        "too_slow" => "timeout_error",
        _ => "api_error",
    }
}

/// Every client's wire, whole and as a stream.
fn ways() -> impl Iterator<Item = (Wire, bool)> {
    Wire::ALL
        .into_iter()
        .flat_map(|wire| [(wire, false), (wire, true)])
}

async fn meet(provider: &'static str) {
    for (fault, outcome) in AT_ONCE {
        let rig = rig(provider, json!({})).await;
        let mut words = Vec::new();
        for (wire, stream) in ways() {
            let at = format!("{fault} of {provider} for {wire:?}, stream: {stream}");
            rig.frontier_fault(fault).await;
            let outcome = expected(fault, outcome, (provider, wire));
            check(&see(&rig, wire, stream).await, outcome, wire, stream, &at);
            words.push(match outcome {
                Whole => "committed",
                Before(word) | After(word) => word,
            });
            rig.no_frontier_faults().await;
            if !fault.starts_with("throttle") {
                check(&see(&rig, wire, stream).await, Whole, wire, stream, &at);
                words.push("committed");
            }
        }
        rig.until_counted("weir_router_asks_running 0").await;
        for word in &words {
            let count = words.iter().filter(|other| *other == word).count();
            let labels = format!("policy=\"support\",tier=\"frontier\",outcome=\"{word}\"");
            rig.until_counted(&format!("weir_router_attempts_total{{{labels}}} {count}"))
                .await;
        }
    }
}

#[tokio::test]
async fn every_fault_of_a_compatible_endpoint_has_one_outcome() {
    meet(PROVIDERS[0]).await;
}

#[tokio::test]
async fn every_fault_of_openai_has_one_outcome() {
    meet(PROVIDERS[1]).await;
}

#[tokio::test]
async fn every_fault_of_anthropic_has_one_outcome() {
    meet(PROVIDERS[2]).await;
}

#[tokio::test]
async fn an_endpoint_that_takes_its_time_is_left_when_its_time_is_over() {
    // Longer than a machine that is busy takes for the first word.
    let timeouts = json!({ "firstByte": "4s", "idle": "4s" });
    for (fault, timeout, outcome) in SLOW {
        let tiers = json!([{}, { "endpoint": { "timeouts": timeouts } }]);
        let policy = json!({ "timeout": timeout, "tiers": tiers });
        let all = PROVIDERS
            .into_iter()
            .flat_map(|provider| ways().map(move |way| (provider, way)));
        join_all(all.map(async |(provider, (wire, stream))| {
            let rig = rig(provider, policy.clone()).await;
            rig.frontier_fault(fault).await;
            let at = format!("{fault} of {provider} for {wire:?}, stream: {stream}");
            let outcome = expected(fault, outcome, (provider, wire));
            check(&see(&rig, wire, stream).await, outcome, wire, stream, &at);
        }))
        .await;
    }
}

#[tokio::test]
async fn an_answer_without_end_is_ended_by_the_policys_time() {
    for provider in PROVIDERS {
        let rig = rig(provider, json!({ "maxDuration": "500ms" })).await;
        rig.frontier_fault("endless").await;
        for (wire, stream) in ways() {
            let error = match see(&rig, wire, stream).await {
                Seen::Refused(504, error) if !stream => error,
                Seen::Broken(text, error) if stream && text.starts_with("II") => error,
                other => panic!("{provider} {wire:?} {stream}: {other:?}"),
            };
            let message = error["message"].as_str().unwrap();
            assert!(
                message.contains("did not answer within its time"),
                "{message}"
            );
        }
        rig.until_counted("weir_router_asks_running 0").await;
    }
}

/// A connection that is reset after any byte: what came before it is shown, and then an error; or
/// the answer is whole.
#[tokio::test]
async fn a_connection_that_is_reset_at_any_byte_has_one_outcome() {
    for provider in PROVIDERS {
        let mut wholes = 0;
        for at in (0..5000).step_by(97) {
            let wire = Wire::ALL[at % 3];
            let rig = rig(provider, json!({})).await;
            rig.frontier_fault(&format!("reset-after-bytes={at}")).await;
            let error = match see(&rig, wire, true).await {
                Seen::Whole(text) => {
                    assert!(
                        text.starts_with("I am a stand-in") && at > 1000,
                        "{at}: {text}"
                    );
                    wholes += 1;
                    continue;
                }
                Seen::Refused(502, error) => error,
                Seen::Broken(text, error) if text.starts_with('I') => error,
                other => panic!("{provider} {wire:?} {at}: {other:?}"),
            };
            let message = error["message"].as_str().unwrap();
            assert!(
                message.ends_with("(attempts: frontier lost)"),
                "{at}: {message}"
            );
        }
        assert!(
            wholes < 40,
            "{provider}: the test wants answers that are longer"
        );
    }
}
