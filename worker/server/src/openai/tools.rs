//! The fields of this wire that offer tools.

use serde_json::Value;
use weir_worker_api::{Chat, ToolUse};

use super::fields::Fields;
use crate::refusal::Refusal;

/// Takes the tools of a request and what the model may do with them into `chat`.
pub fn offer(fields: &mut Fields, chat: &mut Chat) -> Result<(), Refusal> {
    let tools: Vec<Value> = fields.take("tools")?.unwrap_or_default();
    chat.tools_json = tools.iter().map(Value::to_string).collect();
    chat.single_call = fields.take::<bool>("parallel_tool_calls")? == Some(false);
    let field = "tool_choice";
    let Some(choice) = fields.take::<Value>(field)? else {
        return Ok(());
    };
    let tool_use = match choice {
        Value::String(choice) => match choice.as_str() {
            "auto" => ToolUse::Auto,
            "none" => ToolUse::None,
            "required" => ToolUse::Required,
            _ => {
                let why = format!("is `{choice}`; known are none, auto, required");
                return Err(Refusal::invalid(field, why));
            }
        },
        choice => {
            let mut choice = Fields::of("tool_choice.", choice)?;
            let kind: String = choice.need("type")?;
            if kind != "function" {
                return Err(Refusal::unsupported("tool_choice.type"));
            }
            let function: Value = choice.need("function")?;
            let mut function = Fields::of("tool_choice.function.", function)?;
            chat.tool_name = function.need("name")?;
            ToolUse::Required
        }
    };
    chat.tool_use = tool_use.into();
    Ok(())
}
