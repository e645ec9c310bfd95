//! The wires that clients speak, what upstreams understand of them, and the one table of every
//! field on every upstream.
//!
//! A field's treatment is looked up here and nowhere else: what is refused, left out and named, or
//! takes a tier out of a plan follows from the table. `docs/wires.md` is written from it by a test.

mod chat;
mod completions;
mod embeddings;
mod messages;
#[cfg(test)]
mod page;
mod responses;
mod row;
mod same;

use std::borrow::Cow;

use serde_json::{Map, Value};
use weir_crds::Provider;
use weir_policy::tier::{Endpoint, Tier};

pub(crate) use chat::{LIMITS, limit_field};
pub(crate) use messages::{anthropic_effort, is_blank};
pub(crate) use row::{Row, Treatment};
pub(crate) use same::{row_of, said, spelled};

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// OpenAI's chat completions.
    Chat,
    /// OpenAI's older completions of a text.
    Completions,
    /// OpenAI's responses.
    Responses,
    /// Anthropic's messages.
    Messages,
    /// OpenAI's embeddings.
    Embeddings,
}

/// What a tier understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// Ours, over gRPC.
    Worker,
    Compatible,
    OpenAI,
    Anthropic,
}

impl Wire {
    pub const ALL: [Self; 5] = [
        Self::Chat,
        Self::Completions,
        Self::Responses,
        Self::Messages,
        Self::Embeddings,
    ];

    /// Its name in records and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Wire::Chat => "openai.chat",
            Wire::Completions => "openai.completions",
            Wire::Responses => "openai.responses",
            Wire::Messages => "anthropic.messages",
            Wire::Embeddings => "openai.embeddings",
        }
    }

    pub fn is_anthropic(self) -> bool {
        self == Wire::Messages
    }

    pub fn rows(self) -> &'static [Row] {
        match self {
            Wire::Chat => chat::ROWS,
            Wire::Completions => completions::ROWS,
            Wire::Responses => responses::ROWS,
            Wire::Messages => messages::ROWS,
            Wire::Embeddings => embeddings::ROWS,
        }
    }
}

impl Upstream {
    pub const ALL: [Self; 4] = [
        Self::Worker,
        Self::Compatible,
        Self::OpenAI,
        Self::Anthropic,
    ];

    pub fn of(tier: &Tier) -> Self {
        match tier.endpoint() {
            Some(endpoint) => Self::of_endpoint(endpoint),
            None if tier.is_foreign() => Upstream::Compatible,
            None => Upstream::Worker,
        }
    }

    pub fn of_endpoint(endpoint: &Endpoint) -> Self {
        match endpoint.provider {
            Provider::OpenAI => Upstream::OpenAI,
            Provider::OpenAICompatible => Upstream::Compatible,
            Provider::Anthropic => Upstream::Anthropic,
        }
    }

    /// The wire on which an ask that came on `wire` goes there; nothing where no form of it is
    /// understood, or where it is ours.
    pub fn wire_for(self, wire: Wire) -> Option<Wire> {
        match (self, wire) {
            (Upstream::Worker, _) => None,
            (Upstream::Anthropic, Wire::Completions | Wire::Embeddings) => None,
            (Upstream::Anthropic, _) => Some(Wire::Messages),
            (Upstream::OpenAI, Wire::Responses) => Some(Wire::Responses),
            (_, Wire::Completions | Wire::Embeddings) => Some(wire),
            (Upstream::OpenAI | Upstream::Compatible, _) => Some(Wire::Chat),
        }
    }

    /// Whether an ask that came on `wire` goes there as it came.
    pub fn is_own(self, wire: Wire) -> bool {
        self.wire_for(wire) == Some(wire)
    }
}

/// The fields of a body that one upstream does not take as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Beyond {
    /// Without these the answer would be another one: the tier is out.
    pub required: Vec<String>,
    /// These are left out.
    pub advisory: Vec<String>,
}

/// What of `body`, which came on `wire`, `upstream` does not take.
pub(crate) fn beyond(wire: Wire, body: &Map<String, Value>, upstream: Upstream) -> Beyond {
    let mut beyond = Beyond::default();
    for (field, value) in flat(wire, body) {
        let row = wire.rows().iter().find(|row| row.field == field);
        let unknown = match upstream.is_own(wire) {
            true => Treatment::Carry,
            false => Treatment::Advisory,
        };
        if row.is_some_and(|row| row.is_neutral(value)) {
            continue;
        }
        match row.map_or(unknown, |row| row.at(upstream)) {
            Treatment::Required => beyond.required.push(field.into_owned()),
            Treatment::Advisory => beyond.advisory.push(field.into_owned()),
            Treatment::Carry | Treatment::Map => {}
        }
    }
    beyond
}

/// The fields that are there and not null. Of those whose members have rows of their own, the
/// members by their dotted names.
fn flat(wire: Wire, body: &Map<String, Value>) -> Vec<(Cow<'_, str>, &Value)> {
    let has_members = |field: &str| {
        let mut rows = wire.rows().iter();
        rows.any(|row| matches!(row.field.strip_prefix(field), Some(rest) if rest.starts_with('.')))
    };
    let present = body.iter().filter(|(_, value)| !value.is_null());
    let mut fields = Vec::new();
    for (field, value) in present {
        match value {
            Value::Object(members) if has_members(field) => {
                let present = members.iter().filter(|(_, value)| !value.is_null());
                let dotted = |member: &String| Cow::Owned(format!("{field}.{member}"));
                fields.extend(present.map(|(member, value)| (dotted(member), value)));
            }
            _ => fields.push((Cow::Borrowed(field.as_str()), value)),
        }
    }
    fields
}

/// The most fields that are named to a client and in records.
const MOST_NAMED: usize = 32;
const LONGEST_NAME: usize = 64;

/// The names of `fields` that may stand in a header and in a log, and how many others there are.
pub(crate) fn named(fields: Vec<String>) -> Vec<String> {
    let all = fields.len();
    let may_stand = |name: &String| {
        (1..=LONGEST_NAME).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_.-[]".contains(&byte))
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn split(wire: Wire, upstream: Upstream, body: Value) -> (Vec<String>, Vec<String>) {
        let beyond = beyond(wire, body.as_object().unwrap(), upstream);
        (beyond.required, beyond.advisory)
    }

    #[test]
    fn neutral_and_null_fields_ask_for_nothing() {
        let body = json!({
            "functions": [], "logprobs": false, "modalities": ["text"], "user": null,
            "temperature": 0.5,
        });
        let beyond = split(Wire::Chat, Upstream::Worker, body);
        assert_eq!(beyond, (vec![], vec![]));
    }

    #[test]
    fn what_changes_the_answer_is_required_and_the_rest_is_advisory() {
        let body = json!({ "functions": [{}], "user": "u", "made_up": 1 });
        let expected = (
            vec!["functions".into()],
            vec!["user".into(), "made_up".into()],
        );
        assert_eq!(split(Wire::Chat, Upstream::Worker, body.clone()), expected);
        let own = split(Wire::Chat, Upstream::Compatible, body);
        assert_eq!(
            own,
            (vec![], vec![]),
            "unknown fields are carried on their own wire"
        );
    }

    #[test]
    fn members_of_a_field_are_told_apart() {
        let body = json!({ "output_config": { "format": {}, "effort": "low", "made_up": 1 } });
        let beyond = split(Wire::Messages, Upstream::Worker, body);
        let expected = vec![
            "output_config.effort".into(),
            "output_config.made_up".into(),
        ];
        assert_eq!(beyond, (vec![], expected));
    }

    #[test]
    fn names_that_a_client_made_up_are_bounded_and_cannot_break_a_header() {
        let odd = ["a\r\nb", "a, b", "", "good.Name-1"].map(str::to_owned);
        let mut odd = odd.to_vec();
        odd.push("x".repeat(65));
        assert_eq!(named(odd), ["good.Name-1", "+4"]);
        let many = (0..40).map(|index| format!("f{index}")).collect();
        let named = named(many);
        assert_eq!((named.len(), named[32].as_str()), (33, "+8"));
    }

    #[test]
    fn every_field_has_one_row() {
        for wire in Wire::ALL {
            for row in wire.rows() {
                let same = wire.rows().iter().filter(|other| other.field == row.field);
                assert_eq!(same.count(), 1, "{wire:?} {}", row.field);
            }
        }
    }
}
