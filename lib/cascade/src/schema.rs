//! Whether a JSON value has the form that a JSON schema asks for.
//!
//! Of the language it knows what is asked of models in practice: types, constants, objects, arrays, the bounds
//! of strings and numbers, combinations, and references within the schema. What it does not know says
//! nothing against a value, and neither does what would take too long: an answer is not dropped for that.

use std::collections::HashMap;

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

/// So many comparisons are made of one answer at most. A schema can combine and
/// refer to itself without end.
const MOST_STEPS: u32 = 100_000;
/// To compile a pattern takes as long as so many comparisons.
const PATTERN_STEPS: usize = 5000;
const LARGEST_PATTERN: usize = 32 << 10;
/// Of a text, for a comparison.
const BYTES_PER_STEP: usize = 32;
/// Values inside each other.
const DEEPEST: u32 = 128;

/// How much may still be looked at of one answer, in all its parts.
#[derive(Debug)]
pub struct Effort(u32);

impl Default for Effort {
    fn default() -> Self {
        Self(MOST_STEPS)
    }
}

/// Whether `value` has the form of `schema`, as far as that can be seen with the `effort` that is left.
pub fn fits(schema: &Value, value: &Value, effort: &mut Effort) -> bool {
    let mut check = Check {
        root: schema,
        effort,
        patterns: HashMap::new(),
    };
    check.fits(schema, value, DEEPEST)
}

struct Check<'a> {
    /// What references are into.
    root: &'a Value,
    effort: &'a mut Effort,
    /// Those that were met; nothing for what is none that we know.
    patterns: HashMap<&'a str, Option<Regex>>,
}

impl<'a> Check<'a> {
    fn fits(&mut self, schema: &'a Value, value: &Value, depth: u32) -> bool {
        if !self.spend(1) || depth == 0 {
            return true;
        }
        if !self.spend_on(schema, value) {
            return true;
        }
        let members = match schema {
            Value::Bool(allows) => return *allows,
            Value::Object(members) => members,
            _ => return true,
        };
        self.fits_reference(members, value, depth)
            && is_of_type(members.get("type"), value)
            && self.is_listed(members, value)
            && self.fits_all(members, value, depth)
            && match value {
                Value::Object(fields) => self.fits_object(members, fields, depth),
                Value::Array(items) => self.fits_array(members, items, depth),
                Value::String(text) => self.fits_text(members, text),
                Value::Number(number) => is_within(members, number.as_f64()),
                Value::Null | Value::Bool(_) => true,
            }
    }

    /// Whether there were so many steps left.
    fn spend(&mut self, steps: usize) -> bool {
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        let left = self.effort.0.checked_sub(steps);
        self.effort.0 = left.unwrap_or(0);
        left.is_some()
    }

    /// Whether there is enough left for what is looked at of these two themselves, what is within them left out.
    fn spend_on(&mut self, schema: &Value, value: &Value) -> bool {
        let lists = ["required", "type", "enum"].map(|member| &schema[member]);
        let lists = lists.into_iter().filter_map(Value::as_array).map(Vec::len);
        let listed = ["enum", "const"].map(|member| size(&schema[member]));
        let reference = schema["$ref"].as_str().map_or(0, str::len);
        let within = match value {
            Value::String(text) => text.len() / BYTES_PER_STEP,
            Value::Array(items) => items.len(),
            Value::Object(fields) => fields.len(),
            _ => 0,
        };
        self.spend(lists.sum::<usize>() + listed.into_iter().sum::<usize>() + reference + within)
    }

    fn fits_reference(
        &mut self,
        schema: &'a Map<String, Value>,
        value: &Value,
        depth: u32,
    ) -> bool {
        let path = schema.get("$ref").and_then(Value::as_str);
        let path = path.and_then(|path| path.strip_prefix('#'));
        match path.and_then(|path| self.root.pointer(path)) {
            Some(meant) => self.fits(meant, value, depth - 1),
            None => true,
        }
    }

    fn is_listed(&self, schema: &Map<String, Value>, value: &Value) -> bool {
        let values = schema.get("enum").and_then(Value::as_array);
        let is_listed =
            values.is_none_or(|values| values.iter().any(|listed| is_same(listed, value)));
        let constant = schema.get("const");
        is_listed && constant.is_none_or(|constant| is_same(constant, value))
    }

    fn fits_all(&mut self, schema: &'a Map<String, Value>, value: &Value, depth: u32) -> bool {
        let all = schema.get("allOf").and_then(Value::as_array);
        let mut all = all.into_iter().flatten();
        if !all.all(|schema| self.fits(schema, value, depth - 1)) {
            return false;
        }
        // That only one may fit is seldom what is meant by `oneOf`.
        let alternatives = ["anyOf", "oneOf"].map(|member| schema.get(member));
        let alternatives = alternatives.into_iter().flatten();
        let mut lists = alternatives.filter_map(Value::as_array);
        lists.all(|list| {
            list.iter()
                .any(|schema| self.fits(schema, value, depth - 1))
        })
    }

    fn fits_object(
        &mut self,
        schema: &'a Map<String, Value>,
        fields: &Map<String, Value>,
        depth: u32,
    ) -> bool {
        let required = schema.get("required").and_then(Value::as_array);
        let mut required = required.into_iter().flatten().filter_map(Value::as_str);
        if !required.all(|field| fields.contains_key(field)) {
            return false;
        }
        let known = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties");
        let others = others.filter(|_| !schema.contains_key("patternProperties"));
        fields.iter().all(|(field, value)| {
            let known = known.and_then(|known| known.get(field));
            known
                .or(others)
                .is_none_or(|schema| self.fits(schema, value, depth - 1))
        })
    }

    fn fits_array(&mut self, schema: &'a Map<String, Value>, items: &[Value], depth: u32) -> bool {
        if !is_so_many(schema, ("minItems", "maxItems"), items.len()) {
            return false;
        }
        let (first, rest) = match schema.get("items") {
            // As older schemas have it.
            Some(Value::Array(first)) => (Some(first), schema.get("additionalItems")),
            rest => (schema.get("prefixItems").and_then(Value::as_array), rest),
        };
        items.iter().enumerate().all(|(at, item)| {
            let own = first.and_then(|first| first.get(at));
            own.or(rest)
                .is_none_or(|schema| self.fits(schema, item, depth - 1))
        })
    }

    fn fits_text(&mut self, schema: &'a Map<String, Value>, text: &str) -> bool {
        let bounds = ("minLength", "maxLength");
        if !is_so_many(schema, bounds, text.chars().count()) {
            return false;
        }
        let Some(pattern) = schema.get("pattern").and_then(Value::as_str) else {
            return true;
        };
        if !self.patterns.contains_key(pattern) {
            if !self.spend(PATTERN_STEPS + pattern.len()) {
                return true;
            }
            let compiled = RegexBuilder::new(pattern)
                .size_limit(LARGEST_PATTERN)
                .build();
            self.patterns.insert(pattern, compiled.ok());
        }
        // A character may take as many steps of its own.
        self.spend(text.len());
        let pattern = self.patterns.get(pattern).and_then(Option::as_ref);
        pattern.is_none_or(|pattern| pattern.is_match(text))
    }
}

/// How many values there are in one, and how long its texts are.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => 1 + text.len() / BYTES_PER_STEP,
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(size).sum::<usize>(),
        _ => 1,
    }
}

fn is_of_type(wanted: Option<&Value>, value: &Value) -> bool {
    let is = |name: &str| match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        _ => true,
    };
    match wanted {
        Some(Value::String(name)) => is(name),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).any(is),
        _ => true,
    }
}

/// 1 and 1.0 are one number.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            let mut pairs = one.iter().zip(other);
            one.len() == other.len() && pairs.all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let has_same = |(field, one)| other.get(field).is_some_and(|other| is_same(one, other));
            one.len() == other.len() && one.iter().all(has_same)
        }
        _ => one == other,
    }
}

fn is_so_many(schema: &Map<String, Value>, (least, most): (&str, &str), count: usize) -> bool {
    let bound = |member: &str| schema.get(member).and_then(Value::as_u64);
    let count = count as u64;
    bound(least).is_none_or(|least| count >= least) && bound(most).is_none_or(|most| count <= most)
}

fn is_within(schema: &Map<String, Value>, number: Option<f64>) -> bool {
    let Some(number) = number else {
        return true;
    };
    let holds = |member: &str, holds: fn(f64, f64) -> bool| {
        let bound = schema.get(member).and_then(Value::as_f64);
        bound.is_none_or(|bound| holds(number, bound))
    };
    holds("minimum", |number, bound| number >= bound)
        && holds("maximum", |number, bound| number <= bound)
        && holds("exclusiveMinimum", |number, bound| number > bound)
        && holds("exclusiveMaximum", |number, bound| number < bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fits(schema: &Value, value: &Value) -> bool {
        super::fits(schema, value, &mut Effort::default())
    }

    #[test]
    fn each_keyword_can_refuse_and_can_let_pass() {
        for (schema, good, bad) in [
            (json!({ "type": "integer" }), json!(3.0), json!(3.5)),
            (json!({ "type": ["string", "null"] }), json!(null), json!(1)),
            (json!({ "enum": ["a", 1] }), json!(1.0), json!("b")),
            (
                json!({ "const": { "a": [1] } }),
                json!({ "a": [1.0] }),
                json!({ "a": [] }),
            ),
            (
                json!({ "required": ["a"] }),
                json!({ "a": null }),
                json!({ "b": 1 }),
            ),
            (
                json!({ "properties": { "a": { "type": "string" } } }),
                json!({ "b": 1 }),
                json!({ "a": 1 }),
            ),
            (
                json!({ "properties": { "a": {} }, "additionalProperties": false }),
                json!({ "a": 1 }),
                json!({ "a": 1, "b": 2 }),
            ),
            (
                json!({ "items": { "type": "string" } }),
                json!(["a"]),
                json!(["a", 1]),
            ),
            (
                json!({ "prefixItems": [{ "type": "string" }], "items": false }),
                json!(["a"]),
                json!(["a", "b"]),
            ),
            (
                json!({ "items": [{ "type": "string" }] }),
                json!(["a", 1]),
                json!([1]),
            ),
            (
                json!({ "minItems": 1, "maxItems": 2 }),
                json!([1]),
                json!([1, 2, 3]),
            ),
            (
                json!({ "minLength": 2, "maxLength": 3 }),
                json!("äöü"),
                json!("ä"),
            ),
            (json!({ "pattern": "^a+$" }), json!("aa"), json!("ab")),
            (
                json!({ "minimum": 1, "exclusiveMaximum": 2 }),
                json!(1),
                json!(2),
            ),
            (
                json!({ "allOf": [{ "minimum": 1 }, { "maximum": 2 }] }),
                json!(1),
                json!(3),
            ),
            (
                json!({ "anyOf": [{ "type": "string" }, { "type": "null" }] }),
                json!(null),
                json!(1),
            ),
            (
                json!({ "oneOf": [{ "const": 1 }, { "const": 2 }] }),
                json!(2),
                json!(3),
            ),
            (json!(true), json!(1), json!(null)),
        ] {
            assert!(fits(&schema, &good), "{schema} {good}");
            if schema != json!(true) {
                assert!(!fits(&schema, &bad), "{schema} {bad}");
            }
        }
        assert!(!fits(&json!(false), &json!(1)));
    }

    /// Each would take minutes where only the schemas that are met were counted.
    #[test]
    fn nothing_is_looked_at_for_longer_than_the_effort_of_an_answer() {
        let twice = json!([{ "$ref": "#" }, { "$ref": "#" }]);
        let many: Vec<_> = (0..50_000).map(|_| "a").collect();
        let long = "a".repeat(1 << 20);
        for (schema, value) in [
            (
                json!({ "required": many, "allOf": twice }),
                json!({ "a": 1 }),
            ),
            (json!({ "enum": many, "allOf": twice }), json!("a")),
            (json!({ "type": many, "allOf": twice }), json!("a")),
            (json!({ "const": many, "allOf": twice }), json!(many)),
            (
                json!({ "pattern": "(a?){50}b?", "allOf": twice }),
                json!(long),
            ),
        ] {
            let mut effort = Effort::default();
            super::fits(&schema, &value, &mut effort);
            assert_eq!(effort.0, 0, "all of it was needed");
        }
        let patterns = (0..1000).map(|n| json!({ "pattern": format!("^a{{{n}}}") }));
        let schema = json!({ "anyOf": patterns.collect::<Vec<_>>() });
        let mut effort = Effort::default();
        for _ in 0..128 {
            super::fits(&schema, &json!("b"), &mut effort);
        }
        assert_eq!(effort.0, 0, "one effort is for all parts");
    }

    #[test]
    fn references_lead_within_the_schema_and_may_come_back() {
        let tree = json!({
            "$ref": "#/$defs/node",
            "$defs": { "node": {
                "type": "object", "required": ["name"],
                "properties": {
                    "name": { "type": "string" },
                    "children": { "type": "array", "items": { "$ref": "#/$defs/node" } },
                },
            } },
        });
        let leaf = json!({ "name": "leaf" });
        assert!(fits(&tree, &json!({ "name": "root", "children": [leaf] })));
        assert!(!fits(&tree, &json!({ "name": "root", "children": [{}] })));
        assert!(!fits(&tree, &json!([])));
    }

    #[test]
    fn what_is_not_known_or_takes_too_long_speaks_against_nothing() {
        for schema in [
            json!({ "type": "matrix", "format": "date", "not": {} }),
            json!({ "$ref": "https://example.com/schema" }),
            json!({ "$ref": "#/nowhere" }),
            json!({ "pattern": "(?<=a)b" }),
            json!({ "$ref": "#" }),
            json!("no schema"),
        ] {
            assert!(fits(&schema, &json!("x")), "{schema}");
        }
        // Doubles at every level: 2^64 ways.
        let twice = json!({ "anyOf": [{ "$ref": "#" }, { "$ref": "#" }], "type": "string" });
        assert!(!fits(&twice, &json!(1)), "its type is looked at first");
        let twice = json!({ "allOf": [{ "$ref": "#" }, { "$ref": "#" }] });
        assert!(fits(&twice, &json!(1)));
    }
}
