//! Tools in a conversation for models whose template knows none: what there is to call is told in
//! the user's words, and so are the calls that were made and what came of them.

use serde_json::{Value, json};
use weir_engine::model::Message;

use super::Offered;

/// The conversation with everything about tools as plain text. User and assistant take turns as
/// before: some templates refuse anything else.
pub fn told(messages: Vec<Message>, offered: Option<&Offered>) -> Vec<Message> {
    let mut told: Vec<Message> = Vec::with_capacity(messages.len());
    for message in messages {
        let message = in_words(message);
        match told.last_mut() {
            Some(last) if last.role == "user" && message.role == "user" => {
                last.content.push_str("\n\n");
                last.content.push_str(&message.content);
            }
            _ => told.push(message),
        }
    }
    let Some(offer) = offered.map(offer) else {
        return told;
    };
    match told.iter_mut().find(|message| message.role == "user") {
        Some(first) => first.content = format!("{offer}\n\n{}", first.content),
        None => told.push(Message {
            role: "user".to_owned(),
            content: offer,
            ..Message::default()
        }),
    }
    told
}

/// The conversation as Phi reads it: tools in the system message, calls in the assistant's.
pub fn in_system(mut messages: Vec<Message>, definitions: &[Value]) -> Vec<Message> {
    for message in &mut messages {
        let calls = message.tool_calls.drain(..);
        let calls: Vec<Value> = calls.map(|made| call(made, "arguments")).collect();
        if !calls.is_empty() {
            let calls = Value::from(calls);
            message.content = format!("{}<|tool_call|>{calls}<|/tool_call|>", message.content);
        }
    }
    if definitions.is_empty() {
        return messages;
    }
    let functions = definitions.iter().map(|tool| tool["function"].clone());
    let functions: Value = functions.collect();
    let tools = format!("<|tool|>{functions}<|/tool|>");
    match messages.first_mut().filter(|first| first.role == "system") {
        Some(system) => system.content.push_str(&tools),
        None => messages.insert(
            0,
            Message {
                role: "system".to_owned(),
                content: tools,
                ..Message::default()
            },
        ),
    }
    messages
}

fn in_words(mut message: Message) -> Message {
    if message.role == "tool" {
        return Message {
            role: "user".to_owned(),
            content: format!("The call returned:\n{}", message.content),
            ..Message::default()
        };
    }
    let calls = message.tool_calls.drain(..);
    let calls: Vec<Value> = calls.map(|made| call(made, "parameters")).collect();
    let calls = match <[Value; 1]>::try_from(calls) {
        Ok([call]) => call.to_string(),
        Err(calls) if calls.is_empty() => return message,
        Err(calls) => Value::from(calls).to_string(),
    };
    if !message.content.is_empty() {
        message.content.push('\n');
    }
    message.content.push_str(&calls);
    message
}

/// As the model would have written it.
fn call(call: Value, arguments_name: &str) -> Value {
    let function = &call["function"];
    let arguments = &function["arguments"];
    let parsed = arguments
        .as_str()
        .and_then(|text| serde_json::from_str(text).ok());
    json!({ "name": function["name"], arguments_name: parsed.unwrap_or(arguments.clone()) })
}

fn offer(offered: &Offered) -> String {
    let when = if offered.required {
        "Answer by calling one of these functions."
    } else {
        "You may call one of these functions where that helps to answer."
    };
    let tools = offered.callable().into_iter();
    let functions: Vec<String> = tools
        .map(|tool| tool.definition["function"].to_string())
        .collect();
    format!(
        "{when} To call one, write only a JSON object {{\"name\": the function's name, \
         \"parameters\": an object with its arguments}}, or an array of such objects to call \
         several, and nothing else.\n{}",
        functions.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use weir_worker_api as api;

    use super::*;

    fn message(role: &str, content: &str) -> Message {
        Message {
            role: role.to_owned(),
            content: content.to_owned(),
            ..Message::default()
        }
    }

    #[test]
    fn users_and_assistants_still_take_turns_and_nothing_is_lost() {
        let mut calling = message("assistant", "");
        calling.tool_calls = vec![json!({
            "id": "1", "type": "function",
            "function": { "name": "rain", "arguments": "{\"city\": \"Bern\"}" },
        })];
        let definition = json!({ "type": "function", "function": { "name": "rain" } });
        let chat = api::Chat {
            tools_json: vec![definition.to_string()],
            ..api::Chat::default()
        };
        let offered = Offered::read(&chat).unwrap();
        let talk = vec![
            message("user", "Does it rain?"),
            calling,
            message("tool", "yes"),
            message("user", "and now?"),
        ];
        let told = told(talk, offered.as_ref());
        let roles: Vec<&str> = told.iter().map(|message| message.role.as_str()).collect();
        assert_eq!(roles, ["user", "assistant", "user"]);
        assert!(told[0].content.contains(r#"{"name":"rain"}"#));
        assert!(told[0].content.ends_with("Does it rain?"));
        assert_eq!(
            told[1].content,
            r#"{"name":"rain","parameters":{"city":"Bern"}}"#
        );
        assert_eq!(told[2].content, "The call returned:\nyes\n\nand now?");
        assert!(told.iter().all(|message| message.tool_calls.is_empty()));
    }
}
