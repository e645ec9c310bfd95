//! How many tokens a prompt may have, before anybody has counted them: never too few, because so much
//! money is put aside for it.
//!
//! All that the request says counts, whatever its member is called: what is no part of the prompt is short.

use serde_json::{Map, Value};
use weir_crds::Provider;
use weir_policy::tier::Endpoint;

use crate::ask::Ask;

/// Of what a provider puts around a prompt, and of what it says of tools once and of each that it has a
/// name for: Anthropic publishes up to 530 and 735.
const FRAME: u64 = 100;
const TOOLS: u64 = 600;
const NAMED_TOOL: u64 = 800;
/// Sound of ten tokens a second, as OpenAI counts it, has more bytes than so many for each token even at
/// eight thousand bits a second.
const SOUND_BYTES: u64 = 16;
/// The longest prompt of any model of OpenAI or Anthropic, and a little more. Of a document nobody can say
/// from here how many pages it has and what is in them, and of what lies elsewhere not even its length.
const LONGEST_PROMPT: u64 = 1_100_000;

pub(super) fn most_tokens(ask: &Ask, endpoint: &Endpoint) -> u64 {
    let mut count = Count {
        image: image(endpoint),
        tokens: FRAME,
        has_unseen: false,
    };
    for (name, value) in &ask.body {
        count.text(name);
        match name.as_str() {
            "messages" | "input" | "system" | "prompt" | "instructions" => count.content(value),
            "tools" => count.tools(value),
            _ => count.plain(value),
        }
    }
    match count.has_unseen {
        true => count.tokens.max(LONGEST_PROMPT),
        false => count.tokens,
    }
}

/// The most that the endpoint takes for one image, whatever its size.
fn image(endpoint: &Endpoint) -> u64 {
    // 2,833 and 5,667 for each of eight tiles: a cheap model that takes as much money as the others.
    if endpoint.model.contains("4o-mini") {
        return 50_000;
    }
    match endpoint.provider {
        // Published is 4,784.
        Provider::Anthropic => 5000,
        // 10,000 patches, and a fifth more for some models.
        Provider::OpenAI => 15_000,
        // Of open models those of Qwen have the most: 16,384.
        Provider::OpenAICompatible => 17_000,
    }
}

/// Whether a part of this kind is text, or holds others.
fn is_said(kind: &str) -> bool {
    const ENDS: [&str; 4] = ["_call", "_output", "tool_use", "tool_result"];
    const KINDS: [&str; 11] = [
        "",
        "text",
        "input_text",
        "output_text",
        "refusal",
        "thinking",
        "redacted_thinking",
        "reasoning",
        "message",
        "search_result",
        "tool_reference",
    ];
    KINDS.contains(&kind) || ENDS.iter().any(|end| kind.ends_with(end))
}

/// Whether a part that nobody here knows names something that lies elsewhere, or is no text.
fn refers(part: &Map<String, Value>) -> bool {
    const NAMES: [&str; 7] = [
        "url",
        "uri",
        "data",
        "file_id",
        "file_url",
        "file_data",
        "image_url",
    ];
    part.iter().any(|(name, value)| {
        NAMES.contains(&name.as_str()) || value.as_object().is_some_and(refers)
    })
}

struct Count {
    /// Of each.
    image: u64,
    tokens: u64,
    /// There is something that nobody can count.
    has_unseen: bool,
}

impl Count {
    /// No tokenizer makes more tokens than there are bytes.
    fn text(&mut self, text: &str) {
        self.tokens += text.len() as u64;
    }

    /// What is read as it stands.
    fn plain(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.text(text),
            Value::Array(items) => items.iter().for_each(|item| self.plain(item)),
            Value::Object(members) => members.iter().for_each(|(name, value)| {
                self.text(name);
                self.plain(value);
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) => self.text(&value.to_string()),
        }
    }

    /// What may have parts that are no text.
    fn content(&mut self, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.content(item)),
            Value::Object(members) => self.part(members),
            // A token by its number.
            Value::Number(_) => self.tokens += 1,
            value => self.plain(value),
        }
    }

    fn part(&mut self, part: &Map<String, Value>) {
        let kind = part.get("type").and_then(Value::as_str);
        match kind.unwrap_or_default() {
            "image" | "image_url" | "input_image" | "computer_screenshot" => self.image(part),
            "input_audio" => self.sound(part),
            "document" => self.document(part),
            "file" | "input_file" | "video_url" | "input_video" | "video" | "audio_url"
            | "container_upload" | "item_reference" => self.has_unseen = true,
            kind => {
                self.has_unseen |= !is_said(kind) && refers(part);
                self.members(part);
            }
        }
    }

    /// A message, or a part with a text or with parts of its own.
    fn members(&mut self, part: &Map<String, Value>) {
        for (name, value) in part {
            self.text(name);
            match name.as_str() {
                "content" | "output" => self.content(value),
                // What was said aloud before, by its number.
                "audio" if value.is_object() => self.has_unseen = true,
                _ => self.plain(value),
            }
        }
    }

    /// Some take documents where an image belongs.
    fn image(&mut self, part: &Map<String, Value>) {
        let url = part.get("image_url");
        let url = url.and_then(|url| url.get("url").unwrap_or(url).as_str());
        let is_document =
            url.is_some_and(|url| url.starts_with("data:") && !url.starts_with("data:image/"));
        self.has_unseen |= is_document;
        self.tokens += self.image;
    }

    fn sound(&mut self, part: &Map<String, Value>) {
        let sound = part.get("input_audio").and_then(|sound| sound.get("data"));
        let bytes = sound.and_then(Value::as_str).map_or(0, str::len) as u64;
        self.tokens += FRAME + bytes.div_ceil(SOUND_BYTES);
    }

    fn document(&mut self, part: &Map<String, Value>) {
        for (name, value) in part {
            let kind = value.get("type").and_then(Value::as_str);
            match (name.as_str(), kind) {
                ("source", Some("text")) => self.plain(value),
                ("source", Some("content")) => {
                    value
                        .get("content")
                        .into_iter()
                        .for_each(|content| self.content(content));
                }
                ("source", _) => self.has_unseen = true,
                _ => self.plain(value),
            }
        }
    }

    fn tools(&mut self, tools: &Value) {
        self.plain(tools);
        self.tokens += TOOLS;
        let tools = tools.as_array().into_iter().flatten();
        let kinds = tools.filter_map(|tool| tool["type"].as_str());
        let named = kinds.filter(|kind| !matches!(*kind, "function" | "custom"));
        self.tokens += NAMED_TOOL * named.count() as u64;
    }
}

#[cfg(test)]
mod tests;
