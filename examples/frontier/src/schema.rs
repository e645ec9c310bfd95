//! Values that fit a JSON schema, always the same ones.

use std::cell::Cell;

use serde_json::{Map, Value, json};

/// How deep a value may nest; a schema that refers to itself ends here.
const DEEPEST: usize = 12;

/// How many values may be made in all; the rest of them are null.
const MOST_VALUES: usize = 10_000;

/// Most entries that a list is given.
const MOST_ENTRIES: u64 = 16;

/// Longest text that is made to reach a `minLength`.
const LONGEST_TEXT: u64 = 1024;

/// The smallest value of a schema: an enum's first, required properties only, numbers that are 1
/// where they may be, texts that are `word`.
///
/// Patterns, and combinations that contradict each other, are not looked at.
pub(crate) fn fill(schema: &Value, word: &str) -> Value {
    let filler = Filler {
        root: schema,
        word,
        left: Cell::new(MOST_VALUES),
    };
    filler.fill(schema, 0)
}

struct Filler<'a> {
    root: &'a Value,
    word: &'a str,
    left: Cell<usize>,
}

impl Filler<'_> {
    fn fill(&self, schema: &Value, depth: usize) -> Value {
        if depth > DEEPEST || self.left.get() == 0 {
            return Value::Null;
        }
        self.left.set(self.left.get() - 1);
        if let Some(target) = schema["$ref"].as_str() {
            let target = target.strip_prefix('#').unwrap_or_default();
            let found = self.root.pointer(target).unwrap_or(&Value::Null);
            return self.fill(found, depth + 1);
        }
        if let Some(only) = schema.get("const") {
            return only.clone();
        }
        if let Some(first) = schema["enum"].get(0) {
            return first.clone();
        }
        if let Some(options) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
            return self.fill(self.option(options, depth), depth + 1);
        }
        if let Some(all) = schema["allOf"].as_array() {
            return self.all(all, depth);
        }
        match kind(schema) {
            "object" => self.object(schema, depth),
            "array" => self.list(schema, depth),
            "integer" | "number" => number(schema),
            "boolean" => true.into(),
            "null" => Value::Null,
            _ => text(schema, self.word).into(),
        }
    }

    /// The first that is not null; deep down null, where it may be.
    fn option<'s>(&self, options: &'s [Value], depth: usize) -> &'s Value {
        let null = options.iter().find(|option| option["type"] == "null");
        match null {
            Some(null) if depth > DEEPEST / 2 => null,
            _ => options
                .iter()
                .find(|option| option["type"] != "null")
                .or(null)
                .unwrap_or(&Value::Null),
        }
    }

    fn all(&self, all: &[Value], depth: usize) -> Value {
        let mut merged = Map::new();
        for part in all {
            match self.fill(part, depth + 1) {
                Value::Object(entries) => merged.extend(entries),
                other => return other,
            }
        }
        merged.into()
    }

    fn object(&self, schema: &Value, depth: usize) -> Value {
        let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
        required
            .iter()
            .filter_map(Value::as_str)
            .map(|name| {
                let property = &schema["properties"][name];
                (name.to_owned(), self.fill(property, depth + 1))
            })
            .collect::<Map<_, _>>()
            .into()
    }

    fn list(&self, schema: &Value, depth: usize) -> Value {
        let least = schema["minItems"].as_u64().unwrap_or(0);
        let wanted = if depth > DEEPEST / 2 {
            least
        } else {
            least.max(1)
        };
        let most = schema["maxItems"].as_u64().unwrap_or(MOST_ENTRIES);
        let first = schema["prefixItems"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        (0..wanted.max(first.len() as u64).min(most).min(MOST_ENTRIES))
            .map(|index| {
                let at = usize::try_from(index).unwrap_or(usize::MAX);
                self.fill(first.get(at).unwrap_or(&schema["items"]), depth + 1)
            })
            .collect()
    }
}

/// A schema's type; of several the first that is not null.
fn kind(schema: &Value) -> &str {
    let named = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().find(|kind| *kind != "null"),
        kind => Some(kind),
    };
    match named.and_then(Value::as_str) {
        Some(kind) => kind,
        None if schema.get("properties").is_some() => "object",
        None if schema.get("items").is_some() => "array",
        None => "string",
    }
}

fn number(schema: &Value) -> Value {
    let of = |name: &str| schema[name].as_f64();
    let step = of("multipleOf").unwrap_or(1.0).abs().max(f64::MIN_POSITIVE);
    let least = of("minimum").or(of("exclusiveMinimum").map(|least| least + step));
    let most = of("maximum").or(of("exclusiveMaximum").map(|most| most - step));
    let mut value = least.map_or(1.0, |least| least.max(1.0));
    if let Some(most) = most {
        value = value.min(most);
    }
    if schema.get("multipleOf").is_some() {
        value = (value / step).ceil() * step;
    }
    if value.fract() == 0.0 && value.abs() < 1e15 {
        (value as i64).into()
    } else {
        json!(value)
    }
}

fn text(schema: &Value, word: &str) -> String {
    let text = match schema["format"].as_str() {
        Some("date") => "2026-01-01",
        Some("date-time") => "2026-01-01T00:00:00Z",
        Some("time") => "00:00:00Z",
        Some("duration") => "PT1S",
        Some("email") => "somebody@example.com",
        Some("hostname") => "example.com",
        Some("ipv4") => "192.0.2.1",
        Some("ipv6") => "2001:db8::1",
        Some("uri") => "https://example.com/",
        Some("uuid") => "00000000-0000-4000-8000-000000000000",
        _ => word,
    };
    let most = schema["maxLength"].as_u64().unwrap_or(u64::MAX);
    let least = schema["minLength"].as_u64().unwrap_or(0).min(LONGEST_TEXT);
    let mut text: String = text
        .chars()
        .take(usize::try_from(most).unwrap_or(usize::MAX))
        .collect();
    while (text.chars().count() as u64) < least {
        text.push('x');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_schema_has_its_value() {
        let cases = [
            (json!({"type": "string"}), json!("rain")),
            (json!({"type": "string", "maxLength": 2}), json!("ra")),
            (json!({"type": "string", "minLength": 6}), json!("rainxx")),
            (
                json!({"type": "string", "format": "date"}),
                json!("2026-01-01"),
            ),
            (json!({"enum": ["b", "a"]}), json!("b")),
            (json!({"const": 7}), json!(7)),
            (json!({"type": "integer"}), json!(1)),
            (json!({"type": "integer", "minimum": 3}), json!(3)),
            (json!({"type": "integer", "exclusiveMinimum": 3}), json!(4)),
            (json!({"type": "number", "maximum": 0.5}), json!(0.5)),
            (json!({"type": "integer", "multipleOf": 5}), json!(5)),
            (json!({"type": "boolean"}), json!(true)),
            (json!({"type": ["null", "boolean"]}), json!(true)),
            (
                json!({"anyOf": [{"type": "null"}, {"type": "integer"}]}),
                json!(1),
            ),
            (
                json!({"type": "array", "items": {"type": "integer"}, "minItems": 2}),
                json!([1, 1]),
            ),
            (json!({"type": "array", "maxItems": 0}), json!([])),
            (json!({}), json!("rain")),
        ];
        for (schema, value) in cases {
            assert_eq!(fill(&schema, "rain"), value, "{schema}");
        }
    }

    #[test]
    fn of_an_object_only_what_is_required_is_made() {
        let schema = json!({
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/a"}, "b": {"type": "string"}},
            "required": ["a"],
            "$defs": {"a": {"type": "integer"}},
        });
        assert_eq!(fill(&schema, "rain"), json!({"a": 1}));
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema = json!({
            "type": "object",
            "properties": {
                "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
                "all": {"type": "array", "items": {"$ref": "#"}},
            },
            "required": ["next", "all"],
        });
        assert!(fill(&schema, "rain")["next"]["all"].is_array());
        assert_eq!(fill(&json!({"$ref": "#"}), "rain"), Value::Null);
    }

    #[test]
    fn a_schema_that_asks_for_too_much_gets_nulls() {
        let mut schema = json!({"type": "integer"});
        for _ in 0..10 {
            schema = json!({"type": "array", "minItems": 16, "items": schema});
        }
        let made = fill(&schema, "rain").to_string();
        assert!(made.len() < 20 * MOST_VALUES && made.contains("null"));
    }
}
