//! What clients see of an answer that comes slowly, or not at all.

use serde_json::json;
use weir_crds::Money;

use super::*;
use crate::answer::{Stop, Usage};
use crate::room::Room;

fn encoder() -> Encoder {
    let body = json!({ "model": "assistant", "messages": [{ "role": "user", "content": "hi" }] });
    let ask = crate::decode::decode(Wire::Chat, body.to_string().as_bytes()).unwrap();
    Encoder {
        ping_every: Duration::from_millis(5),
        ..Encoder::new(&ask, "1", 0, room())
    }
}

fn room() -> Part {
    Room::of(64 << 20).part()
}

async fn body(body: Body) -> String {
    let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn a_stream_that_is_silent_is_kept_alive_and_says_its_error_inside() {
    let (events, received) = mpsc::channel(1);
    let stream = body(encoder().stream(None, received));
    let silence = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let refusal = Refusal::Defect;
        let money_was_spent = false;
        events
            .send(Event::Fail {
                refusal,
                money_was_spent,
            })
            .await
            .unwrap();
    };
    let (text, ()) = tokio::join!(stream, silence);
    assert!(text.starts_with(": ping\n\n"), "{text}");
    assert!(text.contains("data: {\"error\":"), "{text}");
    assert!(!text.contains("[DONE]"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_client_is_not_shown_what_is_thought_is_kept_alive_meanwhile() {
    let body = json!({
        "model": "assistant", "max_tokens": 9, "stream": true,
        "messages": [{ "role": "user", "content": "hi" }],
    });
    let ask = crate::decode::decode(Wire::Messages, body.to_string().as_bytes()).unwrap();
    let encoder = Encoder {
        ping_every: Duration::from_millis(5),
        ..Encoder::new(&ask, "1", 0, room())
    };
    let (events, received) = mpsc::channel(1);
    let thinking = async move {
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(2)).await;
            let thought = Piece {
                reasoning: "hm".into(),
                ..Piece::default()
            };
            events.send(Event::Piece(thought)).await.unwrap();
        }
    };
    let (text, ()) = tokio::join!(self::body(encoder.stream(None, received)), thinking);
    assert!(text.matches("event: ping").count() >= 7, "{text}");
    assert!(!text.contains("hm"), "{text}");
}

#[tokio::test]
async fn an_ask_that_nobody_has_in_hand_any_more_ends_in_an_error() {
    let (_, received) = mpsc::channel(1);
    let text = body(encoder().stream(None, received)).await;
    assert!(text.contains("data: {\"error\":"), "{text}");
    let (_, received) = mpsc::channel(1);
    assert!(matches!(
        encoder().whole(received).await,
        Err((Refusal::Defect, true))
    ));
}

#[tokio::test]
async fn an_answer_that_does_not_end_is_not_gathered_without_end() {
    let (events, received) = mpsc::channel(1);
    let page = Piece {
        text: "x".repeat(MOST_GATHERED_BYTES / 4),
        ..Piece::default()
    };
    let endless = async { while events.send(Event::Piece(page.clone())).await.is_ok() {} };
    let (whole, ()) = tokio::join!(encoder().whole(received), endless);
    let refused = whole.err().unwrap().0;
    assert!(
        matches!(refused, Refusal::AnswerTooLarge { .. }),
        "{refused}"
    );
}

/// An answer of so many tokens from an upstream of the same wire, with log-probabilities.
async fn gathered(tokens: usize, room: Part) -> Result<Value, Refusal> {
    let body = json!({ "model": "assistant", "messages": [{ "role": "user", "content": "hi" }] });
    let ask = crate::decode::decode(Wire::Chat, body.to_string().as_bytes()).unwrap();
    let (events, received) = mpsc::channel(1);
    let others =
        |token: &str| json!({ "token": token, "logprob": -1.5, "bytes": [97, 98, 99, 32] });
    let mut token = others("abc ");
    token["top_logprobs"] = (0..5).map(|_| others("def ")).collect();
    let native = json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "big",
        "service_tier": "default", "system_fingerprint": "fp_1",
        "choices": [{ "index": 0, "delta": { "content": "abc " }, "logprobs": { "content": [token] } }],
    });
    let piece = Piece {
        text: "abc ".into(),
        logprobs: vec![token],
        native: Some(native),
        ..Piece::default()
    };
    let said = async {
        for _ in 0..tokens {
            if events.send(Event::Piece(piece.clone())).await.is_err() {
                return;
            }
        }
        let _ = events.send(Event::End(end(Stop::Turn, None))).await;
    };
    let encoder = Encoder::new(&ask, "1", 0, room);
    let (whole, ()) = tokio::join!(encoder.whole(received), said);
    let whole = whole.map_err(|(refusal, _)| refusal)?;
    Ok(serde_json::from_str(&whole.content.into_text()).unwrap())
}

#[tokio::test]
async fn an_answer_as_long_as_models_write_is_given_whole_with_its_log_probabilities() {
    let whole = gathered(16_000, room()).await.unwrap();
    let choice = &whole["choices"][0];
    assert_eq!(choice["message"]["content"].as_str().unwrap().len(), 64_000);
    let tokens = choice["logprobs"]["content"].as_array().unwrap();
    assert_eq!(tokens.len(), 16_000);
    assert_eq!(tokens[15_999]["top_logprobs"][4]["token"], "def ");
    assert_eq!(whole["system_fingerprint"], "fp_1");
}

#[tokio::test]
async fn answers_that_are_gathered_share_one_room() {
    let all = Room::of(1 << 20);
    let mut other = all.part();
    assert!(gathered(1000, all.part()).await.is_ok());
    assert!(other.grow(900 << 10), "it is given back");
    let refused = gathered(1000, all.part()).await.unwrap_err();
    let limit = 1 << 20;
    assert_eq!(refused, Refusal::AnswersTooLarge { limit });
}

#[tokio::test]
async fn as_many_vectors_as_an_endpoint_is_heard_out_for_are_given_whole() {
    let body = json!({ "model": "vectors", "input": "hi", "encoding_format": "base64" });
    let ask = crate::decode::decode(Wire::Embeddings, body.to_string().as_bytes()).unwrap();
    let whole = async |numbers: usize| {
        let (events, received) = mpsc::channel(2);
        let vectors = Piece {
            vectors: vec![vec![0.0; numbers]],
            ..Piece::default()
        };
        events.try_send(Event::Piece(vectors)).unwrap();
        events.try_send(Event::End(end(Stop::Turn, None))).unwrap();
        let whole = Encoder::new(&ask, "1", 0, room()).whole(received).await;
        whole
            .map(|whole| whole.content.into_text().len())
            .map_err(|(refusal, _)| refusal)
    };
    assert!(whole(MOST_GATHERED_BYTES / 4 + 1).await.unwrap() > MOST_GATHERED_BYTES);
    let refused = whole(MOST_VECTOR_BYTES / 4 + 1)
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.ends_with("send fewer inputs"), "{refused}");
}

#[tokio::test]
async fn a_response_that_does_not_end_is_not_kept_without_end() {
    let body = json!({ "model": "assistant", "input": "hi", "stream": true });
    let ask = crate::decode::decode(Wire::Responses, body.to_string().as_bytes()).unwrap();
    let logprob = json!({ "token": "x".repeat(MOST_GATHERED_BYTES / 4) });
    let long = Piece {
        logprobs: vec![logprob],
        ..Piece::default()
    };
    let (events, received) = mpsc::channel(8);
    for _ in 0..6 {
        events.try_send(Event::Piece(long.clone())).unwrap();
    }
    events.try_send(Event::End(end(Stop::Turn, None))).unwrap();
    let stream = Encoder::new(&ask, "1", 0, room()).stream(None, received);
    let read = axum::body::to_bytes(stream, 16 * MOST_GATHERED_BYTES).await;
    let text = String::from_utf8(read.unwrap().to_vec()).unwrap();
    let last = text.trim_end().rsplit("\n\n").next().unwrap();
    assert!(last.starts_with("event: response.failed\n"), "{last:.99}");
    assert_eq!(text.matches("event: response.failed").count(), 1);
}

#[tokio::test]
async fn what_stands_beside_the_choices_is_said_in_its_chunk_and_not_in_every_later_one() {
    let (events, received) = mpsc::channel(8);
    for member in ["citations", "x_groq"] {
        let native = json!({
            "choices": [{ "index": 0, "delta": { "content": "a" } }],
            "system_fingerprint": "fp", member: [1],
        });
        let piece = Piece {
            text: "a".into(),
            native: Some(native),
            ..Piece::default()
        };
        events.try_send(Event::Piece(piece)).unwrap();
    }
    // As most come, whose event says nothing else.
    let plain = Piece {
        text: "b".into(),
        ..Piece::default()
    };
    events.try_send(Event::Piece(plain)).unwrap();
    events.try_send(Event::End(end(Stop::Turn, None))).unwrap();
    let text = body(encoder().stream(None, received)).await;
    assert_eq!(text.matches("citations").count(), 1, "{text}");
    assert_eq!(text.matches("x_groq").count(), 1, "{text}");
    assert_eq!(
        text.matches("\"system_fingerprint\":\"fp\"").count(),
        4,
        "{text}"
    );
}

fn end(stop: Stop, native: Option<Value>) -> End {
    End {
        stops: vec![stop],
        usage: Usage::default(),
        cost: Money::default(),
        score: None,
        is_unsure: false,
        native,
    }
}

/// A message's stop and its details, whole and streamed, of an answer that ended by `stop`.
async fn ending(refusal: &str, stop: Stop, native: Option<Value>) -> [Value; 2] {
    let body = json!({
        "model": "assistant", "max_tokens": 9,
        "messages": [{ "role": "user", "content": "hi" }],
    });
    let ask = crate::decode::decode(Wire::Messages, body.to_string().as_bytes()).unwrap();
    let events = [
        Event::Begin(Begin::default()),
        Event::Piece(Piece {
            refusal: refusal.into(),
            ..Piece::default()
        }),
        Event::End(end(stop, native)),
    ];
    let send = || {
        let (sender, received) = mpsc::channel(events.len());
        for event in events.clone() {
            sender.try_send(event).unwrap();
        }
        received
    };
    let whole = Encoder::new(&ask, "1", 0, room())
        .whole(send())
        .await
        .ok()
        .unwrap();
    let whole = serde_json::from_str(&whole.content.into_text()).unwrap();
    let text = self::body(Encoder::new(&ask, "1", 0, room()).stream(None, send())).await;
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let mut data = data.map(|data| serde_json::from_str::<Value>(data).unwrap());
    let last = data.find(|event| event["type"] == "message_delta").unwrap();
    [whole, last["delta"].clone()]
}

#[tokio::test]
async fn a_message_says_that_it_is_a_refusal_and_what_the_provider_says_of_it() {
    for end in ending("", Stop::Turn, None).await {
        assert_eq!(end["stop_reason"], "end_turn", "{end}");
        assert!(end.get("stop_details").is_some_and(Value::is_null), "{end}");
    }
    for end in ending("I cannot", Stop::Turn, None).await {
        assert_eq!(end["stop_reason"], "refusal", "{end}");
    }
    let said = json!({ "delta": { "stop_details": { "type": "refusal" } } });
    for end in ending("", Stop::Refusal, Some(said)).await {
        assert_eq!(end["stop_details"]["type"], "refusal", "{end}");
    }
}
