//! Templates that are out for memory, time or stack are refused before they are used, and what they
//! die of is a process that nobody needs.

use std::path::Path;

use serde_json::Map;
use weir_model::{ChatTemplate, Conversation, LoadError, Message};

use crate::trial::{Outcome, tried};

/// A folder with a tokenizer of one token and this template.
pub fn folder(source: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("config.json", "{}");
    write(
        "tokenizer.json",
        r#"{"version":"1.0","model":{"type":"WordLevel","vocab":{"a":0},"unk_token":"a"}}"#,
    );
    write(
        "tokenizer_config.json",
        r#"{"bos_token":"<s>","eos_token":"</s>"}"#,
    );
    write("chat_template.jinja", source);
    folder
}

/// Loads what was accepted, and renders one turn.
pub fn used(folder: &Path) -> Result<Option<String>, LoadError> {
    let template = ChatTemplate::load(folder)?.unwrap();
    let rendered = template.render(&Conversation {
        messages: vec![Message {
            role: "user".to_owned(),
            content: "hello".to_owned(),
            ..Message::default()
        }],
        tools: Vec::new(),
        variables: Map::new(),
        add_generation_prompt: true,
        now: std::time::UNIX_EPOCH,
    });
    Ok(rendered.ok())
}

fn assert_outcomes(cases: &[(&str, Outcome)]) {
    for (source, expected) in cases {
        let folder = folder(source);
        let (outcome, said) = tried(folder.path());
        let start: String = source.chars().take(100).collect();
        assert_eq!(outcome, *expected, "{start} ended at: {said}");
        let file = folder.path().join("chat_template.jinja");
        assert!(said.contains(&*file.to_string_lossy()), "{said}");
    }
}

#[test]
fn a_template_that_grows_in_a_variable_is_refused_for_its_memory() {
    let doubling = "{% for i in range(40) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}";
    let grows = |from: &str| format!("{{% set ns = namespace(x={from}) %}}{doubling}");
    let sources = [
        grows("'a'"),
        format!(
            "{{% if messages|length > 5 %}}{}{{% endif %}}",
            grows("'a'")
        ),
        format!("{{% if tools %}}{}{{% endif %}}", grows("tools|tojson")),
        format!(
            "{{% if enable_thinking is false %}}{}{{% endif %}}",
            grows("'a'")
        ),
        format!(
            "{{% if messages[0].content|length > 9000 %}}{}{{% endif %}}",
            grows("'a'")
        ),
        format!(
            "{{% for m in messages %}}{{% if m.tool_calls %}}{}{{% endif %}}{{% endfor %}}",
            grows("m.tool_calls|string")
        ),
        "{% set a = 'x' * 99999999 %}{% set b = a ~ 1 %}{% set c = a ~ 2 %}".to_owned(),
        "{% set a = ['x' * 9999999] * 30 %}{% set b = a|join %}".to_owned(),
    ];
    for source in sources {
        assert_outcomes(&[(&source, Outcome::Memory)]);
    }
}

#[test]
fn a_template_that_does_not_end_or_writes_without_end_is_refused() {
    let nested = "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}";
    assert_outcomes(&[
        (nested, Outcome::Refused),
        ("{{ 'x' * 9999999 }}", Outcome::Refused),
        (
            "{% for i in range(99999) %}{% set x = ('x' * 9999999)|upper %}{% endfor %}",
            Outcome::Time,
        ),
    ]);
}

/// In lines that are not too long.
fn repeated(what: &str, times: usize) -> String {
    let line = what.repeat(100) + "\n";
    line.repeat(times / 100)
}

/// Neither dies of it.
fn assert_refused_by_loading(source: &str) {
    let folder = folder(source);
    let start: String = source.chars().take(60).collect();
    assert_eq!(tried(folder.path()).0, Outcome::Accepted, "{start}");
    let error = used(folder.path()).expect_err(&start).to_string();
    assert!(
        error.contains("chat_template.jinja") && error.len() < 1000,
        "{start}: {error}"
    );
}

#[test]
fn a_template_that_nests_deep_does_not_compile() {
    let nested = |open: &str, inner: &str, close: &str| {
        let depth = 100_000.min(1_000_000 / (open.len() + close.len()));
        format!("{}{inner}{}", repeated(open, depth), repeated(close, depth))
    };
    for source in [
        format!("{{{{ {} }}}}", nested("(", "1", ")")),
        format!("{{{{ {} }}}}", nested("[", "1", "]")),
        format!("{{{{ {} }}}}", nested("{'a':", "1", "}")),
        format!("{{{{ {} }}}}", nested("f(", "1", ")")),
        format!("{{{{ {} }}}}", nested("a[", "1", "]")),
        nested("{% if true %}", "1", "{% endif %}"),
        nested("{% for i in [1] %}", "1", "{% endfor %}"),
        nested("{% macro m() %}", "1", "{% endmacro %}"),
        nested("{% set x %}", "1", "{% endset %}"),
        nested("{% filter upper %}", "1", "{% endfilter %}"),
        nested("{% with %}", "1", "{% endwith %}"),
        "{%}".to_owned(),
        "{% for i in".to_owned(),
        format!("{}{{{{ 1 }}}}", " \n".repeat(1 << 20)),
        format!("{}{{{{ 1 }}}}", " ".repeat(1 << 16)),
        format!("{}{{{{ 1 }}}}", "\n".repeat(1 << 16)),
    ] {
        assert_refused_by_loading(&source);
    }
}

#[test]
fn a_template_whose_chains_are_endless_is_refused_for_its_stack_or_works() {
    let chained = |first: &str, link: &str| {
        format!(
            "{{{{ {first}{} }}}}",
            repeated(link, 1_000_000 / link.len())
        )
    };
    for (first, link) in [
        ("1", " + 1"),
        ("1", " ~ 1"),
        ("1", " and 1"),
        ("1", " < 1"),
        ("1", "|int"),
        ("a", ".a"),
        ("a", "[0]"),
        ("a", "()"),
        ("1", " is odd"),
        ("", "not "),
        ("", "-"),
        ("1", " if 1 else 1"),
        ("1", " if 1"),
    ] {
        let folder = folder(&chained(first, link));
        let (outcome, said) = tried(folder.path());
        match outcome {
            Outcome::Accepted => drop(used(folder.path())),
            Outcome::Stack => assert!(said.ends_with("while it is compiled"), "{link}: {said}"),
            other => panic!("{link}: {other:?} at {said}"),
        }
    }
}

#[test]
fn a_template_that_calls_or_holds_itself_is_refused_or_fails_to_render() {
    for source in [
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% macro f(x) %}{{ g(x) }}{% endmacro %}{% macro g(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
        "{% macro f() %}{% call f() %}{% endcall %}{% endmacro %}{{ f() }}",
        "{% include 'default' %}",
        "{% extends 'default' %}",
        "{% import 'default' as d %}{{ d.f() }}",
        "{% from 'default' import f %}{{ f() }}",
        "{% for m in messages recursive %}{{ loop(messages) }}{% endfor %}",
        "{% block b %}{{ self.b() }}{% endblock %}",
        "{{ [1]|tojson(indent=100000) }}",
        "{{ 'a'|indent(1000000000000) }}",
    ] {
        let folder = folder(source);
        match tried(folder.path()) {
            (Outcome::Accepted, _) => {
                assert_eq!(used(folder.path()).unwrap(), None, "{source} renders");
            }
            (Outcome::Stack | Outcome::Memory | Outcome::Refused, _) => {}
            (outcome, said) => panic!("{source}: {outcome:?} at {said}"),
        }
    }
}

#[test]
fn a_namespace_that_holds_itself_is_refused_or_rendered() {
    let holding = "{% set ns = namespace(x=1) %}{% set ns.x = ns %}";
    for shown in [
        "{{ ns }}",
        "{{ ns|tojson }}",
        "{{ ns|length }}",
        "{{ ns == ns.x }}",
        "{{ [ns]|sort }}",
    ] {
        let folder = folder(&format!("{holding}{shown}"));
        match tried(folder.path()) {
            (Outcome::Accepted, _) => drop(used(folder.path()).unwrap()),
            (Outcome::Stack | Outcome::Memory | Outcome::Refused, _) => {}
            (outcome, said) => panic!("{shown}: {outcome:?} at {said}"),
        }
    }
}
