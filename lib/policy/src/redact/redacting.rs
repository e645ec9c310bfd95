//! Taking the values of one ask out of its texts.

use std::ops::Range;

use serde_json::{Map, Value};

use super::Why;
use super::finder::Finder;
use super::json_text::{Token, Tokens, is_json, said};
use super::redacted::{Redacted, Values};
use super::span::{Span, merge};

/// JSON in the strings of JSON is read so many times; what is deeper is read as it is written.
const MOST_DEPTH: usize = 4;
/// Longer than any body may be.
const LONGEST_TEXT: usize = 1 << 30;
/// A file that is written into a text is at least so long; shorter ones are only talked about.
const SHORTEST_FILE: usize = 64;

/// One ask that is being redacted.
pub(super) struct Redacting<'a> {
    finder: &'a Finder,
    values: Values,
}

impl<'a> Redacting<'a> {
    pub fn new(finder: &'a Finder, values: Values) -> Self {
        Self { finder, values }
    }

    pub fn finish(self) -> Redacted {
        self.values.finish()
    }

    /// Whether something of `text` would be taken out.
    pub fn finds(&self, text: &str) -> bool {
        !self.finder.find(text, None).is_empty()
    }

    /// Any text. `field` is the name of what it is the value of.
    pub fn text(&mut self, text: &mut String, field: Option<&str>) -> Result<(), Why> {
        self.nested(text, field, 0)
    }

    /// A text that the other side reads as JSON, such as a tool's arguments.
    pub fn arguments(&mut self, text: &mut String) -> Result<(), Why> {
        if is_json(text) && self.matches_across(text) {
            return Err(Why::AcrossJson);
        }
        self.text(text, None)
    }

    /// Texts that follow each other: a value that goes on from one to the next goes too.
    pub fn texts(&mut self, mut texts: Vec<&mut String>) -> Result<(), Why> {
        for text in &texts {
            check(text)?;
        }
        let joined: String = texts.iter().map(|text| text.as_str()).collect();
        let ends = texts.iter().scan(0, |end, text| {
            *end += text.len();
            Some(*end)
        });
        let ends: Vec<usize> = ends.collect();
        let spans = match texts.len() {
            0 | 1 => None,
            _ => self.across(&joined, &ends),
        };
        let Some(spans) = spans else {
            return texts.iter_mut().try_for_each(|text| self.text(text, None));
        };
        let mut begin = 0;
        for (text, end) in texts.iter_mut().zip(ends) {
            **text = self.replaced(&joined, begin..end, &spans)?;
            begin = end;
        }
        Ok(())
    }

    /// Every text in `value`, its keys among them. A number in which there is a value becomes
    /// text.
    pub fn json(&mut self, value: &mut Value, field: Option<&str>) -> Result<(), Why> {
        match value {
            Value::String(text) => self.text(text, field),
            Value::Number(number) => {
                let mut text = number.to_string();
                if !self.finder.find(&text, field).is_empty() {
                    self.text(&mut text, field)?;
                    *value = text.into();
                }
                Ok(())
            }
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.json(item, field)),
            Value::Object(fields) => {
                let mut left = Map::with_capacity(fields.len());
                for (key, mut value) in std::mem::take(fields) {
                    self.json(&mut value, Some(&key))?;
                    let mut sent = key;
                    self.text(&mut sent, None)?;
                    left.insert(sent, value);
                }
                *fields = left;
                Ok(())
            }
            Value::Null | Value::Bool(_) => Ok(()),
        }
    }

    /// The name or the id of something: letters, digits, dashes and underscores, so that
    /// placeholders stand in it without brackets.
    pub fn name(&mut self, name: &mut String) -> Result<(), Why> {
        let mut sent = String::with_capacity(name.len());
        let mut at = 0;
        for span in self.finder.find(name, None) {
            sent.push_str(&name[at..span.start]);
            let value = &name[span.start..span.end];
            sent.push_str(&self.values.placeholder(value, span.kind)?.bare());
            at = span.end;
        }
        if at > 0 {
            sent.push_str(&name[at..]);
            self.values
                .name(sent.clone(), std::mem::replace(name, sent));
        }
        Ok(())
    }

    fn nested(&mut self, text: &mut String, field: Option<&str>, depth: usize) -> Result<(), Why> {
        check(text)?;
        if depth < MOST_DEPTH && is_json(text) && !self.matches_across(text) {
            return self.json_text(text, field, depth + 1);
        }
        let spans = self.finder.find(text, field);
        if !spans.is_empty() {
            *text = self.replaced(text, 0..text.len(), &spans)?;
        }
        Ok(())
    }

    /// The strings and numbers of a JSON text, each by itself; the rest stays as it is written.
    fn json_text(
        &mut self,
        text: &mut String,
        field: Option<&str>,
        depth: usize,
    ) -> Result<(), Why> {
        let mut left = String::with_capacity(text.len());
        let mut key = field.map(str::to_owned);
        let mut at = 0;
        for (token, range) in Tokens::of(text) {
            let written = &text[range.clone()];
            let is_read = token != Token::Number;
            let (was, is_string) = match said(written).filter(|_| is_read) {
                Some(said) => (said, true),
                None => (written.to_owned(), false),
            };
            let mut sent = was.clone();
            match token {
                Token::Key => self.nested(&mut sent, None, MOST_DEPTH)?,
                Token::Text | Token::Number => self.nested(&mut sent, key.as_deref(), depth)?,
            }
            left.push_str(&text[at..range.start]);
            match sent == was {
                true => left.push_str(written),
                // Half a character, which no placeholder changes: it keeps its own quotes.
                false if is_read && !is_string => left.push_str(&sent),
                false => left.push_str(&Value::from(sent).to_string()),
            }
            if token == Token::Key {
                key = Some(was);
            }
            at = range.end;
        }
        left.push_str(&text[at..]);
        *text = left;
        Ok(())
    }

    /// Whether one of the policy's own patterns matches more of a JSON text than one string.
    fn matches_across(&self, text: &str) -> bool {
        let mut spans = Vec::new();
        self.finder.match_patterns(text, &mut spans);
        let mut tokens = Tokens::of(text).map(|(_, range)| range).peekable();
        merge(spans).iter().any(|span| {
            while tokens.next_if(|token| token.end < span.end).is_some() {}
            let token = tokens.peek();
            !token.is_some_and(|token| token.start <= span.start && span.end <= token.end)
        })
    }

    /// All values of `joined`, where at least one goes on across one of the `ends` of its texts.
    ///
    /// Not so where what is on one side of it is a value by itself: then what stands on the other
    /// side only happens to come next.
    fn across(&self, joined: &str, ends: &[usize]) -> Option<Vec<Span>> {
        let crosses = |span: &Span| ends.iter().any(|end| span.crosses(*end));
        let across: Vec<Span> = self
            .finder
            .find(joined, None)
            .into_iter()
            .filter(crosses)
            .collect();
        if across.is_empty() {
            return None;
        }
        let mut spans = Vec::new();
        let mut begin = 0;
        for end in ends {
            let here = self.finder.find(&joined[begin..*end], None);
            spans.extend(here.iter().map(|span| Span {
                start: span.start + begin,
                end: span.end + begin,
                kind: span.kind,
            }));
            begin = *end;
        }
        let is_whole = |part: Range<usize>| {
            spans
                .iter()
                .any(|span| span.start <= part.start && part.end <= span.end)
        };
        let is_new = |span: &Span| {
            let mut borders = ends.iter().copied().filter(|end| span.crosses(*end));
            let first = borders.next().unwrap_or(span.end);
            let last = borders.next_back().unwrap_or(first);
            !is_whole(span.start..first) && !is_whole(last..span.end)
        };
        let across: Vec<Span> = across.into_iter().filter(is_new).collect();
        if across.is_empty() {
            return None;
        }
        spans.extend(across);
        Some(merge(spans))
    }

    /// What is left of `part` of `text`. A placeholder stands where its value begins.
    fn replaced(&mut self, text: &str, part: Range<usize>, spans: &[Span]) -> Result<String, Why> {
        let mut left = String::with_capacity(part.len());
        let mut at = part.start;
        let first = spans.partition_point(|span| span.end <= part.start);
        for span in spans[first..]
            .iter()
            .take_while(|span| span.start < part.end)
        {
            left.push_str(&text[at..span.start.max(at)]);
            if span.start >= part.start {
                let value = &text[span.start..span.end];
                let placeholder = self.values.placeholder(value, span.kind)?;
                left.push_str(&placeholder.to_string());
            }
            at = span.end.min(part.end);
        }
        left.push_str(&text[at..part.end]);
        Ok(left)
    }
}

/// Whether a text can be looked through.
fn check(text: &str) -> Result<(), Why> {
    if text.len() > LONGEST_TEXT {
        return Err(Why::TextTooLong);
    }
    let is_file = |(at, mark): (usize, &str)| {
        let rest = text[at + mark.len()..].bytes().take(SHORTEST_FILE);
        let is_code = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(byte);
        rest.filter(is_code).count() == SHORTEST_FILE
    };
    match text.match_indices(";base64,").any(is_file) {
        true => Err(Why::File),
        false => Ok(()),
    }
}
