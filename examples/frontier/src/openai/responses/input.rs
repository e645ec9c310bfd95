//! A response's input: instructions and items, held to what the provider holds them to.

use http::StatusCode;
use serde_json::{Map, Value};

use crate::ask::{Ask, Document};
use crate::fields;
use crate::openai::tools;
use crate::prompt::TOKENS_PER_IMAGE;
use crate::refusal::Refusal;
use crate::signature::is_sealed;

/// Reads all items, of which the first `old` come from responses before.
pub(super) fn read(body: &Map<String, Value>, items: &[Value], old: usize) -> Result<Ask, Refusal> {
    let mut ask = Ask::default();
    if let Some(tools) = tools::text(body) {
        ask.prompt.push(&tools, 0, "tools");
    }
    if let Some(instructions) = fields::text(body, "instructions")? {
        ask.prompt.push_message("system", instructions);
    }
    let mut reader = Reader {
        ask,
        calls: Vec::new(),
    };
    for (index, item) in items.iter().enumerate() {
        reader.item(item, &format!("input[{}]", index.saturating_sub(old)))?;
    }
    match reader.calls.iter().find(|(_, is_answered)| !is_answered) {
        None => Ok(reader.ask),
        Some((id, _)) => {
            let message = format!("No tool output found for function call {id}.");
            Err(Refusal::field("input", message))
        }
    }
}

struct Reader {
    ask: Ask,
    /// Calls that were made, and whether a tool has answered them.
    calls: Vec<(String, bool)>,
}

impl Reader {
    fn item(&mut self, item: &Value, at: &str) -> Result<(), Refusal> {
        match item["type"].as_str().unwrap_or("message") {
            "message" => self.message(item, at),
            "function_call" => self.call(item, "arguments", at),
            "custom_tool_call" => self.call(item, "input", at),
            "function_call_output" | "custom_tool_call_output" => self.output(item, at),
            "reasoning" => self.reasoning(item, at),
            "web_search_call" => {
                self.ask
                    .prompt
                    .push(&item["action"].to_string(), 0, "search");
                Ok(())
            }
            "item_reference" => {
                let id = needed(&item["id"], &format!("{at}.id"))?;
                let message = format!("Item with id '{id}' not found.");
                let refusal = Refusal::field(at, message);
                Err(Refusal {
                    status: StatusCode::NOT_FOUND,
                    ..refusal
                })
            }
            other => {
                let wrong = format!("`{other}` is not an item that the stand-in takes");
                Err(Refusal::of(format!("{at}.type"), &wrong))
            }
        }
    }

    fn message(&mut self, item: &Value, at: &str) -> Result<(), Refusal> {
        let role = item["role"].as_str().unwrap_or_default();
        if !["system", "developer", "user", "assistant"].contains(&role) {
            let wrong = format!("`{role}` is not a role");
            return Err(Refusal::of(format!("{at}.role"), &wrong));
        }
        let text = self.content(&item["content"], &format!("{at}.content"))?;
        self.ask.prompt.push_message(role, &text);
        self.ask.result = None;
        if role == "user" {
            self.ask.question = text;
        }
        Ok(())
    }

    fn content(&mut self, content: &Value, at: &str) -> Result<String, Refusal> {
        let parts = match content {
            Value::String(text) => return Ok(text.clone()),
            Value::Array(parts) => parts,
            _ => return Err(Refusal::of(at, "must be text or a list of parts")),
        };
        let mut text = String::new();
        for (index, part) in parts.iter().enumerate() {
            let at = format!("{at}[{index}]");
            match part["type"].as_str().unwrap_or_default() {
                "input_text" | "output_text" | "text" => {
                    text.push_str(needed(&part["text"], &format!("{at}.text"))?);
                }
                "refusal" => text.push_str(needed(&part["refusal"], &format!("{at}.refusal"))?),
                "input_image" => {
                    self.ask.images += 1;
                    self.ask
                        .prompt
                        .push("", TOKENS_PER_IMAGE, &part.to_string());
                }
                "input_file" => {
                    self.ask.documents.push(Document {
                        title: part["filename"].as_str().map(str::to_owned),
                        ..Document::default()
                    });
                    self.ask
                        .prompt
                        .push("", TOKENS_PER_IMAGE, &part.to_string());
                }
                other => {
                    let wrong = format!("`{other}` is not a part that the stand-in takes");
                    return Err(Refusal::of(format!("{at}.type"), &wrong));
                }
            }
        }
        Ok(text)
    }

    fn call(&mut self, item: &Value, input: &str, at: &str) -> Result<(), Refusal> {
        let id = needed(&item["call_id"], &format!("{at}.call_id"))?;
        let name = needed(&item["name"], &format!("{at}.name"))?;
        let input = needed(&item[input], &format!("{at}.{input}"))?;
        self.calls.push((id.to_owned(), false));
        self.ask.prompt.push(&format!("{name}{input}"), 0, "call");
        Ok(())
    }

    fn output(&mut self, item: &Value, at: &str) -> Result<(), Refusal> {
        let id = needed(&item["call_id"], &format!("{at}.call_id"))?;
        let Some((_, is_answered)) = self.calls.iter_mut().find(|(call, _)| call == id) else {
            let message = format!("No tool call found for function call output with call_id {id}.");
            return Err(Refusal::field("input", message));
        };
        *is_answered = true;
        let text = self.content(&item["output"], &format!("{at}.output"))?;
        self.ask.prompt.push(&text, 0, "output");
        let result = self.ask.result.get_or_insert_default();
        if !result.is_empty() {
            result.push_str(", ");
        }
        result.push_str(&text);
        Ok(())
    }

    fn reasoning(&mut self, item: &Value, at: &str) -> Result<(), Refusal> {
        if let Some(sealed) = item["encrypted_content"].as_str()
            && !is_sealed(sealed)
        {
            let id = item["id"].as_str().unwrap_or_default();
            let message = format!("The encrypted content for item {id} could not be verified.");
            let refusal = Refusal::field(format!("{at}.encrypted_content"), message);
            return Err(refusal.with_code("invalid_encrypted_content"));
        }
        self.ask
            .prompt
            .push(&item["summary"].to_string(), 0, "reasoning");
        Ok(())
    }
}

fn needed<'a>(value: &'a Value, field: &str) -> Result<&'a str, Refusal> {
    value
        .as_str()
        .ok_or_else(|| Refusal::of(field, "must be text"))
}
