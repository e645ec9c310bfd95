//! What a conversation begins with, by which it is known again as it goes on.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Ask, Input, Role};
use crate::balance::first_number;
use crate::record::clipped;
use crate::wire::Wire;

/// Of a text without turns.
const FIRST_BYTES: usize = 1024;
/// Of an image or a file, at its beginning and at its end: two that are the same there, and as long, are one.
const EDGE_BYTES: usize = 2048;

impl Ask {
    /// What a replica may remember of the conversation: a number for its beginning, the first words of the
    /// user and what they show included, which stays as it goes on. Nothing where every prompt stands alone.
    pub fn beginning(&self) -> Option<u64> {
        if self.wire == Wire::Embeddings {
            return None;
        }
        let mut digest = Sha256::new();
        match &self.input {
            Input::Chat(messages) => {
                for message in messages {
                    digest.update(message.role.word());
                    digest.update(message.text());
                    if message.role == Role::User {
                        break;
                    }
                }
                self.shown_first(&mut digest);
            }
            Input::Text(text) => digest.update(clipped(text, FIRST_BYTES)),
            Input::Tokens(tokens) => {
                for token in tokens.iter().take(FIRST_BYTES / 4) {
                    digest.update(token.to_le_bytes());
                }
            }
            Input::Many(_) => return None,
        }
        Some(first_number(&digest.finalize()))
    }

    /// What there is beside text up to the first words of the user, whatever its form.
    fn shown_first(&self, digest: &mut Sha256) {
        let items = ["messages", "input"].map(|field| self.body.get(field));
        let items = items.into_iter().flatten().filter_map(Value::as_array);
        for item in items.flatten() {
            let parts = item.get("content").and_then(Value::as_array);
            let parts = parts.into_iter().flatten().filter(|part| !is_text(part));
            parts.for_each(|part| mix(digest, part));
            if item.get("role").is_some_and(|role| role == "user") {
                break;
            }
        }
    }
}

fn is_text(part: &Value) -> bool {
    let kind = part.get("type").and_then(Value::as_str);
    matches!(kind, Some("text" | "input_text" | "output_text"))
}

fn mix(digest: &mut Sha256, value: &Value) {
    match value {
        Value::String(text) => {
            let bytes = text.as_bytes();
            digest.update(bytes.len().to_le_bytes());
            digest.update(&bytes[..bytes.len().min(EDGE_BYTES)]);
            digest.update(&bytes[bytes.len().saturating_sub(EDGE_BYTES)..]);
        }
        Value::Array(items) => items.iter().for_each(|item| mix(digest, item)),
        Value::Object(members) => {
            // Where a provider is to cache moves on with the conversation.
            let members = members.iter().filter(|(name, _)| *name != "cache_control");
            for (name, value) in members {
                digest.update(name);
                mix(digest, value);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => digest.update(value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::decode;
    use serde_json::json;

    fn beginning(messages: Value) -> u64 {
        let body = json!({ "model": "m", "max_tokens": 9, "messages": messages });
        let ask = decode(Wire::Messages, body.to_string().as_bytes()).unwrap();
        ask.beginning().unwrap()
    }

    fn shown(part: Value) -> Value {
        let text = json!({ "type": "text", "text": "What is this?" });
        json!({ "role": "user", "content": [part, text] })
    }

    fn image(data: &str) -> Value {
        let source = json!({ "type": "base64", "media_type": "image/png", "data": data });
        json!({ "type": "image", "source": source })
    }

    #[test]
    fn a_conversation_is_the_same_as_it_goes_on() {
        let first = json!([{ "role": "user", "content": "hi" }]);
        let mut later = first.clone();
        let more = [
            json!({ "role": "assistant", "content": "hello" }),
            shown(image("AAAA")),
        ];
        later.as_array_mut().unwrap().extend(more);
        assert_eq!(beginning(first.clone()), beginning(later));
        assert_ne!(
            beginning(first),
            beginning(json!([{ "role": "user", "content": "ho" }]))
        );
        let mut marked = image("AAAA");
        marked["cache_control"] = json!({ "type": "ephemeral" });
        assert_eq!(
            beginning(json!([shown(marked)])),
            beginning(json!([shown(image("AAAA"))]))
        );
    }

    #[test]
    fn conversations_that_begin_with_other_images_or_files_are_others() {
        let of = |part: Value| beginning(json!([shown(part)]));
        assert_ne!(of(image("AAAA")), of(image("AAAB")));
        let long = |mark: &str| image(&format!("{}{mark}", "A".repeat(1 << 20)));
        assert_ne!(of(long("B")), of(long("C")));
        let file =
            |id: &str| json!({ "type": "document", "source": { "type": "file", "file_id": id } });
        assert_ne!(of(file("file_1")), of(file("file_2")));
    }
}
