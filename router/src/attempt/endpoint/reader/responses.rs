//! Events of an OpenAI response. They are asked for by clients of the same wire only, who get them
//! as they are; what is read here is what a decision needs to know.

use serde_json::Value;

use super::{Taken, Unreadable, failed, tokens};
use crate::answer::{CallPiece, Piece, Stop, Usage};
use crate::attempt::Finish;

#[derive(Default)]
pub(super) struct Reader {
    stop: Option<Stop>,
    usage: Usage,
    calls: u32,
    /// The whole response, as its last event holds it.
    last: Option<Value>,
}

impl Reader {
    pub fn take(&mut self, mut event: Value, is_native: bool) -> Result<Taken, Unreadable> {
        let kind = event["type"]
            .as_str()
            .ok_or(Unreadable::Garbage)?
            .to_owned();
        let delta = || event["delta"].as_str().unwrap_or_default().to_owned();
        let mut piece = Piece::default();
        match kind.as_str() {
            // Said for every answer.
            "response.created" | "response.in_progress" | "response.queued" => {
                return Ok(Taken::Pieces(Vec::new()));
            }
            "error" => return Err(failed(&event)),
            "response.failed" => return Err(failed(&event["response"]["error"])),
            // Whatever else it calls it.
            _ if !event["response"]["error"].is_null() => {
                return Err(failed(&event["response"]["error"]));
            }
            "response.completed" | "response.incomplete" => {
                self.ended(event["response"].take())?;
                return Ok(Taken::End);
            }
            "response.output_text.delta" => {
                piece.text = delta();
                let logprobs = event["logprobs"].as_array();
                piece.logprobs = logprobs.cloned().unwrap_or_default();
            }
            "response.refusal.delta" => piece.refusal = delta(),
            "response.reasoning_text.delta" | "response.reasoning_summary_text.delta" => {
                piece.reasoning = delta();
            }
            "response.output_item.added" => piece.calls.extend(self.call(&event["item"])),
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                piece.calls.push(CallPiece {
                    index: self.calls.saturating_sub(1),
                    arguments: delta(),
                    ..CallPiece::default()
                });
            }
            _ => {}
        }
        piece.native = is_native.then_some(event);
        Ok(Taken::Pieces(vec![piece]))
    }

    pub fn has_finish(&self) -> bool {
        self.stop.is_some()
    }

    pub fn finish(&mut self) -> Option<Finish> {
        Some(Finish {
            stops: vec![self.stop.clone()?],
            usage: self.usage,
            native: self.last.take(),
        })
    }

    fn call(&mut self, item: &Value) -> Option<CallPiece> {
        let is_call = matches!(
            item["type"].as_str(),
            Some("function_call" | "custom_tool_call")
        );
        let text = |member: &str| item[member].as_str().unwrap_or_default().to_owned();
        is_call.then(|| {
            self.calls += 1;
            CallPiece {
                index: self.calls - 1,
                id: text("call_id"),
                name: text("name"),
                arguments: String::new(),
            }
        })
    }

    fn ended(&mut self, response: Value) -> Result<(), Unreadable> {
        if !response["output"].is_array() {
            return Err(Unreadable::Garbage);
        }
        let usage = &response["usage"];
        if let (Some(prompt), Some(completion)) = (
            tokens(usage, "input_tokens"),
            tokens(usage, "output_tokens"),
        ) {
            let details = |of: &str, member: &str| tokens(&usage[of], member).unwrap_or(0);
            self.usage = Usage {
                prompt,
                cached: details("input_tokens_details", "cached_tokens"),
                cache_written: details("input_tokens_details", "cache_write_tokens"),
                completion,
                reasoning: details("output_tokens_details", "reasoning_tokens"),
            };
        }
        self.stop = Some(match response["incomplete_details"]["reason"].as_str() {
            Some("max_output_tokens") => Stop::Length,
            Some("content_filter") => Stop::Refusal,
            _ if self.calls > 0 => Stop::Calls,
            _ => Stop::Turn,
        });
        self.last = Some(response);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_response_that_ended_with_an_error_is_a_failure_by_any_name() {
        let take = |kind: &str, error: Value| {
            let response = json!({ "output": [], "error": error });
            let event = json!({ "type": kind, "response": response });
            Reader::default().take(event, true).map(drop)
        };
        for kind in [
            "response.completed",
            "response.incomplete",
            "response.failed",
            "response.cancelled",
        ] {
            let error = json!({ "code": "server_error", "message": "org-standin" });
            assert_eq!(take(kind, error), Err(Unreadable::Failed), "{kind}");
            let load = json!({ "code": "rate_limit_exceeded" });
            assert_eq!(take(kind, load), Err(Unreadable::Overloaded), "{kind}");
        }
        assert_eq!(take("response.completed", Value::Null), Ok(()));
    }
}
