//! Calls that are a name with an object of arguments behind it.

use super::{CallPiece, add};
use crate::json::Follower;

#[derive(Debug)]
pub(crate) struct Named {
    marks: Vec<String>,
    id_bytes: usize,
    /// What came before the arguments.
    head: String,
    /// Within the arguments.
    arguments: Follower,
    calls: u32,
}

impl Named {
    pub fn new(marks: Vec<String>, id_bytes: usize) -> Self {
        Self {
            marks,
            id_bytes,
            head: String::new(),
            arguments: Follower::default(),
            calls: 0,
        }
    }

    pub fn push(&mut self, text: &str) -> Vec<CallPiece> {
        let mut pieces = Vec::new();
        for character in text.chars() {
            if !self.arguments.levels().is_empty() {
                self.arguments.push(character);
                add(&mut pieces, self.calls.saturating_sub(1), character);
            } else if character == '{' {
                self.arguments.push(character);
                pieces.push(CallPiece {
                    index: self.calls,
                    name: Some(self.name()),
                    arguments: character.to_string(),
                });
                self.calls += 1;
            } else {
                self.head.push(character);
            }
        }
        pieces
    }

    pub fn calls(&self) -> u32 {
        self.calls
    }

    /// The name in what came before the arguments, which is at its end now.
    fn name(&mut self) -> String {
        let head = std::mem::take(&mut self.head);
        let without = |head: String, mark: &String| head.replace(mark, "");
        let head = self.marks.iter().fold(head, without);
        let head = head.trim();
        let end = head.len().saturating_sub(self.id_bytes);
        head[..head.floor_char_boundary(end)].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::call_reader::{self, CallReader, Written};

    fn read<'a>(
        id_bytes: usize,
        pieces: impl IntoIterator<Item = &'a str>,
    ) -> Vec<(String, String)> {
        let marks = ["[CALLS]", "[ID]", "[ARGS]"].map(str::to_owned).to_vec();
        call_reader::read(CallReader::new(Written::Named { marks, id_bytes }), pieces)
    }

    const TWO: &str = "rain{\"x\": [1, {\"name\": \"}\"}]}snow{}";

    #[test]
    fn calls_are_read_with_marks_that_are_text_and_with_none() {
        let expected = [
            ("rain".to_owned(), r#"{"x": [1, {"name": "}"}]}"#.to_owned()),
            ("snow".to_owned(), "{}".to_owned()),
        ];
        assert_eq!(read(0, [TWO]), expected);
        let marked = TWO.replace("rain", "[CALLS]rain[ARGS]");
        let marked = marked.replace("snow", "[CALLS]snow[ARGS]");
        assert_eq!(read(0, [marked.as_str()]), expected);
        let with_ids = TWO.replace("rain", "rainabc123DEF");
        let with_ids = with_ids.replace("snow", "[CALLS]snow[ID]abc123DEF[ARGS]");
        assert_eq!(read(9, [with_ids.as_str()]), expected);
    }

    proptest! {
        #[test]
        fn any_cutting_gives_the_same_calls(cuts in prop::collection::vec(0..TWO.len(), 0..12)) {
            let mut cuts = cuts;
            cuts.extend([0, TWO.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|ends| &TWO[ends[0]..ends[1]]);
            prop_assert_eq!(read(0, pieces), read(0, [TWO]));
        }
    }
}
