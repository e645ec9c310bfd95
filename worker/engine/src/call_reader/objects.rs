//! Calls that are JSON objects.
//!
//! A call is an object with a `name` and with `arguments` or `parameters`; calls stand alone, in an
//! array, or one after another with marks between. How the text was cut into pieces changes nothing
//! but the cutting of the arguments.

use super::{CallPiece, add};
use crate::json::{Follower, Level, Role};

#[derive(Debug, Default)]
pub(crate) struct Objects {
    follower: Follower,
    calls: u32,
    current: Option<Call>,
}

/// The call that is being read.
#[derive(Debug)]
struct Call {
    /// How many levels are open within its braces.
    depth: usize,
    key: String,
    value: Value,
    name: Option<String>,
    /// What came of the arguments before the name did.
    waiting: String,
    has_arguments: bool,
}

/// What the value at hand is.
#[derive(Debug, PartialEq, Eq)]
enum Value {
    /// With its quotes.
    Name(String),
    Arguments,
    Other,
}

impl Objects {
    pub fn push(&mut self, text: &str) -> Vec<CallPiece> {
        let mut pieces = Vec::new();
        for character in text.chars() {
            self.follow(character, &mut pieces);
        }
        pieces
    }

    /// Calls that have begun.
    pub fn calls(&self) -> u32 {
        self.calls
    }

    fn follow(&mut self, character: char, pieces: &mut Vec<CallPiece>) {
        if self.follower.levels().is_empty() && !matches!(character, '{' | '[') {
            return;
        }
        let quiet = !self.follower.in_string();
        let role = self.follower.push(character);
        let depth = self.follower.levels().len();
        let Some(call) = &mut self.current else {
            let alone = depth == 1;
            let in_array = depth == 2 && self.follower.levels()[0] == Level::Array;
            if quiet && character == '{' && (alone || in_array) {
                self.current = Some(Call::new(depth));
            }
            return;
        };
        let own = depth == call.depth && quiet;
        let parts = quiet && (own && character == ',' || depth < call.depth);
        if parts {
            call.end_value(&mut self.calls, pieces);
        } else if own && role == Role::Structure && character == ':' {
            call.begin_value();
        } else if role == Role::Name && depth == call.depth {
            call.key.push(character);
        } else {
            call.take(character, own, self.calls, pieces);
        }
        if depth < call.depth {
            call.end(self.calls, pieces);
            self.current = None;
        }
    }
}

impl Call {
    fn new(depth: usize) -> Self {
        Self {
            depth,
            key: String::new(),
            value: Value::Other,
            name: None,
            waiting: String::new(),
            has_arguments: false,
        }
    }

    fn begin_value(&mut self) {
        self.value = match self.key.as_str() {
            "name" if self.name.is_none() => Value::Name(String::new()),
            "arguments" | "parameters" if !self.has_arguments => Value::Arguments,
            _ => Value::Other,
        };
        self.has_arguments |= self.value == Value::Arguments;
        self.key.clear();
    }

    /// A character of the value at hand; `outside` of everything within it.
    fn take(&mut self, character: char, outside: bool, calls: u32, pieces: &mut Vec<CallPiece>) {
        if outside && character.is_whitespace() {
            return;
        }
        match &mut self.value {
            Value::Name(name) => name.push(character),
            Value::Arguments if self.name.is_some() => {
                add(pieces, calls.saturating_sub(1), character);
            }
            Value::Arguments => self.waiting.push(character),
            Value::Other => {}
        }
    }

    fn end_value(&mut self, calls: &mut u32, pieces: &mut Vec<CallPiece>) {
        let Value::Name(quoted) = std::mem::replace(&mut self.value, Value::Other) else {
            return;
        };
        // A name that is no string names nothing.
        let Ok(name) = serde_json::from_str::<String>(&quoted) else {
            return;
        };
        self.name = Some(name.clone());
        pieces.push(CallPiece {
            index: *calls,
            name: Some(name),
            arguments: std::mem::take(&mut self.waiting),
        });
        *calls += 1;
    }

    /// A call without arguments has none to give.
    fn end(&self, calls: u32, pieces: &mut Vec<CallPiece>) {
        if self.name.is_some() && !self.has_arguments {
            pieces.push(CallPiece {
                index: calls.saturating_sub(1),
                name: None,
                arguments: "{}".to_owned(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::call_reader::{self, CallReader};

    fn read<'a>(pieces: impl IntoIterator<Item = &'a str>) -> Vec<(String, String)> {
        call_reader::read(CallReader::default(), pieces)
    }

    fn call(name: &str, arguments: &str) -> (String, String) {
        (name.to_owned(), arguments.to_owned())
    }

    const TWO: &str = concat!(
        "<tool_call>\n{\"name\": \"a\", \"arguments\": {\"x\": [1, {\"name\": \"}\"}]}}\n</tool_call>\n",
        "<tool_call>\n{\"parameters\" : {} , \"name\": \"b\\u00e9\"}\n</tool_call>",
    );

    #[test]
    fn calls_one_after_another_are_read() {
        let x = r#"{"x": [1, {"name": "}"}]}"#;
        assert_eq!(read([TWO]), [call("a", x), call("bé", "{}")]);
    }

    #[test]
    fn calls_in_an_array_are_read() {
        let text = r#"[{"name":"a","arguments":{"x":"\""}},{"name":"b","id":{"name":"c"}}]"#;
        assert_eq!(read([text]), [call("a", r#"{"x":"\""}"#), call("b", "{}")]);
    }

    #[test]
    fn an_object_without_a_name_is_no_call() {
        assert_eq!(read([r#"{"arguments": {"a": 1}} {"name": 5}"#]), []);
    }

    proptest! {
        #[test]
        fn any_cutting_gives_the_same_calls(cuts in prop::collection::vec(0..TWO.len(), 0..12)) {
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|at| TWO.is_char_boundary(*at)).collect();
            cuts.extend([0, TWO.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|ends| &TWO[ends[0]..ends[1]]);
            prop_assert_eq!(read(pieces), read([TWO]));
        }
    }
}
