//! A text as a reader sees it: other scripts' digits, blanks and dashes as ASCII, without what
//! takes no room, with escapes of JSON and of URLs undone; and where in the text each part of that
//! stands.
//!
//! Values are looked for in what is folded and taken out of what was written.

use std::borrow::Cow;
use std::ops::Range;

/// Zeros of the scripts whose digits are written in rows of ten.
const ZEROS: [char; 28] = [
    '\u{660}',
    '\u{6f0}',
    '\u{7c0}',
    '\u{966}',
    '\u{9e6}',
    '\u{a66}',
    '\u{ae6}',
    '\u{b66}',
    '\u{be6}',
    '\u{c66}',
    '\u{ce6}',
    '\u{d66}',
    '\u{de6}',
    '\u{e50}',
    '\u{ed0}',
    '\u{f20}',
    '\u{1040}',
    '\u{1090}',
    '\u{17e0}',
    '\u{1810}',
    '\u{1946}',
    '\u{a620}',
    '\u{1d7ce}',
    '\u{1d7d8}',
    '\u{1d7e2}',
    '\u{1d7ec}',
    '\u{1d7f6}',
    '\u{1fbf0}',
];

/// A text, folded.
pub(super) struct Folded<'a> {
    text: Cow<'a, str>,
    /// Empty where nothing was folded.
    segments: Vec<Segment>,
}

/// Some of the folded text: either copied, and then as long as what it stands for, or one
/// character.
struct Segment {
    folded: u32,
    original: u32,
    original_len: u32,
}

impl<'a> Folded<'a> {
    /// `text` must be shorter than 4 GiB; of a longer one only the beginning is there.
    pub fn new(text: &'a str) -> Self {
        let is_plain = |byte: u8| byte.is_ascii() && byte != b'%' && byte != b'\\';
        if text.bytes().all(is_plain) {
            return Self {
                text: Cow::Borrowed(text),
                segments: Vec::new(),
            };
        }
        let mut builder = Builder::default();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let plain = rest.bytes().take_while(|byte| is_plain(*byte)).count();
            let (seen, taken) = match first {
                _ if plain > 0 => {
                    builder.copy(&rest[..plain]);
                    rest = &rest[plain..];
                    continue;
                }
                '%' => percent(rest),
                '\\' => escape(rest),
                _ => (character(first), first.len_utf8()),
            };
            builder.add(seen, &rest[..taken]);
            rest = &rest[taken..];
        }
        Self {
            text: Cow::Owned(builder.text),
            segments: builder.segments,
        }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn is_changed(&self) -> bool {
        matches!(self.text, Cow::Owned(_))
    }

    /// What stands for `range` of the folded text, which must not be empty.
    pub fn original(&self, range: Range<usize>) -> Range<usize> {
        if !self.is_changed() {
            return range;
        }
        let (segment, into) = self.segment(range.start);
        let start = match segment.is_copy(into.len) {
            true => segment.original as usize + into.at,
            false => segment.original as usize,
        };
        let (segment, into) = self.segment(range.end - 1);
        let end = match segment.is_copy(into.len) {
            true => segment.original as usize + into.at + 1,
            false => (segment.original + segment.original_len) as usize,
        };
        start..end
    }

    /// The segment that `folded` lies in.
    fn segment(&self, folded: usize) -> (&Segment, Into) {
        let after = self
            .segments
            .partition_point(|segment| segment.folded as usize <= folded);
        let segment = &self.segments[after.saturating_sub(1)];
        let end = self
            .segments
            .get(after)
            .map_or(self.text.len(), |next| next.folded as usize);
        let begin = segment.folded as usize;
        let into = Into {
            at: folded - begin,
            len: end - begin,
        };
        (segment, into)
    }
}

/// A place in a segment, and how long the segment is.
struct Into {
    at: usize,
    len: usize,
}

impl Segment {
    fn is_copy(&self, folded_len: usize) -> bool {
        self.original_len as usize == folded_len
    }
}

#[derive(Default)]
struct Builder {
    text: String,
    segments: Vec<Segment>,
    /// How much of the original was read.
    read: u32,
    /// The last segment is copied, and ends where the original was read to.
    is_copying: bool,
}

impl Builder {
    fn add(&mut self, seen: Option<char>, original: &str) {
        let mut buffer = [0; 4];
        match seen {
            Some(seen) if original == &*seen.encode_utf8(&mut buffer) => self.copy(original),
            Some(seen) => {
                self.push(original);
                self.text.push(seen);
                self.is_copying = false;
            }
            None => {
                self.read += length(original);
                self.is_copying = false;
            }
        }
    }

    fn copy(&mut self, original: &str) {
        match self.segments.last_mut().filter(|_| self.is_copying) {
            Some(last) => {
                last.original_len += length(original);
                self.read += length(original);
            }
            None => self.push(original),
        }
        self.text.push_str(original);
        self.is_copying = true;
    }

    fn push(&mut self, original: &str) {
        self.segments.push(Segment {
            folded: length(&self.text),
            original: self.read,
            original_len: length(original),
        });
        self.read += length(original);
    }
}

fn length(text: &str) -> u32 {
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}

/// What a reader sees of a character beyond ASCII; nothing of one that takes no room.
fn character(char: char) -> Option<char> {
    match char {
        // The soft hyphen, blanks without width, marks of direction, variants of the one before.
        '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{20e3}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' => None,
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => Some(' '),
        '\u{85}' | '\u{2028}' | '\u{2029}' => Some('\n'),
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' => Some('-'),
        '\u{2024}' | '\u{fe52}' => Some('.'),
        '\u{fe6b}' => Some('@'),
        '\u{2044}' | '\u{2215}' => Some('/'),
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(char as u32 - 0xff01 + 0x21),
        _ => Some(digit(char).unwrap_or(char)),
    }
}

fn digit(char: char) -> Option<char> {
    let after = ZEROS.partition_point(|zero| *zero <= char);
    let zero = ZEROS.get(after.checked_sub(1)?)?;
    char::from_digit(char as u32 - *zero as u32, 10)
}

/// `%40` is `@`: addresses stand in URLs. Only signs are undone, and no digits or letters: a number
/// may follow a per cent sign.
fn percent(rest: &str) -> (Option<char>, usize) {
    let code = rest.get(1..3).filter(|code| !code.starts_with('+'));
    let byte = code.and_then(|code| u8::from_str_radix(code, 16).ok());
    match byte.filter(|byte| b"\n\r\t ()+-./:@[]_".contains(byte)) {
        Some(byte) => (Some(byte.into()), 3),
        None => (Some('%'), 1),
    }
}

/// `\n` ends a line: texts hold JSON, and JSON holds JSON, so that there may be more than one
/// backslash.
fn escape(rest: &str) -> (Option<char>, usize) {
    let slashes = rest.bytes().take_while(|byte| *byte == b'\\').count();
    let after = &rest[slashes..];
    let seen = match after.bytes().next() {
        Some(b'n' | b'r') => '\n',
        Some(b't') => '\t',
        Some(b'u') => {
            let code = after.get(1..5).filter(|code| !code.starts_with('+'));
            let code = code.and_then(|code| u32::from_str_radix(code, 16).ok());
            return match code.and_then(char::from_u32) {
                Some(char) if char.is_ascii() => (Some(char), slashes + 5),
                Some(char) => (character(char), slashes + 5),
                None => (Some('\\'), slashes),
            };
        }
        _ => return (Some('\\'), slashes),
    };
    (Some(seen), slashes + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is seen, and what was written for the first `part` of it.
    fn fold<'a>(text: &'a str, part: &str) -> (String, &'a str) {
        let folded = Folded::new(text);
        let at = folded.text().find(part).unwrap();
        let written = folded.original(at..at + part.len());
        (folded.text().to_owned(), &text[written])
    }

    #[test]
    fn zeros_are_in_order_and_the_first_of_ten() {
        assert!(ZEROS.is_sorted());
        for zero in ZEROS {
            let nine = char::from_u32(zero as u32 + 9).unwrap();
            assert!(zero.is_numeric() && nine.is_numeric(), "{zero:?}");
            assert_eq!((digit(zero), digit(nine)), (Some('0'), Some('9')));
        }
    }

    #[test]
    fn digits_blanks_and_dashes_of_other_scripts_are_seen_as_ascii() {
        for (text, seen) in [
            ("４１１１　２", "4111 2"),
            ("٠١٢ ۹ ९", "012 9 9"),
            ("1\u{a0}2\u{2011}3\u{ad}4\u{200b}5", "1 2-345"),
            ("bob＠x．com", "bob@x.com"),
            ("straße 例", "straße 例"),
        ] {
            assert_eq!(Folded::new(text).text(), seen);
        }
    }

    #[test]
    fn escapes_of_json_and_urls_are_undone() {
        for (text, seen) in [
            (r"\nbob", "\nbob"),
            (r"\\\\tbob", "\tbob"),
            (r"a\u0040b \u00e9 \ud800x \u+123", "a@b é \\ud800x \\u+123"),
            ("bob%40x%2ecom 5% %41 %zz", "bob@x.com 5% %41 %zz"),
            ("100%", "100%"),
        ] {
            assert_eq!(Folded::new(text).text(), seen);
        }
    }

    #[test]
    fn what_is_seen_is_found_again_in_what_was_written() {
        assert_eq!(fold("ü １２３ x", "23"), ("ü 123 x".into(), "２３"));
        assert_eq!(fold("1\u{ad}2\u{ad}3", "12").1, "1\u{ad}2");
        assert_eq!(fold(r"\nbob%40x.com", "bob@x").1, "bob%40x");
        assert_eq!(fold("aéb", "éb").1, "éb");
        assert_eq!(fold("plain text", "text").1, "text");
    }
}
