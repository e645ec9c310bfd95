//! Damaged templates under the limits of a trial, and then in this process.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{count, told};
use crate::hostile::{folder, used};
use crate::mutations::Random;
use crate::trial::{Outcome, tried};

/// What takes a few seconds: each has a process of its own.
const USUALLY: u64 = 40;

/// Between them they use what templates of models use.
const TEMPLATES: [&str; 3] = [
    "{%- set ns = namespace(found=false, text='') -%}\n\
     {{ bos_token }}{% for message in messages[1:] if message.role != 'system' %}\n\
     {%- if loop.first and not ns.found %}{% set ns.found = true %}{% endif -%}\n\
     {%- set ns.text = ns.text ~ message.content | trim -%}\n\
     {{ '<|' + message['role'] + '|>' }}{{ message.content.split('</think>')[-1].strip() }}\n\
     {%- endfor %}{{ ns.text | upper }}",
    "{% macro shown(tool, depth=0) %}{% if depth < 3 %}{{ tool | tojson(indent=2) }}\
     {{ shown(tool.function.parameters, depth + 1) }}{% endif %}{% endmacro %}\
     {% if tools is defined and tools %}{% for tool in tools %}{{ shown(tool) }}{% endfor %}{% endif %}\
     {% for m in messages | selectattr('role', 'equalto', 'user') | list %}{{ m.content }}{% else %}\
     {{ raise_exception('nobody asks') }}{% endfor %}{{ strftime_now('%Y-%m-%d') }}",
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}\
     {{ raise_exception('roles must alternate') }}{% endif %}{% generation %}{{ m.content | length * 2 }}\
     {{ ' ' * 4 ~ m.content[:9] ~ range(3) | join(', ') }}{% endgeneration %}\
     {% for call in m.tool_calls or [] %}{{ call.function.arguments.items() | list }}{% endfor %}{% endfor %}\
     {% if add_generation_prompt and enable_thinking is not false %}<think>{{ '%s' | format(1) }}{% endif %}",
];

/// What is put into a template between words.
const FRAGMENTS: [&str; 16] = [
    "{% endfor %}",
    "{% endif %}",
    "{% if true %}",
    "{% for i in range(99999) %}",
    "{% extends 'default' %}",
    "{% block b %}{{ self.b() }}{% endblock %}",
    "{% raw %}",
    "{%}",
    " | tojson(indent=9)",
    " | indent(9999999)",
    " | replace('', 'aaaaaaaa')",
    " ~ messages",
    " + 1",
    "((((",
    " not not ",
    " * 99999999 ",
];

/// What is put into a template between tags: each grows, repeats or calls itself.
const WHOLE: [&str; 16] = [
    "{% set ns = namespace(x='ab', found=false, text='') %}",
    "{% set ns = namespace(x=messages) %}",
    "{% for i in range(40) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "{% for i in range(40) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}",
    "{% for i in range(999) %}{% set z = i ~ messages %}{% endfor %}",
    "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
    "{% set ns.x = ns %}",
    "{{ ns }}",
    "{{ ns.x | tojson }}",
    "{{ ns.x | string | length }}",
    "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
    "{% include 'default' %}",
    "{% set z = 'x' * 99999999 %}{% set y = z ~ z %}{% set w = z ~ y %}",
    "{{ 'x' * 999999 }}",
    "{{ messages | tojson }}",
    "{% for m in messages recursive %}{{ loop([m]) }}{% endfor %}",
];

/// The text in words and what stands between them.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut before = ' ';
    for character in text.chars() {
        let goes_on = character.is_alphanumeric() && before.is_alphanumeric();
        match words.last_mut() {
            Some(word) if goes_on => word.push(character),
            _ => words.push(character.to_string()),
        }
        before = character;
    }
    words
}

/// Puts whole fragments between tags, most of which still compile.
fn grow(source: &str, random: &mut Random) -> String {
    let mut grown = source.to_owned();
    for _ in 0..=random.below(3) {
        let tags: Vec<usize> = grown.match_indices("{%").map(|(at, _)| at).collect();
        let at = tags[random.below(tags.len())];
        grown.insert_str(at, WHOLE[random.below(WHOLE.len())]);
    }
    grown
}

/// Takes out, copies, swaps or repeats words, or puts fragments between them.
fn tear(source: &str, random: &mut Random) -> String {
    let mut words = words(source);
    for _ in 0..=random.below(2) {
        let at = random.below(words.len());
        let end = words.len().min(at + 1 + random.below(12));
        match random.below(6) {
            0 => drop(words.drain(at..end)),
            1 => {
                let copied = words[at..end].to_vec();
                let to = random.below(words.len());
                words.splice(to..to, copied);
            }
            2 => {
                let other = random.below(words.len());
                words.swap(at, other);
            }
            3 => {
                let repeated = words[at..end].concat();
                let times = [2, 9, 200, 20_000][random.below(4)];
                // No longer than a file that is refused for its length.
                words[at] = repeated.repeat(times.min(200_000 / repeated.len().max(1)));
            }
            _ => words.insert(at, FRAGMENTS[random.below(FRAGMENTS.len())].to_owned()),
        }
        if words.is_empty() {
            break;
        }
    }
    words.concat()
}

#[test]
fn damaged_templates_are_refused_by_the_trial_or_by_loading_or_are_used() {
    let count = count(USUALLY, 150);
    let mut outcomes = [0; 6];
    for seed in 0..count {
        let mut random = Random::new(seed);
        let source = TEMPLATES[random.below(TEMPLATES.len())];
        let source = match random.below(3) {
            0 => tear(source, &mut random),
            _ => grow(source, &mut random),
        };
        let folder = folder(&source);
        let (outcome, _) = tried(folder.path());
        outcomes[match outcome {
            Outcome::Refused => 2,
            Outcome::Memory => 3,
            Outcome::Stack => 4,
            Outcome::Time => 5,
            Outcome::Accepted => match catch_unwind(AssertUnwindSafe(|| used(folder.path()))) {
                Ok(Ok(_)) => 0,
                Ok(Err(error)) => {
                    assert!(
                        told(&error, &["chat_template.jinja"]),
                        "seed {seed}: {error}"
                    );
                    1
                }
                Err(_) => panic!("seed {seed} panics: {source:.500}"),
            },
        }] += 1;
    }
    let [used, compiled, refused, memory, stack, time] = outcomes;
    println!(
        "{count} templates: {used} used, {compiled} do not compile, {refused} refused by the trial, \
         which {memory} left for memory, {stack} for stack, {time} for time"
    );
    assert!(used > 0 && compiled > 0, "{outcomes:?}");
}
