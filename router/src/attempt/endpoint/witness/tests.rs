//! What is heard of each wire, and what its client sees of that.

use serde_json::json;

use super::*;
use crate::answer::CallPiece;
use crate::decode::decode;

fn ask(wire: Wire, extra: Value) -> Ask {
    let mut body = match wire {
        Wire::Completions => json!({ "model": "m", "prompt": "hi" }),
        Wire::Responses => json!({ "model": "m", "input": "hi" }),
        _ => json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] }),
    };
    for (field, value) in extra.as_object().unwrap() {
        body[field] = value.clone();
    }
    decode(wire, body.to_string().as_bytes()).unwrap()
}

fn witness(wire: Wire, extra: Value) -> Witness {
    Witness::new(wire, &ask(wire, extra), true)
}

fn said(text: &str) -> Piece {
    Piece {
        text: text.into(),
        ..Piece::default()
    }
}

fn weighed(witness: &mut Witness, mut event: Value, piece: Piece) -> Vec<Token> {
    let heard = witness.hear(&mut event);
    let evidence = witness.weigh(&[piece], heard);
    evidence
        .into_iter()
        .flat_map(|(_, tokens)| tokens)
        .collect()
}

fn likely(token: &str, logprob: f64) -> Value {
    json!({ "token": token, "bytes": token.as_bytes(), "logprob": logprob })
}

fn chat(entry: Value) -> Value {
    let logprobs = json!({ "content": [entry], "refusal": null });
    json!({ "choices": [{ "index": 0, "delta": { "content": "hi" }, "logprobs": logprobs }] })
}

fn entry(top: &[Value]) -> Value {
    let mut entry = likely("hi", -0.5);
    entry["top_logprobs"] = top.to_vec().into();
    entry
}

#[test]
fn a_margin_is_taken_from_the_two_likeliest_and_else_supposes_the_worst() {
    let margin = |top: &[Value]| {
        let tokens = weighed(
            &mut witness(Wire::Chat, json!({})),
            chat(entry(top)),
            said("hi"),
        );
        assert_eq!(
            (tokens.len(), tokens[0].logprob, tokens[0].entropy),
            (1, -0.5, None)
        );
        tokens[0].margin
    };
    assert!((margin(&[likely("hi", -0.5), likely("yo", -2.0)]) - 1.5).abs() < 1e-6);
    // A token was drawn that is not among them.
    assert!((margin(&[likely("yo", -0.1), likely("ha", -0.3)]) - 0.2).abs() < 1e-6);
    let alone = margin(&[]);
    let worst = (0.606_530_66_f32 / (1.0 - 0.606_530_66)).ln();
    assert!((alone - worst).abs() < 1e-4, "{alone}");
    assert_eq!(alone, margin(&[likely("hi", -0.5)]));
}

#[test]
fn numbers_that_are_no_log_probabilities_are_not_taken_for_certainty() {
    for logprob in [json!(null), json!("0"), json!(0.7), json!(1e300)] {
        let mut event = chat(entry(&[]));
        event["choices"][0]["logprobs"]["content"][0]["logprob"] = logprob.clone();
        let tokens = weighed(&mut witness(Wire::Chat, json!({})), event, said("hi"));
        assert_eq!(tokens, [Token::unseen(false)], "{logprob}");
    }
    let mut certain = chat(entry(&[]));
    certain["choices"][0]["logprobs"]["content"][0]["logprob"] = json!(0.0);
    let tokens = weighed(&mut witness(Wire::Chat, json!({})), certain, said("hi"));
    assert!(tokens[0].margin.is_finite() && tokens[0].margin > 100.0);
}

#[test]
fn each_wire_tells_the_same() {
    let top = [likely("hi", -0.5), likely("yo", -2.0)];
    let text = json!({ "choices": [{ "index": 0, "text": "hi", "logprobs": {
        "tokens": ["hi"], "token_logprobs": [-0.5], "text_offset": [0],
        "top_logprobs": [{ "hi": -0.5, "yo": -2.0 }],
    } }] });
    let delta = json!({
        "type": "response.output_text.delta", "delta": "hi", "logprobs": [entry(&top)],
    });
    let told = [
        (Wire::Chat, chat(entry(&top))),
        (Wire::Completions, text),
        (Wire::Responses, delta),
    ];
    for (wire, event) in told {
        let tokens = weighed(&mut witness(wire, json!({})), event, said("hi"));
        let told = Token {
            logprob: -0.5,
            margin: 1.5,
            ..Token::default()
        };
        assert_eq!(tokens, [told], "{wire:?}");
    }
}

#[test]
fn what_comes_without_a_word_about_its_tokens_counts_as_unseen() {
    let untold = |piece| {
        let mut witness = witness(Wire::Chat, json!({}));
        weighed(&mut witness, json!({ "choices": [] }), piece)
    };
    assert_eq!(untold(said("a")), [Token::unseen(false)]);
    assert_eq!(untold(said(&"word".repeat(5))).len(), 5);
    assert_eq!(untold(said("")), []);
    let thought = Piece {
        reasoning: "so".into(),
        ..Piece::default()
    };
    assert_eq!(untold(thought), [Token::unseen(true)]);
    let call = CallPiece {
        arguments: "{\"a\":1}".into(),
        ..CallPiece::default()
    };
    let calls = Piece {
        calls: vec![call],
        ..Piece::default()
    };
    assert_eq!(untold(calls), [Token::unseen(false)]);
}

#[test]
fn one_entry_for_a_page_says_nothing_of_the_page() {
    let page = "word ".repeat(40);
    let mut witness = witness(Wire::Chat, json!({}));
    let tokens = weighed(&mut witness, chat(entry(&[])), said(&page));
    let unseen = tokens.iter().filter(|token| token.unseen).count();
    assert_eq!((tokens.len(), unseen), (50, 49));
}

#[test]
fn an_endpoint_that_was_asked_and_says_nothing_is_mute() {
    let mut asked = witness(Wire::Chat, json!({}));
    assert!(!asked.was_mute(), "it has said nothing at all");
    weighed(&mut asked, json!({ "choices": [] }), said("hi"));
    assert!(asked.was_mute());
    weighed(&mut asked, chat(entry(&[])), said("hi"));
    assert!(!asked.was_mute());
    let mut unasked = Witness::new(Wire::Chat, &ask(Wire::Chat, json!({})), false);
    weighed(&mut unasked, json!({ "choices": [] }), said("hi"));
    assert!(!unasked.was_mute());
}

/// What a client is shown of an event.
fn shown(wire: Wire, extra: Value, mut event: Value) -> Value {
    witness(wire, extra).hear(&mut event);
    event
}

#[test]
fn a_client_that_asked_for_none_sees_none() {
    let top = [likely("hi", -0.5), likely("yo", -2.0)];
    let chat = shown(Wire::Chat, json!({}), chat(entry(&top)));
    assert_eq!(chat["choices"][0]["logprobs"], Value::Null);
    assert_eq!(chat["choices"][0]["delta"]["content"], "hi");
    let text = json!({ "choices": [{ "text": "hi", "logprobs": { "tokens": ["hi"] } }] });
    let text = shown(Wire::Completions, json!({}), text);
    assert_eq!(text["choices"][0]["logprobs"], Value::Null);
    let part = json!({ "type": "output_text", "text": "hi", "logprobs": [entry(&top)] });
    let item = json!({ "type": "message", "content": [part] });
    let response = json!({
        "output": [item], "top_logprobs": 2, "text": { "format": { "logprobs": ["mine"] } },
    });
    for (at, event) in [
        ("/logprobs", json!({ "logprobs": [entry(&top)] })),
        ("/part/logprobs", json!({ "part": part })),
        ("/item/content/0/logprobs", json!({ "item": item })),
        (
            "/response/output/0/content/0/logprobs",
            json!({ "response": response }),
        ),
    ] {
        let event = shown(Wire::Responses, json!({}), event);
        assert_eq!(event.pointer(at), Some(&json!([])), "{at}");
        if let Some(response) = event.get("response") {
            assert_eq!(response["top_logprobs"], 0);
            assert_eq!(response["text"]["format"]["logprobs"], json!(["mine"]));
        }
    }
}

#[test]
fn a_client_sees_as_many_alternatives_as_it_asked_for() {
    let top = [likely("hi", -0.5), likely("yo", -2.0)];
    let alternatives =
        |event: &Value, at: &str| event.pointer(at).unwrap().as_array().unwrap().len();
    for (asked, most) in [(0, 0), (1, 1), (5, 2)] {
        let wish = json!({ "logprobs": true, "top_logprobs": asked });
        let event = shown(Wire::Chat, wish, chat(entry(&top)));
        let at = "/choices/0/logprobs/content/0/top_logprobs";
        assert_eq!(alternatives(&event, at), most);
        let wish = json!({ "include": ["message.output_text.logprobs"], "top_logprobs": asked });
        let event = json!({ "type": "response.output_text.delta", "logprobs": [entry(&top)] });
        let event = shown(Wire::Responses, wish, event);
        assert_eq!(alternatives(&event, "/logprobs/0/top_logprobs"), most);
        let text = json!({ "choices": [{ "logprobs": {
            "tokens": ["hi"], "token_logprobs": [-0.5], "top_logprobs": [{ "yo": -2.0, "hi": -0.5 }],
        } }] });
        let event = shown(Wire::Completions, json!({ "logprobs": asked }), text);
        let kept = event["choices"][0]["logprobs"]["top_logprobs"][0].as_object();
        assert_eq!(kept.unwrap().len(), most);
        assert_eq!(
            kept.unwrap().contains_key("yo"),
            most > 1,
            "the likeliest stays"
        );
    }
}
