//! E-mail addresses.
//!
//! What counts: a local part, `@`, and a domain of at least two labels of which the last is no
//! number. The local part may be of any letters, may be in quotes, and takes the rarer signs
//! (`#`, `!`, `'` and such) only between letters or digits; `=` only where a `+` stands before it,
//! as in the addresses of bounces, because `to=` stands before addresses everywhere. In scripts
//! without blanks between words, a local part or label that begins in ASCII at the `@` ends with
//! it: what stands beside it is the sentence.

use super::span::{Kind, Span, after, before, is_unspaced};

/// In bytes; what a quoted local part may be long.
const LONGEST_QUOTED: usize = 64;

/// The addresses in a folded text. Each byte is read a bounded number of times.
pub(super) fn find(text: &str, spans: &mut Vec<Span>) {
    let mut from = 0;
    for (at, _) in text.match_indices('@') {
        if let Some(end) = domain(text, at + 1) {
            let has_unspaced = text[at + 1..end].chars().any(is_unspaced);
            if let Some(start) = local(&text[from..at], has_unspaced) {
                spans.push(Span::new(from + start, end, Kind::Email));
            }
        }
        from = at + 1;
    }
}

/// Where the local part begins that ends with `text`.
fn local(text: &str, domain_has_unspaced: bool) -> Option<usize> {
    if text.ends_with('"') {
        return quoted(text);
    }
    let is_unspaced_allowed =
        domain_has_unspaced || text.chars().next_back().is_some_and(is_unspaced);
    let mut start = text.len();
    // Of a bounce's address: where it begins if no `+` comes.
    let mut without_bounce = None;
    let mut has_plus = false;
    for (at, char) in text.char_indices().rev() {
        match char {
            '=' if is_between(text, at) => without_bounce = without_bounce.or(Some(start)),
            '+' => has_plus |= without_bounce.is_some(),
            '.' | '_' | '-' | '%' => {}
            '!' | '#' | '$' | '&' | '\'' | '*' | '^' | '~' if is_between(text, at) => {}
            _ if !is_letter(char) || (is_unspaced(char) && !is_unspaced_allowed) => break,
            _ => {}
        }
        start = at;
    }
    if let Some(shorter) = without_bounce.filter(|_| !has_plus) {
        start = shorter;
    }
    let first = text[start..].find(is_letter)?;
    Some(start + first)
}

fn quoted(text: &str) -> Option<usize> {
    let inner = &text[..text.len() - 1];
    let start = inner.rfind('"')?;
    let len = inner.len() - start - 1;
    let is_one_line = !inner[start..].contains('\n');
    ((1..=LONGEST_QUOTED).contains(&len) && is_one_line).then_some(start)
}

/// A letter, a digit, or an accent of its own after one.
fn is_letter(char: char) -> bool {
    char.is_alphanumeric() || ('\u{300}'..='\u{36f}').contains(&char)
}

fn is_between(text: &str, at: usize) -> bool {
    before(text, at).is_some_and(is_letter) && after(text, at + 1).is_some_and(is_letter)
}

/// Where the domain ends that begins at `start`.
fn domain(text: &str, start: usize) -> Option<usize> {
    let mut labels = 0;
    let mut end = None;
    let mut at = start;
    loop {
        let label = label(&text[at..]);
        if label.is_empty() {
            return end;
        }
        labels += 1;
        at += label.len();
        if labels > 1 && is_top(label) {
            end = Some(at);
        }
        match text[at..].starts_with('.') {
            true => at += 1,
            false => return end,
        }
    }
}

/// The label at the beginning of `text`, without dashes at its ends.
fn label(text: &str) -> &str {
    let mut chars = text.char_indices();
    let starts_unspaced = chars.next().is_some_and(|(_, first)| is_unspaced(first));
    let ends =
        |char: char| !(is_letter(char) || char == '-') || (is_unspaced(char) && !starts_unspaced);
    let label = &text[..text.find(ends).unwrap_or(text.len())];
    match label.starts_with('-') {
        true => "",
        false => label.trim_end_matches('-'),
    }
}

/// Whether a domain may end with it.
fn is_top(label: &str) -> bool {
    label.chars().nth(1).is_some()
        && label
            .chars()
            .any(|char| !char.is_ascii_digit() && char != '-')
}

#[cfg(test)]
mod tests {
    use super::super::span::merge;
    use super::super::testing::found;
    use super::*;

    #[test]
    fn addresses_are_found_whole() {
        for (text, address) in [
            ("mail bob@example.com.", "bob@example.com"),
            (
                "<Bob.Smith+x@mail.example.co.uk>",
                "Bob.Smith+x@mail.example.co.uk",
            ),
            ("?to=bob_1@x-y.org&cc", "bob_1@x-y.org"),
            ("mailto:o'brien@x.ie", "o'brien@x.ie"),
            ("'bob@x.com'", "bob@x.com"),
            ("**bob#1@x.com**", "bob#1@x.com"),
            (
                "from bounces+bob=y.org@list.x.com",
                "bounces+bob=y.org@list.x.com",
            ),
            ("\"john doe\"@x.com", "\"john doe\"@x.com"),
            ("jürgen@münchen.de", "jürgen@münchen.de"),
            ("e\u{301}va@x.com", "e\u{301}va@x.com"),
            ("用户@例子.公司", "用户@例子.公司"),
            ("bob@abc.公司", "bob@abc.公司"),
            ("我的邮箱是12345@qq.com谢谢", "12345@qq.com"),
            ("иван@почта.рф", "иван@почта.рф"),
            ("bob@xn--mnchen-3ya.de", "bob@xn--mnchen-3ya.de"),
            ("bob@x.com.5", "bob@x.com"),
            ("bob@x.com-", "bob@x.com"),
        ] {
            let mut spans = Vec::new();
            find(text, &mut spans);
            assert_eq!(found(text, &spans), [address], "{text}");
        }
    }

    #[test]
    fn two_addresses_beside_each_other_are_two() {
        let mut spans = Vec::new();
        let text = "a@x.com,b@y.com@z.org";
        find(text, &mut spans);
        assert_eq!(found(text, &merge(spans)), ["a@x.com", "b@y.com@z.org"]);
    }

    #[test]
    fn handles_versions_and_operators_are_no_addresses() {
        for text in [
            "@bob",
            "a @ b.com",
            "npm i react@18.2.0",
            "root@localhost",
            "x@y.z",
            "@@",
            "a@.com",
        ] {
            let mut spans = Vec::new();
            find(text, &mut spans);
            assert_eq!(found(text, &spans), [""; 0], "{text}");
        }
    }
}
