//! A request for a chat completion.

use serde_json::{Map, Value};

use super::fields::Fields;
use super::{form, settings};
use crate::ask::{Ask, Image, Input, Message, Need, Needed, Part, Role, Tool, ToolChoice};
use crate::refusal::Refusal;
use crate::wire::Wire;

/// More than any conversation has; each message costs more in our words than on the wire.
pub(super) const MOST_MESSAGES: usize = 10_000;
/// The most alternatives beside a token.
pub(super) const MOST_ALTERNATIVES: u32 = 20;

/// Reads the body of a request.
pub(crate) fn chat(body: Map<String, Value>) -> Result<Ask, Refusal> {
    let fields = Fields::whole(&body);
    let mut needs = Vec::new();
    let input = Input::Chat(messages(&fields, &mut needs)?);
    let tools = tools(&fields, &mut needs)?;
    Ok(Ask {
        wire: Wire::Chat,
        model: settings::model(&fields)?,
        input,
        tool_choice: tool_choice(&fields, &tools, &mut needs)?,
        tools,
        single_call: fields.present("parallel_tool_calls").is_some()
            && !fields.flag("parallel_tool_calls")?,
        form: form::of_chat(&fields, &mut needs)?,
        sampling: settings::sampling(&fields)?,
        max_tokens: match fields.positive("max_completion_tokens")? {
            Some(most) => Some(most),
            None => fields.positive("max_tokens")?,
        },
        stop: settings::stop(&fields, "stop")?,
        choices: settings::choices(&fields)?,
        logprobs: logprobs(&fields)?,
        echo: false,
        effort: fields.any_text("reasoning_effort")?.map(str::to_owned),
        shows_thinking: true,
        user: settings::user(&fields, "user")?,
        metadata: settings::metadata(&fields)?,
        cache_salt: fields
            .any_text("cache_salt")?
            .unwrap_or_default()
            .to_owned(),
        dimensions: None,
        betas: Vec::new(),
        stream: fields.flag("stream")?,
        include_usage: settings::include_usage(&fields)?,
        needs,
        body,
    })
}

fn logprobs(fields: &Fields<'_>) -> Result<Option<u32>, Refusal> {
    let top = fields.count("top_logprobs")?;
    match (fields.flag("logprobs")?, top) {
        (false, Some(1..)) => Err(fields.wrong("top_logprobs", "needs logprobs: true")),
        (false, _) => Ok(None),
        (true, Some(top)) if top > MOST_ALTERNATIVES => {
            let message = format!("must be at most {MOST_ALTERNATIVES}");
            Err(fields.wrong("top_logprobs", message))
        }
        (true, top) => Ok(Some(top.unwrap_or(0))),
    }
}

/// The functions among the tools; any other kind is for the client's own wire.
fn tools(fields: &Fields<'_>, needs: &mut Vec<Need>) -> Result<Vec<Tool>, Refusal> {
    let mut tools = Vec::new();
    for (index, tool) in fields.list("tools")?.unwrap_or_default().iter().enumerate() {
        let at = format!("tools[{index}]");
        let tool = Fields::of(&at, tool)?;
        match tool.text("type")? {
            "function" => match tool.object("function")? {
                Some(function) => tools.push(function_tool(&function)?),
                None => return Err(tool.wrong("function", "is missing")),
            },
            _ => needs.push(own_wire(at)),
        }
    }
    Ok(tools)
}

/// A function, wherever a wire holds its members.
pub(super) fn function_tool(function: &Fields<'_>) -> Result<Tool, Refusal> {
    let parameters = match function.present("parameters") {
        // No parameters are an empty list of them.
        None => serde_json::json!({ "type": "object", "properties": {} }),
        Some(parameters @ Value::Object(_)) => parameters.clone(),
        Some(_) => return Err(function.wrong("parameters", "must be a JSON schema")),
    };
    Ok(Tool {
        name: function.text("name")?.to_owned(),
        description: function.any_text("description")?.map(str::to_owned),
        parameters,
        strict: match function.present("strict") {
            None => None,
            Some(_) => Some(function.flag("strict")?),
        },
    })
}

pub(super) fn own_wire(field: impl Into<String>) -> Need {
    Need {
        field: field.into(),
        what: Needed::OwnWire,
    }
}

fn tool_choice(
    fields: &Fields<'_>,
    tools: &[Tool],
    needs: &mut Vec<Need>,
) -> Result<ToolChoice, Refusal> {
    let field = "tool_choice";
    let choice = match fields.present(field) {
        None => return Ok(ToolChoice::Auto),
        Some(Value::String(word)) => match word.as_str() {
            "auto" => return Ok(ToolChoice::Auto),
            "none" => return Ok(ToolChoice::None),
            "required" if fields.list("tools")?.is_some_and(|tools| !tools.is_empty()) => {
                return Ok(ToolChoice::Required);
            }
            "required" => return Err(fields.wrong(field, "needs tools")),
            _ => {
                let message = "must be none, auto, required, or name a tool";
                return Err(fields.wrong(field, message));
            }
        },
        Some(choice) => Fields::of(field, choice)?,
    };
    if choice.text("type")? != "function" {
        needs.push(own_wire(field));
        return Ok(ToolChoice::Auto);
    }
    let function = choice.object("function")?;
    let function = function.ok_or_else(|| choice.wrong("function", "is missing"))?;
    named(&function, tools)
}

/// The choice of the tool that `choice.name` names, which must be there.
pub(super) fn named(choice: &Fields<'_>, tools: &[Tool]) -> Result<ToolChoice, Refusal> {
    let name = choice.text("name")?;
    match tools.iter().any(|tool| tool.name == name) {
        true => Ok(ToolChoice::Named(name.to_owned())),
        false => Err(choice.wrong("name", "names no tool of the request")),
    }
}

fn messages(fields: &Fields<'_>, needs: &mut Vec<Need>) -> Result<Vec<Message>, Refusal> {
    let Some(Value::Array(items)) = fields.present("messages") else {
        return Err(fields.wrong("messages", "must be a list of messages"));
    };
    if items.is_empty() || items.len() > MOST_MESSAGES {
        let message = format!("must have between 1 and {MOST_MESSAGES} messages");
        return Err(fields.wrong("messages", message));
    }
    let messages = items.iter().enumerate();
    let messages = messages.map(|(index, item)| {
        let message = Fields::of(&format!("messages[{index}]"), item)?;
        self::message(&message, needs)
    });
    messages.collect()
}

fn message(message: &Fields<'_>, needs: &mut Vec<Need>) -> Result<Message, Refusal> {
    let role = match message.present("role").map(Value::as_str) {
        // Newer OpenAI models call it so; to every other model it is the system.
        Some(Some("developer" | "system")) => Role::System,
        Some(Some("function" | "tool")) => Role::Tool,
        Some(Some("user")) => Role::User,
        Some(Some("assistant")) => Role::Assistant,
        // The word is not repeated: it may be of any length.
        Some(_) => {
            let wrong = "must be system, developer, user, assistant, tool or function";
            return Err(message.wrong("role", wrong));
        }
        None => return Err(message.wrong("role", "is missing")),
    };
    let mut parts = Vec::new();
    if role == Role::Assistant
        && let Some(thought) = message.any_text("reasoning_content")?
    {
        parts.push(Part::Thought {
            text: thought.to_owned(),
            proof: None,
        });
    }
    if role == Role::Tool {
        parts.push(Part::Result {
            call_id: message
                .any_text("tool_call_id")?
                .unwrap_or_default()
                .to_owned(),
            is_error: false,
        });
    }
    let has_content = content(message, &mut parts, needs)?;
    if !has_content && role != Role::Assistant {
        return Err(message.wrong("content", "is missing"));
    }
    if let Some(refusal) = message.any_text("refusal")? {
        parts.push(Part::Refusal(refusal.to_owned()));
    }
    if message.present("audio").is_some() {
        needs.push(own_wire(message.path("audio")));
    }
    calls(message, &mut parts, needs)?;
    Ok(Message { role, parts })
}

fn calls(
    message: &Fields<'_>,
    parts: &mut Vec<Part>,
    needs: &mut Vec<Need>,
) -> Result<(), Refusal> {
    let calls = message.list("tool_calls")?.unwrap_or_default();
    for (index, call) in calls.iter().enumerate() {
        let at = format!("{}[{index}]", message.path("tool_calls"));
        let call = Fields::of(&at, call)?;
        // Older clients leave the kind out.
        if call.any_text("type")?.unwrap_or("function") != "function" {
            needs.push(own_wire(at));
            continue;
        }
        let function = call.object("function")?;
        let function = function.ok_or_else(|| call.wrong("function", "is missing"))?;
        parts.push(Part::Call {
            id: call.any_text("id")?.unwrap_or_default().to_owned(),
            name: function.text("name")?.to_owned(),
            arguments: function
                .any_text("arguments")?
                .unwrap_or_default()
                .to_owned(),
        });
    }
    Ok(())
}

/// Whether the message has content, which is put into `parts`.
fn content(
    message: &Fields<'_>,
    parts: &mut Vec<Part>,
    needs: &mut Vec<Need>,
) -> Result<bool, Refusal> {
    let at = message.path("content");
    let items = match message.present("content") {
        None => return Ok(false),
        Some(Value::String(text)) => {
            parts.push(Part::Text(text.clone()));
            return Ok(true);
        }
        Some(Value::Array(items)) => items,
        Some(_) => return Err(Refusal::field(at, "must be text or a list of parts")),
    };
    for (index, item) in items.iter().enumerate() {
        let at = format!("{at}[{index}]");
        let wrong = || Refusal::field(at.clone(), "must be text or a list of parts");
        let part = Fields::of(&at, item).map_err(|_| wrong())?;
        match part.present("type").and_then(Value::as_str) {
            Some(kind @ ("text" | "refusal")) => match part.any_text(kind)? {
                Some(text) => parts.push(Part::Text(text.to_owned())),
                None => return Err(part.wrong(kind, "must be text")),
            },
            Some("image_url") => {
                let image = part.object("image_url")?;
                let image = image.ok_or_else(|| part.wrong("image_url", "is missing"))?;
                parts.push(Part::Image(Image::of_url(image.text("url")?)));
                needs.push(Need {
                    field: at,
                    what: Needed::Sight,
                });
            }
            Some(_) => {
                parts.push(Part::Foreign);
                needs.push(own_wire(at));
            }
            None => return Err(wrong()),
        }
    }
    Ok(true)
}
