//! The keys and values at the head of a GGUF file, read by name and type.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::cursor::Cursor;
use super::item::{Item, Kind};
use crate::LoadError;
use crate::mapped::Mapped;

/// What a file says about its model. Values stay in the file until they are asked for.
#[derive(Debug)]
pub struct Metadata {
    map: Arc<Mapped>,
    values: BTreeMap<String, Place>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) kind: Kind,
    pub(super) start: usize,
}

/// What a value can be read as.
pub trait Typed<'a>: Sized {
    /// Completes "`key` is 3, where ... is expected".
    const EXPECTED: &'static str;

    /// Nothing where the value is of another type, or does not fit.
    fn of(item: Item<'a>) -> Option<Self>;
}

impl Metadata {
    pub(super) fn new(map: Arc<Mapped>, values: BTreeMap<String, Place>) -> Self {
        Self { map, values }
    }

    pub fn path(&self) -> &Path {
        self.map.path()
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    pub fn contains(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// The value of a key, or nothing where the file does not have it.
    ///
    /// # Errors
    /// Names the key, the value, and what it should have been.
    pub fn get<'a, T: Typed<'a>>(&'a self, key: &str) -> Result<Option<T>, LoadError> {
        let Some(item) = self.item(key) else {
            return Ok(None);
        };
        match T::of(item) {
            Some(value) => Ok(Some(value)),
            None => Err(self.refuse(key, format!("where {} is expected", T::EXPECTED))),
        }
    }

    /// The value of a key that a model cannot be without.
    ///
    /// # Errors
    /// Names the key that is missing or is something else.
    pub fn need<'a, T: Typed<'a>>(&'a self, key: &str) -> Result<T, LoadError> {
        self.get(key)?.ok_or_else(|| LoadError::MetadataMissing {
            path: self.path().to_owned(),
            key: key.to_owned(),
        })
    }

    /// The refusal of a value, whatever it is, for a reason that completes "`key` is 3, ...".
    pub fn refuse(&self, key: &str, why: String) -> LoadError {
        let found = self.item(key).map(|item| item.to_string());
        LoadError::MetadataValue {
            path: self.path().to_owned(),
            key: key.to_owned(),
            found: found.unwrap_or_else(|| "not there".to_owned()),
            why,
        }
    }

    /// Keys that begin so, and their values as they lie in the file, for a digest.
    pub fn written<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let keys = self.values.range(prefix.to_owned()..);
        keys.take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(key, place)| {
                let mut cursor = Cursor::new(&self.map, place.start);
                let end = match Item::read(&mut cursor, place.kind) {
                    Ok(_) => cursor.at(),
                    Err(_) => place.start,
                };
                (key.as_str(), &self.map[place.start..end])
            })
    }

    fn item(&self, key: &str) -> Option<Item<'_>> {
        let place = self.values.get(key)?;
        let mut cursor = Cursor::new(&self.map, place.start);
        Item::read(&mut cursor, place.kind).ok()
    }
}

impl<'a> Typed<'a> for &'a str {
    const EXPECTED: &'static str = "a text in UTF-8";

    fn of(item: Item<'a>) -> Option<Self> {
        match item {
            Item::Text(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }
}

impl Typed<'_> for bool {
    const EXPECTED: &'static str = "true or false";

    fn of(item: Item<'_>) -> Option<Self> {
        match item {
            Item::Switch(byte @ 0..=1) => Some(byte == 1),
            _ => None,
        }
    }
}

/// Any width and sign, where the number fits.
macro_rules! whole {
    ($type:ty, $expected:literal) => {
        impl Typed<'_> for $type {
            const EXPECTED: &'static str = $expected;

            fn of(item: Item<'_>) -> Option<Self> {
                match item {
                    Item::Whole(value) => Self::try_from(value).ok(),
                    _ => None,
                }
            }
        }
    };
}

whole!(u16, "a whole number of 16 bits");
whole!(u32, "a whole number of 32 bits");
whole!(i32, "a whole number of 32 bits and a sign");
whole!(u64, "a whole number of 64 bits");

impl Typed<'_> for f64 {
    const EXPECTED: &'static str = "a finite number with a fraction";

    fn of(item: Item<'_>) -> Option<Self> {
        match item {
            Item::Number(value) if value.is_finite() => Some(value),
            _ => None,
        }
    }
}

impl Typed<'_> for f32 {
    const EXPECTED: &'static str = <f64 as Typed<'_>>::EXPECTED;

    fn of(item: Item<'_>) -> Option<Self> {
        let narrow = f64::of(item)? as f32;
        narrow.is_finite().then_some(narrow)
    }
}

/// Lists of what the items can be read as.
macro_rules! list {
    ($item:ty, $expected:literal) => {
        impl<'a> Typed<'a> for Vec<$item> {
            const EXPECTED: &'static str = $expected;

            fn of(item: Item<'a>) -> Option<Self> {
                let Item::Array(array) = item else {
                    return None;
                };
                let items: Self = array.items().map(Typed::of).collect::<Option<_>>()?;
                (items.len() == array.len()).then_some(items)
            }
        }
    };
}

list!(&'a str, "a list of texts in UTF-8");
list!(bool, "a list of true and false");
list!(u32, "a list of whole numbers of 32 bits");
list!(i32, "a list of whole numbers of 32 bits and a sign");
list!(f32, "a list of finite numbers with a fraction");
