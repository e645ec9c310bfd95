//! Which fields of a spec some code honours, so that no other is accepted and then ignored.
//!
//! The list is of what *is* honoured: a field that is added to a kind and forgotten here is
//! refused, not lost. Later work makes these lists longer until they are no longer needed.

use serde_json::Value;
use weir_crds::reasons;

use crate::validate::Problem;

/// The honoured fields of one kind.
///
/// Paths begin at `spec`; `[]` stands for every item of a list (`spec.tiers[].name`). A path that
/// is honoured is honoured with everything below it.
#[derive(Clone, Copy, Debug)]
pub struct Honoured {
    /// Any value has the effect that the field's documentation promises.
    pub fields: &'static [&'static str],
    /// Only these values do, written as JSON: the default, and what amounts to it.
    pub values: &'static [(&'static str, &'static [&'static str])],
}

impl Honoured {
    /// One problem for each part of `spec` that nobody honours, named as high up as possible:
    /// `spec.quality` and not each field below it.
    pub fn problems(&self, spec: &Value) -> Vec<Problem> {
        let mut problems = Vec::new();
        self.visit(spec, "spec", "spec", &mut problems);
        problems
    }

    /// Every path of the table.
    pub fn paths(&self) -> impl Iterator<Item = &'static str> {
        let values = self.values.iter().map(|(path, _)| *path);
        self.fields.iter().copied().chain(values)
    }

    /// The fields of `schema`, the OpenAPI schema of the spec, that nobody honours yet, as high up
    /// as possible: for the documentation.
    pub fn missing(&self, schema: &Value) -> Vec<String> {
        let mut missing = Vec::new();
        self.visit_schema(schema, "spec", &mut missing);
        missing
    }

    fn visit_schema(&self, schema: &Value, pattern: &str, missing: &mut Vec<String>) {
        if self.fields.contains(&pattern) {
            return;
        }
        if let Some((_, values)) = self.values.iter().find(|(path, _)| *path == pattern) {
            missing.push(format!("{pattern}, but for {}", values.join(" and ")));
        } else if let Some(fields) = schema["properties"].as_object()
            && self.reaches_below(pattern, '.')
        {
            for (name, schema) in fields {
                self.visit_schema(schema, &format!("{pattern}.{name}"), missing);
            }
        } else if schema["items"].is_object() && self.reaches_below(pattern, '[') {
            self.visit_schema(&schema["items"], &format!("{pattern}[]"), missing);
        } else {
            missing.push(pattern.to_owned());
        }
    }

    /// `pattern` has `[]` where `field` has the index.
    fn visit(&self, value: &Value, pattern: &str, field: &str, problems: &mut Vec<Problem>) {
        if value.is_null() || self.fields.contains(&pattern) {
            return;
        }
        if let Some((_, values)) = self.values.iter().find(|(path, _)| *path == pattern) {
            if !values.contains(&value.to_string().as_str()) {
                problems.push(self.value_problem(field, value, values));
            }
            return;
        }
        match value {
            Value::Object(entries) if self.reaches_below(pattern, '.') => {
                for (name, entry) in entries {
                    let pattern = format!("{pattern}.{name}");
                    self.visit(entry, &pattern, &format!("{field}.{name}"), problems);
                }
            }
            Value::Array(items) if self.reaches_below(pattern, '[') => {
                let pattern = format!("{pattern}[]");
                for (index, item) in items.iter().enumerate() {
                    self.visit(item, &pattern, &format!("{field}[{index}]"), problems);
                }
            }
            _ => problems.push(Problem {
                reason: reasons::NOT_IMPLEMENTED,
                field: field.to_owned(),
                message: format!("{field} is not implemented yet: leave it out"),
            }),
        }
    }

    fn value_problem(&self, field: &str, value: &Value, values: &[&str]) -> Problem {
        let allowed = match values {
            [] => "leave it out".to_owned(),
            values => format!("leave it out or set it to {}", values.join(" or ")),
        };
        Problem {
            reason: reasons::NOT_IMPLEMENTED,
            field: field.to_owned(),
            message: format!("{field}: {value} is not implemented yet: {allowed}"),
        }
    }

    fn reaches_below(&self, pattern: &str, next: char) -> bool {
        let mut paths = self.paths();
        paths.any(|path| {
            path.strip_prefix(pattern)
                .is_some_and(|rest| rest.starts_with(next))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const HONOURED: Honoured = Honoured {
        fields: &[
            "spec.models",
            "spec.tiers[].name",
            "spec.tiers[].endpoint.headers",
        ],
        values: &[("spec.sticky", &["\"None\""])],
    };

    fn fields(spec: Value) -> Vec<String> {
        HONOURED
            .problems(&spec)
            .into_iter()
            .map(|problem| problem.field)
            .collect()
    }

    #[test]
    fn honoured_fields_and_defaults_pass() {
        let spec = json!({
            "models": ["a", "b"], "sticky": "None",
            "tiers": [{ "name": "small" }, { "endpoint": { "headers": { "x": "y" } } }],
        });
        assert_eq!(fields(spec), Vec::<String>::new());
    }

    #[test]
    fn another_value_than_the_default_is_named_with_what_is_allowed() {
        let problems = HONOURED.problems(&json!({ "sticky": "Conversation" }));
        assert_eq!(
            problems[0].message,
            "spec.sticky: \"Conversation\" is not implemented yet: leave it out or set it to \"None\""
        );
    }

    #[test]
    fn what_nobody_honours_is_named_once_and_with_its_index() {
        let spec = json!({
            "quality": { "maxRegret": "0.1", "confidence": "0.9" },
            "tiers": [{ "name": "small" }, { "name": "big", "endpoint": { "caBundle": { "a": 1 } } }],
        });
        assert_eq!(
            fields(spec),
            ["spec.quality", "spec.tiers[1].endpoint.caBundle"]
        );
    }
}
