//! The three wires that a client may ask on, and what each one's client sees at the end.

use http::HeaderMap;
use reqwest::Response;
use serde_json::{Value, json};

use crate::rig::{Rig, merge};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Chat,
    Responses,
    Messages,
}

/// What an ask came to, as its client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// All of an answer and its end; this is its text.
    Whole(String),
    /// An error in place of an answer: its status.
    Refused(u16, Value),
    /// An error behind the beginning of a stream, and nothing behind it: the text before it.
    Broken(String, Value),
}

/// Parts of what the stand-in says when it fails: its organisation, and both ends of [`KEY`].
const PROVIDERS_OWN: [&str; 3] = ["org-standin", "sk-r", "wxyz"];

/// The router's key for the stand-in.
pub const KEY: &str = "sk-router-0123-wxyz";

impl Wire {
    pub const ALL: [Self; 3] = [Self::Chat, Self::Responses, Self::Messages];

    pub fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Responses => "/v1/responses",
            Self::Messages => "/v1/messages",
        }
    }

    /// An ask of the policy's model.
    pub fn body(self, question: &str, stream: bool) -> Value {
        let messages = json!([{ "role": "user", "content": question }]);
        let mut body = json!({ "model": "assistant", "stream": stream });
        match self {
            Self::Chat => {
                body["messages"] = messages;
                if stream {
                    body["stream_options"] = json!({ "include_usage": true });
                }
            }
            Self::Responses => body["input"] = question.into(),
            Self::Messages => merge(
                &mut body,
                json!({ "messages": messages, "max_tokens": 999 }),
            ),
        }
        body
    }

    pub async fn ask(self, rig: &Rig, body: &Value, headers: HeaderMap) -> Response {
        let url = format!("{}{}", rig.url, self.path());
        let request = rig.client.post(url).headers(headers);
        request.body(body.to_string()).send().await.unwrap()
    }

    /// Reads a response to its end, and takes nothing but what the wire allows.
    pub async fn see(self, response: Response, stream: bool) -> Seen {
        let status = response.status().as_u16();
        let headers = format!("{:?}", response.headers());
        let body = response.text().await.expect("a response is never cut");
        for theirs in PROVIDERS_OWN {
            assert!(
                !headers.contains(theirs) && !body.contains(theirs),
                "{theirs}: {headers} {body}"
            );
        }
        if status != 200 {
            return Seen::Refused(status, self.error(parsed(&body)));
        }
        match stream {
            true => self.streamed(&body),
            false => Seen::Whole(self.text(&parsed(&body))),
        }
    }

    /// The error of this wire's form in a body.
    fn error(self, body: Value) -> Value {
        let is_anthropic = body["type"] == "error";
        assert_eq!(is_anthropic, self == Self::Messages, "{body}");
        assert!(body["error"]["message"].is_string(), "{body}");
        assert!(body["error"]["type"].is_string(), "{body}");
        body["error"].clone()
    }

    /// The text of an answer.
    fn text(self, body: &Value) -> String {
        let text = match self {
            Self::Chat => {
                assert!(body["choices"][0]["finish_reason"].is_string(), "{body}");
                &body["choices"][0]["message"]["content"]
            }
            Self::Responses => {
                assert_eq!(body["status"], "completed", "{body}");
                &body["output"][0]["content"][0]["text"]
            }
            Self::Messages => {
                assert!(body["stop_reason"].is_string(), "{body}");
                &body["content"][0]["text"]
            }
        };
        self.counted(body);
        text.as_str().unwrap_or_else(|| panic!("{body}")).to_owned()
    }

    /// What the end of an answer says of its length.
    fn counted(self, body: &Value) {
        let counted = match self {
            Self::Chat => &body["usage"]["completion_tokens"],
            _ => &body["usage"]["output_tokens"],
        };
        assert!(counted.as_u64().is_some_and(|count| count < 1000), "{body}");
    }

    fn streamed(self, body: &str) -> Seen {
        assert!(body.ends_with("\n\n"), "half an event: {body:?}");
        let lines = body.lines().filter_map(|line| line.strip_prefix("data: "));
        let mut events: Vec<Value> = lines
            .map(|data| match data {
                "[DONE]" => json!({ "type": "[DONE]" }),
                data => parsed(data),
            })
            .collect();
        let at = events.iter().position(|event| self.is_end(event));
        assert_eq!(at, Some(events.len() - 1), "one end, and last: {body}");
        let last = events.pop().unwrap();
        let text = events
            .iter()
            .filter_map(|event| self.delta(event))
            .collect();
        match (self, last["type"].as_str()) {
            (Self::Responses, Some("response.failed")) => {
                assert_eq!(last["response"]["status"], "failed", "{body}");
                Seen::Broken(text, last["response"]["error"].clone())
            }
            (Self::Responses, _) => {
                assert_eq!(self.text(&last["response"]), text, "{body}");
                Seen::Whole(text)
            }
            (Self::Chat, Some("[DONE]")) | (Self::Messages, Some("message_stop")) => {
                self.counted(events.last().unwrap());
                Seen::Whole(text)
            }
            _ => Seen::Broken(text, self.error(last)),
        }
    }

    /// Whether nothing may follow this event.
    fn is_end(self, event: &Value) -> bool {
        let kind = event["type"].as_str().unwrap_or_default();
        match self {
            Self::Chat => kind == "[DONE]" || event.get("error").is_some(),
            Self::Responses => matches!(
                kind,
                "response.completed" | "response.failed" | "response.incomplete" | "error"
            ),
            Self::Messages => matches!(kind, "message_stop" | "error"),
        }
    }

    fn delta(self, event: &Value) -> Option<&str> {
        let at = match self {
            Self::Chat => "/choices/0/delta/content",
            Self::Responses if event["type"] == "response.output_text.delta" => "/delta",
            Self::Responses => return None,
            Self::Messages => "/delta/text",
        };
        event.pointer(at)?.as_str()
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text:?}"))
}
