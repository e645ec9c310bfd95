//! What of a text must not leave: the kinds that a policy names, and its own patterns.

use regex::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;

use super::fold::Folded;
use super::span::{Kind, Span, merge};
use super::{address, card, email, phone};

/// What a compiled pattern may take of memory, in bytes; its tables for searching as much again.
const PATTERN_BYTES: usize = 1 << 20;
/// How deep the groups of a pattern may be nested.
const PATTERN_DEPTH: u32 = 64;

/// What is looked for.
#[derive(Clone, Debug)]
pub(super) struct Finder {
    kinds: Vec<Kind>,
    patterns: Vec<Regex>,
}

impl Finder {
    pub fn new(kinds: Vec<Kind>, patterns: Vec<Regex>) -> Self {
        Self { kinds, patterns }
    }

    /// In order, without overlaps. `field` is the name of the field that `text` is the value of,
    /// where it is one.
    ///
    /// Takes time in proportion to the text, but for patterns that look ahead without end and then
    /// match less (`a.*b|a`).
    pub fn find(&self, text: &str, field: Option<&str>) -> Vec<Span> {
        let folded = Folded::new(text);
        let mut spans = Vec::new();
        for kind in &self.kinds {
            match kind {
                Kind::Email => email::find(folded.text(), &mut spans),
                Kind::Phone => {
                    let is_expected = field.is_some_and(phone::is_telephone);
                    phone::find(folded.text(), is_expected, &mut spans);
                }
                Kind::Card => card::find(folded.text(), &mut spans),
                Kind::Ip => address::find(folded.text(), &mut spans),
                Kind::Private => {}
            }
        }
        // A pattern is of what its author sees, and of what is written.
        self.match_patterns(folded.text(), &mut spans);
        for span in &mut spans {
            let range = folded.original(span.start..span.end);
            *span = Span::new(range.start, range.end, span.kind);
        }
        if folded.is_changed() {
            self.match_patterns(text, &mut spans);
        }
        merge(spans)
    }

    /// The matches of the policy's own patterns in `text` as it is written.
    pub fn match_patterns(&self, text: &str, spans: &mut Vec<Span>) {
        for pattern in &self.patterns {
            let matches = pattern.find_iter(text).filter(|found| !found.is_empty());
            spans.extend(matches.map(|found| Span::new(found.start(), found.end(), Kind::Private)));
        }
    }
}

/// One of a policy's patterns, or why it is none.
pub(super) fn pattern(pattern: &str) -> Result<Regex, String> {
    // The library draws the place on lines of its own; the last says why.
    let why = |error: String| {
        let why = error.lines().last().unwrap_or_default().trim();
        format!("does not compile: {}", why.trim_start_matches("error: "))
    };
    let mut parser = ParserBuilder::new().nest_limit(PATTERN_DEPTH).build();
    let parsed = parser
        .parse(pattern)
        .map_err(|error| why(error.to_string()))?;
    match parsed.properties().minimum_len() {
        Some(0) => return Err("matches the empty text, which stands everywhere".to_owned()),
        None => return Err("matches nothing".to_owned()),
        Some(_) => {}
    }
    RegexBuilder::new(pattern)
        .size_limit(PATTERN_BYTES)
        .dfa_size_limit(PATTERN_BYTES)
        .nest_limit(PATTERN_DEPTH)
        .build()
        .map_err(|error| why(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::found;
    use super::*;

    fn finder(patterns: &[&str]) -> Finder {
        let kinds = vec![Kind::Email, Kind::Phone, Kind::Card, Kind::Ip];
        Finder::new(
            kinds,
            patterns.iter().map(|text| pattern(text).unwrap()).collect(),
        )
    }

    #[test]
    fn a_pattern_that_cannot_be_used_says_why() {
        for (text, why) in [
            ("(", "does not compile: unclosed group"),
            ("a*", "matches the empty text, which stands everywhere"),
            (r"\b", "matches the empty text, which stands everywhere"),
            ("a|", "matches the empty text, which stands everywhere"),
            (r"[^\s\S]", "matches nothing"),
            (
                r"\w{9999}",
                "does not compile: Compiled regex exceeds size limit of 1048576 bytes.",
            ),
        ] {
            assert_eq!(pattern(text).unwrap_err(), why);
        }
    }

    #[test]
    fn what_overlaps_goes_as_a_whole() {
        let finder = finder(&["[0-9]+ Main St", "1111"]);
        let text = "bob.10.0.0.1@x.com 4111 1111 1111 1111, +49 151 12345 Main St";
        let spans = finder.find(text, None);
        let expected = [
            "bob.10.0.0.1@x.com",
            "4111 1111 1111 1111",
            "+49 151 12345 Main St",
        ];
        assert_eq!(found(text, &spans), expected);
        assert_eq!((spans[0].kind, spans[1].kind), (Kind::Email, Kind::Card));
    }

    #[test]
    fn a_pattern_is_of_what_is_written_as_well_as_of_what_is_seen() {
        let finder = finder(&["Akte–[0-9]+"]);
        let text = "zur Akte–12";
        assert_eq!(found(text, &finder.find(text, None)), ["Akte–12"]);
    }

    #[test]
    fn other_scripts_and_escapes_hide_nothing() {
        let finder = finder(&["TICKET-[0-9]+"]);
        for (text, value) in [
            (
                "４１１１　１１１１　１１１１　１１１１",
                "４１１１　１１１１　１１１１　１１１１",
            ),
            (
                "4111\u{a0}1111\u{2011}1111\u{ad} 1111",
                "4111\u{a0}1111\u{2011}1111\u{ad} 1111",
            ),
            ("+٤٩ ١٥١ ١٢٣٤٥٦٧٨", "+٤٩ ١٥١ ١٢٣٤٥٦٧٨"),
            ("１９２．１６８．０．１", "１９２．１６８．０．１"),
            (
                "bob\u{ad}by@exam\u{200b}ple.com",
                "bob\u{ad}by@exam\u{200b}ple.com",
            ),
            ("?to=bob%40x.com&a", "bob%40x.com"),
            (r#"{"a": "x\nbob@x.com"}"#, "bob@x.com"),
            (r#"{\"a\":\"1\\n192.168.0.1\"}"#, "192.168.0.1"),
            (r"jos\u00e9@x.com", r"jos\u00e9@x.com"),
            ("TICKET-１２", "TICKET-１２"),
        ] {
            assert_eq!(found(text, &finder.find(text, None)), [value], "{text}");
        }
    }
}
