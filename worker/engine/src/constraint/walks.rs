//! Walks at random through forms, as a model would that knows nothing: whatever it picks of what is
//! allowed, the text fits in the end.

use std::path::Path;

use boon::{Compiler, Schemas};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use weir_model::{TokenBytes, Tokenizer};

use super::{Constraint, Constraints, Form, Masks, Matching};
use crate::random::uniform;

/// The example's.
pub(super) const VOCABULARY: u32 = 1536;

pub(super) struct Walker {
    pub constraints: Constraints,
    pub tokenizer: Tokenizer,
    pub masks: Masks,
    bytes: Vec<TokenBytes>,
}

/// Where a walk went.
#[derive(Debug, PartialEq)]
pub(super) struct Walk {
    pub ids: Vec<u32>,
    pub text: String,
    /// It came to an end that the form allows.
    pub ended: bool,
}

impl Walker {
    pub fn new() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/triage/model");
        let tokenizer = Tokenizer::load(&folder, VOCABULARY).unwrap();
        Self {
            constraints: Constraints::new(tokenizer.clone(), VOCABULARY),
            bytes: tokenizer.bytes(VOCABULARY),
            tokenizer,
            masks: Masks::start().unwrap(),
        }
    }

    /// At most so many tokens; `forcing` takes forced ones without a pick.
    pub fn walk(&self, constraint: &Constraint, seed: u64, most: usize, forcing: bool) -> Walk {
        let mut matching = Matching::new(constraint.clone(), self.masks.clone());
        let mut walk = Walk {
            ids: Vec::new(),
            text: String::new(),
            ended: false,
        };
        while walk.ids.len() < most {
            if forcing {
                walk.ids.extend(matching.forced().unwrap());
            }
            matching.ask();
            let allowed: Vec<u32> = matching.mask().unwrap().allowed().collect();
            assert!(!allowed.is_empty());
            let draw = uniform(seed, 0, walk.ids.len() as u64);
            let id = allowed[(draw * allowed.len() as f64) as usize];
            if self.tokenizer.ends().contains(&id) {
                walk.ended = true;
                break;
            }
            walk.ids.push(id);
            matching.accept(id).unwrap();
        }
        walk.ids.truncate(most);
        let bytes = walk
            .ids
            .iter()
            .flat_map(|id| match &self.bytes[*id as usize] {
                TokenBytes::Text(bytes) => bytes.clone(),
                other => panic!("{other:?} was allowed"),
            });
        walk.text = String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()).into_owned();
        walk
    }
}

/// Whether an independent judge finds that the document fits.
fn fits(schema: &Value, document: &Value) -> bool {
    let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
    compiler
        .add_resource("schema.json", schema.clone())
        .unwrap();
    let index = compiler.compile("schema.json", &mut schemas).unwrap();
    schemas.validate(document, index).is_ok()
}

fn schemas() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        (-50_i64..50, 0_i64..100).prop_map(|(least, more)| json!({
            "type": "integer", "minimum": least, "maximum": least + more
        })),
        (0_u64..3, 0_u64..6).prop_map(|(least, more)| json!({
            "type": "string", "minLength": least, "maxLength": least + more
        })),
        Just(json!({ "type": "string", "pattern": "^[a-f0-9]{2,4}$" })),
        Just(json!({ "type": "string", "format": "date" })),
        Just(json!({ "type": ["boolean", "null"] })),
        Just(json!({ "const": { "a": [1, "x"] } })),
        prop::collection::vec("[a-zé\"\\\\]{1,6}", 1..4).prop_map(|texts| json!({ "enum": texts })),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let fields =
            prop::collection::btree_map("[a-z]{1,4}", (inner.clone(), any::<bool>()), 0..4);
        let object = fields.prop_map(|fields| {
            let required = fields.iter().filter(|(_, (_, required))| *required);
            let required: Vec<&String> = required.map(|(name, _)| name).collect();
            let properties: Map<String, Value> = fields
                .iter()
                .map(|(name, (schema, _))| (name.clone(), schema.clone()))
                .collect();
            json!({
                "type": "object", "properties": properties, "required": required,
                "additionalProperties": false,
            })
        });
        prop_oneof![
            object,
            (inner.clone(), 0_u64..3, 0_u64..3).prop_map(|(items, least, more)| json!({
                "type": "array", "items": items, "minItems": least, "maxItems": least + more
            })),
            prop::collection::vec(inner, 1..4).prop_map(|options| json!({ "anyOf": options })),
        ]
    })
}

/// Hundreds of schemas, so that every combination of a few keywords is among them.
const SCHEMAS: u32 = 400;

#[test]
fn whatever_is_picked_the_document_fits_its_schema() {
    let walker = Walker::new();
    let config = ProptestConfig::with_cases(SCHEMAS);
    let ended = std::cell::Cell::new(0);
    proptest!(config, |(schema in schemas(), seed in any::<u64>())| {
        let constraint = walker.constraints.compile(&Form::Json(schema.clone())).unwrap();
        let walk = walker.walk(&constraint, seed, 600, true);
        if walk.ended {
            ended.set(ended.get() + 1);
            let document: Value = serde_json::from_str(&walk.text).unwrap();
            prop_assert!(fits(&schema, &document), "{} against {}", document, schema);
        }
    });
    assert!(
        ended.get() > SCHEMAS * 9 / 10,
        "{} came to an end",
        ended.get()
    );
}

#[test]
fn forced_tokens_are_those_that_would_be_picked_one_by_one() {
    let walker = Walker::new();
    let config = ProptestConfig::with_cases(SCHEMAS / 2);
    let forced = std::cell::Cell::new(0);
    proptest!(config, |(schema in schemas(), seed in any::<u64>())| {
        let constraint = walker.constraints.compile(&Form::Json(schema)).unwrap();
        let mut matching = Matching::new(constraint.clone(), walker.masks.clone());
        forced.set(forced.get() + matching.forced().unwrap().len());
        let one_by_one = walker.walk(&constraint, seed, 200, false);
        prop_assert_eq!(walker.walk(&constraint, seed, 200, true), one_by_one);
    });
    assert!(forced.get() > 0, "no document began with a forced token");
}

#[test]
fn a_judge_that_finds_everything_fitting_would_be_noticed() {
    let schema = json!({ "type": "integer", "minimum": 3 });
    assert!(fits(&schema, &json!(3)) && !fits(&schema, &json!(2)));
}

#[test]
fn the_same_form_is_compiled_once_and_each_sequence_walks_alone() {
    let walker = Walker::new();
    let form = Form::Regex("(a|b){20}".to_owned());
    let constraint = walker.constraints.compile(&form).unwrap();
    let first = walker.walk(&constraint, 1, 50, true);
    walker.walk(&constraint, 2, 50, true);
    let again = walker.constraints.compile(&form).unwrap();
    assert_eq!(walker.walk(&again, 1, 50, true), first);
    assert!(first.ended && first.text.len() == 20, "{first:?}");
}
