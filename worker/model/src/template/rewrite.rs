//! Templates as transformers' engine reads them, written as ours reads them.

/// What stands between two parts of a source.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Text,
    Statement,
    Expression,
    Comment,
}

/// The same template without what our engine does not know.
///
/// `{% generation %}` marks the model's own words for training and writes nothing itself. A list
/// that is turned round by `[::-1]` may be empty, over which our engine's own slices panic.
pub(super) fn rewritten(source: &str) -> String {
    let mut written = String::with_capacity(source.len());
    let mut rest = source;
    let mut is_raw = false;
    while !rest.is_empty() {
        let (part, length) = first_part(rest, is_raw);
        let (text, after) = rest.split_at(length);
        match part {
            Part::Text | Part::Comment => written.push_str(text),
            Part::Expression => written.push_str(&turned(text)),
            Part::Statement => match name(text) {
                // A condition trims white space as the tag does, and changes nothing else.
                "generation" => written.push_str(&text.replace("generation", "if true")),
                "endgeneration" => written.push_str(&text.replace("endgeneration", "endif")),
                other => {
                    is_raw = other == "raw";
                    written.push_str(&turned(text));
                }
            },
        }
        rest = after;
    }
    written
}

/// What a source begins with, and how long that is. Within `raw` all is text but its end.
fn first_part(source: &str, is_raw: bool) -> (Part, usize) {
    let part = match source.get(..2) {
        Some("{%") if !is_raw || name(source).starts_with("endraw") => Part::Statement,
        Some("{{") if !is_raw => Part::Expression,
        Some("{#") if !is_raw => Part::Comment,
        _ => Part::Text,
    };
    let length = match part {
        Part::Text => {
            let mut braces = source
                .match_indices('{')
                .map(|(at, _)| at)
                .skip_while(|at| *at == 0);
            braces.find(|at| source[*at + 1..].starts_with(['%', '{', '#']))
        }
        Part::Comment => source.find("#}").map(|at| at + 2),
        Part::Statement => end(source, "%}"),
        Part::Expression => end(source, "}}"),
    };
    (part, length.unwrap_or(source.len()))
}

/// Where a tag ends: what is quoted in it does not end it.
fn end(tag: &str, close: &str) -> Option<usize> {
    unquoted(tag, close).map(|at| at + close.len())
}

/// Where a text is found in a tag for the first time that is not quoted.
fn unquoted(tag: &str, wanted: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, byte) in tag.bytes().enumerate() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if byte == b'\\' => escaped = true,
            Some(open) if byte == open => quote = None,
            Some(_) => {}
            None if byte == b'"' || byte == b'\'' => quote = Some(byte),
            None if tag.as_bytes()[at..].starts_with(wanted.as_bytes()) => return Some(at),
            None => {}
        }
    }
    None
}

/// The first word of a statement.
fn name(statement: &str) -> &str {
    let inner =
        statement[2..].trim_start_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
    let end = inner.find(|c: char| !c.is_alphanumeric() && c != '_');
    &inner[..end.unwrap_or(inner.len())]
}

/// `[::-1]` becomes the filter that does the same, where that can stand in its place.
fn turned(tag: &str) -> String {
    const BACK: &str = "[::-1]";
    let mut written = String::with_capacity(tag.len());
    let mut rest = tag;
    while let Some(at) = unquoted(rest, BACK) {
        let (before, after) = rest.split_at(at);
        let after = &after[BACK.len()..];
        written.push_str(before);
        // After a filter nothing can be called or looked up.
        written.push_str(match after.starts_with(['[', '.', '(']) {
            true => BACK,
            false => "|reverse",
        });
        rest = after;
    }
    written.push_str(rest);
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_training_become_conditions() {
        assert_eq!(
            rewritten("a{%- generation -%}b{% endgeneration %}c"),
            "a{%- if true -%}b{% endif %}c"
        );
    }

    #[test]
    fn lists_are_turned_round_by_a_filter_and_text_is_left_alone() {
        for (source, expected) in [
            (
                "{% for m in messages[::-1] %}",
                "{% for m in messages|reverse %}",
            ),
            ("{{ a[1:][::-1] ~ 'b' }}", "{{ a[1:]|reverse ~ 'b' }}"),
            ("{{ a[::-1][0] }}", "{{ a[::-1][0] }}"),
            ("x = a[::-1] {# a[::-1] #}", "x = a[::-1] {# a[::-1] #}"),
            (
                "{% raw %}{{ a[::-1] }}{% endraw %}{{ a[::-1] }}",
                "{% raw %}{{ a[::-1] }}{% endraw %}{{ a|reverse }}",
            ),
            (
                "{{ '%}' }}{{ \"a}}\" ~ b[::-1] }}",
                "{{ '%}' }}{{ \"a}}\" ~ b|reverse }}",
            ),
            ("{% broken [::-1]", "{% broken |reverse"),
            (
                "{{ '[::-1]' ~ \"a[::-1]\" }}",
                "{{ '[::-1]' ~ \"a[::-1]\" }}",
            ),
            ("öl {", "öl {"),
            ("{{% raw", "{{% raw"),
            ("", ""),
        ] {
            assert_eq!(rewritten(source), expected);
        }
    }
}
