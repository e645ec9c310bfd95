//! Fields that mean the same on several wires. By them the list of what an endpoint does not take,
//! which its policy writes in any wire's words, is understood whatever the client speaks.

use serde_json::{Map, Value};

use super::Wire::{self, Chat, Completions, Messages, Responses};
use super::{Row, Upstream, chat, flat};

/// Each list is one thing as wires spell it. What is in none of them has one name everywhere.
const SAME: &[&[(Wire, &str)]] = &[
    &[
        (Chat, "max_tokens"),
        (Chat, "max_completion_tokens"),
        (Responses, "max_output_tokens"),
        (Messages, "max_tokens"),
    ],
    &[
        (Chat, "stop"),
        (Completions, "stop"),
        (Messages, "stop_sequences"),
    ],
    &[
        (Chat, "response_format"),
        (Completions, "response_format"),
        (Responses, "text.format"),
        (Messages, "output_config.format"),
        (Messages, "output_format"),
    ],
    &[
        (Chat, "reasoning_effort"),
        (Responses, "reasoning.effort"),
        (Messages, "output_config.effort"),
    ],
    &[(Chat, "verbosity"), (Responses, "text.verbosity")],
    &[
        (Chat, "user"),
        (Responses, "user"),
        (Messages, "metadata.user_id"),
    ],
    &[
        (Chat, "parallel_tool_calls"),
        (Responses, "parallel_tool_calls"),
        (Messages, "tool_choice.disable_parallel_tool_use"),
    ],
    &[
        (Chat, "logprobs"),
        (Completions, "logprobs"),
        (Responses, "top_logprobs"),
    ],
    // Alternatives are a part of it that some servers lack.
    &[
        (Chat, "top_logprobs"),
        (Completions, "logprobs"),
        (Responses, "top_logprobs"),
    ],
    &[(Responses, "instructions"), (Messages, "system")],
];

/// What is left out of a request on `wire` for an entry of the list: fields, or members of fields by
/// their dotted names.
pub(crate) fn spelled(entry: &str, (upstream, wire): (Upstream, Wire)) -> Vec<&str> {
    let mut names = match is_known(wire, entry) {
        true => vec![entry],
        false => {
            let groups = SAME.iter().filter(|group| names_any(group, entry));
            groups.flat_map(|group| on(group, wire)).collect()
        }
    };
    if names.is_empty() {
        names.push(entry);
    }
    // Of the two names for the longest answer it is sent one.
    let limit = chat::limit_field(upstream);
    names.retain(|name| wire != Chat || *name == limit || !chat::LIMITS.contains(name));
    names
}

/// The fields of `body`, which came on `wire`, that say what a request on another wire says in
/// `name`, with their values.
pub(crate) fn said<'a>(
    (wire, body): (Wire, &'a Map<String, Value>),
    name: &str,
    sent: Wire,
) -> Vec<(String, &'a Value)> {
    let fields = flat(wire, body);
    let names = translated(name, sent, wire);
    let mut found = Vec::new();
    for name in names {
        let within = fields.iter().filter(|(field, _)| covers(name, field));
        let before = found.len();
        found.extend(within.map(|(name, value)| (name.to_string(), *value)));
        if found.len() == before
            && let Some((of, member)) = name.split_once('.')
            && let Some(value) = body.get(of).and_then(|of| of.get(member))
            && !matches!(value, Value::Null | Value::Bool(false))
        {
            found.push((name.to_owned(), value));
        }
    }
    found
}

/// The row of a field, or of the one that it is a member of. Members that wires tell each other by
/// another name have none of their own.
pub(crate) fn row_of(wire: Wire, field: &str) -> Option<&'static Row> {
    let field = root(wire, field);
    wire.rows().iter().find(|row| row.field == field)
}

/// The names on `to` of a field of `from`.
fn translated(name: &str, from: Wire, to: Wire) -> Vec<&str> {
    if from == to {
        return match from == Chat && chat::LIMITS.contains(&name) {
            true => chat::LIMITS.to_vec(),
            false => vec![name],
        };
    }
    let name = root(from, name);
    let is_of = |group: &&&[(Wire, &str)]| {
        let mut own = group.iter().filter(|(wire, _)| *wire == from);
        own.any(|(_, other)| covers(name, other))
    };
    let groups = SAME.iter().filter(is_of);
    let mut names: Vec<&str> = groups.flat_map(|group| on(group, to)).collect();
    // Anthropic's is who asks, and the others' is for rules and logs.
    let is_another = name == "metadata" && (from == Messages || to == Messages);
    let mut rows = to.rows().iter();
    if !is_another && !names.contains(&name) && rows.any(|row| row.field == name) {
        names.push(name);
    }
    names
}

/// The field that `name` is, or of which it is a member that nobody else has a name for.
fn root(wire: Wire, name: &str) -> &str {
    let mut listed = SAME.iter().flat_map(|group| on(group, wire));
    if listed.any(|other| other == name) {
        return name;
    }
    let mut rows = wire.rows().iter().map(|row| row.field);
    let row = rows.find(|field| covers(field, name));
    row.map_or(name, |row| &name[..row.len()])
}

/// Whether requests on `wire` have something of this name.
fn is_known(wire: Wire, name: &str) -> bool {
    let mut rows = wire.rows().iter().map(|row| row.field);
    let mut listed = SAME.iter().flat_map(|group| on(group, wire));
    rows.any(|field| covers(name, field) || covers(field, name))
        || listed.any(|other| covers(name, other))
}

fn names_any(group: &[(Wire, &str)], entry: &str) -> bool {
    group.iter().any(|(_, name)| covers(entry, name))
}

fn on(group: &[(Wire, &'static str)], wire: Wire) -> impl Iterator<Item = &'static str> {
    let names = group.iter().filter(move |(of, _)| *of == wire);
    names.map(|(_, name)| *name).collect::<Vec<_>>().into_iter()
}

/// Whether `name` is `field`, or holds it as a member.
fn covers(name: &str, field: &str) -> bool {
    let rest = field.strip_prefix(name);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What a client on `wire` is told of an entry for an endpoint that is asked on `sent`.
    fn told(entry: &str, sent: (Upstream, Wire), wire: Wire, body: Value) -> Vec<String> {
        let body = body.as_object().unwrap();
        let names = spelled(entry, sent).into_iter();
        let said = names.flat_map(|name| said((wire, body), name, sent.1));
        said.map(|(field, _)| field).collect()
    }

    const SINGLE: &str = "tool_choice.disable_parallel_tool_use";
    const COMPATIBLE: (Upstream, Wire) = (Upstream::Compatible, Chat);
    const ANTHROPIC: (Upstream, Wire) = (Upstream::Anthropic, Messages);

    #[test]
    fn an_entry_is_found_under_the_clients_name_from_wire_to_wire() {
        const OPENAI: (Upstream, Wire) = (Upstream::OpenAI, Responses);
        for (entry, sent, wire, field) in [
            (
                "response_format",
                COMPATIBLE,
                Messages,
                "output_config.format",
            ),
            ("text.format", COMPATIBLE, Messages, "output_config.format"),
            (
                "output_config.format",
                COMPATIBLE,
                Messages,
                "output_format",
            ),
            (
                "output_config.effort",
                ANTHROPIC,
                Messages,
                "output_config.effort",
            ),
            ("stop", COMPATIBLE, Messages, "stop_sequences"),
            ("stop_sequences", ANTHROPIC, Chat, "stop"),
            ("stop", ANTHROPIC, Chat, "stop"),
            ("max_tokens", COMPATIBLE, Responses, "max_output_tokens"),
            ("max_tokens", COMPATIBLE, Chat, "max_completion_tokens"),
            ("logprobs", COMPATIBLE, Responses, "top_logprobs"),
            ("tools", ANTHROPIC, Responses, "tools"),
            ("tool_choice", COMPATIBLE, Messages, "tool_choice"),
            ("metadata", ANTHROPIC, Chat, "user"),
            ("user", COMPATIBLE, Messages, "metadata.user_id"),
            ("parallel_tool_calls", COMPATIBLE, Messages, SINGLE),
            ("text", OPENAI, Responses, "text.format"),
            ("response_format", OPENAI, Responses, "text.format"),
            (
                "response_format.json_schema",
                COMPATIBLE,
                Responses,
                "text.format",
            ),
        ] {
            let body = match field.split_once('.') {
                None => json!({ field: 1 }),
                Some((of, member)) => json!({ of: { member: 1 } }),
            };
            assert_eq!(
                told(entry, sent, wire, body),
                [field],
                "{entry} to {sent:?}"
            );
        }
    }

    #[test]
    fn an_entry_takes_nothing_that_is_not_sent_or_means_something_else() {
        let user = json!({ "user": "u", "metadata": { "a": "b" } });
        assert_eq!(told("metadata", COMPATIBLE, Chat, user), ["metadata"]);
        let user = json!({ "metadata": { "user_id": "u" } });
        assert!(told("metadata", COMPATIBLE, Messages, user).is_empty());
        // What a client calls by the one name is sent by the other.
        let limit = json!({ "max_completion_tokens": 1 });
        assert!(told("max_completion_tokens", COMPATIBLE, Chat, limit).is_empty());
        let several = json!({ "tool_choice": { "disable_parallel_tool_use": false } });
        assert!(told("parallel_tool_calls", COMPATIBLE, Messages, several).is_empty());
        let plain = json!({ "logprobs": true });
        assert!(told("top_logprobs", COMPATIBLE, Chat, plain).is_empty());
    }

    #[test]
    fn what_is_the_same_is_a_field_of_its_wire() {
        for (wire, name) in SAME.iter().flat_map(|group| group.iter()) {
            let of = name.split('.').next().unwrap_or(name);
            let mut rows = wire.rows().iter();
            assert!(
                rows.any(|row| row.field == *name || row.field == of),
                "{wire:?} {name}"
            );
        }
    }
}
