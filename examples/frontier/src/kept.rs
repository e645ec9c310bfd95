//! Conversations that a client goes on with by the id of an answer.
//!
//! Invariant: memory is bounded; the oldest are forgotten, and long ones are not kept.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value};

const MOST_KEPT: usize = 64;
const LONGEST_BYTES: usize = 1024 * 1024;

/// Conversations by the id of the answer that they end in.
#[derive(Debug, Default)]
pub(crate) struct Conversations(Mutex<VecDeque<(String, Map<String, Value>)>>);

impl Conversations {
    pub(crate) fn keep(&self, id: &str, conversation: Map<String, Value>) {
        let conversation = Value::from(conversation);
        if conversation.to_string().len() > LONGEST_BYTES {
            return;
        }
        let Value::Object(conversation) = conversation else {
            return;
        };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == MOST_KEPT {
            kept.pop_front();
        }
        kept.push_back((id.to_owned(), conversation));
    }

    pub(crate) fn find(&self, id: &str) -> Option<Map<String, Value>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().find(|(kept, _)| kept == id);
        found.map(|(_, conversation)| conversation.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn conversation(text: &str) -> Map<String, Value> {
        json!({"messages": [text]}).as_object().unwrap().clone()
    }

    #[test]
    fn the_oldest_are_forgotten_and_long_ones_not_kept() {
        let conversations = Conversations::default();
        for index in 0..=MOST_KEPT {
            conversations.keep(&index.to_string(), conversation("a"));
        }
        conversations.keep("long", conversation(&"x".repeat(LONGEST_BYTES)));
        assert_eq!(conversations.find("0"), None);
        assert_eq!(conversations.find("1"), Some(conversation("a")));
        assert_eq!(conversations.find("long"), None);
    }
}
