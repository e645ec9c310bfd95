//! Tools and which of them to call, as chat and responses name them: alike but for one nesting.

use serde_json::{Map, Value, json};

use crate::ask::{Choice, Tool, ToolKind};
use crate::fields;
use crate::refusal::Refusal;

/// Where a tool's name and schema stand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Nesting {
    /// Under the tool's type, as chat has it.
    ByType,
    Flat,
}

/// The tools that an answer may call.
pub(super) fn callable(body: &Map<String, Value>, nesting: Nesting) -> Result<Vec<Tool>, Refusal> {
    let tools = fields::list(body, "tools")?
        .iter()
        .enumerate()
        .map(|(index, tool)| read(tool, index, nesting))
        .collect::<Result<Vec<_>, _>>()?;
    let choice = match fields::field(body, "tool_choice") {
        None => Choice::Auto,
        Some(_) if tools.is_empty() => {
            let wrong = "is only allowed when tools are given";
            return Err(Refusal::of("tool_choice", wrong));
        }
        Some(choice) => choice_of(choice, nesting)?,
    };
    choice
        .among(tools)
        .map_err(|name| Refusal::of("tool_choice", &format!("there is no tool `{name}`")))
}

/// What a prompt's tools are counted by.
pub(super) fn text(body: &Map<String, Value>) -> Option<String> {
    let tools = fields::field(body, "tools")?;
    Some(tools.to_string())
}

fn read(tool: &Value, index: usize, nesting: Nesting) -> Result<Tool, Refusal> {
    let kind = tool["type"].as_str().unwrap_or_default();
    let field = |name: &str| match nesting {
        Nesting::ByType => format!("tools[{index}].{kind}.{name}"),
        Nesting::Flat => format!("tools[{index}].{name}"),
    };
    let spec = match nesting {
        Nesting::ByType => &tool[kind],
        Nesting::Flat => tool,
    };
    let tool_kind = match kind {
        "function" => ToolKind::Function(parameters(spec)),
        "custom" => ToolKind::Custom,
        "web_search" | "web_search_preview" if nesting == Nesting::Flat => {
            return Ok(Tool {
                name: kind.to_owned(),
                kind: ToolKind::WebSearch,
            });
        }
        _ => {
            let wrong = format!("`{kind}` is not a kind of tool that the stand-in has");
            return Err(Refusal::of(format!("tools[{index}].type"), &wrong));
        }
    };
    let name = spec["name"].as_str().filter(|name| is_name(name));
    let name = name
        .ok_or_else(|| Refusal::of(field("name"), "must be up to 64 letters, digits, _ and -"))?;
    Ok(Tool {
        name: name.to_owned(),
        kind: tool_kind,
    })
}

fn parameters(spec: &Value) -> Value {
    match &spec["parameters"] {
        Value::Null => json!({"type": "object"}),
        schema => schema.clone(),
    }
}

fn is_name(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    (1..=64).contains(&name.len()) && name.chars().all(is_allowed)
}

fn choice_of(choice: &Value, nesting: Nesting) -> Result<Choice, Refusal> {
    let wrong = || Refusal::of("tool_choice", "is not a choice of tools");
    if let Some(word) = choice.as_str() {
        return match word {
            "auto" | "required" => Ok(Choice::Auto),
            "none" => Ok(Choice::None),
            _ => Err(wrong()),
        };
    }
    let kind = choice["type"].as_str().ok_or_else(wrong)?;
    let name_of = |tool: &Value| {
        let kind = tool["type"].as_str()?;
        let spec = match nesting {
            Nesting::ByType => &tool[kind],
            Nesting::Flat => tool,
        };
        let name = spec["name"].as_str();
        name.or(kind.starts_with("web_search").then_some(kind))
            .map(str::to_owned)
    };
    if kind != "allowed_tools" {
        let name = name_of(choice).ok_or_else(wrong)?;
        return Ok(Choice::Among(vec![name]));
    }
    let allowed = match nesting {
        Nesting::ByType => &choice[kind]["tools"],
        Nesting::Flat => &choice["tools"],
    };
    let names: Option<Vec<_>> = allowed
        .as_array()
        .map_or(&[][..], Vec::as_slice)
        .iter()
        .map(name_of)
        .collect();
    names
        .filter(|names| !names.is_empty())
        .map(Choice::Among)
        .ok_or_else(wrong)
}
