//! The items of a response's output, and the events by which each of them comes to be.

use serde_json::{Value, json};

use crate::answer::Piece;
use crate::encode::gathered::Choice;

/// One item of the output.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item {
    what: What,
    text: String,
    logprobs: Vec<Value>,
    /// What the maker of a thought wants back with it.
    proof: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Text,
    Refusal,
    Thought,
    Call {
        index: u32,
        id: String,
        name: String,
    },
}

/// The output as it is written: the items that are whole, and the one that is coming.
pub(super) struct Items {
    id: String,
    pub done: Vec<Value>,
    open: Option<Item>,
    /// About how much memory all of it takes.
    pub bytes: usize,
}

/// What an item is beside what it says, as a value.
const ITEM_BYTES: usize = 1 << 10;

impl Item {
    fn new(what: What) -> Self {
        Self {
            what,
            text: String::new(),
            logprobs: Vec::new(),
            proof: None,
        }
    }

    /// The items that an answer in our words makes.
    pub fn of_choice(choice: Choice) -> Vec<Self> {
        let mut items = Vec::new();
        let mut add = |what: What, text: String, logprobs, proof: Option<String>| {
            items.push(Item {
                what,
                text,
                logprobs,
                proof,
            });
        };
        if !choice.reasoning.is_empty() || choice.proof.is_some() {
            add(What::Thought, choice.reasoning, Vec::new(), choice.proof);
        }
        if !choice.text.is_empty() {
            add(What::Text, choice.text, choice.logprobs, None);
        }
        if !choice.refusal.is_empty() {
            add(What::Refusal, choice.refusal, Vec::new(), None);
        }
        for (index, call) in choice.calls.into_iter().enumerate() {
            let what = What::Call {
                index: index as u32,
                id: call.id,
                name: call.name,
            };
            add(what, call.arguments, Vec::new(), None);
        }
        items
    }

    /// What the content of a message or a thought holds.
    fn part(&self) -> Value {
        match self.what {
            What::Refusal => json!({ "type": "refusal", "refusal": self.text }),
            What::Thought => json!({ "type": "reasoning_text", "text": self.text }),
            What::Text | What::Call { .. } => json!({
                "type": "output_text", "text": self.text, "annotations": [],
                "logprobs": self.logprobs,
            }),
        }
    }

    fn blank_part(&self) -> Value {
        Item::new(self.what.clone()).part()
    }

    fn object(&self, id: &str, status: &str, content: Value) -> Value {
        match &self.what {
            What::Text | What::Refusal => json!({
                "id": id, "type": "message", "status": status, "role": "assistant",
                "content": content,
            }),
            What::Thought => {
                let mut object = json!({
                    "id": id, "type": "reasoning", "status": status, "summary": [],
                    "content": content,
                });
                if let Some(proof) = &self.proof {
                    object["encrypted_content"] = proof.clone().into();
                }
                object
            }
            What::Call {
                id: call_id, name, ..
            } => json!({
                "id": id, "type": "function_call", "status": status, "call_id": call_id,
                "name": name, "arguments": self.text,
            }),
        }
    }

    fn prefix(&self) -> &'static str {
        match self.what {
            What::Text | What::Refusal => "msg",
            What::Thought => "rs",
            What::Call { .. } => "fc",
        }
    }
}

impl Items {
    pub fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            done: Vec::new(),
            open: None,
            bytes: 0,
        }
    }

    /// The id and the place of the item that is coming.
    fn place(&self, item: &Item) -> (String, usize) {
        let index = self.done.len();
        (format!("{}_{}_{index}", item.prefix(), self.id), index)
    }

    /// Adds a whole item.
    pub fn add(&mut self, item: Item, is_cut: bool) {
        let (id, _) = self.place(&item);
        self.done.push(self.whole(&item, &id, is_cut));
    }

    fn whole(&self, item: &Item, id: &str, is_cut: bool) -> Value {
        let status = if is_cut { "incomplete" } else { "completed" };
        item.object(id, status, json!([item.part()]))
    }

    /// The events that a piece brings.
    pub fn piece(&mut self, piece: Piece) -> Vec<Value> {
        self.bytes += piece.content_bytes();
        let mut events = Vec::new();
        if !piece.reasoning.is_empty() || piece.proof.is_some() {
            self.more(What::Thought, &piece.reasoning, Vec::new(), &mut events);
            if let Some(open) = &mut self.open {
                open.proof = piece.proof.or(open.proof.take());
            }
        }
        if !piece.text.is_empty() || !piece.logprobs.is_empty() {
            self.more(What::Text, &piece.text, piece.logprobs, &mut events);
        }
        if !piece.refusal.is_empty() {
            self.more(What::Refusal, &piece.refusal, Vec::new(), &mut events);
        }
        for call in piece.calls {
            let is_more = matches!(
                &self.open,
                Some(Item { what: What::Call { index, .. }, .. }) if *index == call.index
            );
            let what = match (&self.open, is_more) {
                (Some(open), true) => open.what.clone(),
                _ => What::Call {
                    index: call.index,
                    id: call.id,
                    name: call.name,
                },
            };
            self.more(what, &call.arguments, Vec::new(), &mut events);
        }
        events
    }

    /// More of the open item, or the beginning of another one.
    fn more(&mut self, what: What, text: &str, logprobs: Vec<Value>, events: &mut Vec<Value>) {
        if self.open.as_ref().is_none_or(|open| open.what != what) {
            events.extend(self.close(false));
            events.extend(self.open(what));
            self.bytes += ITEM_BYTES;
        }
        let Some(mut open) = self.open.take() else {
            return;
        };
        let (id, index) = self.place(&open);
        let kind = match open.what {
            What::Text => "response.output_text.delta",
            What::Refusal => "response.refusal.delta",
            What::Thought => "response.reasoning_text.delta",
            What::Call { .. } => "response.function_call_arguments.delta",
        };
        let mut event = json!({
            "type": kind, "item_id": id, "output_index": index, "content_index": 0, "delta": text,
        });
        match open.what {
            What::Text => event["logprobs"] = json!(logprobs),
            What::Call { .. } => {
                if let Some(members) = event.as_object_mut() {
                    members.shift_remove("content_index");
                }
            }
            What::Refusal | What::Thought => {}
        }
        open.text.push_str(text);
        open.logprobs.extend(logprobs);
        if !text.is_empty() {
            events.push(event);
        }
        self.open = Some(open);
    }

    fn open(&mut self, what: What) -> Vec<Value> {
        let item = Item::new(what);
        let (id, index) = self.place(&item);
        let mut events = vec![json!({
            "type": "response.output_item.added", "output_index": index,
            "item": item.object(&id, "in_progress", json!([])),
        })];
        if !matches!(item.what, What::Call { .. }) {
            events.push(json!({
                "type": "response.content_part.added", "item_id": id, "output_index": index,
                "content_index": 0, "part": item.blank_part(),
            }));
        }
        self.open = Some(item);
        events
    }

    /// The events that end the item that is coming; `is_cut`: it broke off.
    pub fn close(&mut self, is_cut: bool) -> Vec<Value> {
        let Some(item) = self.open.take() else {
            return Vec::new();
        };
        let (id, index) = self.place(&item);
        let at = json!({ "item_id": id, "output_index": index });
        let event = |kind: &str, members: Value| {
            let mut event = json!({ "type": kind });
            for (field, value) in [&at, &members]
                .into_iter()
                .flat_map(Value::as_object)
                .flatten()
            {
                event[field] = value.clone();
            }
            event
        };
        let mut events = Vec::new();
        match &item.what {
            What::Call { name, .. } => events.push(event(
                "response.function_call_arguments.done",
                json!({ "name": name, "arguments": item.text }),
            )),
            what => {
                let (kind, mut members) = match what {
                    What::Refusal => ("response.refusal.done", json!({ "refusal": item.text })),
                    What::Thought => ("response.reasoning_text.done", json!({ "text": item.text })),
                    _ => (
                        "response.output_text.done",
                        json!({ "text": item.text, "logprobs": item.logprobs }),
                    ),
                };
                members["content_index"] = 0.into();
                events.push(event(kind, members));
                let part = json!({ "content_index": 0, "part": item.part() });
                events.push(event("response.content_part.done", part));
            }
        }
        let whole = self.whole(&item, &id, is_cut);
        events.push(json!({
            "type": "response.output_item.done", "output_index": index, "item": whole,
        }));
        self.done.push(whole);
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_short_items_count_for_what_they_take() {
        let mut items = Items::new("1");
        for (text, reasoning) in [("a", ""), ("", "b")].into_iter().cycle().take(100) {
            items.piece(Piece {
                text: text.into(),
                reasoning: reasoning.into(),
                ..Piece::default()
            });
        }
        assert_eq!(items.done.len(), 99);
        assert!(items.bytes > 100 * ITEM_BYTES);
    }
}
