//! Tools and which of them to call.

use serde_json::{Map, Value};

use crate::ask::{Choice, Tool, ToolKind};
use crate::fields;
use crate::refusal::Refusal;

/// What the hosted search is called.
pub(super) const WEB_SEARCH: &str = "web_search";

/// The tools that an answer may call, and whether several at once.
pub(super) fn callable(body: &Map<String, Value>) -> Result<(Vec<Tool>, bool), Refusal> {
    let tools = fields::list(body, "tools")?
        .iter()
        .enumerate()
        .map(|(index, tool)| read(tool, index))
        .collect::<Result<Vec<_>, _>>()?;
    let Some(choice) = fields::field(body, "tool_choice") else {
        return Ok((tools, true));
    };
    if tools.is_empty() {
        return Err(Refusal::of("tool_choice", "may only be given with tools"));
    }
    let wanted = match choice["type"].as_str().unwrap_or_default() {
        "auto" | "any" => Choice::Auto,
        "none" => Choice::None,
        "tool" => match choice["name"].as_str() {
            Some(name) => Choice::Among(vec![name.to_owned()]),
            None => return Err(Refusal::of("tool_choice.name", "field required")),
        },
        other => {
            let wrong = format!("`{other}` is not a choice of tools");
            return Err(Refusal::of("tool_choice.type", &wrong));
        }
    };
    let unknown = |name| Refusal::of("tool_choice.name", &format!("there is no tool `{name}`"));
    let tools = wanted.among(tools).map_err(unknown)?;
    Ok((tools, choice["disable_parallel_tool_use"] != true))
}

fn read(tool: &Value, index: usize) -> Result<Tool, Refusal> {
    let kind = tool["type"].as_str().unwrap_or("custom");
    let at = |name: &str| format!("tools.{index}.{name}");
    let name = tool["name"].as_str();
    let name = name.ok_or_else(|| Refusal::of(at("name"), "field required"))?;
    let kind = match kind {
        "custom" if tool["input_schema"].is_object() => {
            ToolKind::Function(tool["input_schema"].clone())
        }
        "custom" => return Err(Refusal::of(at("input_schema"), "field required")),
        _ if kind.starts_with("web_search_20") && name == WEB_SEARCH => ToolKind::WebSearch,
        _ => {
            let wrong = format!("`{kind}` is not a tool that the stand-in has");
            return Err(Refusal::of(at("type"), &wrong));
        }
    };
    Ok(Tool {
        name: name.to_owned(),
        kind,
    })
}
