//! How many tokens a prompt may have, before anybody has counted them: rather too many than too few,
//! because so much money is put aside for it.

use serde_json::Value;

use crate::ask::Ask;

/// A token has more bytes in most texts; in some scripts it has about as many.
const TEXT_BYTES: u64 = 3;
/// What providers take for an image, whatever its bytes.
const IMAGE: u64 = 2000;
/// A page of a document, or a second of sound, has far more bytes than so many for each token.
const FILE_BYTES: u64 = 16;

/// All that the request says counts, whatever its member is called: what is no part of the prompt is short.
pub(super) fn most_tokens(ask: &Ask) -> u64 {
    ask.body
        .iter()
        .map(|(name, value)| of_member(name, value))
        .sum()
}

fn of_value(value: &Value) -> u64 {
    match value {
        Value::String(text) if text.starts_with("data:image/") => IMAGE,
        Value::String(text) if text.starts_with("data:") => of_file(text),
        Value::String(text) => of_text(text),
        Value::Array(items) => items.iter().map(of_value).sum(),
        Value::Object(members) => {
            let kind = members.get("media_type").and_then(Value::as_str);
            if kind.is_some_and(|kind| kind.starts_with("image/")) {
                return IMAGE;
            }
            let members = members.iter();
            members.map(|(name, value)| of_member(name, value)).sum()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
    }
}

fn of_member(name: &str, value: &Value) -> u64 {
    match value {
        // Of files and sound, in base64.
        Value::String(data) if matches!(name, "data" | "file_data") => of_file(data),
        value => of_text(name) + of_value(value),
    }
}

fn of_text(text: &str) -> u64 {
    (text.len() as u64).div_ceil(TEXT_BYTES)
}

fn of_file(data: &str) -> u64 {
    (data.len() as u64).div_ceil(FILE_BYTES).max(IMAGE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Wire;
    use serde_json::json;

    fn tokens(content: Value) -> u64 {
        let body = json!({ "model": "m", "messages": [{ "role": "user", "content": content }] });
        let ask = crate::decode::decode(Wire::Chat, body.to_string().as_bytes()).unwrap();
        most_tokens(&ask)
    }

    #[test]
    fn texts_count_by_their_bytes_and_images_whole() {
        let nothing = tokens(json!(""));
        assert!(nothing < 20, "{nothing}");
        assert_eq!(tokens(json!("x".repeat(3000))) - nothing, 1000);
        let image =
            |url: String| tokens(json!([{ "type": "image_url", "image_url": { "url": url } }]));
        let small = image("data:image/png;base64,AAAA".into());
        assert_eq!(
            image(format!("data:image/png;base64,{}", "A".repeat(1 << 20))),
            small
        );
        assert!((2000..2100).contains(&small), "{small}");
    }

    #[test]
    fn what_tools_answered_counts_too() {
        let body = json!({ "model": "m", "messages": [
            { "role": "user", "content": "look" },
            { "role": "assistant", "content": null, "tool_calls": [
                { "id": "1", "type": "function", "function": { "name": "f", "arguments": "{}" } },
            ] },
            { "role": "tool", "tool_call_id": "1", "content": "y".repeat(3000) },
        ] });
        let ask = crate::decode::decode(Wire::Chat, body.to_string().as_bytes()).unwrap();
        assert!(most_tokens(&ask) > 1000);
    }
}
