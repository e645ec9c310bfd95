//! Chunks of choices, which OpenAI's chats and completions have in common.

use serde_json::{Value, json};

use super::chat::Calls;
use super::plain::{Plain, Steady};
use super::{Taken, Unreadable, failed, tokens};
use crate::answer::{Piece, Stop, Usage};
use crate::attempt::Finish;

pub(super) struct Reader {
    pub stops: Stops,
    /// Of each choice.
    calls: Vec<Calls>,
    usage: Usage,
    read: Read,
    /// As the client was told last.
    steady: Steady<'static>,
}

/// What one choice of a chunk says, after the calls that it has begun, and whether a client of the same
/// wire wants to see it.
pub(super) type Read = fn(u32, &mut Value, &mut Calls) -> Result<(Piece, bool), Unreadable>;

/// Why each choice ended, as far as that is known.
pub(super) struct Stops(Vec<Option<Stop>>);

impl Stops {
    pub fn new(choices: usize) -> Self {
        Self(vec![None; choices])
    }

    pub fn set(&mut self, choice: u32, stop: Stop) {
        if let Some(known) = self.0.get_mut(choice as usize) {
            *known = Some(stop);
        }
    }

    pub fn has_all(&self) -> bool {
        self.0.iter().all(Option::is_some)
    }

    pub fn all(&self) -> Option<Vec<Stop>> {
        self.0.iter().cloned().collect()
    }
}

/// OpenAI's word for why a choice ended, or the word of another server.
fn stop(word: &str) -> Result<Stop, Unreadable> {
    Ok(match word {
        "length" => Stop::Length,
        "tool_calls" | "function_call" => Stop::Calls,
        "content_filter" => Stop::Refusal,
        // OpenRouter and Mistral; vLLM and SGLang; DeepSeek: what came before is half an answer.
        "error" | "abort" | "insufficient_system_resource" => return Err(Unreadable::Failed),
        _ => Stop::Turn,
    })
}

/// Takes out what a server may say of its errors in members that we do not know: such texts can hold
/// anything, and a client of the same wire would see them.
///
/// Fails where such a member is about an error itself, as Groq's `x_groq` is.
fn check_unknown(event: &mut Value) -> Result<(), Unreadable> {
    let members = event.as_object_mut().into_iter().flatten();
    for (_, value) in members.filter(|(field, _)| *field != "choices") {
        if let Some(error) = value.get("error").filter(|error| is_said(error)) {
            return Err(failed(error));
        }
        forget_errors(value);
    }
    Ok(())
}

fn forget_errors(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(forget_errors),
        Value::Object(members) => {
            members.shift_remove("error");
            members.values_mut().for_each(forget_errors);
        }
        _ => {}
    }
}

/// Whether an `error` says that there is one.
fn is_said(error: &Value) -> bool {
    match error {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        _ => true,
    }
}

/// What OpenAI says of the tokens of a chat or a completion; nothing where it cannot be true.
fn usage(event: &Value) -> Option<Usage> {
    let usage = event.get("usage").filter(|usage| usage.is_object())?;
    let details = |of: &str, member: &str| tokens(&usage[of], member).unwrap_or(0);
    Some(Usage {
        prompt: tokens(usage, "prompt_tokens")?,
        cached: details("prompt_tokens_details", "cached_tokens"),
        cache_written: details("prompt_tokens_details", "cache_write_tokens"),
        // A prompt alone may be counted where nothing was written.
        completion: tokens(usage, "completion_tokens").unwrap_or(0),
        reasoning: details("completion_tokens_details", "reasoning_tokens"),
    })
}

impl Reader {
    pub fn new(choices: usize, read: Read) -> Self {
        Self {
            stops: Stops::new(choices),
            calls: (0..choices).map(|_| Calls::default()).collect(),
            usage: Usage::default(),
            read,
            steady: Steady::default(),
        }
    }

    /// Takes a chunk of nothing but text; nothing where it is not of this answer, or says something new to a client
    /// of the same wire.
    pub fn take_plain(
        &mut self,
        plain: Plain<'_>,
        is_native: bool,
    ) -> Option<Result<Taken, Unreadable>> {
        self.calls.get(plain.choice as usize)?;
        if is_native && plain.steady != self.steady {
            return None;
        }
        if let Some(word) = plain.stop {
            match stop(&word) {
                Ok(stop) => self.stops.set(plain.choice, stop),
                Err(unreadable) => return Some(Err(unreadable)),
            }
        }
        let piece = Piece {
            choice: plain.choice,
            text: plain.text.into_owned(),
            ..Piece::default()
        };
        Some(Ok(Taken::Pieces(vec![piece])))
    }

    pub fn take(&mut self, mut event: Value, is_native: bool) -> Result<Taken, Unreadable> {
        if let Some(usage) = usage(&event) {
            self.usage = usage;
        }
        let steady = Steady::of(&event);
        check_unknown(&mut event)?;
        let Some(Value::Array(choices)) = event.get_mut("choices").map(Value::take) else {
            return Ok(Taken::Pieces(Vec::new()));
        };
        if choices.len() > self.stops.0.len() {
            return Err(Unreadable::Garbage);
        }
        let mut pieces = Vec::new();
        // What stands beside the choices is told once, with the first of them that is shown.
        let mut native = Some(event).filter(|_| is_native);
        for mut choice in choices {
            let index = choice["index"].as_u64().unwrap_or(0);
            let index = u32::try_from(index).map_err(|_| Unreadable::Garbage)?;
            let calls = self.calls.get_mut(index as usize);
            let calls = calls.ok_or(Unreadable::Garbage)?;
            let of_parts = [&choice["error"], &choice["delta"]["error"]];
            if let Some(error) = of_parts.into_iter().find(|error| is_said(error)) {
                return Err(failed(error));
            }
            if let Some(word) = choice["finish_reason"].as_str() {
                self.stops.set(index, stop(word)?);
            }
            let (mut piece, is_shown) = (self.read)(index, &mut choice, calls)?;
            if is_native && is_shown {
                let mut shown = native.take().unwrap_or_else(|| json!({}));
                shown["choices"] = Value::Array(vec![choice]);
                piece.native = Some(shown);
                self.steady.clone_from(&steady);
            }
            pieces.push(piece);
        }
        Ok(Taken::Pieces(pieces))
    }

    pub fn finish(&mut self) -> Option<Finish> {
        Some(Finish {
            stops: self.stops.all()?,
            usage: self.usage,
            native: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::endpoint::reader::chat;

    fn pieces(choices: usize, event: Value) -> Result<Vec<Piece>, Unreadable> {
        match Reader::new(choices, chat::read).take(event, true)? {
            Taken::Pieces(pieces) => Ok(pieces),
            Taken::End => Ok(Vec::new()),
        }
    }

    #[test]
    fn what_stands_beside_the_choices_is_not_told_again_for_each() {
        let choice = |index: u32| json!({ "index": index, "delta": { "content": "a" } });
        let event = json!({ "choices": [choice(0), choice(1)], "filler": "x".repeat(1000) });
        let read = pieces(2, event).unwrap();
        let fillers = read.iter().filter(|piece| piece.bytes() > 1000);
        assert_eq!((read.len(), fillers.count()), (2, 1));
    }

    #[test]
    fn more_entries_than_choices_were_asked_for_are_no_chunk() {
        let choice = json!({ "index": 0, "delta": { "content": "a" } });
        let event = json!({ "choices": [choice, choice] });
        assert_eq!(pieces(1, event), Err(Unreadable::Garbage));
    }

    #[test]
    fn a_word_for_a_broken_answer_is_a_failure_and_other_unknown_words_are_an_end() {
        let event = |word: &str| json!({ "choices": [{ "index": 0, "finish_reason": word }] });
        for word in ["error", "abort"] {
            assert_eq!(pieces(1, event(word)), Err(Unreadable::Failed), "{word}");
        }
        for word in ["stop", "eos", "length"] {
            assert!(pieces(1, event(word)).is_ok(), "{word}");
        }
    }

    #[test]
    fn an_error_beside_the_answer_is_a_failure_and_none_is_passed_on() {
        let delta = json!({ "content": "a" });
        let with = |member: &str, value: Value| {
            let mut event = json!({ "choices": [{ "index": 0, "delta": delta }] });
            event[member] = value;
            pieces(1, event)
        };
        let error = json!({ "error": { "message": "org-standin" } });
        for said in [error, json!({ "id": "req_1", "error": "org-standin" })] {
            assert_eq!(with("x_groq", said), Err(Unreadable::Failed));
        }
        for none in [json!(null), json!(false), json!("")] {
            assert!(with("x_groq", json!({ "error": none })).is_ok());
        }
        let load = json!({ "error": { "type": "overloaded_error" } });
        assert_eq!(with("x_other", load), Err(Unreadable::Overloaded));
        // Azure: that a filter did not run is no failure of the answer.
        let filters =
            json!([{ "jailbreak": { "error": { "message": "org-standin" }, "code": 1 } }]);
        let read = with("prompt_filter_results", filters).unwrap();
        let native = read[0].native.as_ref().unwrap();
        assert_eq!(
            native["prompt_filter_results"],
            json!([{ "jailbreak": { "code": 1 } }])
        );
        let within = |choice: Value| pieces(1, json!({ "choices": [choice] }));
        for choice in [
            json!({ "index": 0, "delta": {}, "error": { "code": 502 } }),
            json!({ "index": 0, "delta": { "error": "org-standin" } }),
        ] {
            assert_eq!(within(choice), Err(Unreadable::Failed));
        }
    }
}
