//! Faults of answers and of connections, on both wires, as they stand on the wire.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::raw::{body, exchange, send};
use super::*;

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
const RESPONSES: &str = "/v1/responses";
const WIRES: [&str; 3] = [CHAT, MESSAGES, RESPONSES];

/// An answer with characters of one to four bytes.
const WORDS: &str = "Say: für €5 😀 ok";

/// The body that comes with status 200 and a clean end.
async fn clean(provider: &Provider, path: &str, ask: &Value, fault: &str) -> Vec<u8> {
    let (response, was_reset) = exchange(provider, path, ask, fault).await;
    assert!(response.starts_with(b"HTTP/1.1 200 "), "{fault}");
    assert!(!was_reset, "{fault}");
    body(&response).0
}

async fn clean_text(provider: &Provider, path: &str, ask: &Value, fault: &str) -> String {
    String::from_utf8(clean(provider, path, ask, fault).await).unwrap()
}

/// What all wires take.
fn ask(text: &str) -> Value {
    let mut body = super::ask(text);
    body["input"] = text.into();
    body
}

fn streamed(text: &str) -> Value {
    let mut body = ask(text);
    body["stream"] = true.into();
    body
}

/// What only the last event of a whole stream holds.
fn end_mark(path: &str) -> &'static str {
    match path {
        CHAT => "data: [DONE]",
        MESSAGES => "event: message_stop",
        _ => "event: response.completed",
    }
}

/// Whether a stream's last event is its end.
fn is_ended(path: &str, text: &str) -> bool {
    let last = text
        .strip_suffix("\n\n")
        .map(|text| text.rsplit("\n\n").next());
    last.flatten()
        .is_some_and(|last| last.starts_with(end_mark(path)))
}

/// Why the answer ends, as the wire says it.
fn reason(path: &str) -> &'static str {
    match path {
        CHAT => "\"finish_reason\":\"stop\"",
        MESSAGES => "\"stop_reason\":\"end_turn\"",
        _ => "\"status\":\"completed\"",
    }
}

#[tokio::test]
async fn a_connection_is_reset_at_the_byte_that_was_asked_for() {
    let provider = Provider::start().await;
    for path in WIRES {
        for ask in [ask(CLEAR), streamed(CLEAR)] {
            for bytes in [0, 1, 20, 300, 1100] {
                let fault = format!("reset-after-bytes={bytes}");
                let (response, was_reset) = exchange(&provider, path, &ask, &fault).await;
                assert!(was_reset, "{path} {bytes}");
                assert_eq!(response.len(), bytes, "{path}");
            }
        }
    }
}

#[tokio::test]
async fn a_slow_head_begins_at_once_and_goes_on_later() {
    let provider = Provider::start().await;
    let mut stream = send(&provider, CHAT, &ask(CLEAR), "slow-head=1h").await;
    let mut begun = [0; 8];
    stream.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"HTTP/1.1");
    let more = timeout(Duration::from_millis(200), stream.read(&mut begun)).await;
    assert!(more.is_err(), "{more:?}");
    let whole = clean_text(&provider, CHAT, &ask(CLEAR), "slow-head=1ms").await;
    assert!(whole.contains("billing"));
}

#[tokio::test]
async fn garbage_is_no_text_and_comes_alone_or_after_pieces() {
    let provider = Provider::start().await;
    for path in WIRES {
        for ask in [ask(CLEAR), streamed(CLEAR)] {
            let garbage = clean(&provider, path, &ask, "garbage").await;
            assert!(garbage.len() > 100 && std::str::from_utf8(&garbage).is_err());
            let late = clean(&provider, path, &ask, "garbage-after=1").await;
            let text = String::from_utf8_lossy(&late);
            assert!(
                text.contains("\"model\":\"any\"") && text.contains('\u{fffd}'),
                "{text}"
            );
            assert!(
                !text.contains("\"ing\"") && !text.contains(end_mark(path)),
                "{text}"
            );
        }
    }
}

#[tokio::test]
async fn half_an_event_is_cut_inside_its_json() {
    let provider = Provider::start().await;
    for path in WIRES {
        let text = clean_text(&provider, path, &streamed(CLEAR), "half-event-after=1").await;
        let (_, last) = text.rsplit_once("data: ").unwrap();
        assert!(last.starts_with('{') && !last.contains('\n'), "{text}");
        assert!(serde_json::from_str::<Value>(last).is_err(), "{last}");
        assert!(
            text.contains("\"bill\"") && !text.contains("\"ing\""),
            "{text}"
        );
        let text = clean_text(&provider, path, &ask(CLEAR), "half-event-after=1").await;
        assert!(serde_json::from_str::<Value>(&text).is_err(), "{text}");
    }
}

#[tokio::test]
async fn an_error_can_have_status_200() {
    let provider = Provider::start().await;
    for path in WIRES {
        let text = clean_text(&provider, path, &ask(CLEAR), "error-in-200").await;
        let error: Value = serde_json::from_str(&text).unwrap();
        assert!(error["error"]["message"].is_string(), "{error}");
        let text = clean_text(&provider, path, &streamed(CLEAR), "error-in-200").await;
        let [event] = data(&text).try_into().unwrap();
        let message = event["error"]["message"]
            .as_str()
            .or(event["message"].as_str());
        assert_eq!(message, error["error"]["message"].as_str(), "{event}");
    }
}

#[tokio::test]
async fn an_endless_answer_goes_on_until_the_client_leaves() {
    let provider = Provider::start().await;
    for path in WIRES {
        for ask in [ask(CLEAR), streamed(CLEAR)] {
            let mut stream = send(&provider, path, &ask, "endless").await;
            let mut much = vec![0; 300_000];
            stream.read_exact(&mut much).await.unwrap();
            let text = String::from_utf8_lossy(&much);
            assert!(!text.contains(end_mark(path)) && !text.contains("\"ing\""));
        }
    }
}

#[tokio::test]
async fn an_end_mark_or_a_reason_can_be_all_that_is_missing() {
    let provider = Provider::start().await;
    for path in WIRES {
        let whole = clean_text(&provider, path, &streamed(CLEAR), "trailing=0").await;
        assert!(
            is_ended(path, &whole) && whole.contains(reason(path)),
            "{whole}"
        );
        let text = clean_text(&provider, path, &streamed(CLEAR), "no-end-mark").await;
        assert!(
            text.contains("\"ing\"") && text.contains(reason(path)),
            "{text}"
        );
        assert!(!text.contains(end_mark(path)), "{text}");
        let body = clean_text(&provider, path, &ask(CLEAR), "no-end-mark").await;
        assert!(serde_json::from_str::<Value>(&body).is_err(), "{body}");
        let text = clean_text(&provider, path, &streamed(CLEAR), "no-finish").await;
        assert!(
            is_ended(path, &text) && !text.contains(reason(path)),
            "{text}"
        );
        let body = clean_text(&provider, path, &ask(CLEAR), "no-finish").await;
        assert!(
            body.contains("billing") && !body.contains(reason(path)),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_connection_can_stay_open_where_the_end_mark_is_missing() {
    let provider = Provider::start().await;
    for path in WIRES {
        let mut stream = send(&provider, path, &streamed(CLEAR), "hang-at-end").await;
        let mut all = Vec::new();
        let whole = timeout(Duration::from_secs(1), stream.read_to_end(&mut all)).await;
        assert!(whole.is_err(), "{path} closes");
        let text = String::from_utf8(all).unwrap();
        assert!(
            text.contains("\"ing\"") && text.contains(reason(path)),
            "{text}"
        );
        assert!(!text.contains(end_mark(path)), "{text}");
    }
}

#[tokio::test]
async fn usage_is_wrong_in_each_way() {
    let provider = Provider::start().await;
    let mut streamed = streamed(CLEAR);
    streamed["stream_options"] = json!({"include_usage": true});
    for path in WIRES {
        for ask in [&ask(CLEAR), &streamed] {
            for (how, shown) in [
                ("negative", "_tokens\":-7"),
                ("huge", "_tokens\":18446744073709551615"),
                ("text", "_tokens\":\"many\""),
                ("missing", "\"usage\":null"),
            ] {
                let text = clean_text(&provider, path, ask, &format!("wrong-usage={how}")).await;
                assert!(
                    text.contains(shown) && text.contains("bill"),
                    "{how}: {text}"
                );
            }
        }
    }
}

#[tokio::test]
async fn junk_follows_the_end() {
    let provider = Provider::start().await;
    for path in WIRES {
        let text = clean_text(&provider, path, &streamed(CLEAR), "trailing=5").await;
        let before = text.strip_suffix("zzzzz").unwrap();
        assert!(is_ended(path, before), "{text}");
        let text = clean_text(&provider, path, &ask(CLEAR), "trailing=5").await;
        assert!(text.ends_with("}zzzzz"), "{text}");
    }
}

#[tokio::test]
async fn a_line_is_as_long_as_asked_and_still_says_the_same() {
    let provider = Provider::start().await;
    for path in WIRES {
        let text = clean_text(&provider, path, &streamed(CLEAR), "big-line=70000").await;
        let longest = text.lines().map(str::len).max().unwrap();
        assert_eq!(longest, "data: ".len() + 70_000);
        assert!(text.contains("\"bill\"") && is_ended(path, &text));
        let text = clean_text(&provider, path, &ask(CLEAR), "big-line=70000").await;
        assert_eq!(text.len(), 70_000);
    }
}

#[tokio::test]
async fn chunks_are_cut_inside_characters_and_line_ends() {
    let provider = Provider::start().await;
    for path in WIRES {
        for ask in [ask(WORDS), streamed(WORDS)] {
            let (response, _) = exchange(&provider, path, &ask, "split-utf8").await;
            let (text, sizes) = body(&response);
            let mut at = 0;
            let (mut characters, mut line_ends) = (0, 0);
            for size in &sizes[..sizes.len() - 1] {
                at += size;
                characters += usize::from(text[at] & 0xc0 == 0x80);
                line_ends += usize::from(text[at - 1] == b'\r' && text[at] == b'\n');
            }
            // One in each of ü, € and the face.
            assert!(
                characters >= 3 && line_ends >= 3,
                "{path}: {characters}, {line_ends}"
            );
        }
    }
}

#[tokio::test]
async fn every_byte_of_a_drip_comes_by_itself() {
    let provider = Provider::start().await;
    for path in WIRES {
        let (response, _) = exchange(&provider, path, &ask(CLEAR), "drip=0s").await;
        let (text, sizes) = body(&response);
        assert!(sizes.iter().all(|&size| size == 1) && text.ends_with(b"}"));
        let mut stream = send(&provider, path, &streamed(CLEAR), "drip=1h").await;
        let mut all = Vec::new();
        let whole = timeout(Duration::from_millis(200), stream.read_to_end(&mut all)).await;
        assert!(whole.is_err(), "it would take days");
    }
}

#[tokio::test]
async fn lines_can_end_otherwise_with_comments_between() {
    let provider = Provider::start().await;
    for path in WIRES {
        let text = clean_text(&provider, path, &streamed(CLEAR), "crlf").await;
        assert!(
            text.contains("\r\n: ") && text.contains("\r\n\r\n\r\n") && text.contains("data:\r\n")
        );
        assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    }
}

#[tokio::test]
async fn an_answer_can_be_a_page_or_somewhere_else_or_compressed() {
    let provider = Provider::start().await;
    for path in WIRES {
        for ask in [ask(CLEAR), streamed(CLEAR)] {
            let head = |response: Vec<u8>| String::from_utf8_lossy(&response).into_owned();
            let (page, _) = exchange(&provider, path, &ask, "wrong-type").await;
            let page = head(page);
            assert!(
                page.contains("content-type: text/html") && page.ends_with("</html>\n"),
                "{page}"
            );
            let (away, _) = exchange(&provider, path, &ask, "redirect=http://192.0.2.1/x").await;
            let away = head(away);
            assert!(away.starts_with("HTTP/1.1 302 "), "{away}");
            assert!(away.contains("location: http://192.0.2.1/x\r\n"), "{away}");
            let (packed, _) = exchange(&provider, path, &ask, "compressed").await;
            assert!(head(packed.clone()).contains("content-encoding: gzip\r\n"));
            assert_eq!(body(&packed).0[..2], [0x1f, 0x8b]);
        }
    }
}

#[tokio::test]
async fn an_error_quotes_the_organization_and_parts_of_the_key() {
    let provider = Provider::start().await;
    for fault in ["status=500", "throttle", "error-after=1", "error-in-200"] {
        for request in [provider.chat(&ask(CLEAR)), provider.messages(&ask(CLEAR))] {
            let request = request.bearer_auth("sk-real-1234-abcd");
            let (_, error) = answer(request.header("x-stand-in-fault", fault)).await;
            let message = error["error"]["message"].as_str().unwrap();
            assert!(message.contains("org-standin"), "{message}");
            assert!(message.contains("sk-r...abcd"), "{message}");
        }
    }
}
