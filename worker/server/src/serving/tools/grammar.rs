//! What calls look like in each style, as grammars.

use std::fmt::Write;

use serde_json::{Map, Value, json};
use weir_engine::in_one_line;

use super::{Mark, Style, Tool};

/// What Mistral's models write for the id of a call.
const ID: &str = "[a-zA-Z0-9]{9}";

/// The calls that may be made.
pub(super) struct Callable<'a> {
    pub tools: &'a [&'a Tool],
    pub single: bool,
    /// The model may also answer: then it may begin in ways that a required call has no need of.
    pub free: bool,
}

/// A grammar in the engine's dialect, for calls and nothing else. Nothing where a schema is none.
pub(super) fn grammar(style: &Style, callable: &Callable<'_>) -> Option<String> {
    let ids = matches!(style, Style::List { ids: true, .. });
    let one = call_schema(callable.tools, style.arguments_name(), ids);
    let list = list_of(one.clone(), callable.single);
    let (start, rules) = match style {
        Style::Hermes { open, close } => {
            let (open, close) = (open.lark(), close.lark());
            let call = format!("({open} \"\\n\" one \"\\n\" {close})");
            let more = if callable.single {
                String::new()
            } else {
                format!(" (\"\\n\" {call})*")
            };
            (format!("{call}{more}"), vec![("one", one)])
        }
        Style::List { open, close, .. } => {
            let close = close.as_ref().map(Mark::lark).unwrap_or_default();
            // Mistral's older tokenizers have the bracket with a space before it.
            let start = format!("{} \" \"? list {close}", open.lark());
            (start, vec![("list", list)])
        }
        Style::Object { tag } => {
            let tag = tag.as_ref().filter(|_| callable.free).map(Mark::lark);
            let tag = tag.map(|tag| format!("{tag}? ")).unwrap_or_default();
            (format!("{tag}one"), vec![("one", one)])
        }
        Style::Told if callable.single => ("one".to_owned(), vec![("one", one)]),
        Style::Told => ("one | list".to_owned(), vec![("one", one), ("list", list)]),
        Style::Named {
            open,
            id,
            arguments,
        } => return named(open, id.as_ref(), arguments, callable),
    };
    let mut lark = format!("start: {start}\n");
    for (name, schema) in rules {
        let schema = in_one_line(&schema).ok()?;
        writeln!(lark, "{name}: %json {schema}").ok()?;
    }
    Some(lark)
}

/// Names with the objects of their arguments behind them.
fn named(
    open: &Mark,
    id: Option<&Mark>,
    arguments: &Mark,
    callable: &Callable<'_>,
) -> Option<String> {
    let id = id
        .map(|id| format!("{} ID ", id.lark()))
        .unwrap_or_default();
    let mut ways = Vec::with_capacity(callable.tools.len());
    let mut rules = String::new();
    for (index, tool) in callable.tools.iter().enumerate() {
        let name = Value::from(tool.name.as_str());
        ways.push(format!("{name} {id}{} tool{index}", arguments.lark()));
        let schema = in_one_line(&tool.parameters).ok()?;
        writeln!(rules, "tool{index}: %json {schema}").ok()?;
    }
    if !id.is_empty() {
        writeln!(rules, "ID: /{ID}/").ok()?;
    }
    let call = format!("({} ({}))", open.lark(), ways.join(" | "));
    let more = if callable.single { "" } else { "+" };
    Some(format!("start: {call}{more}\n{rules}"))
}

/// Definitions stay where references find them: at the root.
fn list_of(mut call: Value, single: bool) -> Value {
    let definitions = call
        .as_object_mut()
        .and_then(|call| call.shift_remove("$defs"));
    let mut list = json!({ "type": "array", "items": call, "minItems": 1 });
    if single {
        list["maxItems"] = 1.into();
    }
    if let Some(definitions) = definitions {
        list["$defs"] = definitions;
    }
    list
}

/// One call of any of `tools`.
fn call_schema(tools: &[&Tool], arguments: &str, ids: bool) -> Value {
    let mut definitions = Map::new();
    let mut calls = Vec::with_capacity(tools.len());
    for (index, tool) in tools.iter().enumerate() {
        let definition = format!("tool{index}");
        let root = format!("#/$defs/{definition}");
        let mut call = json!({
            "type": "object",
            "properties": { "name": { "const": tool.name }, arguments: { "$ref": root } },
            "required": ["name", arguments],
            "additionalProperties": false,
        });
        if ids {
            call["properties"]["id"] = json!({ "type": "string", "pattern": format!("^{ID}$") });
        }
        calls.push(call);
        definitions.insert(definition, moved(tool.parameters.clone(), &root));
    }
    let mut schema = match <[Value; 1]>::try_from(calls) {
        Ok([call]) => call,
        Err(calls) => json!({ "anyOf": calls }),
    };
    schema["$defs"] = definitions.into();
    schema
}

/// A schema whose references are right where it is no longer the root but lies at `root`.
fn moved(schema: Value, root: &str) -> Value {
    match schema {
        Value::Object(object) => {
            let fields = object.into_iter().map(|(key, value)| {
                let value = match value.as_str().and_then(|text| text.strip_prefix('#')) {
                    Some(path) if key == "$ref" => {
                        Value::from(format!("{root}{}", path.trim_end_matches('/')))
                    }
                    _ => moved(value, root),
                };
                (key, value)
            });
            Value::Object(fields.collect())
        }
        Value::Array(items) => items.into_iter().map(|item| moved(item, root)).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_within_parameters_still_find_what_they_name() {
        let schema = json!({
            "properties": { "a": { "$ref": "#/$defs/x" }, "$ref": { "type": "string" } },
            "items": [{ "$ref": "#" }],
        });
        let expected = json!({
            "properties": { "a": { "$ref": "#/$defs/tool3/$defs/x" }, "$ref": { "type": "string" } },
            "items": [{ "$ref": "#/$defs/tool3" }],
        });
        assert_eq!(moved(schema, "#/$defs/tool3"), expected);
    }
}
