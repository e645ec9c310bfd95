//! A request for a chat completion.

use serde_json::{Map, Value, json};
use weir_crds::Provider;
use weir_policy::tier::Endpoint;

use super::own;
use crate::ask::{Ask, Form, Message, Part, Role, Tool, ToolChoice};
use crate::wire::{LIMITS, Wire};

pub(super) fn body(endpoint: &Endpoint, ask: &Ask) -> Map<String, Value> {
    let mut body = match ask.wire {
        Wire::Chat => own(ask, endpoint),
        _ => of_ask(endpoint, ask),
    };
    for field in LIMITS {
        body.shift_remove(field);
    }
    body.insert("model".into(), endpoint.model.clone().into());
    body.insert("stream".into(), true.into());
    body.insert("stream_options".into(), json!({ "include_usage": true }));
    let has_developer_role = endpoint.provider == Provider::OpenAI;
    if !has_developer_role {
        rename_developer(&mut body);
    }
    body
}

fn rename_developer(body: &mut Map<String, Value>) {
    let messages = body.get_mut("messages").and_then(Value::as_array_mut);
    for message in messages.into_iter().flatten() {
        if message["role"] == "developer" {
            message["role"] = "system".into();
        }
    }
}

/// An ask of another wire.
fn of_ask(endpoint: &Endpoint, ask: &Ask) -> Map<String, Value> {
    let mut body = Map::new();
    let mut set = |field: &str, value: Value| drop(body.insert(field.into(), value));
    let messages = ask.messages().iter().flat_map(message).collect();
    set("messages", Value::Array(messages));
    let sampling = &ask.sampling;
    let number = |value: Option<f32>| value.map(rounded);
    for (field, value) in [
        ("temperature", number(sampling.temperature)),
        ("top_p", number(sampling.top_p)),
    ] {
        if let Some(value) = value {
            set(field, value);
        }
    }
    if let (Some(top_k), Provider::OpenAICompatible) = (sampling.top_k, endpoint.provider) {
        set("top_k", top_k.into());
    }
    if !ask.stop.is_empty() {
        set("stop", ask.stop.clone().into());
    }
    if !ask.tools.is_empty() {
        set("tools", ask.tools.iter().map(Tool::as_chat).collect());
        set("tool_choice", tool_choice(&ask.tool_choice));
        if ask.single_call {
            set("parallel_tool_calls", false.into());
        }
    }
    if let Some(format) = response_format(&ask.form) {
        set("response_format", format);
    }
    if let Some(alternatives) = ask.logprobs {
        set("logprobs", true.into());
        set("top_logprobs", alternatives.into());
    }
    if let Some(effort) = &ask.effort {
        set("reasoning_effort", effort.clone().into());
    }
    if let Some(user) = &ask.user {
        set("user", user.clone().into());
    }
    if ask.wire == Wire::Responses {
        for field in [
            "metadata",
            "service_tier",
            "safety_identifier",
            "prompt_cache_key",
            "prompt_cache_options",
            "prompt_cache_retention",
        ] {
            if let Some(value) = ask.body.get(field).filter(|value| !value.is_null()) {
                set(field, value.clone());
            }
        }
        if let Some(verbosity) = ask.body.get("text").and_then(|text| text.get("verbosity")) {
            set("verbosity", verbosity.clone());
        }
    }
    body
}

/// A setting as a person wrote it, and not as its nearest number in 32 bits is in 64.
pub(super) fn rounded(value: f32) -> Value {
    let text = value.to_string();
    text.parse::<f64>().map_or(Value::Null, Value::from)
}

fn tool_choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => json!({ "type": "function", "function": { "name": name } }),
    }
}

fn response_format(form: &Form) -> Option<Value> {
    match form {
        Form::JsonObject => Some(json!({ "type": "json_object" })),
        Form::JsonSchema {
            name,
            schema,
            strict,
        } => {
            let mut named = json!({ "name": name, "schema": schema });
            if let Some(strict) = strict {
                named["strict"] = (*strict).into();
            }
            Some(json!({ "type": "json_schema", "json_schema": named }))
        }
        // The others take an upstream of another wire out of the plan.
        Form::Text | Form::Choice(_) | Form::Regex(_) | Form::Grammar(_) => None,
    }
}

/// A message of ours as one of theirs, or as two: an image that a tool gave has no place in what a
/// tool says here, so the user shows it.
fn message(message: &Message) -> Vec<Value> {
    let role = message.role.word();
    match message.role {
        Role::System => vec![json!({ "role": role, "content": message.text() })],
        Role::User => vec![json!({ "role": role, "content": content(message) })],
        Role::Assistant => vec![assistant(message)],
        Role::Tool => {
            let call = message.answers().unwrap_or_default();
            let said = json!({ "role": role, "tool_call_id": call, "content": message.text() });
            let images: Vec<Value> = images(message).collect();
            match images.is_empty() {
                true => vec![said],
                false => vec![said, json!({ "role": "user", "content": images })],
            }
        }
    }
}

fn assistant(message: &Message) -> Value {
    let text = message.text();
    let calls = message.parts.iter().filter_map(|part| match part {
        Part::Call {
            id,
            name,
            arguments,
        } => Some(json!({
            "id": id, "type": "function",
            "function": { "name": name, "arguments": arguments },
        })),
        _ => None,
    });
    let calls: Vec<Value> = calls.collect();
    let content = match text.is_empty() && !calls.is_empty() {
        true => Value::Null,
        false => text.into(),
    };
    let mut said = json!({ "role": "assistant", "content": content });
    if !calls.is_empty() {
        said["tool_calls"] = calls.into();
    }
    said
}

fn content(message: &Message) -> Value {
    if !message.has_images() {
        return message.text().into();
    }
    let parts = message.parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(json!({ "type": "text", "text": text })),
        Part::Image(image) => {
            Some(json!({ "type": "image_url", "image_url": { "url": image.url() } }))
        }
        _ => None,
    });
    parts.collect()
}

fn images(message: &Message) -> impl Iterator<Item = Value> {
    message.parts.iter().filter_map(|part| match part {
        Part::Image(image) => {
            Some(json!({ "type": "image_url", "image_url": { "url": image.url() } }))
        }
        _ => None,
    })
}
