//! Fields of a request's body, read so that a wrong one is named. Null is not there.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::refusal::Refusal;

pub(crate) fn field<'a>(body: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    body.get(name).filter(|value| !value.is_null())
}

pub(crate) fn text<'a>(
    body: &'a Map<String, Value>,
    name: &str,
) -> Result<Option<&'a str>, Refusal> {
    let read = |value: &'a Value| {
        value
            .as_str()
            .ok_or_else(|| Refusal::of(name, "must be text"))
    };
    field(body, name).map(read).transpose()
}

pub(crate) fn required_text<'a>(
    body: &'a Map<String, Value>,
    name: &str,
) -> Result<&'a str, Refusal> {
    text(body, name)?.ok_or_else(|| Refusal::of(name, "field required"))
}

pub(crate) fn flag(body: &Map<String, Value>, name: &str) -> Result<Option<bool>, Refusal> {
    let read = |value: &Value| {
        value
            .as_bool()
            .ok_or_else(|| Refusal::of(name, "must be true or false"))
    };
    field(body, name).map(read).transpose()
}

pub(crate) fn number(
    body: &Map<String, Value>,
    name: &str,
    range: RangeInclusive<u64>,
) -> Result<Option<u64>, Refusal> {
    let read = |value: &Value| {
        value
            .as_u64()
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                let wrong = match *range.end() {
                    u64::MAX => format!("must be a number of {} or more", range.start()),
                    most => format!("must be a number from {} to {most}", range.start()),
                };
                Refusal::of(name, &wrong)
            })
    };
    field(body, name).map(read).transpose()
}

/// A list; empty where the field is not there.
pub(crate) fn list<'a>(body: &'a Map<String, Value>, name: &str) -> Result<&'a [Value], Refusal> {
    match field(body, name) {
        None => Ok(&[]),
        Some(value) => value
            .as_array()
            .map(Vec::as_slice)
            .ok_or_else(|| Refusal::of(name, "must be a list")),
    }
}

/// One text, or a list of up to `most`.
pub(crate) fn texts(
    body: &Map<String, Value>,
    name: &str,
    most: usize,
) -> Result<Vec<String>, Refusal> {
    let texts: Option<Vec<String>> = match field(body, name) {
        None => Some(Vec::new()),
        Some(Value::String(text)) => Some(vec![text.clone()]),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect(),
        Some(_) => None,
    };
    texts
        .filter(|texts| texts.len() <= most && texts.iter().all(|text| !text.is_empty()))
        .ok_or_else(|| {
            Refusal::of(
                name,
                &format!("must be up to {most} texts that are not empty"),
            )
        })
}

/// Refuses the first of these fields that is there and says something.
pub(crate) fn refuse(body: &Map<String, Value>, names: &[&str], why: &str) -> Result<(), Refusal> {
    let is_set = |name: &&&str| match field(body, name) {
        None | Some(Value::Bool(false)) => false,
        Some(Value::Array(items)) => !items.is_empty(),
        Some(_) => true,
    };
    match names.iter().find(is_set) {
        None => Ok(()),
        Some(name) => Err(Refusal::of(*name, why)),
    }
}
