//! Conversations are rendered as `apply_chat_template` renders them, and no template runs away.

use std::time::{Duration, UNIX_EPOCH};

use safetensors::Dtype;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use weir_model::{ChatTemplate, Conversation, Message, TemplateError, Tokenizer};

use crate::logits::{fixtures, triage};
use crate::tiny::Tiny;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rendering {
    messages: Vec<Value>,
    add_generation_prompt: bool,
    rendered: String,
    ids: Vec<u32>,
}

fn message(role: &str, content: &str) -> Message {
    Message {
        role: role.to_owned(),
        content: content.to_owned(),
        ..Message::default()
    }
}

/// A tiny model's template from its own file.
fn template(source: &str) -> ChatTemplate {
    let tiny = Tiny::new();
    tiny.write(Dtype::F32);
    tiny.write_file(
        "tokenizer_config.json",
        "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}",
    );
    tiny.write_file("chat_template.jinja", source);
    ChatTemplate::load(tiny.path()).unwrap().unwrap()
}

struct Talk {
    messages: Vec<Message>,
    tools: Vec<Value>,
    variables: Map<String, Value>,
}

impl Talk {
    fn new(messages: &[Message]) -> Self {
        Self {
            messages: messages.to_vec(),
            tools: Vec::new(),
            variables: Map::new(),
        }
    }

    fn render(&self, template: &ChatTemplate) -> Result<String, TemplateError> {
        template.render(&Conversation {
            messages: self.messages.clone(),
            tools: self.tools.clone(),
            variables: self.variables.clone(),
            add_generation_prompt: true,
            // 2026-02-03 04:05:06 UTC.
            now: UNIX_EPOCH + Duration::from_secs(1_770_091_506),
        })
    }
}

fn render(source: &str) -> Result<String, TemplateError> {
    Talk::new(&[message("user", "hello")]).render(&template(source))
}

#[test]
fn the_triage_model_reads_what_hugging_face_would_give_it() {
    let json = std::fs::read(fixtures().join("triage/templates.json")).unwrap();
    let renderings: Vec<Rendering> = serde_json::from_slice(&json).unwrap();
    let tokenizer = Tokenizer::load(&triage(), 1536).unwrap();
    let template = ChatTemplate::load(&triage()).unwrap().unwrap();
    let mut compared = 0;
    for rendering in renderings {
        let messages: Option<Vec<Message>> = rendering
            .messages
            .iter()
            .map(|said| Some(message(said["role"].as_str()?, said["content"].as_str()?)))
            .collect();
        // Content in parts is joined before it comes here.
        let Some(messages) = messages else { continue };
        let text = template
            .render(&Conversation {
                messages,
                tools: Vec::new(),
                variables: Map::new(),
                add_generation_prompt: rendering.add_generation_prompt,
                now: UNIX_EPOCH,
            })
            .unwrap();
        assert_eq!(text, rendering.rendered);
        assert_eq!(tokenizer.encode(&text, false).unwrap(), rendering.ids);
        compared += 1;
    }
    assert!(compared >= 8, "only {compared} renderings were compared");
}

#[test]
fn a_template_that_raises_refuses_in_its_own_words() {
    let error = render("{{ raise_exception('no ' + messages[0].role) }}").unwrap_err();
    assert!(matches!(&error, TemplateError::Refused { message } if message == "no user"));
    assert_eq!(error.to_string(), "the chat template says: no user");
}

#[test]
fn a_template_that_never_ends_is_stopped() {
    let error =
        render("{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}");
    assert!(matches!(error, Err(TemplateError::Endless)), "{error:?}");
}

#[test]
fn a_template_that_calls_itself_is_stopped() {
    let error = render("{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}");
    assert!(
        matches!(error, Err(TemplateError::Failed { .. })),
        "{error:?}"
    );
}

#[test]
fn a_template_that_writes_without_end_is_stopped() {
    let error = render("{% for i in range(9999) %}{{ 'x' * 9999 }}{% endfor %}");
    assert!(matches!(error, Err(TemplateError::TooLong)), "{error:?}");
}

#[test]
fn json_is_written_as_python_writes_it_with_its_order_and_without_html_escapes() {
    let mut talk = Talk::new(&[]);
    talk.variables.insert(
        "value".to_owned(),
        json!({ "z": [1, 2.5, "<ä&'\">"], "a": { "on": true, "none": null }, "empty": {}, "no": [] }),
    );
    let compact = talk.render(&template("{{ value | tojson }}")).unwrap();
    assert_eq!(
        compact,
        r#"{"z": [1, 2.5, "<ä&'\">"], "a": {"on": true, "none": null}, "empty": {}, "no": []}"#
    );
    let indented = talk
        .render(&template("{{ value | tojson(indent=4) }}"))
        .unwrap();
    let expected = [
        "{",
        "    \"z\": [",
        "        1,",
        "        2.5,",
        "        \"<ä&'\\\">\"",
        "    ],",
        "    \"a\": {",
        "        \"on\": true,",
        "        \"none\": null",
        "    },",
        "    \"empty\": {},",
        "    \"no\": []",
        "}",
    ];
    assert_eq!(indented, expected.join("\n"));
    let tight = talk
        .render(&template("{{ value.a | tojson(separators=(',', ':')) }}"))
        .unwrap();
    assert_eq!(tight, r#"{"on":true,"none":null}"#);
}

#[test]
fn the_date_is_the_one_that_is_passed_in() {
    assert_eq!(
        render("{{ strftime_now('%d %b %Y') }}").unwrap(),
        "03 Feb 2026"
    );
}

#[test]
fn templates_are_read_as_transformers_reads_them() {
    // Blocks swallow their line; Python's methods, words and loop controls work.
    let source = "\
{% for message in messages %}
    {%- generation -%} [{{ message.content.strip().title() }}] {%- endgeneration %}

  {% if message.content.startswith('h') %}
yes {{ true }} {{ none }}
  {% break %}
  {% endif %}
{% endfor %}
{{ bos_token }}{{ eos_token }}";
    assert_eq!(render(source).unwrap(), "[Hello]\nyes True None\n<s></s>");
}

#[test]
fn arguments_of_tool_calls_are_objects_whichever_way_they_came() {
    let source = "{{ messages[0].tool_calls[0].function.arguments | tojson }}";
    for arguments in [json!("{\"city\": \"Bern\"}"), json!({ "city": "Bern" })] {
        let mut call = message("assistant", "");
        call.tool_calls =
            vec![json!({ "function": { "name": "weather", "arguments": arguments } })];
        let text = Talk::new(&[call]).render(&template(source)).unwrap();
        assert_eq!(text, r#"{"city": "Bern"}"#);
    }
}

#[test]
fn variables_of_a_request_reach_the_template_and_cannot_replace_the_conversation() {
    let mut talk = Talk::new(&[message("user", "mine")]);
    talk.variables
        .insert("enable_thinking".to_owned(), json!(false));
    talk.variables.insert("messages".to_owned(), json!([]));
    let source = "{{ enable_thinking }} {{ messages[0].content }} {{ tools is none }}";
    assert_eq!(talk.render(&template(source)).unwrap(), "False mine True");
}

#[test]
fn a_template_for_tools_is_used_when_there_are_tools() {
    let tiny = Tiny::new();
    tiny.write(Dtype::F32);
    let named = json!({ "chat_template": [
        { "name": "default", "template": "plain" },
        { "name": "tool_use", "template": "{{ tools[0].name }}" },
    ]});
    tiny.write_file("tokenizer_config.json", &named.to_string());
    let template = ChatTemplate::load(tiny.path()).unwrap().unwrap();
    let mut talk = Talk::new(&[message("user", "hello")]);
    assert_eq!(talk.render(&template).unwrap(), "plain");
    talk.tools.push(json!({ "name": "weather" }));
    assert_eq!(talk.render(&template).unwrap(), "weather");
}

#[test]
fn a_model_without_a_template_has_none() {
    let tiny = Tiny::new();
    tiny.write(Dtype::F32);
    assert!(ChatTemplate::load(tiny.path()).unwrap().is_none());
}

#[test]
fn an_empty_list_is_turned_round_to_an_empty_one() {
    let source = "{% for m in messages[1:][::-1] %}{{ m.content }}{% endfor %}{{ 'abc'[::-1] }}";
    assert_eq!(render(source).unwrap(), "cba");
}

#[test]
fn what_python_cannot_walk_is_not_iterable() {
    let source = "{{ tools is iterable }} {{ 'a' is iterable }} {{ messages is iterable }} \
                  {{ nowhere is iterable }} {{ 7 is iterable }}";
    assert_eq!(render(source).unwrap(), "False True True True False");
}
