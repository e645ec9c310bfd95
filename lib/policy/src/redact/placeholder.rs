//! What stands for a value in what leaves: `[EMAIL_1]`.
//!
//! In square brackets because models copy them as they are, and in capitals because texts seldom
//! have such words. What models do to them all the same is known again: other cases, and the
//! backslashes of Markdown (`\[EMAIL\_1\]`). `[Email 1]` is not, nor `EMAIL_1`: people and models
//! write those for themselves.

use std::fmt;

use super::span::Kind;

/// The most digits of a placeholder's number.
const MOST_DIGITS: usize = 5;
/// The last number.
pub(super) const LAST: u32 = 99_999;

/// Stands for one value of one ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Placeholder {
    pub kind: Kind,
    pub number: u32,
}

impl Placeholder {
    /// Without brackets, for names, which may have none.
    pub fn bare(self) -> String {
        format!("{}_{}", self.kind.word(), self.number)
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}_{}]", self.kind.word(), self.number)
    }
}

/// What the beginning of a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// A placeholder, and how long it is written.
    Whole(Placeholder, usize),
    /// One may begin here: the text ends before that is certain.
    Begun,
    Other,
}

/// Reads one placeholder. `escape` is how a backslash is written: two of them in JSON.
pub(super) fn read(text: &str, escape: &str) -> Read {
    let mut rest = Rest {
        text: text.as_bytes(),
        at: 0,
    };
    match rest.placeholder(escape) {
        Ok(placeholder) => Read::Whole(placeholder, rest.at),
        Err(Stop::Ended) => Read::Begun,
        Err(Stop::Differs) => Read::Other,
    }
}

/// Why no placeholder was read.
enum Stop {
    Ended,
    Differs,
}

struct Rest<'a> {
    text: &'a [u8],
    at: usize,
}

impl Rest<'_> {
    fn placeholder(&mut self, escape: &str) -> Result<Placeholder, Stop> {
        let is_escaped = self.optional(escape)?;
        self.word("[")?;
        let kind = self.kind()?;
        self.optional(escape)?;
        self.word("_")?;
        let number = self.number()?;
        if is_escaped {
            self.word(escape)?;
        }
        self.word("]")?;
        Ok(Placeholder { kind, number })
    }

    /// `word`, whatever its case.
    fn word(&mut self, word: &str) -> Result<(), Stop> {
        let rest = &self.text[self.at..];
        let len = word.len().min(rest.len());
        match rest[..len].eq_ignore_ascii_case(&word.as_bytes()[..len]) {
            true if len < word.len() => Err(Stop::Ended),
            true => {
                self.at += len;
                Ok(())
            }
            false => Err(Stop::Differs),
        }
    }

    fn optional(&mut self, word: &str) -> Result<bool, Stop> {
        match self.word(word) {
            Ok(()) => Ok(true),
            Err(Stop::Differs) => Ok(false),
            Err(Stop::Ended) => Err(Stop::Ended),
        }
    }

    fn kind(&mut self) -> Result<Kind, Stop> {
        let mut stop = Stop::Differs;
        for kind in Kind::ALL {
            match self.word(kind.word()) {
                Ok(()) => return Ok(kind),
                Err(Stop::Ended) => stop = Stop::Ended,
                Err(Stop::Differs) => {}
            }
        }
        Err(stop)
    }

    fn number(&mut self) -> Result<u32, Stop> {
        let rest = &self.text[self.at..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        match rest.first() {
            None => return Err(Stop::Ended),
            Some(b'0') => return Err(Stop::Differs),
            Some(_) if !(1..=MOST_DIGITS).contains(&digits) => return Err(Stop::Differs),
            Some(_) => {}
        }
        let digits = &rest[..digits];
        self.at += digits.len();
        Ok(digits
            .iter()
            .fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
    }
}

/// Every placeholder that `text` has literally, bare or in any spelling.
pub(super) fn literals(text: &str) -> impl Iterator<Item = Placeholder> {
    text.match_indices('_').filter_map(|(at, _)| {
        let before = text[..at].trim_end_matches('\\').as_bytes();
        let kind = Kind::ALL.into_iter().find(|kind| {
            let word = kind.word().as_bytes();
            let from = before.len().checked_sub(word.len());
            from.is_some_and(|from| before[from..].eq_ignore_ascii_case(word))
        })?;
        let digits = text[at + 1..].bytes().take(MOST_DIGITS);
        let mut digits = digits.take_while(u8::is_ascii_digit).peekable();
        digits.peek()?;
        let number = digits.fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
        Some(Placeholder { kind, number })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn email(number: u32) -> Placeholder {
        Placeholder {
            kind: Kind::Email,
            number,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for kind in Kind::ALL {
            for number in [1, 10, LAST] {
                let placeholder = Placeholder { kind, number };
                let text = placeholder.to_string();
                assert_eq!(read(&text, "\\"), Read::Whole(placeholder, text.len()));
                assert_eq!(literals(&placeholder.bare()).next(), Some(placeholder));
            }
        }
    }

    #[test]
    fn other_cases_and_markdown_are_read() {
        for text in [
            "[email_1]",
            "[Email_1]",
            r"\[EMAIL_1\]",
            r"\[EMAIL\_1\]",
            r"[EMAIL\_1]",
        ] {
            assert_eq!(
                read(text, r"\"),
                Read::Whole(email(1), text.len()),
                "{text}"
            );
        }
        let json = r"\\[EMAIL\\_1\\]";
        assert_eq!(read(json, r"\\"), Read::Whole(email(1), json.len()));
    }

    #[test]
    fn what_stands_for_something_else_is_not_read() {
        for text in [
            "[Email 1]",
            "EMAIL_1",
            "[EMAIL_01]",
            "[EMAIL_0]",
            "[EMAIL_123456]",
            "[EMAIL_1\\]",
            "\\[EMAIL_1]",
            "[MAIL_1]",
            "[EMAIL_]",
            "x",
        ] {
            assert_eq!(read(text, "\\"), Read::Other, "{text}");
        }
    }

    #[test]
    fn every_beginning_may_become_one() {
        for text in ["[EMAIL_12]", r"\[PRIVATE\_3\]"] {
            for end in 1..text.len() {
                assert_eq!(read(&text[..end], r"\"), Read::Begun, "{}", &text[..end]);
            }
        }
    }

    #[test]
    fn literals_are_seen_in_every_spelling() {
        let text = r"[EMAIL_1] \[email\\_22\] x_EMAIL_3 PHONE_123456 SHIP_4 _ [CARD_]";
        let numbers: Vec<_> = literals(text)
            .map(|found| (found.kind, found.number))
            .collect();
        let expected = [
            (Kind::Email, 1),
            (Kind::Email, 22),
            (Kind::Email, 3),
            (Kind::Phone, 12345),
            (Kind::Ip, 4),
        ];
        assert_eq!(numbers, expected);
    }
}
