//! Conversations of every kind that templates tell apart.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::template::Message;

/// One conversation, and what a person would call it.
pub(super) struct Talk {
    what: &'static str,
    pub(super) messages: Vec<Message>,
    pub(super) tools: Vec<Value>,
    pub(super) variables: Map<String, Value>,
}

impl fmt::Display for Talk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.messages.iter().map(|message| message.content.len());
        let bytes: usize = bytes.sum();
        write!(
            formatter,
            "{}, {} messages of {bytes} bytes together",
            self.what,
            self.messages.len()
        )
    }
}

/// What texts may have in them that templates look for.
const MARKS: &str = "<think>\nhm\n</think>\n\n {% raw %} \"quoted\" größe 漢 \\n <|im_end|> ";

pub(super) fn talks() -> Vec<Talk> {
    let long = MARKS.repeat(1000);
    let page = MARKS.repeat(100);
    let turn = || message("user", "hello");
    let mut talks = vec![
        talk("one turn", vec![turn()]),
        talk(
            "a system message",
            vec![message("system", "be brief"), turn()],
        ),
        talk(
            "a system message alone",
            vec![message("system", "be brief")],
        ),
        talk("one long turn", vec![message("user", &long)]),
        talk("long turns", turns(9, &page)),
        talk("many turns", turns(41, "yes")),
        talk("turns that end with an answer", turns(6, "yes")),
    ];
    for key in ["enable_thinking", "thinking", "keep_past_thinking"] {
        for think in [true, false] {
            let mut talk = talk("a switch for thinking", turns(3, MARKS));
            talk.variables.insert(key.to_owned(), Value::Bool(think));
            talks.push(talk);
        }
    }
    let mut offered = talk("tools", turns(3, "yes"));
    offered.tools = tools();
    let mut called = talk("tools that were called", calls(&page));
    called.tools = tools();
    talks.extend([offered, called, talk("calls without tools", calls("8"))]);
    talks
}

fn talk(what: &'static str, messages: Vec<Message>) -> Talk {
    Talk {
        what,
        messages,
        tools: Vec::new(),
        variables: Map::new(),
    }
}

fn message(role: &str, content: &str) -> Message {
    Message {
        role: role.to_owned(),
        content: content.to_owned(),
        ..Message::default()
    }
}

/// So many, from the user and the model in turn.
fn turns(count: usize, text: &str) -> Vec<Message> {
    let roles = ["user", "assistant"].into_iter().cycle();
    roles.take(count).map(|role| message(role, text)).collect()
}

fn tools() -> Vec<Value> {
    let tool = |name: &str| {
        json!({ "type": "function", "function": {
            "name": name,
            "description": MARKS,
            "parameters": { "type": "object", "required": ["city"], "properties": {
                "city": { "type": "string", "description": "where", "enum": ["Bern", "Genf"] },
                "days": { "type": "array", "items": { "type": ["integer", "null"] } },
                "more": { "type": "object", "properties": { "a": { "type": "number" } } },
            }},
        }})
    };
    vec![tool("weather"), tool("time")]
}

/// Two calls at once, what came back, an answer with its reasoning, and one call more.
fn calls(result: &str) -> Vec<Message> {
    let call = |id: &str, name: &str| {
        json!({ "id": id, "type": "function",
            "function": { "name": name, "arguments": { "city": "Bern", "days": [1, 2] } } })
    };
    let calling = |calls: Vec<Value>| Message {
        tool_calls: calls,
        reasoning: Some(MARKS.to_owned()),
        ..message("assistant", "")
    };
    let back = |id: &str| Message {
        tool_call_id: Some(id.to_owned()),
        ..message("tool", result)
    };
    vec![
        message("system", "be brief"),
        message("user", "hello"),
        calling(vec![
            call("abcdefgh1", "weather"),
            call("abcdefgh2", "time"),
        ]),
        back("abcdefgh1"),
        back("abcdefgh2"),
        Message {
            reasoning: Some(MARKS.to_owned()),
            ..message("assistant", "it rains")
        },
        message("user", "and now?"),
        calling(vec![call("abcdefgh3", "weather")]),
        back("abcdefgh3"),
    ]
}
