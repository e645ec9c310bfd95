//! The pieces of an answer put together again, for a client that wants it whole.

use serde_json::{Map, Value};

use crate::answer::Piece;

/// A tool call that names a higher place than this has lost its way.
const MOST_CALLS: u64 = 128;

/// An answer as it is gathered.
#[derive(Default)]
pub(super) struct Message {
    pub text: String,
    pub tool_calls: Vec<Value>,
    pub rest: Map<String, Value>,
    pub logprobs: Option<Vec<Value>>,
    pub bytes: usize,
}

impl Message {
    pub fn add(&mut self, piece: Piece) {
        self.bytes += piece.bytes();
        self.text.push_str(&piece.text);
        if let Some(Value::Array(mut content)) =
            piece.logprobs.map(|mut value| value["content"].take())
        {
            self.logprobs.get_or_insert_default().append(&mut content);
        }
        for (field, value) in piece.rest {
            match (field.as_str(), value) {
                ("tool_calls", Value::Array(calls)) => {
                    calls.into_iter().for_each(|call| self.call(call))
                }
                (_, value) => merge(self.rest.entry(field).or_insert(Value::Null), value),
            }
        }
    }

    /// A tool call comes in parts that name its place.
    fn call(&mut self, mut call: Value) {
        let index = call["index"].as_u64().unwrap_or(0).min(MOST_CALLS - 1) as usize;
        if let Some(call) = call.as_object_mut() {
            call.shift_remove("index");
        }
        if self.tool_calls.len() <= index {
            self.tool_calls.resize(index + 1, Value::Null);
        }
        merge(&mut self.tool_calls[index], call);
    }
}

/// Parts of a text are put together, parts of an object field by field; of anything else, and of
/// what names a thing, the last one counts.
fn merge(whole: &mut Value, part: Value) {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            for (field, value) in part {
                match field.as_str() {
                    "id" | "type" | "name" => drop(whole.insert(field, value)),
                    _ => merge(whole.entry(field).or_insert(Value::Null), value),
                }
            }
        }
        (Value::String(whole), Value::String(part)) => whole.push_str(&part),
        (_, Value::Null) => {}
        (whole, part) => *whole = part,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_tool_call_that_came_in_parts_is_whole_again() {
        let mut message = Message::default();
        for calls in [
            json!([{ "index": 0, "id": "c1", "type": "function", "function": { "name": "f", "arguments": "" } }]),
            json!([{ "index": 0, "function": { "arguments": "{\"a\":" } }]),
            json!([{ "index": 1, "id": "c2", "type": "function", "function": { "name": "g", "arguments": "{}" } }]),
            json!([{ "index": 0, "function": { "arguments": "1}" } }]),
        ] {
            let mut piece = Piece::default();
            piece.rest.insert("tool_calls".into(), calls);
            message.add(piece);
        }
        assert_eq!(
            Value::from(message.tool_calls),
            json!([
                { "id": "c1", "type": "function", "function": { "name": "f", "arguments": "{\"a\":1}" } },
                { "id": "c2", "type": "function", "function": { "name": "g", "arguments": "{}" } },
            ])
        );
    }

    #[test]
    fn logprobs_and_reasoning_are_put_together_in_order() {
        let mut message = Message::default();
        for (text, thought) in [("a", "x"), ("b", "y")] {
            let mut piece = Piece {
                text: text.into(),
                logprobs: Some(json!({ "content": [{ "token": text }] })),
                ..Piece::default()
            };
            piece
                .rest
                .insert("reasoning_content".into(), thought.into());
            message.add(piece);
        }
        assert_eq!(message.text, "ab");
        assert_eq!(message.rest["reasoning_content"], "xy");
        assert_eq!(message.logprobs.unwrap().len(), 2);
    }
}
