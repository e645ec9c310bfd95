//! Bounds on what a schema may say, where the library's own would let it take minutes.

use serde_json::{Map, Value};

/// Values in a schema, of any kind.
const MOST_VALUES: usize = 50_000;

/// Properties of one object: compiling takes their square.
const MOST_PROPERTIES: usize = 1_000;

/// Alternatives that come of one schema when what must hold together is multiplied out.
const MOST_WAYS: usize = 256;

/// A multiple is told by its remainder, and each remainder is a state.
const LARGEST_MULTIPLE: f64 = 1e6;
const SMALLEST_MULTIPLE: f64 = 1e-6;

/// References are followed so far; a cycle ends there too.
const DEEPEST: usize = 32;

/// Parts that are looked at to count ways: one that refers to itself twice doubles at each depth.
const MOST_LOOKS: usize = 200_000;

/// What is too much in the schema, if anything.
pub(super) fn excess(schema: &Value) -> Option<String> {
    let mut look = Look {
        root: schema,
        values: MOST_VALUES,
        looks: MOST_LOOKS,
    };
    look.within(schema)
}

/// One look through a schema.
struct Look<'a> {
    root: &'a Value,
    /// How many may yet come.
    values: usize,
    looks: usize,
}

impl Look<'_> {
    fn within(&mut self, value: &Value) -> Option<String> {
        self.values = match self.values.checked_sub(1) {
            Some(left) => left,
            None => return Some(format!("it has more than {MOST_VALUES} values")),
        };
        match value {
            Value::Array(items) => items.iter().find_map(|item| self.within(item)),
            Value::Object(object) => self
                .own(object)
                .or_else(|| object.values().find_map(|value| self.within(value))),
            _ => None,
        }
    }

    /// What is too much in an object itself.
    fn own(&mut self, object: &Map<String, Value>) -> Option<String> {
        let properties = object.get("properties").and_then(Value::as_object);
        if properties.is_some_and(|properties| properties.len() > MOST_PROPERTIES) {
            return Some(format!(
                "an object has more than {MOST_PROPERTIES} properties"
            ));
        }
        let multiple = object.get("multipleOf").and_then(Value::as_f64);
        if let Some(multiple) = multiple
            && !(SMALLEST_MULTIPLE..=LARGEST_MULTIPLE).contains(&multiple.abs())
        {
            return Some(format!("`multipleOf` {multiple} is too large or too small"));
        }
        if self.ways(object, DEEPEST) > MOST_WAYS {
            return Some(format!(
                "`allOf`, `anyOf` and `$ref` make more than {MOST_WAYS} ways"
            ));
        }
        None
    }

    /// How many alternatives an object makes; more than enough is told as one more than that.
    fn ways(&mut self, object: &Map<String, Value>, depth: usize) -> usize {
        self.looks = match self.looks.checked_sub(1) {
            Some(left) => left,
            None => return MOST_WAYS + 1,
        };
        let Some(depth) = depth.checked_sub(1) else {
            return 1;
        };
        let mut ways = 1_usize;
        let list = |key: &str| {
            object
                .get(key)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
        };
        for part in list("allOf") {
            ways = ways.saturating_mul(self.ways_of(part, depth));
        }
        for key in ["anyOf", "oneOf"] {
            let sum = list(key).fold(0_usize, |sum, part| {
                sum.saturating_add(self.ways_of(part, depth))
            });
            ways = ways.saturating_mul(sum.max(1));
        }
        let path = object.get("$ref").and_then(Value::as_str);
        if let Some(path) = path.and_then(|path| path.strip_prefix('#'))
            && let Some(referred) = self.root.pointer(path)
        {
            ways = ways.saturating_mul(self.ways_of(referred, depth));
        }
        ways.min(MOST_WAYS + 1)
    }

    fn ways_of(&mut self, value: &Value, depth: usize) -> usize {
        match value {
            Value::Object(object) => self.ways(object, depth),
            _ => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_bound_is_named_and_what_lies_within_is_free() {
        let names = |count: usize| -> Value {
            (0..count)
                .map(|at| (format!("n{at}"), json!(true)))
                .collect()
        };
        let either = json!({ "anyOf": [true, true, true, true] });
        let all = |count: usize| json!({ "not": [{ "allOf": vec![either.clone(); count] }] });
        let referring = json!({
            "$defs": { "a": either, "b": { "allOf": vec![json!({ "$ref": "#/$defs/a" }); 5] } },
            "anyOf": [{ "$ref": "#/$defs/b" }],
        });
        for (schema, named) in [
            (json!({ "properties": names(1_001) }), "properties"),
            (json!({ "enum": vec![1; 60_000] }), "values"),
            (all(5), "ways"),
            (referring, "ways"),
            (
                json!({ "anyOf": [{ "$ref": "#" }, { "$ref": "#" }] }),
                "ways",
            ),
            (json!({ "multipleOf": 1e9 }), "multipleOf"),
            (json!({ "multipleOf": 1e-9 }), "multipleOf"),
        ] {
            let why = excess(&schema).unwrap_or_else(|| panic!("{named} is free"));
            assert!(why.contains(named), "{why}");
        }
        for schema in [
            json!({ "properties": names(1_000), "multipleOf": -0.5 }),
            all(4),
            json!({ "anyOf": [{ "$ref": "#" }, { "type": "null" }] }),
        ] {
            assert_eq!(excess(&schema), None);
        }
    }
}
