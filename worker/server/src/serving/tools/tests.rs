//! Each style on a model that has its marks.

use std::{fs, path::Path};

use super::*;

/// A model's folder, as far as calls of tools are concerned: a template, and tokens that the
/// example has called as that model calls them.
fn model(template: &str, tokens: &[(&str, bool)]) -> (Style, Tokenizer, Constraints) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/triage/model");
    let folder = tempfile::tempdir().unwrap();
    fs::copy(
        source.join("config.json"),
        folder.path().join("config.json"),
    )
    .unwrap();
    fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
    let file = fs::read_to_string(source.join("tokenizer.json")).unwrap();
    let spare = ["<|pad|>", "<|system|>"];
    let renamed = spare.iter().zip(tokens);
    let file = renamed.fold(file, |file, (old, (new, _))| file.replace(old, new));
    let mut file: Value = serde_json::from_str(&file).unwrap();
    for token in file["added_tokens"].as_array_mut().unwrap() {
        if let Some((_, special)) = tokens.iter().find(|(name, _)| token["content"] == *name) {
            token["special"] = (*special).into();
        }
    }
    fs::write(folder.path().join("tokenizer.json"), file.to_string()).unwrap();
    let tokenizer = Tokenizer::load(folder.path(), 1536).unwrap();
    let template = TemplateSource::read(folder.path(), None).unwrap();
    let style = Style::of(template.as_ref(), &tokenizer);
    let constraints = Constraints::new(tokenizer.clone(), 1536);
    (style, tokenizer, constraints)
}

fn offered(single: bool) -> Offered {
    let tool = json!({ "type": "function", "function": { "name": "rain", "parameters": {
        "type": "object",
        "properties": { "days": { "type": "integer", "maximum": 9 } },
        "required": ["days"],
        "additionalProperties": false,
    }}});
    let chat = api::Chat {
        tools_json: vec![tool.to_string()],
        single_call: single,
        ..api::Chat::default()
    };
    Offered::read(&chat).unwrap().unwrap()
}

const QWEN: &str = "<tool_call>\n{\"name\": \"rain\", \"arguments\": {\"days\": 3}}\n</tool_call>";

#[test]
fn each_style_takes_calls_as_its_models_write_them() {
    let list = "[{\"name\": \"rain\", \"arguments\": {\"days\": 3}}]";
    let two = "[{\"name\": \"rain\", \"arguments\": {\"days\": 3}}, {\"name\": \"rain\", \"arguments\": {\"days\": 4}}]";
    let object = "{\"name\": \"rain\", \"parameters\": {\"days\": 3}}";
    let hermes = [("<tool_call>", false), ("</tool_call>", false)];
    let mistral = [("[TOOL_CALLS]", true)];
    let phi = [("<|tool_call|>", true), ("<|/tool_call|>", true)];
    let named = "[TOOL_CALLS]rain[ARGS]{\"days\": 3}";
    let args = [("[TOOL_CALLS]", true), ("[ARGS]", true)];
    for (template, tokens, one, several) in [
        (
            "{{ tools }}<tool_call>",
            &hermes[..],
            QWEN.to_owned(),
            Some(format!("{QWEN}\n{QWEN}")),
        ),
        (
            "{{ tools }}[TOOL_CALLS]",
            &mistral,
            format!("[TOOL_CALLS] {list}"),
            Some(format!("[TOOL_CALLS]{two}")),
        ),
        (
            "{{ tools }}[TOOL_CALLS][ARGS]",
            &args,
            named.to_owned(),
            Some(format!("{named}{named}")),
        ),
        (
            "{{ tools }}",
            &phi,
            format!("<|tool_call|>{list}<|/tool_call|>"),
            Some(format!("<|tool_call|>{two}<|/tool_call|>")),
        ),
        (
            "{{ tools }}",
            &[("<|python_tag|>", true)],
            format!("<|python_tag|>{object}"),
            None,
        ),
        ("{{ tools }}", &[], object.to_owned(), None),
        (
            "{{ messages }}",
            &[],
            object.to_owned(),
            Some(format!("[{object}, {object}]")),
        ),
    ] {
        let (style, tokenizer, constraints) = model(template, tokens);
        let fits = |offered: &Offered, text: &str| {
            let calls = offered.calls(&style, &constraints).unwrap();
            calls.form.fits(&tokenizer.encode(text, false).unwrap())
        };
        let (any, single) = (offered(false), offered(true));
        assert!(fits(&any, &one) && fits(&single, &one), "{style:?}");
        assert!(!fits(&any, &one.replace('3', "30")), "{style:?}");
        assert!(!fits(&any, &one.replace("rain", "snow")), "{style:?}");
        if let Some(several) = several {
            assert!(
                fits(&any, &several) && !fits(&single, &several),
                "{style:?}"
            );
        }
    }
}

#[test]
fn a_mark_that_is_no_token_can_be_required_and_not_left_to_the_model() {
    let (style, tokenizer, constraints) = model("{{ tools }}<tool_call>", &[]);
    let mut offered = offered(true);
    let refused = offered.calls(&style, &constraints).unwrap_err();
    assert!(matches!(refused, Refusal::Unsupported { .. }), "{refused}");
    offered.required = true;
    let calls = offered.calls(&style, &constraints).unwrap();
    assert!(calls.form.fits(&tokenizer.encode(QWEN, false).unwrap()));
}
