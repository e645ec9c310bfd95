//! For the tests of finders.

use super::span::Span;

/// What `spans` are of `text`.
pub(super) fn found<'a>(text: &'a str, spans: &[Span]) -> Vec<&'a str> {
    spans
        .iter()
        .map(|span| &text[span.start..span.end])
        .collect()
}
