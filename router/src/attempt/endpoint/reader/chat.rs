//! Chunks of a chat completion.

use serde_json::Value;

use super::Unreadable;
use crate::answer::{CallPiece, Piece};

/// An answer with more calls has lost its way.
const MOST_CALLS: usize = 128;

/// The calls of one choice so far, in their order.
#[derive(Default)]
pub(super) struct Calls(Vec<Call>);

/// What tells a call from the others.
struct Call {
    /// As the server counts, if it does.
    place: Option<u64>,
    id: String,
    has_name: bool,
}

impl Calls {
    /// Which call `said` is of: one of those so far, or the next one. Some servers number all calls 0 or
    /// none of them, so that another id begins another call whatever its number; and where there is
    /// neither, another name does.
    fn place(&mut self, said: &Value, has_name: bool) -> Result<u32, Unreadable> {
        let place = said["index"].as_u64();
        let id = said["id"].as_str().unwrap_or_default();
        let is_of = |call: &Call| {
            let is_same = id.is_empty() || call.id.is_empty() || call.id == id;
            let begins_again = place.is_none() && id.is_empty() && has_name && call.has_name;
            is_same && !begins_again
        };
        let last = match place {
            None => self.0.len().checked_sub(1),
            Some(_) => self.0.iter().rposition(|call| call.place == place),
        };
        let named = || {
            let mut calls = self.0.iter();
            let is_it = |call: &Call| call.id == id && (place.is_none() || call.place == place);
            calls.position(is_it).filter(|_| !id.is_empty())
        };
        let known = last.filter(|at| is_of(&self.0[*at])).or_else(named);
        let at = known.unwrap_or(self.0.len());
        if at == MOST_CALLS {
            return Err(Unreadable::Garbage);
        }
        if known.is_none() {
            self.0.push(Call {
                place,
                id: String::new(),
                has_name: false,
            });
        }
        let call = &mut self.0[at];
        call.has_name |= has_name;
        if call.id.is_empty() {
            id.clone_into(&mut call.id);
        }
        Ok(at as u32)
    }
}

/// Whether a chunk says more than that an answer begins or ends, which is said for every answer.
fn is_worth_showing(choice: &Value, piece: &Piece) -> bool {
    let delta = choice["delta"].as_object();
    let mut others = delta.into_iter().flatten().filter(|(field, value)| {
        !matches!(field.as_str(), "role" | "content" | "refusal") && !value.is_null()
    });
    !piece.says_nothing() || others.next().is_some()
}

/// One choice of a chunk. Its calls get the numbers that are theirs here.
pub(super) fn read(
    index: u32,
    choice: &mut Value,
    begun: &mut Calls,
) -> Result<(Piece, bool), Unreadable> {
    let calls = calls(choice.get_mut("delta"), begun)?;
    let delta = &choice["delta"];
    let text = |member: &str| delta[member].as_str().unwrap_or_default().to_owned();
    let logprobs = choice["logprobs"]["content"].as_array();
    let reasoning = match delta["reasoning_content"].is_string() {
        true => text("reasoning_content"),
        // Some open servers say it so.
        false => text("reasoning"),
    };
    let piece = Piece {
        choice: index,
        text: text("content"),
        reasoning,
        refusal: text("refusal"),
        calls,
        logprobs: logprobs.cloned().unwrap_or_default(),
        ..Piece::default()
    };
    let is_shown = is_worth_showing(choice, &piece);
    Ok((piece, is_shown))
}

fn calls(delta: Option<&mut Value>, begun: &mut Calls) -> Result<Vec<CallPiece>, Unreadable> {
    let calls = delta.and_then(|delta| delta.get_mut("tool_calls"));
    let calls = calls.and_then(Value::as_array_mut);
    let calls = calls.into_iter().flatten().map(|call| {
        if !call.is_object() {
            return Err(Unreadable::Garbage);
        }
        let function = match call.get("custom") {
            Some(custom) if custom.is_object() => custom,
            _ => &call["function"],
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let arguments = match function.get("arguments") {
            Some(arguments) => text(arguments),
            None => text(&function["input"]),
        };
        let name = text(&function["name"]);
        let index = begun.place(call, !name.is_empty())?;
        let piece = CallPiece {
            index,
            id: text(&call["id"]),
            name,
            arguments,
        };
        call["index"] = index.into();
        Ok(piece)
    });
    calls.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The numbers of the calls as they are said, which a client of the same wire sees as well.
    fn read_all(deltas: &[Value]) -> Result<Vec<u32>, Unreadable> {
        let mut begun = Calls::default();
        let mut numbers = Vec::new();
        for delta in deltas {
            let mut choice = json!({ "index": 0, "delta": { "tool_calls": [delta] } });
            let (piece, _) = read(0, &mut choice, &mut begun)?;
            let number = piece.calls[0].index;
            assert_eq!(choice["delta"]["tool_calls"][0]["index"], number);
            numbers.push(number);
        }
        Ok(numbers)
    }

    fn numbers(deltas: &[Value]) -> Vec<u32> {
        read_all(deltas).unwrap()
    }

    fn call(index: Value, id: &str, name: &str, arguments: &str) -> Value {
        json!({ "index": index, "id": id, "function": { "name": name, "arguments": arguments } })
    }

    #[test]
    fn calls_are_told_apart_however_a_server_numbers_them() {
        let none = Value::Null;
        let whole = |index: &Value, id, name| call(index.clone(), id, name, "{}");
        let more = |index: Value| json!({ "index": index, "function": { "arguments": "x" } });
        // As OpenAI does, with parts between each other.
        let well = [
            whole(&json!(0), "a", "f"),
            whole(&json!(1), "b", "g"),
            more(json!(0)),
            more(json!(1)),
        ];
        assert_eq!(numbers(&well), [0, 1, 0, 1]);
        for index in [none.clone(), json!(0)] {
            let same = [
                whole(&index, "a", "f"),
                more(index.clone()),
                whole(&index, "b", "f"),
                more(index.clone()),
            ];
            assert_eq!(numbers(&same), [0, 0, 1, 1], "all are {index}");
        }
        let unnamed = [
            whole(&none, "", "f"),
            whole(&none, "", "f"),
            more(none.clone()),
        ];
        assert_eq!(numbers(&unnamed), [0, 1, 1]);
        let again = [whole(&json!(0), "a", "f"), whole(&json!(0), "a", "f")];
        assert_eq!(
            numbers(&again),
            [0, 0],
            "an id that is said again begins nothing"
        );
        let between = [
            whole(&none, "a", "f"),
            whole(&none, "b", "g"),
            json!({ "id": "a", "function": { "arguments": "x" } }),
        ];
        assert_eq!(numbers(&between), [0, 1, 0]);
        let high = [
            whole(&json!(9_000_000_000_u64), "a", "f"),
            whole(&json!(7), "b", "g"),
        ];
        assert_eq!(numbers(&high), [0, 1]);
    }

    #[test]
    fn more_calls_than_any_answer_has_are_no_answer() {
        let calls = |most: usize| -> Vec<Value> {
            let ids = (0..most).map(|id| call(json!(id), &id.to_string(), "f", "{}"));
            ids.collect()
        };
        assert_eq!(numbers(&calls(MOST_CALLS)).len(), MOST_CALLS);
        let refused = read_all(&calls(MOST_CALLS + 1));
        assert_eq!(refused.err(), Some(Unreadable::Garbage));
        assert_eq!(read_all(&[json!(7)]).err(), Some(Unreadable::Garbage));
    }
}
