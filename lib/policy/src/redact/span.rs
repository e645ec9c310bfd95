//! Where in a text something stands that must not leave.

use weir_crds::RedactKind;

/// What a value is, as its placeholder says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Email,
    Phone,
    Card,
    Ip,
    /// A match of one of the policy's own patterns.
    Private,
}

impl Kind {
    pub(super) const ALL: [Kind; 5] = [
        Kind::Email,
        Kind::Phone,
        Kind::Card,
        Kind::Ip,
        Kind::Private,
    ];

    /// The word in its placeholders.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Kind::Email => "EMAIL",
            Kind::Phone => "PHONE",
            Kind::Card => "CARD",
            Kind::Ip => "IP",
            Kind::Private => "PRIVATE",
        }
    }
}

impl From<RedactKind> for Kind {
    fn from(kind: RedactKind) -> Self {
        match kind {
            RedactKind::Email => Kind::Email,
            RedactKind::Phone => Kind::Phone,
            RedactKind::CreditCard => Kind::Card,
            RedactKind::IpAddress => Kind::Ip,
        }
    }
}

/// A value in a text, in bytes; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub start: usize,
    pub end: usize,
    pub kind: Kind,
}

impl Span {
    pub fn new(start: usize, end: usize, kind: Kind) -> Self {
        Self { start, end, kind }
    }

    fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether `at` lies in it, and not at its borders.
    pub fn crosses(&self, at: usize) -> bool {
        self.start < at && at < self.end
    }
}

/// In order, and what overlaps as one: were only one of the two taken out, some of the other would
/// be left. It has the kind of the longest.
pub(super) fn merge(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by_key(|span| (span.start, std::cmp::Reverse(span.end)));
    let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
    let mut longest = 0;
    for span in spans {
        match merged.last_mut().filter(|last| span.start < last.end) {
            Some(last) => {
                if span.len() > longest {
                    (last.kind, longest) = (span.kind, span.len());
                }
                last.end = last.end.max(span.end);
            }
            None => {
                longest = span.len();
                merged.push(span);
            }
        }
    }
    merged
}

/// Whether `char` goes on a word or a number: not so in scripts that put no blanks between words
/// (Thai, Chinese, Japanese and others beyond them), where anything may stand beside a number.
pub(super) fn is_word(char: char) -> bool {
    char.is_alphanumeric() && !is_unspaced(char)
}

/// A letter of a script that puts no blanks between words, or of one coded near them.
pub(super) fn is_unspaced(char: char) -> bool {
    char >= '\u{e00}' && !('\u{1e00}'..='\u{1fff}').contains(&char)
}

/// The character before `at`.
pub(super) fn before(text: &str, at: usize) -> Option<char> {
    text[..at].chars().next_back()
}

/// The character at `at`.
pub(super) fn after(text: &str, at: usize) -> Option<char> {
    text[at..].chars().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overlaps_is_one_and_what_touches_is_two() {
        let spans = vec![
            Span::new(8, 9, Kind::Ip),
            Span::new(0, 4, Kind::Phone),
            Span::new(2, 8, Kind::Card),
            Span::new(3, 5, Kind::Private),
        ];
        let expected = [Span::new(0, 8, Kind::Card), Span::new(8, 9, Kind::Ip)];
        assert_eq!(merge(spans), expected);
    }
}
