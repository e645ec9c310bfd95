//! Fragments of OpenAPI schema that fields of both kinds share.
//!
//! - A fragment bounds its text (`maxLength`), so that the API server can bound the cost of its
//!   rules.
//! - A rule is a CEL expression with a message that says what to change. A conversion that could
//!   fail (`double`, `duration`, `quantity`) comes after a test on the same text, because the
//!   error of a failed conversion would hide the message.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

pub(crate) mod publish;

/// `x-kubernetes-validations` from expressions and their messages.
pub(crate) fn rules(rules: &[(&str, &str)]) -> Value {
    rules
        .iter()
        .map(|(rule, message)| json!({"rule": rule, "message": message}))
        .collect()
}

/// A duration as Go writes it, above zero.
pub(crate) fn duration(_: &mut SchemaGenerator) -> Schema {
    // Six digits and sixteen characters keep the sum within what Go's durations hold.
    json_schema!({
        "type": "string",
        "maxLength": 16,
        "x-kubernetes-validations": rules(&[(
            "self.matches('^([0-9]{1,6}(ms|s|m|h))+$') && duration(self) > duration('0s')",
            "must be a duration above zero, written as 500ms, 90s, 5m or 1h30m",
        )]),
    })
}

/// A duration above zero and at most `longest`; `message` says what to do about a longer one.
pub(crate) fn duration_up_to(
    generator: &mut SchemaGenerator,
    longest: &str,
    message: &str,
) -> Schema {
    let mut schema = duration(generator);
    let within = format!(
        "!self.matches('^([0-9]{{1,6}}(ms|s|m|h))+$') || duration(self) <= duration('{longest}')"
    );
    if let Some(Value::Array(found)) = schema.get_mut("x-kubernetes-validations") {
        found.push(json!({"rule": within, "message": message}));
    }
    schema
}

/// A quantity above zero, as a whole number or as text.
pub(crate) fn quantity() -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "maxLength": 32,
        "x-kubernetes-validations": rules(&[(
            "type(self) == string ? self.matches('^[0-9]{1,16}([.][0-9]{1,9})?(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi)?$') && quantity(self).isGreaterThan(quantity('0')) && !quantity(self).isGreaterThan(quantity('1Pi')) : self > 0 && self <= 1125899906842624",
            "must be a quantity above zero and up to 1Pi, written as 8Gi, 500m or a whole number",
        )]),
    })
}

/// An amount of US dollars.
pub(crate) fn money(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 24,
        "x-kubernetes-validations": rules(&[(
            "self.matches('^[0-9]{1,12}([.][0-9]{1,9})?$')",
            "must be an amount of US dollars in quotes, written as \"0.75\"",
        )]),
    })
}

/// A number from 0 to 1.
pub(crate) fn fraction(_: &mut SchemaGenerator) -> Schema {
    decimal(
        "double(self) <= 1.0",
        "must be a fraction from \"0\" to \"1\", in quotes",
    )
}

/// A number above 0 and up to 1.
pub(crate) fn positive_fraction(_: &mut SchemaGenerator) -> Schema {
    decimal(
        "double(self) > 0.0 && double(self) <= 1.0",
        "must be a fraction above \"0\" and up to \"1\", in quotes",
    )
}

/// A number between 0 and 1, both excluded.
pub(crate) fn open_fraction(_: &mut SchemaGenerator) -> Schema {
    decimal(
        "double(self) > 0.0 && double(self) < 1.0",
        "must be a fraction above \"0\" and below \"1\", in quotes",
    )
}

/// A confidence: at least one half, below 1.
pub(crate) fn confidence(_: &mut SchemaGenerator) -> Schema {
    decimal(
        "double(self) >= 0.5 && double(self) < 1.0",
        "must be a fraction from \"0.5\" to below \"1\", in quotes",
    )
}

/// A relative increase: "0.2" is 20 % more.
pub(crate) fn increase(_: &mut SchemaGenerator) -> Schema {
    decimal(
        "double(self) <= 10.0",
        "must be a relative increase from \"0\" to \"10\", in quotes; \"0.2\" is 20 %",
    )
}

fn decimal(range: &str, message: &str) -> Schema {
    let rule = format!("self.matches('^[0-9]{{1,3}}([.][0-9]{{1,9}})?$') && {range}");
    json_schema!({
        "type": "string",
        "maxLength": 16,
        "x-kubernetes-validations": rules(&[(&rule, message)]),
    })
}

/// A name within an object: a DNS label.
pub(crate) fn name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": 63,
        "x-kubernetes-validations": rules(&[(
            "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
            "must be lower-case letters, digits and dashes, beginning and ending with a letter or digit",
        )]),
    })
}

/// The name of an object beside this one: a DNS subdomain.
pub(crate) fn object_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": 253,
        "x-kubernetes-validations": rules(&[(
            "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
            "must be the name of an object: lower-case letters, digits, dashes and dots, no slash",
        )]),
    })
}

/// The name of an entry of a Secret or a ConfigMap.
pub(crate) fn entry_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": 253,
        "x-kubernetes-validations": rules(&[(
            "self.matches('^[-._a-zA-Z0-9]+$') && self != '.' && !self.startsWith('..')",
            "must be the name of an entry: letters, digits and - . _ without .. at its beginning",
        )]),
    })
}

/// An address of model files.
pub(crate) fn source(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": 1024,
        "x-kubernetes-validations": rules(&[
            (
                "self.matches('^(hf|s3|gs|az|https|oci|pvc|file)://')",
                "unknown source scheme: begin with hf://, s3://, gs://, az://, https://, oci://, pvc:// or file:///",
            ),
            (
                "!self.matches('^(hf|s3|gs|az|https|oci|pvc|file)://') || self.matches('^((hf|s3|gs|az|https|oci)://[^/[:space:][:cntrl:]]+|file://)/[^[:space:][:cntrl:]]*[^/[:space:][:cntrl:]]/*$|^pvc://[^/[:space:][:cntrl:]]+(/[^[:space:][:cntrl:]]*)?$') && !self.matches('/[.][.]?(/|$)')",
                "the source is not complete: write hf://owner/repo, s3://bucket/path, https://host/file, oci://registry/image:tag, pvc://claim/path or file:///path, without blanks and dots for folders",
            ),
        ]),
    })
}

/// A regular expression, at most 256 characters.
#[derive(Clone, Debug)]
pub(crate) struct Pattern;

impl JsonSchema for Pattern {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Pattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": 256,
            // `|| true` would swallow the error of an expression that does not compile.
            "x-kubernetes-validations": rules(&[(
                "''.matches(self) in [true, false]",
                "must be a regular expression that compiles, in RE2 syntax",
            )]),
        })
    }
}

/// At most 16 regular expressions.
pub(crate) fn patterns(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "atomic",
        "items": Pattern::json_schema(generator),
    })
}

/// A map of short texts, such as labels.
pub(crate) fn text_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": {"type": "string", "maxLength": 4096},
    })
}

/// The moment of something.
pub(crate) fn time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time"})
}

/// The conditions of an object.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "type": {"type": "string", "maxLength": 316, "description": "What the condition is about."},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it holds."},
                "reason": {"type": "string", "minLength": 1, "maxLength": 1024, "description": "The cause, in one CamelCase word."},
                "message": {"type": "string", "maxLength": 32768, "description": "The cause, for a person."},
                "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0, "description": "The generation of the object that this was found at."},
                "lastTransitionTime": {"type": "string", "format": "date-time", "description": "When status last changed."},
            },
        },
    })
}

/// Kubernetes tolerations.
pub(crate) fn tolerations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "atomic",
        "items": {
            "type": "object",
            "properties": {
                "key": {"type": "string", "maxLength": 316, "description": "The taint's key; absent matches every key."},
                "operator": {"type": "string", "enum": ["Exists", "Equal"], "description": "Equal where absent."},
                "value": {"type": "string", "maxLength": 63, "description": "The taint's value, for Equal."},
                "effect": {"type": "string", "enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"], "description": "The taint's effect; absent matches every effect."},
                "tolerationSeconds": {"type": "integer", "format": "int64", "description": "How long NoExecute is tolerated; absent for ever."},
            },
        },
    })
}

/// The names of Secrets with registry credentials.
pub(crate) fn image_pull_secrets(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 8,
        "x-kubernetes-list-type": "atomic",
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {"type": "string", "minLength": 1, "maxLength": 253, "description": "Name of a Secret in the same namespace."},
            },
        },
    })
}

/// Environment variables, as in a Pod but with the sources that a worker may have.
pub(crate) fn env(_: &mut SchemaGenerator) -> Schema {
    let entry = |of: &str| {
        json!({
            "type": "object",
            "description": format!("One entry of a {of} in the same namespace."),
            "required": ["name", "key"],
            "properties": {
                "name": {"type": "string", "minLength": 1, "maxLength": 253, "description": format!("Name of the {of}.")},
                "key": {"type": "string", "minLength": 1, "maxLength": 253, "description": "The entry."},
                "optional": {"type": "boolean", "description": "Whether pods start without it."},
            },
        })
    };
    json_schema!({
        "type": "array",
        "maxItems": 64,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {"type": "string", "minLength": 1, "maxLength": 253, "description": "The variable."},
                "value": {"type": "string", "maxLength": 4096, "description": "Its value."},
                "valueFrom": {
                    "type": "object",
                    "description": "Where its value comes from instead.",
                    "properties": {"secretKeyRef": entry("Secret"), "configMapKeyRef": entry("ConfigMap")},
                    "x-kubernetes-validations": rules(&[(
                        "has(self.secretKeyRef) != has(self.configMapKeyRef)",
                        "set exactly one of secretKeyRef and configMapKeyRef",
                    )]),
                },
            },
            "x-kubernetes-validations": rules(&[(
                "!(has(self.value) && has(self.valueFrom))",
                "set value or valueFrom, not both",
            )]),
        },
    })
}
