//! What is to be read where this wire takes it in four forms: a text, a list of texts, token ids, or
//! a list of those.

use serde::Deserialize;
use serde_json::Value;
use weir_worker_api::{TokenIds, prompt::Form};

use super::fields::Fields;
use crate::refusal::Refusal;

/// Takes the field of that name, which has at least one and at most `most` entries.
pub fn prompts(fields: &mut Fields, name: &str, most: usize) -> Result<Vec<Form>, Refusal> {
    let refuse = |why: String| Err(Refusal::invalid(name, why));
    let list = match fields.need::<Value>(name)? {
        Value::String(text) => return Ok(vec![Form::Text(text)]),
        Value::Array(list) => list,
        _ => return refuse("is neither text nor a list".to_owned()),
    };
    if list.is_empty() {
        return refuse("is empty".to_owned());
    }
    if list[0].is_number() {
        return Ok(vec![tokens(name, list.into())?]);
    }
    if list.len() > most {
        return refuse(format!("has {} entries, more than {most}", list.len()));
    }
    let entries = list.into_iter().enumerate();
    let entries = entries.map(|(index, entry)| match entry {
        Value::String(text) => Ok(Form::Text(text)),
        entry @ Value::Array(_) => tokens(&format!("{name}[{index}]"), entry),
        _ => Err(Refusal::invalid(
            format!("{name}[{index}]"),
            "is neither text nor a list of token ids",
        )),
    });
    entries.collect()
}

/// What it takes in memory.
pub fn prompt_bytes(prompt: &Form) -> usize {
    match prompt {
        Form::Text(text) => text.len(),
        Form::Tokens(tokens) => size_of_val(&tokens.ids[..]),
        // Not taken here.
        Form::Chat(_) => 0,
    }
}

/// How many tokens it has at most: none has less than a byte.
pub fn most_tokens(prompt: &Form) -> usize {
    match prompt {
        Form::Text(text) => text.len(),
        Form::Tokens(tokens) => tokens.ids.len(),
        Form::Chat(_) => 0,
    }
}

fn tokens(path: &str, list: Value) -> Result<Form, Refusal> {
    let ids = Vec::<u32>::deserialize(list)
        .map_err(|error| Refusal::invalid(path, format!("is no list of token ids: {error}")))?;
    if ids.is_empty() {
        return Err(Refusal::invalid(path, "is empty"));
    }
    Ok(Form::Tokens(TokenIds { ids }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(input: Value) -> Result<Vec<Form>, Refusal> {
        let mut fields = Fields::of("", json!({ "prompt": input })).unwrap();
        prompts(&mut fields, "prompt", 3)
    }

    #[test]
    fn each_of_the_four_forms_is_told_apart() {
        let text = |text: &str| Form::Text(text.to_owned());
        let tokens = |ids: &[u32]| Form::Tokens(TokenIds { ids: ids.to_vec() });
        assert_eq!(read(json!("a")), Ok(vec![text("a")]));
        assert_eq!(read(json!(["a", ""])), Ok(vec![text("a"), text("")]));
        assert_eq!(read(json!([1, 2, 3, 4])), Ok(vec![tokens(&[1, 2, 3, 4])]));
        let lists = read(json!([[1], [2, 3]]));
        assert_eq!(lists, Ok(vec![tokens(&[1]), tokens(&[2, 3])]));
        assert_eq!(read(json!([[1], "a"])), Ok(vec![tokens(&[1]), text("a")]));
    }

    #[test]
    fn what_is_none_of_them_is_refused_where_it_lies() {
        for (input, field) in [
            (json!(null), "prompt"),
            (json!(7), "prompt"),
            (json!([]), "prompt"),
            (json!([[]]), "prompt[0]"),
            (json!([1, "a"]), "prompt"),
            (json!([1, -1]), "prompt"),
            (json!([1.5]), "prompt"),
            (json!(["a", 1]), "prompt[1]"),
            (json!([[1], [4_294_967_296_u64]]), "prompt[1]"),
            (json!(["a", "b", "c", "d"]), "prompt"),
        ] {
            let refused = read(input.clone()).unwrap_err();
            assert_eq!(refused.field(), Some(field), "{input}: {refused}");
        }
    }
}
