//! Forms for answers of the small model, and a tokenizer of its 64 tokens: letters, digits, what
//! documents are written with, and some words, so that what is forced is many tokens.

use std::{path::Path, sync::OnceLock};

use serde_json::{Map, Value, json};
use weir_model::Tokenizer;

use super::{Dice, gemma};
use crate::{
    Form,
    constraint::{Constraint, Constraints, Masks, Matching},
    guide::{Guided, Part},
    request::Writing,
};

/// A space and a line feed as vocabularies of bytes spell them.
const SIGNS: &str = "{}[]\":,._-/ĠĊ";
/// What becomes one token.
const MERGES: [&str; 13] = [
    "n a", "m e", "na me", "a g", "ag e", "k i", "n d", "ki nd", "c u", "s t", "cu st", "i n",
    "o n",
];

/// The text of `tokenizer.json`.
pub fn tokenizer_json() -> String {
    let special = ["<|begin|>", "<|end|>"];
    let letters = ('a'..='z').chain('0'..='9').chain(SIGNS.chars());
    let words = special.map(str::to_owned).into_iter();
    let words = words.chain(letters.map(String::from));
    let words = words.chain(MERGES.map(|merge| merge.replace(' ', "")));
    let vocabulary: Map<String, Value> = words.zip((0..).map(Value::from)).collect();
    assert_eq!(vocabulary.len(), gemma::VOCABULARY);
    let bytes = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false,
    });
    let added = special.into_iter().enumerate().map(|(id, content)| {
        json!({
            "id": id, "content": content, "special": true, "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": false,
        })
    });
    let text = json!({
        "version": "1.0",
        "added_tokens": added.collect::<Vec<Value>>(),
        "pre_tokenizer": bytes,
        "decoder": bytes,
        "model": { "type": "BPE", "vocab": vocabulary, "merges": MERGES },
    });
    text.to_string()
}

struct Forms {
    tokenizer: Tokenizer,
    masks: Masks,
    constraints: Vec<Constraint>,
}

fn forms() -> &'static Forms {
    static FORMS: OnceLock<Forms> = OnceLock::new();
    FORMS.get_or_init(|| read(gemma::folder()))
}

fn read(folder: &Path) -> Forms {
    let vocabulary = gemma::VOCABULARY as u32;
    let tokenizer = Tokenizer::load(folder, vocabulary).unwrap();
    let constraints = Constraints::new(tokenizer.clone(), vocabulary);
    let person = json!({
        "type": "object",
        "properties": {
            "name": { "type": "string", "maxLength": 6 },
            "age": { "type": "integer", "minimum": 0, "maximum": 150 },
            "kind": { "enum": ["customer", "employee"] },
        },
        "required": ["name", "age", "kind"],
        "additionalProperties": false,
    });
    let options = ["billing", "bill", "kind words and nothing beside"];
    let forms = [
        Form::Json(person),
        Form::Regex("((na|me)/on/the/other/side/of/)+kind,[0-9]{3}".to_owned()),
        Form::Choice(options.map(str::to_owned).to_vec()),
    ];
    Forms {
        tokenizer,
        masks: Masks::start().unwrap(),
        constraints: forms
            .iter()
            .map(|form| constraints.compile(form).unwrap())
            .collect(),
    }
}

/// Holds an answer to some form, of which it may have begun.
pub fn hold(writing: &mut Writing, dice: &mut Dice) {
    let forms = forms();
    let form = forms.constraints[dice.below(forms.constraints.len())].clone();
    let mut matching = Matching::new(form.clone(), forms.masks.clone());
    let most = [0, 0, dice.below(30)][dice.below(3)];
    writing.produced.clear();
    while writing.produced.len() < most {
        let allowed: Vec<u32> = matching.mask().unwrap().allowed().collect();
        let id = allowed[dice.below(allowed.len())];
        if forms.tokenizer.ends().contains(&id) {
            break;
        }
        matching.accept(id).unwrap();
        writing.produced.push(id);
    }
    writing.limits.max_tokens = writing.limits.max_tokens.max(writing.produced.len() + 1);
    writing.limits.ends = forms.tokenizer.ends().into();
    writing.guide.form = Some(form);
}

/// How an answer is guided, and what must come first.
pub fn guided(writing: &Writing) -> (Option<Guided>, Vec<(u32, Part)>) {
    if writing.guide.is_idle() {
        return (None, Vec::new());
    }
    let forms = forms();
    let (tokenizer, masks) = (forms.tokenizer.clone(), forms.masks.clone());
    let guide = writing.guide.clone();
    let guidance = Guided::new(guide, tokenizer, masks, &writing.produced);
    let (guided, _, forced) = guidance.unwrap();
    (Some(guided), forced)
}
