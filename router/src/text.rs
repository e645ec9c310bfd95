//! What was said in an ask, where its policy keeps that: the prompt, and the answer as it was given,
//! each within bounds, and all of them together too.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::answer::{Event, Piece};
use crate::encode::Gathered;
use crate::record::clipped;
use crate::room::{Part, Room};

/// The most that is kept of a prompt, and of an answer.
const MOST_SIDE_BYTES: usize = 256 << 10;
/// The most that texts of all asks take together, those that wait for a store among them.
const MOST_BYTES: usize = 64 << 20;
/// The fields that a model reads.
const READ: [&str; 6] = [
    "system",
    "instructions",
    "messages",
    "prompt",
    "input",
    "tools",
];

/// Room for texts.
pub(crate) fn room() -> Arc<Room> {
    Room::of(MOST_BYTES)
}

/// One ask's text. Its room is free again when it is dropped.
pub(crate) struct Text {
    room: Part,
    /// JSON, unless it is cut.
    prompt: String,
    is_prompt_cut: bool,
    answer: Gathered,
    is_answer_cut: bool,
}

impl Text {
    /// Of a request as it came, whose answer has so many choices.
    pub fn new(mut room: Part, body: &Map<String, Value>, choices: u32) -> Self {
        let read = READ.iter().filter_map(|field| body.get_key_value(*field));
        let read: Map<_, _> = read
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let mut prompt = Value::Object(read).to_string();
        let taken = room.take(prompt.len().min(MOST_SIDE_BYTES));
        let is_prompt_cut = taken < prompt.len();
        prompt = clipped(&prompt, taken).to_owned();
        Self {
            room,
            prompt,
            is_prompt_cut,
            answer: Gathered::of(choices),
            is_answer_cut: false,
        }
    }

    /// Hears what the client is told.
    pub fn hear(&mut self, event: &Event) {
        match event {
            Event::Piece(piece) => self.add(piece),
            Event::Restart => {
                self.answer.clear();
                self.is_answer_cut = false;
            }
            Event::Begin(_) | Event::End(_) | Event::Fail { .. } => {}
        }
    }

    fn add(&mut self, piece: &Piece) {
        // Neither is anything that the others do not say.
        let piece = Piece {
            logprobs: Vec::new(),
            native: None,
            ..piece.clone()
        };
        let bytes = piece.bytes();
        let is_over = self.is_answer_cut || self.answer.bytes + bytes > MOST_SIDE_BYTES;
        let taken = if is_over { 0 } else { self.room.take(bytes) };
        match taken < bytes {
            true => self.is_answer_cut = true,
            false => self.answer.add(piece),
        }
    }

    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        self.prompt.len() + self.answer.bytes
    }

    pub fn json(&self) -> String {
        let prompt = match self.is_prompt_cut {
            true => Value::from(self.prompt.as_str()).to_string(),
            false => self.prompt.clone(),
        };
        let answer = json!(self.answer.choices);
        format!(
            "{{\"prompt\":{prompt},\"promptCut\":{},\"answer\":{answer},\"answerCut\":{}}}",
            self.is_prompt_cut, self.is_answer_cut
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Event {
        Event::Piece(Piece {
            text: text.into(),
            ..Piece::default()
        })
    }

    fn text(room: &Arc<Room>, prompt: &str) -> Text {
        let body = json!({ "messages": [{ "content": prompt }], "user": "u-7" });
        Text::new(room.part(), body.as_object().unwrap(), 1)
    }

    fn json_of(text: &Text) -> Value {
        serde_json::from_str(&text.json()).unwrap()
    }

    #[test]
    fn a_text_is_the_prompt_and_what_was_given_of_the_answer() {
        let mut text = text(&room(), "where?");
        for event in [said("void"), Event::Restart, said("he"), said("re")] {
            text.hear(&event);
        }
        let json = json_of(&text);
        assert_eq!(
            json["prompt"],
            json!({ "messages": [{ "content": "where?" }] })
        );
        assert_eq!(json["answer"][0]["text"], "here");
        assert_eq!(json["answerCut"], false);
    }

    #[test]
    fn either_side_is_cut_where_it_is_too_long_and_says_so() {
        let mut text = text(&room(), &"é".repeat(MOST_SIDE_BYTES));
        text.hear(&said("a"));
        text.hear(&said(&"b".repeat(MOST_SIDE_BYTES)));
        text.hear(&said("c"));
        let json = json_of(&text);
        assert_eq!(json["promptCut"], true);
        let kept = json["prompt"].as_str().unwrap().len();
        assert!((MOST_SIDE_BYTES - 1..=MOST_SIDE_BYTES).contains(&kept));
        assert_eq!(
            (&json["answer"][0]["text"], &json["answerCut"]),
            (&json!("a"), &json!(true))
        );
    }

    #[test]
    fn all_texts_share_one_room_and_give_it_back() {
        let room = room();
        let long = "x".repeat(MOST_SIDE_BYTES);
        let fit = MOST_BYTES / MOST_SIDE_BYTES;
        let held: Vec<Text> = (0..fit).map(|_| text(&room, &long)).collect();
        let mut none = text(&room, "where?");
        none.hear(&said("here"));
        let json = json_of(&none);
        assert_eq!(
            (&json["prompt"], &json["answerCut"]),
            (&json!(""), &json!(true))
        );
        drop((held, none));
        assert!(room.part().grow(MOST_BYTES));
    }
}
