//! A request for an Anthropic message.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::chat::{MOST_MESSAGES, own_wire};
use super::fields::Fields;
use super::{form, settings};
use crate::ask::{
    Ask, Form, Image, Input, Message, Need, Needed, Part, Role, Sampling, Tool, ToolChoice,
};
use crate::refusal::Refusal;
use crate::wire::Wire;

/// Reads the body of a request.
pub(crate) fn messages(body: Map<String, Value>) -> Result<Ask, Refusal> {
    let fields = Fields::whole(&body);
    if fields.present("thread").is_some() {
        return Err(Refusal::NoThreads);
    }
    let mut needs = Vec::new();
    let mut input = system(&fields, &mut needs)?;
    input.extend(conversation(&fields, &mut needs)?);
    let tools = tools(&fields, &mut needs)?;
    let (tool_choice, single_call) = tool_choice(&fields, &tools)?;
    let output = fields.object("output_config")?;
    let effort = match &output {
        Some(output) => output.any_text("effort")?,
        None => None,
    };
    let most = fields.positive("max_tokens")?;
    Ok(Ask {
        wire: Wire::Messages,
        model: settings::model(&fields)?,
        input: Input::Chat(input),
        tools,
        tool_choice,
        single_call,
        form: answer_form(&fields, output.as_ref())?,
        sampling: Sampling {
            temperature: fields.number("temperature", 0.0, 1.0)?,
            top_p: fields.number("top_p", 0.0, 1.0)?,
            top_k: fields.count("top_k")?,
            ..Sampling::default()
        },
        max_tokens: Some(most.ok_or_else(|| fields.wrong("max_tokens", "is missing"))?),
        stop: settings::stop(&fields, "stop_sequences")?,
        choices: 1,
        logprobs: None,
        echo: false,
        effort: effort.map(str::to_owned),
        shows_thinking: thinks(&fields)?,
        user: match fields.object("metadata")? {
            Some(metadata) => settings::user(&metadata, "user_id")?,
            None => None,
        },
        metadata: match fields.present("metadata") {
            Some(_) => settings::metadata(&fields)?,
            None => BTreeMap::new(),
        },
        cache_salt: String::new(),
        dimensions: None,
        betas: Vec::new(),
        stream: fields.flag("stream")?,
        include_usage: true,
        needs,
        body,
    })
}

fn thinks(fields: &Fields<'_>) -> Result<bool, Refusal> {
    match fields.object("thinking")? {
        None => Ok(false),
        Some(thinking) => Ok(thinking.text("type")? != "disabled"),
    }
}

/// The older field asks for the same as the newer one.
fn answer_form(fields: &Fields<'_>, output: Option<&Fields<'_>>) -> Result<Form, Refusal> {
    let newer = match output {
        Some(output) => output.object("format")?,
        None => None,
    };
    let format = match newer {
        Some(format) => format,
        None => match fields.object("output_format")? {
            Some(format) => format,
            None => return Ok(Form::Text),
        },
    };
    match format.text("type")? {
        "json_schema" if format.present("schema").is_none() => {
            Err(format.wrong("schema", "is missing"))
        }
        "json_schema" => form::schema(&format),
        _ => Err(format.wrong("type", "must be json_schema")),
    }
}

fn system(fields: &Fields<'_>, needs: &mut Vec<Need>) -> Result<Vec<Message>, Refusal> {
    let mut said = Said::default();
    if !content(fields, "system", &mut said, needs)? {
        return Ok(Vec::new());
    }
    Ok(vec![Message {
        role: Role::System,
        parts: said.parts,
    }])
}

fn conversation(fields: &Fields<'_>, needs: &mut Vec<Need>) -> Result<Vec<Message>, Refusal> {
    let Some(Value::Array(items)) = fields.present("messages") else {
        return Err(fields.wrong("messages", "must be a list of messages"));
    };
    if items.is_empty() || items.len() > MOST_MESSAGES {
        let message = format!("must have between 1 and {MOST_MESSAGES} messages");
        return Err(fields.wrong("messages", message));
    }
    let mut messages = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let message = Fields::of(&format!("messages[{index}]"), item)?;
        let role = match message.present("role").map(Value::as_str) {
            Some(Some("user")) => Role::User,
            Some(Some("assistant")) => Role::Assistant,
            Some(Some("system")) => Role::System,
            Some(_) => return Err(message.wrong("role", "must be user, assistant or system")),
            None => return Err(message.wrong("role", "is missing")),
        };
        let mut said = Said::default();
        if !content(&message, "content", &mut said, needs)? {
            return Err(message.wrong("content", "is missing"));
        }
        let Said { parts, results } = said;
        let has_results = !results.is_empty();
        messages.extend(results);
        if !parts.is_empty() || !has_results {
            messages.push(Message { role, parts });
        }
    }
    Ok(messages)
}

/// What a message says. What tools answered stands among it here; to everybody else each answer is
/// a message of its own, before what the user says.
#[derive(Default)]
struct Said {
    parts: Vec<Part>,
    results: Vec<Message>,
}

/// Whether `field` has content, which is put into `said`.
fn content(
    fields: &Fields<'_>,
    field: &str,
    said: &mut Said,
    needs: &mut Vec<Need>,
) -> Result<bool, Refusal> {
    match fields.present(field) {
        None => Ok(false),
        Some(Value::String(text)) => {
            said.parts.push(Part::Text(text.clone()));
            Ok(true)
        }
        Some(Value::Array(blocks)) => {
            for (index, item) in blocks.iter().enumerate() {
                let at = format!("{}[{index}]", fields.path(field));
                block(&Fields::of(&at, item)?, &at, said, needs)?;
            }
            Ok(true)
        }
        Some(_) => Err(fields.wrong(field, "must be text or a list of blocks")),
    }
}

fn block(
    block: &Fields<'_>,
    at: &str,
    said: &mut Said,
    needs: &mut Vec<Need>,
) -> Result<(), Refusal> {
    let owned = |field| Ok::<_, Refusal>(block.any_text(field)?.unwrap_or_default().to_owned());
    match block.text("type")? {
        "text" => match block.any_text("text")? {
            Some(text) => said.parts.push(Part::Text(text.to_owned())),
            None => return Err(block.wrong("text", "is missing")),
        },
        "image" => {
            match image(block)? {
                Some(image) => {
                    said.parts.push(Part::Image(image));
                    needs.push(Need {
                        field: at.to_owned(),
                        what: Needed::Sight,
                    });
                }
                // A file that the provider keeps.
                None => foreign(at, said, needs),
            }
        }
        "thinking" => said.parts.push(Part::Thought {
            text: owned("thinking")?,
            proof: block.any_text("signature")?.map(str::to_owned),
        }),
        // Nobody but its maker can read it, and it is of use to nobody else.
        "redacted_thinking" => {}
        "tool_use" => {
            let input = block.present("input");
            said.parts.push(Part::Call {
                id: block.text("id")?.to_owned(),
                name: block.text("name")?.to_owned(),
                arguments: match input {
                    Some(input @ Value::Object(_)) => input.to_string(),
                    None => "{}".to_owned(),
                    Some(_) => return Err(block.wrong("input", "must be an object")),
                },
            });
        }
        "tool_result" => {
            let result = Part::Result {
                call_id: block.text("tool_use_id")?.to_owned(),
                is_error: block.flag("is_error")?,
            };
            let mut within = Said::default();
            content(block, "content", &mut within, needs)?;
            within.parts.insert(0, result);
            said.results.push(Message {
                role: Role::Tool,
                parts: within.parts,
            });
        }
        _ => foreign(at, said, needs),
    }
    Ok(())
}

fn foreign(at: &str, said: &mut Said, needs: &mut Vec<Need>) {
    said.parts.push(Part::Foreign);
    needs.push(own_wire(at));
}

fn image(block: &Fields<'_>) -> Result<Option<Image>, Refusal> {
    let source = block.object("source")?;
    let source = source.ok_or_else(|| block.wrong("source", "is missing"))?;
    Ok(match source.text("type")? {
        "url" => Some(Image::Url(source.text("url")?.to_owned())),
        "base64" => Some(Image::Inline {
            media_type: source.text("media_type")?.to_owned(),
            data: source.text("data")?.to_owned(),
        }),
        _ => None,
    })
}

/// The functions among the tools; those that the provider runs are for its own wire.
fn tools(fields: &Fields<'_>, needs: &mut Vec<Need>) -> Result<Vec<Tool>, Refusal> {
    let mut tools = Vec::new();
    for (index, tool) in fields.list("tools")?.unwrap_or_default().iter().enumerate() {
        let at = format!("tools[{index}]");
        let tool = Fields::of(&at, tool)?;
        if !matches!(tool.any_text("type")?, None | Some("custom")) {
            needs.push(own_wire(at));
            continue;
        }
        let parameters = match tool.present("input_schema") {
            Some(schema @ Value::Object(_)) => schema.clone(),
            Some(_) => return Err(tool.wrong("input_schema", "must be a JSON schema")),
            None => return Err(tool.wrong("input_schema", "is missing")),
        };
        tools.push(Tool {
            name: tool.text("name")?.to_owned(),
            description: tool.any_text("description")?.map(str::to_owned),
            parameters,
            strict: match tool.present("strict") {
                None => None,
                Some(_) => Some(tool.flag("strict")?),
            },
        });
    }
    Ok(tools)
}

/// What may be done with the tools, and whether one call is the most.
fn tool_choice(fields: &Fields<'_>, tools: &[Tool]) -> Result<(ToolChoice, bool), Refusal> {
    let Some(choice) = fields.object("tool_choice")? else {
        return Ok((ToolChoice::Auto, false));
    };
    let single = choice.flag("disable_parallel_tool_use")?;
    let has_tools = fields.list("tools")?.is_some_and(|tools| !tools.is_empty());
    let chosen = match choice.text("type")? {
        "auto" => ToolChoice::Auto,
        "none" => ToolChoice::None,
        "any" if has_tools => ToolChoice::Required,
        "any" => return Err(choice.wrong("type", "needs tools")),
        // One that the provider runs is for its own wire, which the tool itself asks for.
        "tool" if tools.is_empty() && has_tools => ToolChoice::Auto,
        "tool" => super::chat::named(&choice, tools)?,
        _ => return Err(choice.wrong("type", "must be auto, any, tool or none")),
    };
    Ok((chosen, single))
}
