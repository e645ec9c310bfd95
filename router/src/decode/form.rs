//! The fields that ask for a form: OpenAI's `response_format` and `text.format`, Anthropic's
//! `output_config.format`, and the `guided_*` and `structured_outputs` of open servers.

use serde_json::Value;

use super::fields::Fields;
use crate::ask::{Form, Need, Needed};
use crate::refusal::Refusal;

const LONGEST_NAME: usize = 64;

/// The form that a chat or completions request asks for, of which there may be one.
pub(super) fn of_chat(fields: &Fields<'_>, needs: &mut Vec<Need>) -> Result<Form, Refusal> {
    let format = match fields.object("response_format")? {
        Some(format) => response_format(&format)?,
        None => None,
    };
    let found = [
        format.map(|form| ("response_format", form)),
        guided_schema(fields, "guided_json")?.map(|form| ("guided_json", form)),
        text(fields, "guided_regex")?.map(|text| ("guided_regex", Form::Regex(text))),
        options(fields, "guided_choice")?.map(|form| ("guided_choice", form)),
        text(fields, "guided_grammar")?.map(|text| ("guided_grammar", Form::Grammar(text))),
        structured_outputs(fields)?.map(|form| ("structured_outputs", form)),
    ];
    let mut found = found.into_iter().flatten();
    let form = match (found.next(), found.next()) {
        (None, _) => return Ok(Form::Text),
        (Some(form), None) => form,
        (Some((first, _)), Some((second, _))) => {
            let message = format!("cannot be honoured beside {first}");
            return Err(fields.wrong(second, message));
        }
    };
    note(&form.1, form.0, needs);
    Ok(form.1)
}

/// Notes that the form at `field` is more than every upstream can do.
pub(super) fn note(form: &Form, field: &str, needs: &mut Vec<Need>) {
    if *form == Form::JsonObject {
        needs.push(Need {
            field: field.to_owned(),
            what: Needed::AnyObject,
        });
    }
}

fn response_format(format: &Fields<'_>) -> Result<Option<Form>, Refusal> {
    match format.text("type")? {
        "text" => Ok(None),
        "json_object" => Ok(Some(Form::JsonObject)),
        "json_schema" => match format.object("json_schema")? {
            Some(named) => schema(&named).map(Some),
            None => Err(format.wrong("json_schema", "is missing")),
        },
        _ => Err(format.wrong("type", "must be text, json_object or json_schema")),
    }
}

/// A schema with its name, as `response_format.json_schema` and `text.format` hold it.
pub(super) fn schema(named: &Fields<'_>) -> Result<Form, Refusal> {
    let name = named.any_text("name")?.unwrap_or("answer");
    if name.len() > LONGEST_NAME {
        let message = format!("must be at most {LONGEST_NAME} bytes long");
        return Err(named.wrong("name", message));
    }
    let strict = match named.present("strict") {
        None => None,
        Some(_) => Some(named.flag("strict")?),
    };
    match named.present("schema") {
        None => Ok(Form::JsonObject),
        Some(schema @ (Value::Object(_) | Value::Bool(_))) => Ok(Form::JsonSchema {
            name: name.to_owned(),
            schema: schema.clone(),
            strict,
        }),
        Some(_) => Err(named.wrong("schema", "must be a JSON schema")),
    }
}

fn text(fields: &Fields<'_>, field: &str) -> Result<Option<String>, Refusal> {
    Ok(fields.any_text(field)?.map(str::to_owned))
}

/// A schema, or its text.
fn guided_schema(fields: &Fields<'_>, field: &str) -> Result<Option<Form>, Refusal> {
    let schema = match fields.present(field) {
        None => return Ok(None),
        Some(Value::String(text)) => serde_json::from_str(text)
            .map_err(|_| fields.wrong(field, "must be a JSON schema, or the text of one"))?,
        Some(schema @ (Value::Object(_) | Value::Bool(_))) => schema.clone(),
        Some(_) => return Err(fields.wrong(field, "must be a JSON schema, or the text of one")),
    };
    Ok(Some(Form::JsonSchema {
        name: "answer".to_owned(),
        schema,
        strict: None,
    }))
}

fn options(fields: &Fields<'_>, field: &str) -> Result<Option<Form>, Refusal> {
    let Some(items) = fields.list(field)? else {
        return Ok(None);
    };
    let options: Option<Vec<String>> = items
        .iter()
        .map(|item| item.as_str().map(str::to_owned))
        .collect();
    match options.filter(|options| !options.is_empty()) {
        Some(options) => Ok(Some(Form::Choice(options))),
        None => Err(fields.wrong(field, "must be a list of texts")),
    }
}

fn structured_outputs(fields: &Fields<'_>) -> Result<Option<Form>, Refusal> {
    let Some(asked) = fields.object("structured_outputs")? else {
        return Ok(None);
    };
    let object = asked.flag("json_object")?.then_some(Form::JsonObject);
    let found = [
        guided_schema(&asked, "json")?,
        text(&asked, "regex")?.map(Form::Regex),
        options(&asked, "choice")?,
        text(&asked, "grammar")?.map(Form::Grammar),
        object,
    ];
    let mut found = found.into_iter().flatten();
    match (found.next(), found.next()) {
        (Some(form), None) => Ok(Some(form)),
        _ => {
            let message = "must have one of json, json_object, regex, choice and grammar";
            Err(fields.wrong("structured_outputs", message))
        }
    }
}
