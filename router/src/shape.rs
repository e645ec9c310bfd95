//! Whether an answer has the form that its ask wants: of its text, and of the calls of tools in it.

use serde_json::{Value, json};
use weir_cascade::{Effort, fits};
use weir_policy::json::has_too_many_values;

use crate::ask::{Ask, Form, Tool, ToolChoice};
use crate::encode::Choice;

/// What an ask wants of the form of its answer.
#[derive(Clone, Copy)]
pub(crate) struct Shape<'a> {
    form: &'a Form,
    tools: &'a [Tool],
    tool_choice: &'a ToolChoice,
}

impl<'a> Shape<'a> {
    /// Nothing where any text will do.
    pub fn of(ask: &'a Ask) -> Option<Self> {
        let shape = Self {
            form: &ask.form,
            tools: &ask.tools,
            tool_choice: &ask.tool_choice,
        };
        (ask.form != Form::Text || !ask.tools.is_empty()).then_some(shape)
    }

    /// Whether one whole choice of an answer has it, as far as that can be seen.
    pub fn fits(self, choice: &Choice, effort: &mut Effort) -> bool {
        let calls = &choice.calls;
        let mut names = calls.iter().map(|call| &call.name);
        let is_called = match self.tool_choice {
            ToolChoice::Auto | ToolChoice::None => true,
            ToolChoice::Required => !calls.is_empty(),
            ToolChoice::Named(name) => names.any(|called| called == name),
        };
        let mut calls = calls.iter();
        let fit = calls.all(|call| self.fits_call((&call.name, &call.arguments), effort));
        let has_calls = !choice.calls.is_empty();
        is_called && fit && (has_calls || self.fits_text(choice.text.trim(), effort))
    }

    /// A tool that is not known here may be one of the provider's own.
    fn fits_call(self, (name, arguments): (&str, &str), effort: &mut Effort) -> bool {
        let mut tools = self.tools.iter();
        let Some(tool) = tools.find(|tool| tool.name == name) else {
            return true;
        };
        let arguments = if arguments.is_empty() {
            "{}"
        } else {
            arguments
        };
        is_json(arguments, |value| {
            value.is_object() && fits(&tool.parameters, value, effort)
        })
    }

    fn fits_text(self, text: &str, effort: &mut Effort) -> bool {
        match self.form {
            Form::Text | Form::Grammar(_) => true,
            Form::JsonObject => is_json(text, Value::is_object),
            Form::JsonSchema { schema, .. } => is_json(text, |value| fits(schema, value, effort)),
            Form::Choice(options) => options.iter().any(|option| option.trim() == text),
            Form::Regex(pattern) => {
                let whole = json!({ "pattern": format!("^(?s:{pattern})$") });
                fits(&whole, &text.into(), effort)
            }
        }
    }
}

/// Whether a text is JSON that `is_good`. One of so many values that they would fill the memory is taken at its word.
fn is_json(text: &str, is_good: impl FnOnce(&Value) -> bool) -> bool {
    if has_too_many_values(text.as_bytes()) {
        return true;
    }
    serde_json::from_str(text).is_ok_and(|value| is_good(&value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::{CallPiece, Piece};
    use crate::encode::Gathered;

    fn ask(extra: Value) -> Ask {
        crate::decode::chat_with(&extra)
    }

    fn says(text: &str) -> Piece {
        Piece {
            text: text.into(),
            ..Piece::default()
        }
    }

    fn calls(name: &str, arguments: &str) -> Piece {
        Piece {
            calls: vec![CallPiece {
                name: name.into(),
                arguments: arguments.into(),
                ..CallPiece::default()
            }],
            ..Piece::default()
        }
    }

    fn fit(extra: Value, piece: Piece) -> bool {
        let ask = ask(extra);
        let mut gathered = Gathered::of(1);
        gathered.add(piece);
        Shape::of(&ask)
            .unwrap()
            .fits(&gathered.choices[0], &mut Effort::default())
    }

    #[test]
    fn a_text_has_the_form_that_was_asked_for() {
        let schema = json!({ "type": "object", "required": ["team"] });
        let schema = json!({ "name": "s", "schema": schema });
        let schema = json!({ "response_format": { "type": "json_schema", "json_schema": schema } });
        let object = json!({ "response_format": { "type": "json_object" } });
        let choice = json!({ "guided_choice": ["billing", "network"] });
        let pattern = json!({ "guided_regex": "[a-z]+" });
        for (asked, good, bad) in [
            (schema, "\n{\"team\":\"billing\"} ", "{\"tem\":1}"),
            (object, "{}", "[]"),
            (choice, "billing", "billing, I think"),
            (pattern, "billing", "Billing!"),
        ] {
            assert!(fit(asked.clone(), says(good)), "{asked} {good}");
            assert!(!fit(asked.clone(), says(bad)), "{asked} {bad}");
        }
        assert!(Shape::of(&ask(json!({}))).is_none());
    }

    #[test]
    fn a_call_has_the_arguments_of_its_tool_and_one_that_was_demanded_is_there() {
        let parameters = json!({ "type": "object", "required": ["team"] });
        let function = json!({ "name": "route", "parameters": parameters });
        let tools = json!([{ "type": "function", "function": function }]);
        let with = |choice: &str| json!({ "tools": tools, "tool_choice": choice });
        assert!(fit(with("auto"), calls("route", "{\"team\":1}")));
        assert!(!fit(with("auto"), calls("route", "{}")));
        assert!(!fit(with("auto"), calls("route", "{\"team\":")));
        assert!(
            fit(with("auto"), calls("search", "what")),
            "the provider's own"
        );
        assert!(fit(with("auto"), says("I need no tool.")));
        assert!(!fit(with("required"), says("I need no tool.")));
        let named = json!({ "type": "function", "function": { "name": "route" } });
        let named = json!({ "tools": tools, "tool_choice": named });
        assert!(!fit(named, calls("search", "{}")));
    }
}
