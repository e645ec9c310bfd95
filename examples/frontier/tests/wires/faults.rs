//! Every fault, on both wires.

use std::time::Duration;

use super::*;

const FAULT: &str = "x-stand-in-fault";

#[tokio::test]
async fn a_status_is_answered_in_the_wires_own_shape() {
    let provider = Provider::start().await;
    let (status, body) = answer(provider.chat(&ask(CLEAR)).header(FAULT, "status=503")).await;
    assert_eq!(
        (status, &body["error"]["type"]),
        (503, &json!("server_error"))
    );
    let (status, body) = answer(provider.messages(&ask(CLEAR)).header(FAULT, "status=529")).await;
    assert_eq!(
        (status, &body["error"]["type"]),
        (529, &json!("overloaded_error"))
    );
}

#[tokio::test]
async fn a_throttled_request_is_told_when_to_come_again() {
    let provider = Provider::start().await;
    for request in [provider.chat(&ask(CLEAR)), provider.messages(&ask(CLEAR))] {
        let response = request
            .header(FAULT, "throttle=1500ms")
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], "2");
        assert_eq!(response.headers()["retry-after-ms"], "1500");
    }
}

#[tokio::test]
async fn a_stalled_request_says_nothing_for_so_long_and_then_answers() {
    let provider = Provider::start().await;
    let impatient = provider
        .chat(&ask(CLEAR))
        .header(FAULT, "stall=1h")
        .timeout(Duration::from_millis(200));
    assert!(impatient.send().await.unwrap_err().is_timeout());
    let (status, _) = answer(provider.chat(&ask(CLEAR)).header(FAULT, "stall=1ms")).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_cut_stream_breaks_after_so_many_pieces_without_an_end() {
    let provider = Provider::start().await;
    for request in [
        provider.chat(&streamed(CLEAR)),
        provider.messages(&streamed(CLEAR)),
    ] {
        let response = request.header(FAULT, "cut-after=1").send().await.unwrap();
        assert_eq!(response.status(), 200);
        let (text, broken) = until_broken(response).await;
        assert!(broken, "the client must notice: {text}");
        assert!(
            text.contains("\"bill\"") && !text.contains("\"ing\""),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_cut_comes_even_where_the_answer_has_fewer_pieces() {
    let provider = Provider::start().await;
    let request = provider
        .chat(&streamed(CLEAR))
        .header(FAULT, "cut-after=99");
    let (text, broken) = until_broken(request.send().await.unwrap()).await;
    assert!(
        broken && text.contains("\"ing\"") && !text.contains("[DONE]"),
        "{text}"
    );
}

#[tokio::test]
async fn an_answer_that_is_not_streamed_is_cut_in_its_middle() {
    let provider = Provider::start().await;
    let request = provider.chat(&ask(CLEAR)).header(FAULT, "cut-after=1");
    let (text, broken) = until_broken(request.send().await.unwrap()).await;
    assert!(
        broken && text.starts_with('{') && !text.ends_with('}'),
        "{text}"
    );
}

#[tokio::test]
async fn a_hanging_stream_keeps_its_connection_and_sends_no_more() {
    let provider = Provider::start().await;
    let request = provider
        .chat(&streamed(CLEAR))
        .header(FAULT, "hang-after=1");
    let mut response = request.send().await.unwrap();
    let mut text = String::new();
    while !text.contains("\"bill\"") {
        let chunk = response.chunk().await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    let more = tokio::time::timeout(Duration::from_millis(200), response.chunk()).await;
    assert!(more.is_err(), "{more:?}");
}

#[tokio::test]
async fn an_error_can_come_inside_the_stream() {
    let provider = Provider::start().await;
    let chat = provider
        .chat(&streamed(CLEAR))
        .header(FAULT, "error-after=1");
    let last = events(chat.send().await.unwrap()).await.pop().unwrap();
    assert_eq!(last["error"]["type"], "server_error");
    let messages = provider
        .messages(&streamed(CLEAR))
        .header(FAULT, "error-after=1");
    let last = events(messages.send().await.unwrap()).await.pop().unwrap();
    assert_eq!(
        (&last["type"], &last["error"]["type"]),
        (&json!("error"), &json!("api_error"))
    );
}

#[tokio::test]
async fn a_fault_that_is_none_is_refused_by_name() {
    let provider = Provider::start().await;
    let (status, body) = answer(provider.chat(&ask(CLEAR)).header(FAULT, "explode")).await;
    assert_eq!((status, &body["error"]["param"]), (400, &json!(FAULT)));
}
