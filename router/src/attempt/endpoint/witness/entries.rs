//! Log-probabilities as each of OpenAI's wires tells them, and how they are taken out again.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use weir_cascade::Token;

/// A larger number than this is no logarithm of a probability.
const ABOUT_CERTAIN: f64 = 1e-3;

/// One token of an answer.
pub(super) struct Entry {
    pub token: Token,
    /// Of its text.
    pub bytes: usize,
}

type Entries = BTreeMap<u32, Vec<Entry>>;

pub(super) fn of_chat(event: &Value) -> Entries {
    of_choices(event, |logprobs| {
        let lists = [&logprobs["content"], &logprobs["refusal"]];
        let entries = lists.into_iter().filter_map(Value::as_array).flatten();
        entries.map(of_entry).collect()
    })
}

pub(super) fn of_completion(event: &Value) -> Entries {
    of_choices(event, |logprobs| {
        // llama-server tells them as chats do.
        if let Some(entries) = logprobs["content"].as_array() {
            return entries.iter().map(of_entry).collect();
        }
        let names = logprobs["tokens"].as_array().into_iter().flatten();
        let entry = |(at, name): (usize, &Value)| {
            let name = name.as_str().unwrap_or_default();
            let others = logprobs["top_logprobs"][at].as_object();
            let others = others.into_iter().flatten();
            let others = others.map(|(other, logprob)| (other.as_str(), logprob));
            entry(name, name.len(), &logprobs["token_logprobs"][at], others)
        };
        names.enumerate().map(entry).collect()
    })
}

pub(super) fn of_response(event: &Value) -> Entries {
    if event["type"] != "response.output_text.delta" {
        return Entries::new();
    }
    let entries = event["logprobs"].as_array().into_iter().flatten();
    let entries: Vec<Entry> = entries.map(of_entry).collect();
    match entries.is_empty() {
        true => Entries::new(),
        false => [(0, entries)].into(),
    }
}

fn of_choices(event: &Value, read: impl Fn(&Value) -> Vec<Entry>) -> Entries {
    let choices = event["choices"].as_array().into_iter().flatten();
    let entries = choices.filter_map(|choice| {
        let index = choice["index"].as_u64().unwrap_or(0);
        let entries = read(&choice["logprobs"]);
        (!entries.is_empty()).then_some((u32::try_from(index).ok()?, entries))
    });
    entries.collect()
}

/// As chats and responses have it.
fn of_entry(said: &Value) -> Entry {
    let name = said["token"].as_str().unwrap_or_default();
    let bytes = said["bytes"].as_array().map_or(name.len(), Vec::len);
    let others = said["top_logprobs"].as_array().into_iter().flatten();
    let others = others.map(|other| {
        let name = other["token"].as_str().unwrap_or_default();
        (name, &other["logprob"])
    });
    entry(name, bytes, &said["logprob"], others)
}

fn entry<'a>(
    name: &str,
    bytes: usize,
    logprob: &Value,
    others: impl Iterator<Item = (&'a str, &'a Value)>,
) -> Entry {
    let token = match number(logprob) {
        None => Token::unseen(false),
        Some(own) => {
            let others = others.filter(|(other, _)| *other != name);
            let others = others.filter_map(|(_, logprob)| number(logprob));
            Token {
                logprob: own as f32,
                margin: margin(own, others) as f32,
                ..Token::default()
            }
        }
    };
    Entry { token, bytes }
}

/// How far the likeliest token was ahead of the next. Where no other is told of, the rest may all be one.
fn margin(own: f64, others: impl Iterator<Item = f64>) -> f64 {
    let mut likely: Vec<f64> = others.chain([own]).collect();
    likely.sort_by(|one, other| other.total_cmp(one));
    match likely.get(..2) {
        Some(likely) => likely[0] - likely[1],
        None => {
            let rest = -own.min(0.0).exp_m1();
            (own - rest.max(f64::MIN_POSITIVE).ln()).max(0.0)
        }
    }
}

/// Nothing where it cannot be a logarithm of a probability.
fn number(said: &Value) -> Option<f64> {
    said.as_f64().filter(|logprob| *logprob <= ABOUT_CERTAIN)
}

/// Leaves `shown` alternatives to each token; without any number, nothing at all.
pub(super) fn limit_chat(event: &mut Value, shown: Option<u32>) {
    for logprobs in of_each_choice(event) {
        let Some(most) = shown else {
            *logprobs = Value::Null;
            continue;
        };
        for list in ["content", "refusal"] {
            limit_list(logprobs.get_mut(list), most);
        }
    }
}

/// See [`limit_chat`].
pub(super) fn limit_completion(event: &mut Value, shown: Option<u32>) {
    for logprobs in of_each_choice(event) {
        let Some(most) = shown else {
            *logprobs = Value::Null;
            continue;
        };
        limit_list(logprobs.get_mut("content"), most);
        let tops = logprobs
            .get_mut("top_logprobs")
            .and_then(Value::as_array_mut);
        for top in tops.into_iter().flatten().filter_map(Value::as_object_mut) {
            keep_likeliest(top, most as usize);
        }
    }
}

/// See [`limit_chat`]. They stand beside each piece of a text, and in every event that says it again.
pub(super) fn limit_response(event: &mut Value, shown: Option<u32>) {
    limit_member(event, shown);
    for member in ["part", "item"] {
        if let Some(said) = event.get_mut(member) {
            limit_contents(said, shown);
        }
    }
    let Some(response) = event.get_mut("response") else {
        return;
    };
    if response["top_logprobs"].is_number() {
        response["top_logprobs"] = shown.unwrap_or(0).into();
    }
    let items = response.get_mut("output").and_then(Value::as_array_mut);
    for item in items.into_iter().flatten() {
        limit_contents(item, shown);
    }
}

fn limit_contents(said: &mut Value, shown: Option<u32>) {
    limit_member(said, shown);
    let contents = said.get_mut("content").and_then(Value::as_array_mut);
    for content in contents.into_iter().flatten() {
        limit_member(content, shown);
    }
}

fn limit_member(of: &mut Value, shown: Option<u32>) {
    let Some(Value::Array(entries)) = of.get_mut("logprobs") else {
        return;
    };
    match shown {
        None => entries.clear(),
        Some(most) => limit_list(of.get_mut("logprobs"), most),
    }
}

fn limit_list(entries: Option<&mut Value>, most: u32) {
    let entries = entries.and_then(Value::as_array_mut);
    for entry in entries.into_iter().flatten() {
        if let Some(Value::Array(others)) = entry.get_mut("top_logprobs") {
            others.truncate(most as usize);
        }
    }
}

fn keep_likeliest(top: &mut Map<String, Value>, most: usize) {
    let mut likely: Vec<(String, f64)> = top
        .iter()
        .map(|(name, logprob)| (name.clone(), logprob.as_f64().unwrap_or(f64::MIN)))
        .collect();
    likely.sort_by(|one, other| other.1.total_cmp(&one.1));
    for (name, _) in likely.into_iter().skip(most) {
        top.shift_remove(&name);
    }
}

fn of_each_choice(event: &mut Value) -> impl Iterator<Item = &mut Value> {
    let choices = event.get_mut("choices").and_then(Value::as_array_mut);
    let choices = choices.into_iter().flatten();
    choices.filter_map(|choice| choice.get_mut("logprobs"))
}
