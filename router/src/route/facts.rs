//! What rules may look at, gathered from one ask.

use std::sync::OnceLock;

use http::HeaderMap;
use weir_crds::{HeaderValues, ResponseFormat};
use weir_policy::rules::Facts;

use crate::ask::{Ask, Form, Input, Role};
use crate::language;
use crate::plan::carries;

/// What a chat template writes around a message: about four tokens of four bytes.
const BYTES_PER_MESSAGE: u64 = 16;

/// The facts of one ask.
pub(crate) struct Gathered<'a> {
    ask: &'a Ask,
    headers: &'a HeaderMap,
    tenant: Option<&'a str>,
    language: OnceLock<Option<&'static str>>,
}

impl<'a> Gathered<'a> {
    pub fn new(ask: &'a Ask, headers: &'a HeaderMap, tenant: Option<&'a str>) -> Self {
        Self {
            ask,
            headers,
            tenant,
            language: OnceLock::new(),
        }
    }

    /// About how many bytes the model reads: messages, their calls of tools, and the tools.
    pub fn prompt_bytes(&self) -> u64 {
        self.ask.prompt_bytes() + BYTES_PER_MESSAGE * self.ask.messages().len() as u64
    }
}

impl Facts for Gathered<'_> {
    fn has_header(&self, wanted: &HeaderValues) -> bool {
        carries(self.headers, wanted)
    }

    fn metadata(&self, name: &str) -> Option<&str> {
        self.ask.metadata.get(name).map(String::as_str)
    }

    /// Also those that the provider runs.
    fn has_tools(&self) -> bool {
        let listed = ["tools", "functions"].iter();
        let mut listed = listed.filter_map(|field| self.ask.body.get(*field)?.as_array());
        listed.any(|tools| !tools.is_empty())
    }

    fn format(&self) -> Option<ResponseFormat> {
        match self.ask.form {
            Form::Text => Some(ResponseFormat::Text),
            Form::JsonObject => Some(ResponseFormat::JsonObject),
            Form::JsonSchema { .. } => Some(ResponseFormat::JsonSchema),
            Form::Choice(_) | Form::Regex(_) | Form::Grammar(_) => None,
        }
    }

    fn language(&self) -> Option<&str> {
        *self.language.get_or_init(|| {
            let text = match &self.ask.input {
                Input::Chat(messages) => {
                    let mut messages = messages.iter().rev();
                    messages.find(|message| message.role == Role::User)?.text()
                }
                Input::Text(text) => text.clone(),
                Input::Tokens(_) | Input::Many(_) => return None,
            };
            language::detect(&text)
        })
    }

    fn tenant(&self) -> Option<&str> {
        self.tenant
    }

    fn adapter(&self) -> Option<&str> {
        let asked = self.ask.model.rsplit_once(':');
        asked.map(|(_, adapter)| adapter)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn ask(extra: Value) -> Ask {
        crate::decode::chat_with(&extra)
    }

    fn of<T>(extra: Value, fact: impl FnOnce(&Gathered<'_>) -> T) -> T {
        fact(&Gathered::new(&ask(extra), &HeaderMap::new(), None))
    }

    #[test]
    fn the_form_of_the_answer_is_text_unless_another_is_asked_for() {
        let format =
            |format: Value| of(json!({ "response_format": format }), |facts| facts.format());
        assert_eq!(
            of(json!({}), |facts| facts.format()),
            Some(ResponseFormat::Text)
        );
        assert_eq!(format(Value::Null), Some(ResponseFormat::Text));
        assert_eq!(
            format(json!({ "type": "text" })),
            Some(ResponseFormat::Text)
        );
        let object = Some(ResponseFormat::JsonObject);
        assert_eq!(format(json!({ "type": "json_object" })), object);
        let schema = Some(ResponseFormat::JsonSchema);
        assert_eq!(
            format(json!({ "type": "json_schema", "json_schema": { "schema": {} } })),
            schema
        );
        let choice = of(json!({ "guided_choice": ["a"] }), |facts| facts.format());
        assert_eq!(choice, None);
    }

    #[test]
    fn tools_are_there_where_a_list_of_them_is_not_empty() {
        assert!(!of(json!({}), |facts| facts.has_tools()));
        assert!(!of(json!({ "tools": [] }), |facts| facts.has_tools()));
        assert!(of(json!({ "tools": [{ "type": "x" }] }), |facts| facts
            .has_tools()));
        assert!(of(json!({ "functions": [{}] }), |facts| facts.has_tools()));
    }

    #[test]
    fn a_prompt_is_as_long_as_all_that_the_model_reads() {
        let bytes = |extra| of(extra, |facts| facts.prompt_bytes());
        assert_eq!(bytes(json!({})), 2 + 16);
        let calls = json!([
            { "role": "user", "content": "hi" },
            { "role": "assistant", "tool_calls": [{ "function": { "name": "f", "arguments": "{}" } }] },
        ]);
        assert_eq!(bytes(json!({ "messages": calls })), 18 + 3 + 16);
        assert_eq!(bytes(json!({ "tools": [] })), 18);
        let tool = json!({ "type": "function", "function": { "name": "f", "parameters": {} } });
        assert_eq!(bytes(json!({ "tools": [tool] })), 18 + 3);
    }

    #[test]
    fn metadata_and_adapter_are_read_where_they_are_text() {
        let extra = json!({ "metadata": { "purpose": "x", "odd": 1 }, "model": "a/b:tickets" });
        let ask = ask(extra);
        let headers = HeaderMap::new();
        let facts = Gathered::new(&ask, &headers, None);
        assert_eq!(facts.metadata("purpose"), Some("x"));
        assert_eq!(facts.metadata("odd"), None);
        assert_eq!(facts.metadata("none"), None);
        assert_eq!(facts.adapter(), Some("tickets"));
        assert!(of(json!({}), |facts| facts.adapter().is_none()));
    }

    #[test]
    fn the_language_is_that_of_the_last_message_of_the_user() {
        let messages = json!([
            { "role": "user", "content": "My invoice is wrong, please refund me the amount." },
            { "role": "user", "content": "Meine Rechnung ist falsch, bitte erstatten Sie mir den Betrag." },
            { "role": "assistant", "content": "Which invoice is it, and when did you pay for it?" },
        ]);
        let german = of(json!({ "messages": messages }), |facts| {
            facts.language() == Some("de")
        });
        assert!(german);
        let system =
            json!([{ "role": "system", "content": "You are a helpful assistant for all." }]);
        assert!(of(json!({ "messages": system }), |facts| facts
            .language()
            .is_none()));
    }
}
