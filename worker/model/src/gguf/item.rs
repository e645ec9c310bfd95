//! One value of the metadata, read where it lies in the file.

use std::fmt;

use super::cursor::Cursor;

/// Arrays in arrays in arrays. Nobody writes more than two.
const DEEPEST: usize = 4;

/// The types that the format numbers from 0 to 12.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    Text,
    Array,
    U64,
    I64,
    F64,
}

const KINDS: [Kind; 13] = [
    Kind::U8,
    Kind::I8,
    Kind::U16,
    Kind::I16,
    Kind::U32,
    Kind::I32,
    Kind::F32,
    Kind::Bool,
    Kind::Text,
    Kind::Array,
    Kind::U64,
    Kind::I64,
    Kind::F64,
];

impl Kind {
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Self, String> {
        let number = cursor.u32("the type of a value")?;
        KINDS
            .get(number as usize)
            .copied()
            .ok_or_else(|| format!("a value has type {number}, where 0 to 12 are types"))
    }

    /// Bytes of one value; of those that have no fixed length, of its beginning.
    fn least_bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 | Self::Text => 8,
            Self::Array => 12,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::F32 => "f32",
            Self::Bool => "bool",
            Self::Text => "text",
            Self::Array => "array",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F64 => "f64",
        })
    }
}

/// A value, with numbers widened. Public because [`super::Typed`] reads it.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    Whole(i128),
    Number(f64),
    /// A byte that should be 0 or 1.
    Switch(u8),
    /// Bytes that should be UTF-8.
    Text(&'a [u8]),
    Array(Array<'a>),
}

/// An array whose items are read as they are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Array<'a> {
    kind: Kind,
    count: usize,
    first: Cursor<'a>,
    depth: usize,
}

impl<'a> Item<'a> {
    /// Reads a value and all that is in it, and leaves the cursor behind it.
    pub(super) fn read(cursor: &mut Cursor<'a>, kind: Kind) -> Result<Self, String> {
        Self::read_at(cursor, kind, 0)
    }

    fn read_at(cursor: &mut Cursor<'a>, kind: Kind, depth: usize) -> Result<Self, String> {
        let what = "a value";
        Ok(match kind {
            Kind::U8 => Self::Whole(u8::from_le_bytes(cursor.array(what)?).into()),
            Kind::I8 => Self::Whole(i8::from_le_bytes(cursor.array(what)?).into()),
            Kind::U16 => Self::Whole(u16::from_le_bytes(cursor.array(what)?).into()),
            Kind::I16 => Self::Whole(i16::from_le_bytes(cursor.array(what)?).into()),
            Kind::U32 => Self::Whole(cursor.u32(what)?.into()),
            Kind::I32 => Self::Whole(i32::from_le_bytes(cursor.array(what)?).into()),
            Kind::U64 => Self::Whole(cursor.u64(what)?.into()),
            Kind::I64 => Self::Whole(i64::from_le_bytes(cursor.array(what)?).into()),
            Kind::F32 => Self::Number(f32::from_le_bytes(cursor.array(what)?).into()),
            Kind::F64 => Self::Number(f64::from_le_bytes(cursor.array(what)?)),
            Kind::Bool => Self::Switch(u8::from_le_bytes(cursor.array(what)?)),
            Kind::Text => Self::Text(cursor.text("the length of a text")?),
            Kind::Array => Self::Array(Array::read(cursor, depth)?),
        })
    }
}

impl<'a> Array<'a> {
    fn read(cursor: &mut Cursor<'a>, depth: usize) -> Result<Self, String> {
        if depth == DEEPEST {
            return Err(format!("arrays are nested more than {DEEPEST} deep"));
        }
        let kind = Kind::read(cursor)?;
        let count = cursor.count(kind.least_bytes(), "the length of an array")?;
        let array = Self {
            kind,
            count,
            first: *cursor,
            depth: depth + 1,
        };
        match kind {
            Kind::Text | Kind::Array => {
                for _ in 0..count {
                    Item::read_at(cursor, kind, depth + 1)?;
                }
            }
            _ => {
                cursor.take(count * kind.least_bytes(), "an array")?;
            }
        }
        Ok(array)
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Its items in order. All were there when the file was opened; if they are not any more, the
    /// walk ends early.
    pub fn items(&self) -> impl Iterator<Item = Item<'a>> + use<'a> {
        let Self { kind, depth, .. } = *self;
        let mut cursor = self.first;
        (0..self.count).map_while(move |_| Item::read_at(&mut cursor, kind, depth).ok())
    }
}

/// A text as a message shows it, which may be as long as a file.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

impl fmt::Display for Item<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::Switch(0) => f.write_str("false"),
            Self::Switch(1) => f.write_str("true"),
            Self::Switch(byte) => write!(f, "a switch set to {byte}"),
            Self::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => f.write_str(&quoted(text)),
                Err(_) => write!(f, "{} bytes that are not UTF-8", bytes.len()),
            },
            Self::Array(array) => write!(f, "an array of {} {}", array.count, array.kind),
        }
    }
}
