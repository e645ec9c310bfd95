//! A request for an OpenAI response.

use serde_json::{Map, Value};

use super::chat::{MOST_ALTERNATIVES, MOST_MESSAGES, function_tool, named, own_wire};
use super::fields::Fields;
use super::{form, settings};
use crate::ask::{
    Ask, Form, Image, Input, Message, Need, Needed, Part, Role, Sampling, Tool, ToolChoice,
};
use crate::refusal::Refusal;
use crate::wire::Wire;

/// What needs a store of earlier responses, or of prompts, and why there is none.
const STORED: [&str; 3] = ["previous_response_id", "conversation", "prompt"];
const LOGPROBS: &str = "message.output_text.logprobs";

/// Reads the body of a request.
pub(crate) fn responses(body: Map<String, Value>) -> Result<Ask, Refusal> {
    let fields = Fields::whole(&body);
    refuse_stored(&fields)?;
    let mut needs = Vec::new();
    let mut messages = Vec::new();
    if let Some(instructions) = fields.any_text("instructions")? {
        messages.push(said(Role::System, instructions));
    }
    input(&fields, &mut messages, &mut needs)?;
    let tools = tools(&fields, &mut needs)?;
    let reasoning = fields.object("reasoning")?;
    let text = fields.object("text")?;
    Ok(Ask {
        wire: Wire::Responses,
        model: settings::model(&fields)?,
        input: Input::Chat(messages),
        tool_choice: tool_choice(&fields, &tools, &mut needs)?,
        tools,
        single_call: fields.present("parallel_tool_calls").is_some()
            && !fields.flag("parallel_tool_calls")?,
        form: match &text {
            Some(text) => answer_form(text, &mut needs)?,
            None => Form::Text,
        },
        sampling: Sampling {
            temperature: fields.number("temperature", 0.0, 2.0)?,
            top_p: fields.number("top_p", 0.0, 1.0)?,
            ..Sampling::default()
        },
        max_tokens: fields.positive("max_output_tokens")?,
        stop: Vec::new(),
        choices: 1,
        logprobs: logprobs(&fields)?,
        echo: false,
        effort: match &reasoning {
            Some(reasoning) => reasoning.any_text("effort")?.map(str::to_owned),
            None => None,
        },
        shows_thinking: true,
        user: settings::user(&fields, "user")?,
        metadata: settings::metadata(&fields)?,
        cache_salt: String::new(),
        dimensions: None,
        betas: Vec::new(),
        stream: fields.flag("stream")?,
        include_usage: true,
        needs,
        body,
    })
}

fn refuse_stored(fields: &Fields<'_>) -> Result<(), Refusal> {
    for field in STORED {
        if fields.present(field).is_some() {
            let message = "nothing is stored here: send the whole conversation in input";
            return Err(fields.wrong(field, message));
        }
    }
    if fields.flag("background")? {
        let message = "an answer is given while its client waits: leave it out, or stream";
        return Err(fields.wrong("background", message));
    }
    Ok(())
}

fn logprobs(fields: &Fields<'_>) -> Result<Option<u32>, Refusal> {
    let top = fields.count("top_logprobs")?;
    let include = fields.list("include")?.unwrap_or_default();
    let are_wanted = include.iter().any(|wanted| wanted == LOGPROBS);
    match top {
        Some(top) if top > MOST_ALTERNATIVES => {
            let message = format!("must be at most {MOST_ALTERNATIVES}");
            Err(fields.wrong("top_logprobs", message))
        }
        Some(top @ 1..) => Ok(Some(top)),
        _ => Ok(are_wanted.then_some(0)),
    }
}

fn answer_form(text: &Fields<'_>, needs: &mut Vec<Need>) -> Result<Form, Refusal> {
    let Some(format) = text.object("format")? else {
        return Ok(Form::Text);
    };
    let form = match format.text("type")? {
        "text" => Form::Text,
        "json_object" => Form::JsonObject,
        "json_schema" => form::schema(&format)?,
        _ => return Err(format.wrong("type", "must be text, json_object or json_schema")),
    };
    form::note(&form, "text.format", needs);
    Ok(form)
}

fn said(role: Role, text: &str) -> Message {
    Message {
        role,
        parts: vec![Part::Text(text.to_owned())],
    }
}

fn input(
    fields: &Fields<'_>,
    messages: &mut Vec<Message>,
    needs: &mut Vec<Need>,
) -> Result<(), Refusal> {
    let items = match fields.present("input") {
        None => return Err(fields.wrong("input", "is missing")),
        Some(Value::String(text)) => {
            messages.push(said(Role::User, text));
            return Ok(());
        }
        Some(Value::Array(items)) => items,
        Some(_) => return Err(fields.wrong("input", "must be text or a list of items")),
    };
    if items.is_empty() || items.len() > MOST_MESSAGES {
        let message = format!("must have between 1 and {MOST_MESSAGES} items");
        return Err(fields.wrong("input", message));
    }
    for (index, value) in items.iter().enumerate() {
        let at = format!("input[{index}]");
        let fields = Fields::of(&at, value)?;
        if let Some(message) = item(&fields, &at, needs)? {
            add(messages, message);
        }
    }
    Ok(())
}

/// What an assistant thought, said and called in one turn is one message to everybody else.
fn add(messages: &mut Vec<Message>, message: Message) {
    match messages.last_mut() {
        Some(last) if last.role == Role::Assistant && message.role == Role::Assistant => {
            last.parts.extend(message.parts);
        }
        _ => messages.push(message),
    }
}

fn item(item: &Fields<'_>, at: &str, needs: &mut Vec<Need>) -> Result<Option<Message>, Refusal> {
    let assistant = |part| Message {
        role: Role::Assistant,
        parts: vec![part],
    };
    Ok(match item.any_text("type")?.unwrap_or("message") {
        "message" => Some(message(item, needs)?),
        "function_call" => Some(assistant(Part::Call {
            id: item.text("call_id")?.to_owned(),
            name: item.text("name")?.to_owned(),
            arguments: item.any_text("arguments")?.unwrap_or_default().to_owned(),
        })),
        "function_call_output" => {
            let mut parts = vec![Part::Result {
                call_id: item.text("call_id")?.to_owned(),
                is_error: false,
            }];
            if !content(item, "output", &mut parts, needs)? {
                return Err(item.wrong("output", "is missing"));
            }
            Some(Message {
                role: Role::Tool,
                parts,
            })
        }
        "reasoning" => {
            let text = thought(item)?;
            let proof = item.any_text("encrypted_content")?.map(str::to_owned);
            Some(assistant(Part::Thought { text, proof }))
        }
        "item_reference" => {
            let message = "nothing is stored here: send the item itself";
            return Err(Refusal::field(at, message));
        }
        _ => {
            needs.push(own_wire(at));
            None
        }
    })
}

/// What is written of a thought, in full or in short.
fn thought(item: &Fields<'_>) -> Result<String, Refusal> {
    let mut text = String::new();
    for field in ["content", "summary"] {
        for part in item.list(field)?.unwrap_or_default() {
            text.push_str(part["text"].as_str().unwrap_or_default());
        }
        if !text.is_empty() {
            break;
        }
    }
    Ok(text)
}

fn message(message: &Fields<'_>, needs: &mut Vec<Need>) -> Result<Message, Refusal> {
    let role = match message.present("role").map(Value::as_str) {
        Some(Some("system" | "developer")) => Role::System,
        Some(Some("user")) => Role::User,
        Some(Some("assistant")) => Role::Assistant,
        Some(_) => {
            let wrong = "must be user, assistant, system or developer";
            return Err(message.wrong("role", wrong));
        }
        None => return Err(message.wrong("role", "is missing")),
    };
    let mut parts = Vec::new();
    if !content(message, "content", &mut parts, needs)? {
        return Err(message.wrong("content", "is missing"));
    }
    Ok(Message { role, parts })
}

/// Whether `field` has content, which is put into `parts`.
fn content(
    fields: &Fields<'_>,
    field: &str,
    parts: &mut Vec<Part>,
    needs: &mut Vec<Need>,
) -> Result<bool, Refusal> {
    let items = match fields.present(field) {
        None => return Ok(false),
        Some(Value::String(text)) => {
            parts.push(Part::Text(text.clone()));
            return Ok(true);
        }
        Some(Value::Array(items)) => items,
        Some(_) => return Err(fields.wrong(field, "must be text or a list of parts")),
    };
    for (index, item) in items.iter().enumerate() {
        let at = format!("{}[{index}]", fields.path(field));
        let part = Fields::of(&at, item)?;
        match part.text("type")? {
            "input_text" | "output_text" | "text" => match part.any_text("text")? {
                Some(text) => parts.push(Part::Text(text.to_owned())),
                None => return Err(part.wrong("text", "is missing")),
            },
            "refusal" => {
                let text = part.any_text("refusal")?.unwrap_or_default();
                parts.push(Part::Refusal(text.to_owned()));
            }
            "input_image" if part.present("image_url").is_some() => {
                parts.push(Part::Image(Image::of_url(part.text("image_url")?)));
                needs.push(Need {
                    field: at,
                    what: Needed::Sight,
                });
            }
            _ => {
                parts.push(Part::Foreign);
                needs.push(own_wire(at));
            }
        }
    }
    Ok(true)
}

fn tools(fields: &Fields<'_>, needs: &mut Vec<Need>) -> Result<Vec<Tool>, Refusal> {
    let mut tools = Vec::new();
    for (index, tool) in fields.list("tools")?.unwrap_or_default().iter().enumerate() {
        let at = format!("tools[{index}]");
        let tool = Fields::of(&at, tool)?;
        match tool.text("type")? {
            "function" => tools.push(function_tool(&tool)?),
            _ => needs.push(own_wire(at)),
        }
    }
    Ok(tools)
}

fn tool_choice(
    fields: &Fields<'_>,
    tools: &[Tool],
    needs: &mut Vec<Need>,
) -> Result<ToolChoice, Refusal> {
    let field = "tool_choice";
    let has_tools = fields.list("tools")?.is_some_and(|tools| !tools.is_empty());
    let choice = match fields.present(field) {
        None => return Ok(ToolChoice::Auto),
        Some(Value::String(word)) => match word.as_str() {
            "auto" => return Ok(ToolChoice::Auto),
            "none" => return Ok(ToolChoice::None),
            "required" if has_tools => return Ok(ToolChoice::Required),
            "required" => return Err(fields.wrong(field, "needs tools")),
            _ => {
                let message = "must be none, auto, required, or name a tool";
                return Err(fields.wrong(field, message));
            }
        },
        Some(choice) => Fields::of(field, choice)?,
    };
    match choice.text("type")? {
        "function" => named(&choice, tools),
        _ => {
            needs.push(own_wire(field));
            Ok(ToolChoice::Auto)
        }
    }
}
