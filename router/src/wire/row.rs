//! One row of the table: a field of a wire, and what becomes of it on each upstream.

use serde_json::Value;

use super::{Upstream, Wire};

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

/// A field, dotted where it is a member of another.
///
/// `null` counts as absent everywhere, and so does a field's neutral value, which asks for nothing.
pub(crate) struct Row {
    pub field: &'static str,
    /// As JSON.
    pub neutral: &'static [&'static str],
    /// In the order of [`Upstream::ALL`].
    treatments: [Treatment; 4],
}

/// A row by one letter for each upstream: carry, map, advisory, required.
pub(super) const fn row(
    field: &'static str,
    neutral: &'static [&'static str],
    letters: &'static [u8; 4],
) -> Row {
    let mut treatments = [Treatment::Carry; 4];
    let mut index = 0;
    while index < letters.len() {
        treatments[index] = match letters[index] {
            b'c' => Treatment::Carry,
            b'm' => Treatment::Map,
            b'a' => Treatment::Advisory,
            b'r' => Treatment::Required,
            _ => panic!("a treatment is one of c, m, a, r"),
        };
        index += 1;
    }
    Row {
        field,
        neutral,
        treatments,
    }
}

impl Row {
    pub fn at(&self, upstream: Upstream) -> Treatment {
        self.treatments[upstream as usize]
    }

    /// Whether an endpoint that does not take the field, which is of `wire`, cannot give the answer that
    /// was asked for. That a kind has no form of the wire at all says nothing of the field.
    pub fn must_be_served(&self, wire: Wire) -> bool {
        const DECIDE: [&str; 16] = [
            "messages",
            "input",
            "prompt",
            "system",
            "instructions",
            "tools",
            "tool_choice",
            "response_format",
            "text.format",
            "output_config.format",
            "output_format",
            "logprobs",
            "logit_bias",
            "n",
            "echo",
            "dimensions",
        ];
        let is_required = |upstream: &Upstream| {
            let has_form = *upstream == Upstream::Worker || upstream.wire_for(wire).is_some();
            has_form && self.at(*upstream) == Treatment::Required
        };
        Upstream::ALL.iter().any(is_required) || DECIDE.contains(&self.field)
    }

    pub fn is_neutral(&self, value: &Value) -> bool {
        !self.neutral.is_empty() && self.neutral.contains(&value.to_string().as_str())
    }
}
