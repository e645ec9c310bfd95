//! A request for an Anthropic message.

use serde_json::{Map, Value, json};
use weir_policy::tier::Endpoint;

use super::chat::rounded;
use super::own;
use crate::ask::{Ask, Form, Image, Message, Part, Role, Tool, ToolChoice};
use crate::attempt::endpoint::proof;
use crate::wire::{Wire, anthropic_effort, is_blank};

pub(super) fn body(endpoint: &Endpoint, ask: &Ask) -> Map<String, Value> {
    let mut body = match ask.wire {
        Wire::Messages => own_wire(endpoint, ask),
        _ => of_ask(endpoint, ask),
    };
    body.insert("model".into(), endpoint.model.clone().into());
    body.insert("stream".into(), true.into());
    body
}

/// The client's own request. Thoughts that another tier had are taken out; where the answer that
/// called for tools had none of this endpoint's, it would not think on, so it is not asked to.
fn own_wire(endpoint: &Endpoint, ask: &Ask) -> Map<String, Value> {
    let mut body = own(ask, endpoint);
    let mark = proof::mark(endpoint);
    let mut has_lost = false;
    let messages = body.get_mut("messages").and_then(Value::as_array_mut);
    for message in messages.into_iter().flatten() {
        if let Some(Value::Array(blocks)) = message.get_mut("content") {
            has_lost |= proof::unmark(&mark, blocks);
        }
    }
    if has_lost || is_midway(&body) {
        body.shift_remove("thinking");
    }
    body
}

/// Whether tools answer an assistant that did not think before it called them.
pub(super) fn is_midway(body: &Map<String, Value>) -> bool {
    let messages = body.get("messages").and_then(Value::as_array);
    let assistant = messages.into_iter().flatten().rev();
    let mut assistant = assistant.filter(|message| message["role"] == "assistant");
    let Some(Value::Array(blocks)) = assistant.next().map(|message| &message["content"]) else {
        return false;
    };
    let has = |kinds: &[&str]| {
        let mut found = blocks.iter().filter_map(|block| block["type"].as_str());
        found.any(|kind| kinds.contains(&kind))
    };
    has(&["tool_use"]) && !has(&["thinking", "redacted_thinking"])
}

/// An ask of another wire.
fn of_ask(endpoint: &Endpoint, ask: &Ask) -> Map<String, Value> {
    let mut body = Map::new();
    let mut set = |field: &str, value: Value| drop(body.insert(field.into(), value));
    let (system, rest) = split_system(ask.messages());
    if !system.is_empty() {
        set("system", system.into());
    }
    set("messages", messages(endpoint, rest));
    let sampling = &ask.sampling;
    // OpenAI's reaches to 2; what is above 1 here is as free as it gets.
    if let Some(temperature) = sampling.temperature {
        set("temperature", rounded(temperature.min(1.0)));
    }
    if let Some(top_p) = sampling.top_p {
        set("top_p", rounded(top_p));
    }
    if let Some(top_k) = sampling.top_k {
        set("top_k", top_k.into());
    }
    let stops = ask.stop.iter().filter(|stop| !is_blank(stop));
    let stops: Vec<&String> = stops.collect();
    if !stops.is_empty() {
        set("stop_sequences", json!(stops));
    }
    if !ask.tools.is_empty() {
        set("tools", ask.tools.iter().map(tool).collect());
        set("tool_choice", tool_choice(ask));
    }
    let mut output = Map::new();
    if let Form::JsonSchema { schema, .. } = &ask.form {
        let format = json!({ "type": "json_schema", "schema": schema });
        output.insert("format".into(), format);
    }
    if let Some(effort) = ask.effort.as_deref().and_then(anthropic_effort) {
        output.insert("effort".into(), effort.into());
    }
    if !output.is_empty() {
        set("output_config", output.into());
    }
    if let Some(user) = &ask.user {
        set("metadata", json!({ "user_id": user }));
    }
    body
}

/// What the system says before anybody else, and everything after it.
fn split_system(messages: &[Message]) -> (String, &[Message]) {
    let others = messages
        .iter()
        .position(|message| message.role != Role::System);
    let (system, rest) = messages.split_at(others.unwrap_or(messages.len()));
    let texts: Vec<String> = system.iter().map(Message::text).collect();
    (texts.join("\n\n"), rest)
}

/// Messages of the same side are one here, so that all that tools answered comes at once.
fn messages(endpoint: &Endpoint, messages: &[Message]) -> Value {
    let mark = proof::mark(endpoint);
    let mut gathered: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in messages {
        let side = match message.role {
            Role::Assistant => "assistant",
            // What a system says in between was never the assistant's.
            Role::System | Role::User | Role::Tool => "user",
        };
        let blocks = blocks(&mark, message);
        if blocks.is_empty() {
            continue;
        }
        match gathered.last_mut() {
            Some((last, all)) if *last == side => all.extend(blocks),
            _ => gathered.push((side, blocks)),
        }
    }
    let gathered = gathered.into_iter();
    gathered
        .map(|(role, content)| json!({ "role": role, "content": content }))
        .collect()
}

fn blocks(mark: &str, message: &Message) -> Vec<Value> {
    let parts = message.parts.iter();
    let blocks = parts.filter_map(|part| match part {
        Part::Text(text) | Part::Refusal(text) if !text.is_empty() => {
            Some(json!({ "type": "text", "text": text }))
        }
        Part::Image(image) => Some(json!({ "type": "image", "source": source(image) })),
        Part::Thought {
            text,
            proof: Some(proof),
        } => {
            let signature = proof::unmarked(mark, proof)?;
            Some(json!({ "type": "thinking", "thinking": text, "signature": signature }))
        }
        Part::Call {
            id,
            name,
            arguments,
        } => {
            // A call whose arguments are no object was never made by this wire's models; it is
            // told with none.
            let input = serde_json::from_str(arguments).ok();
            let input = input.filter(Value::is_object).unwrap_or_else(|| json!({}));
            Some(json!({ "type": "tool_use", "id": id, "name": name, "input": input }))
        }
        _ => None,
    });
    let blocks: Vec<Value> = blocks.collect();
    let result = message.parts.iter().find_map(|part| match part {
        Part::Result { call_id, is_error } => Some((call_id, is_error)),
        _ => None,
    });
    match result {
        None => blocks,
        Some((call_id, is_error)) => {
            let mut result =
                json!({ "type": "tool_result", "tool_use_id": call_id, "content": blocks });
            if *is_error {
                result["is_error"] = true.into();
            }
            vec![result]
        }
    }
}

fn source(image: &Image) -> Value {
    match image {
        Image::Url(url) => json!({ "type": "url", "url": url }),
        Image::Inline { media_type, data } => {
            json!({ "type": "base64", "media_type": media_type, "data": data })
        }
    }
}

fn tool(tool: &Tool) -> Value {
    let mut said = json!({ "name": tool.name, "input_schema": tool.parameters });
    if let Some(description) = &tool.description {
        said["description"] = description.clone().into();
    }
    if let Some(strict) = tool.strict {
        said["strict"] = strict.into();
    }
    said
}

fn tool_choice(ask: &Ask) -> Value {
    let mut choice = match &ask.tool_choice {
        ToolChoice::None => return json!({ "type": "none" }),
        ToolChoice::Auto => json!({ "type": "auto" }),
        ToolChoice::Required => json!({ "type": "any" }),
        ToolChoice::Named(name) => json!({ "type": "tool", "name": name }),
    };
    if ask.single_call {
        choice["disable_parallel_tool_use"] = true.into();
    }
    choice
}
