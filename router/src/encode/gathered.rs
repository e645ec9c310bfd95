//! The pieces of an answer put together again, for a client that wants it whole. What only the client's
//! wire has a place for is gathered there.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::answer::{Piece, weight};

/// An answer as it is gathered.
pub(crate) struct Gathered {
    pub choices: Vec<Choice>,
    pub bytes: usize,
}

/// One choice of an answer.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Choice {
    pub text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reasoning: String,
    #[serde(skip)]
    pub proof: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub refusal: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<Call>,
    #[serde(skip)]
    pub logprobs: Vec<Value>,
    pub vectors: Vec<Vec<f32>>,
}

/// One call of a tool.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Call {
    #[serde(skip)]
    index: u32,
    pub id: String,
    pub name: String,
    pub arguments: String,
}

impl Gathered {
    pub fn of(choices: u32) -> Self {
        Self {
            choices: vec![Choice::default(); choices.max(1) as usize],
            bytes: 0,
        }
    }

    /// Nothing was said yet.
    pub fn clear(&mut self) {
        *self = Self::of(self.choices.len() as u32);
    }

    pub fn add(&mut self, piece: Piece) {
        self.bytes += piece.content_bytes();
        let Some(choice) = self.choices.get_mut(piece.choice as usize) else {
            return;
        };
        choice.text.push_str(&piece.text);
        choice.reasoning.push_str(&piece.reasoning);
        choice.refusal.push_str(&piece.refusal);
        choice.proof = piece.proof.or(choice.proof.take());
        choice.logprobs.extend(piece.logprobs);
        choice.vectors.extend(piece.vectors);
        for more in piece.calls {
            let known = choice
                .calls
                .iter_mut()
                .find(|call| call.index == more.index);
            match known {
                Some(call) => {
                    call.arguments.push_str(&more.arguments);
                    for (known, more) in [(&mut call.id, more.id), (&mut call.name, more.name)] {
                        if !more.is_empty() {
                            *known = more;
                        }
                    }
                }
                None => choice.calls.push(Call {
                    index: more.index,
                    id: more.id,
                    name: more.name,
                    arguments: more.arguments,
                }),
            }
        }
    }
}

/// Puts `part` to `whole`, fields that are in `except` left out: parts of a text are put together,
/// parts of an object field by field, lists one behind the other; of anything else the last counts.
/// Gives about how much memory more that may take.
pub(super) fn merge(
    whole: &mut Map<String, Value>,
    part: &Map<String, Value>,
    except: &[&str],
) -> usize {
    let mut bytes = 0;
    for (field, value) in part {
        if !except.contains(&field.as_str()) {
            bytes += weight(value);
            merge_value(whole.entry(field).or_insert(Value::Null), value);
        }
    }
    bytes
}

fn merge_value(whole: &mut Value, part: &Value) {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            for (field, value) in part {
                match field.as_str() {
                    // What names a thing is said whole.
                    "id" | "type" | "name" => drop(whole.insert(field.clone(), value.clone())),
                    _ => merge_value(whole.entry(field).or_insert(Value::Null), value),
                }
            }
        }
        (Value::String(whole), Value::String(part)) => whole.push_str(part),
        (Value::Array(whole), Value::Array(part)) => whole.extend(part.iter().cloned()),
        (_, Value::Null) => {}
        (whole, part) => *whole = part.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::CallPiece;
    use serde_json::json;

    #[test]
    fn calls_that_came_in_parts_are_whole_again() {
        let mut gathered = Gathered::of(1);
        for (index, id, name, arguments) in [
            (0, "c1", "f", ""),
            (0, "", "", "{\"a\":"),
            (1, "c2", "g", "{}"),
            (0, "", "", "1}"),
        ] {
            gathered.add(Piece {
                calls: vec![CallPiece {
                    index,
                    id: id.into(),
                    name: name.into(),
                    arguments: arguments.into(),
                }],
                ..Piece::default()
            });
        }
        let calls = gathered.choices[0].calls.iter();
        let calls: Vec<_> = calls
            .map(|call| {
                (
                    call.id.as_str(),
                    call.name.as_str(),
                    call.arguments.as_str(),
                )
            })
            .collect();
        assert_eq!(calls, [("c1", "f", "{\"a\":1}"), ("c2", "g", "{}")]);
    }

    #[test]
    fn calls_that_say_nothing_are_not_gathered_without_end() {
        let mut gathered = Gathered::of(1);
        for index in 0..1000 {
            let call = CallPiece {
                index,
                ..CallPiece::default()
            };
            gathered.add(Piece {
                calls: vec![call],
                ..Piece::default()
            });
        }
        assert!(gathered.bytes > 1000 * size_of::<Call>() / 2);
    }

    #[test]
    fn texts_thoughts_and_logprobs_are_put_together_in_order_and_by_choice() {
        let mut gathered = Gathered::of(2);
        for (choice, text, thought) in [(0, "a", "x"), (1, "c", ""), (0, "b", "y")] {
            gathered.add(Piece {
                choice,
                text: text.into(),
                reasoning: thought.into(),
                logprobs: vec![json!({ "token": text })],
                ..Piece::default()
            });
        }
        let first = &gathered.choices[0];
        assert_eq!(
            (first.text.as_str(), first.reasoning.as_str()),
            ("ab", "xy")
        );
        assert_eq!(first.logprobs.len(), 2);
        assert_eq!(gathered.choices[1].text, "c");
    }

    #[test]
    fn what_has_no_form_of_ours_is_merged_as_it_came() {
        let mut whole = Map::new();
        for part in [
            json!({ "content": "a", "audio": { "id": "1", "data": "AA" } }),
            json!({ "audio": { "id": "1", "data": "BB" }, "annotations": [1] }),
            json!({ "annotations": [2], "audio": null }),
        ] {
            merge(&mut whole, part.as_object().unwrap(), &["content"]);
        }
        let expected = json!({ "audio": { "id": "1", "data": "AABB" }, "annotations": [1, 2] });
        assert_eq!(Value::Object(whole), expected);
    }
}
