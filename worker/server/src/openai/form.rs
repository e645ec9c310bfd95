//! What an answer must look like, in the words of this wire and of those beside it: OpenAI's
//! `response_format`, and the `guided_*` and `structured_outputs` of other servers.

use serde_json::{Value, json};
use weir_worker_api::{self as api, constraint::Form};

use super::fields::Fields;
use crate::refusal::Refusal;

/// A form, and the field that asked for it.
pub type Asked = (&'static str, Form);

/// Takes every field that asks for a form, of which there may be one.
pub fn form(fields: &mut Fields) -> Result<Option<Asked>, Refusal> {
    let found = [
        response_format(fields)?.map(|form| ("response_format", form)),
        schema(fields, "guided_json")?.map(|form| ("guided_json", form)),
        text(fields, "guided_regex")?.map(|text| ("guided_regex", Form::Regex(text))),
        choice(fields, "guided_choice")?.map(|form| ("guided_choice", form)),
        text(fields, "guided_grammar")?.map(|text| ("guided_grammar", Form::Grammar(text))),
        structured_outputs(fields)?.map(|form| ("structured_outputs", form)),
    ];
    let mut found = found.into_iter().flatten();
    match (found.next(), found.next()) {
        (first, None) => Ok(first),
        (Some((first, _)), Some((second, _))) => {
            let why = format!("cannot be honoured beside `{first}`");
            Err(Refusal::invalid(second, why))
        }
        (None, Some(_)) => Ok(None),
    }
}

fn response_format(fields: &mut Fields) -> Result<Option<Form>, Refusal> {
    let Some(format) = fields.take::<Value>("response_format")? else {
        return Ok(None);
    };
    let mut format = Fields::of("response_format.", format)?;
    let kind: String = format.need("type")?;
    match kind.as_str() {
        "text" => Ok(None),
        "json_object" => Ok(Some(any_object())),
        "json_schema" => {
            let schema: Value = format.need("json_schema")?;
            let mut named = Fields::of("response_format.json_schema.", schema)?;
            let schema = named.take::<Value>("schema")?;
            Ok(Some(schema.map_or_else(any_object, |schema| {
                Form::JsonSchema(schema.to_string())
            })))
        }
        _ => {
            let why = format!("is `{kind}`; known are text, json_object, json_schema");
            Err(Refusal::invalid("response_format.type", why))
        }
    }
}

fn any_object() -> Form {
    Form::JsonSchema(json!({ "type": "object" }).to_string())
}

/// A schema, or its text.
fn schema(fields: &mut Fields, name: &str) -> Result<Option<Form>, Refusal> {
    let schema = fields.take::<Value>(name)?;
    Ok(schema.map(|schema| match schema {
        Value::String(text) => Form::JsonSchema(text),
        schema => Form::JsonSchema(schema.to_string()),
    }))
}

fn text(fields: &mut Fields, name: &str) -> Result<Option<String>, Refusal> {
    fields.take(name)
}

fn choice(fields: &mut Fields, name: &str) -> Result<Option<Form>, Refusal> {
    let values = fields.take::<Vec<String>>(name)?;
    Ok(values.map(|values| Form::Choice(api::Options { values })))
}

fn structured_outputs(fields: &mut Fields) -> Result<Option<Form>, Refusal> {
    let name = "structured_outputs";
    let Some(asked) = fields.take::<Value>(name)? else {
        return Ok(None);
    };
    let mut asked = Fields::of("structured_outputs.", asked)?;
    let found = [
        schema(&mut asked, "json")?,
        text(&mut asked, "regex")?.map(Form::Regex),
        choice(&mut asked, "choice")?,
        text(&mut asked, "grammar")?.map(Form::Grammar),
        asked
            .take::<bool>("json_object")?
            .filter(|wanted| *wanted)
            .map(|_| any_object()),
    ];
    if let Some(unknown) = asked.rest().first() {
        return Err(Refusal::unsupported(asked.path(unknown)));
    }
    let mut found = found.into_iter().flatten();
    match (found.next(), found.next()) {
        (Some(form), None) => Ok(Some(form)),
        _ => Err(Refusal::invalid(name, "must have exactly one form")),
    }
}
