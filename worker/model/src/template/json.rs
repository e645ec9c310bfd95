//! JSON with the white space that Python's `json.dumps` writes.

use std::io;

use serde::Serialize;
use serde_json::ser::Formatter;
use serde_json::{Serializer, Value};

/// What goes between the parts.
pub(super) struct Style {
    /// Between the items of an array, and the members of an object.
    pub(super) item: String,
    /// Between a key and its value.
    pub(super) key: String,
    /// One member a line, indented by this many spaces a level.
    indent: Option<usize>,
    /// Other characters are written by their UTF-16 numbers.
    pub(super) ascii: bool,
}

impl Style {
    /// Python's defaults, which depend on whether lines are broken.
    pub(super) fn new(indent: Option<usize>) -> Self {
        let item = if indent.is_some() { "," } else { ", " };
        Self {
            item: item.to_owned(),
            key: ": ".to_owned(),
            indent,
            ascii: false,
        }
    }
}

/// The same with the keys of all objects in order.
pub(super) fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<(String, Value)> = members.into_iter().collect();
            members.sort_by(|(one, _), (other, _)| one.cmp(other));
            let members = members.into_iter();
            members.map(|(key, value)| (key, sorted(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}

/// The value as text, its keys in their own order.
pub(super) fn python_json(
    value: &impl Serialize,
    style: &Style,
) -> Result<String, serde_json::Error> {
    let mut text = Vec::new();
    let writer = Writer {
        style,
        depth: 0,
        empty: true,
    };
    value.serialize(&mut Serializer::with_formatter(&mut text, writer))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

struct Writer<'a> {
    style: &'a Style,
    depth: usize,
    /// Nothing was written yet within the innermost array or object.
    empty: bool,
}

impl Writer<'_> {
    fn open<W: io::Write + ?Sized>(&mut self, to: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.empty = true;
        to.write_all(bracket)
    }

    fn close<W: io::Write + ?Sized>(&mut self, to: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        if !self.empty {
            self.line(to)?;
        }
        self.empty = false;
        to.write_all(bracket)
    }

    fn next<W: io::Write + ?Sized>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        if !first {
            to.write_all(self.style.item.as_bytes())?;
        }
        self.empty = false;
        self.line(to)
    }

    fn line<W: io::Write + ?Sized>(&self, to: &mut W) -> io::Result<()> {
        match self.style.indent {
            Some(indent) => {
                to.write_all(b"\n")?;
                // One at a time: a template may ask for any number.
                (0..indent.saturating_mul(self.depth)).try_for_each(|_| to.write_all(b" "))
            }
            None => Ok(()),
        }
    }
}

impl Formatter for Writer<'_> {
    fn begin_array<W: io::Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        self.open(to, b"[")
    }

    fn end_array<W: io::Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        self.close(to, b"]")
    }

    fn begin_array_value<W: io::Write + ?Sized>(
        &mut self,
        to: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.next(to, first)
    }

    fn begin_object<W: io::Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        self.open(to, b"{")
    }

    fn end_object<W: io::Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        self.close(to, b"}")
    }

    fn begin_object_key<W: io::Write + ?Sized>(
        &mut self,
        to: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.next(to, first)
    }

    fn begin_object_value<W: io::Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        to.write_all(self.style.key.as_bytes())
    }

    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        to: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if !self.style.ascii || fragment.is_ascii() {
            return to.write_all(fragment.as_bytes());
        }
        let mut units = [0; 2];
        fragment
            .chars()
            .try_for_each(|character| match character.is_ascii() {
                true => write!(to, "{character}"),
                false => {
                    let mut units = character.encode_utf16(&mut units).iter();
                    units.try_for_each(|unit| write!(to, "\\u{unit:04x}"))
                }
            })
    }
}
