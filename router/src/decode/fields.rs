//! What becomes of every field of a chat request on each upstream: one table.
//!
//! `null` counts as absent everywhere, and so does a field's neutral value, which asks for
//! nothing. A field that is not in the table is carried to endpoints of the same wire and is
//! advisory for our worker.

use serde_json::{Map, Value};

/// What is done with a field that is present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// Passed on as it is.
    Carry,
    /// Passed on in another form.
    Map,
    /// Left out where it cannot be served, and named in `x-weir-dropped`.
    Advisory,
    /// A tier that cannot serve it is taken out of the plan.
    Required,
}

use Treatment::{Advisory, Carry, Map as Mapped, Required};

/// One row: the field, its neutral values as JSON, and its treatment by our worker and by an
/// endpoint that speaks the OpenAI wire.
pub(crate) struct Row {
    pub field: &'static str,
    pub neutral: &'static [&'static str],
    pub worker: Treatment,
    /// Read by the test that holds the table against the code.
    #[cfg_attr(not(test), allow(dead_code, reason = "endpoints carry by default"))]
    pub endpoint: Treatment,
}

const fn row(
    field: &'static str,
    neutral: &'static [&'static str],
    worker: Treatment,
    endpoint: Treatment,
) -> Row {
    Row {
        field,
        neutral,
        worker,
        endpoint,
    }
}

#[rustfmt::skip]
pub(crate) const CHAT: &[Row] = &[
    row("model",                  &[],                      Mapped,   Mapped),
    row("messages",               &[],                      Mapped,   Mapped),
    row("stream",                 &[],                      Mapped,   Mapped),
    row("stream_options",         &[],                      Mapped,   Mapped),
    row("max_tokens",             &[],                      Mapped,   Mapped),
    row("max_completion_tokens",  &[],                      Mapped,   Mapped),
    row("temperature",            &[],                      Carry,    Carry),
    row("top_p",                  &[],                      Carry,    Carry),
    row("top_k",                  &[],                      Carry,    Carry),
    row("min_p",                  &[],                      Carry,    Carry),
    row("repetition_penalty",     &[],                      Carry,    Carry),
    row("presence_penalty",       &[],                      Carry,    Carry),
    row("frequency_penalty",      &[],                      Carry,    Carry),
    row("seed",                   &[],                      Carry,    Carry),
    row("stop",                   &[],                      Carry,    Carry),
    row("tools",                  &["[]"],                  Required, Carry),
    row("tool_choice",            &["\"none\"", "\"auto\""], Required, Carry),
    row("functions",              &["[]"],                  Required, Carry),
    row("function_call",          &["\"none\"", "\"auto\""], Required, Carry),
    row("parallel_tool_calls",    &[],                      Advisory, Carry),
    row("response_format",        &[r#"{"type":"text"}"#],  Required, Carry),
    row("logprobs",               &["false"],               Required, Carry),
    row("top_logprobs",           &["0"],                   Required, Carry),
    row("logit_bias",             &["{}"],                  Required, Carry),
    row("modalities",             &[r#"["text"]"#],         Required, Carry),
    row("audio",                  &[],                      Required, Carry),
    row("web_search_options",     &[],                      Required, Carry),
    row("n",                      &["1"],                   Required, Required),
    row("prediction",             &[],                      Advisory, Carry),
    row("reasoning_effort",       &[],                      Advisory, Carry),
    row("verbosity",              &[],                      Advisory, Carry),
    row("service_tier",           &["\"auto\"", "\"default\""], Advisory, Carry),
    row("store",                  &["false"],               Advisory, Carry),
    row("metadata",               &["{}"],                  Advisory, Carry),
    row("user",                   &[],                      Advisory, Carry),
    row("safety_identifier",      &[],                      Advisory, Carry),
    row("prompt_cache_key",       &[],                      Advisory, Carry),
    row("prompt_cache_retention", &[],                      Advisory, Carry),
];

/// The most fields that are named to a client and in records.
const MOST_NAMED: usize = 32;
const LONGEST_NAME: usize = 64;

/// The names of `fields` that may stand in a header and in a log, and how many others there are.
fn named(fields: Vec<String>) -> Vec<String> {
    let all = fields.len();
    let may_stand = |name: &String| {
        (1..=LONGEST_NAME).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
    };
    let mut named: Vec<String> = fields
        .into_iter()
        .filter(may_stand)
        .take(MOST_NAMED)
        .collect();
    if named.len() < all {
        named.push(format!("+{}", all - named.len()));
    }
    named
}

/// The fields of `body` that ask our worker for something it does not do: those it must, and those
/// it may leave out, as [`named`] has them.
pub(crate) fn beyond_worker(body: &Map<String, Value>) -> (Vec<String>, Vec<String>) {
    let mut required = Vec::new();
    let mut advisory = Vec::new();
    for (field, value) in body.iter().filter(|(_, value)| !value.is_null()) {
        let row = CHAT.iter().find(|row| row.field == field);
        let neutral = row.is_some_and(|row| row.neutral.contains(&value.to_string().as_str()));
        match row.map_or(Advisory, |row| row.worker) {
            _ if neutral => {}
            Required => required.push(field.clone()),
            Advisory => advisory.push(field.clone()),
            Carry | Mapped => {}
        }
    }
    (required, named(advisory))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn split(body: Value) -> (Vec<String>, Vec<String>) {
        beyond_worker(body.as_object().unwrap())
    }

    #[test]
    fn neutral_and_null_fields_ask_for_nothing() {
        let body = json!({
            "tools": [], "logprobs": false, "n": 1, "response_format": { "type": "text" },
            "user": null, "temperature": 0.5,
        });
        assert_eq!(split(body), (vec![], vec![]));
    }

    #[test]
    fn what_changes_the_answer_is_required_and_the_rest_is_advisory() {
        let body = json!({ "tools": [{}], "user": "u", "made_up": 1 });
        let expected = (vec!["tools".into()], vec!["user".into(), "made_up".into()]);
        assert_eq!(split(body), expected);
    }

    #[test]
    fn names_that_a_client_made_up_are_bounded_and_cannot_break_a_header() {
        let odd = json!({ "a\r\nb": 1, "a, b": 1, "": 1, "x".repeat(65): 1, "good.Name-1": 1 });
        assert_eq!(split(odd).1, ["good.Name-1", "+4"]);
        let many = (0..40).map(|index| (format!("f{index}"), json!(1)));
        let named = split(Value::Object(many.collect())).1;
        assert_eq!((named.len(), named[32].as_str()), (33, "+8"));
    }

    #[test]
    fn every_field_has_one_row() {
        for row in CHAT {
            let rows = CHAT.iter().filter(|other| other.field == row.field);
            assert_eq!(rows.count(), 1, "{}", row.field);
        }
    }
}
