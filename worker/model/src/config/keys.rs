//! Typed reading of a config that keeps count of what was read: what nobody asked for is refused
//! at the end, because a key that is skipped in silence is a model that answers wrongly in silence.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::LoadError;

/// What numbers must lie within to mean something: far around what models have, and far from where
/// f32 ends.
pub(super) type Range = RangeInclusive<f64>;

/// Of the epsilon of norms.
pub(super) const EPSILON: Range = 1e-12..=0.1;
/// Of what something is multiplied or divided by.
pub(super) const MULTIPLIER: Range = 1e-6..=1e6;
/// Of what a context was stretched by.
pub(super) const STRETCH: Range = 1.0..=1e6;
/// Of the base of a rope.
pub(super) const BASE: Range = 2.0..=1e12;

/// One object of `config.json`. A null counts as absent, but for [`Keys::or_none`].
pub(super) struct Keys<'a> {
    table: &'a Map<String, Value>,
    /// Of the object within the file, with a dot at its end.
    path: String,
    read: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Keys<'a> {
    pub(super) fn new(table: &'a Map<String, Value>) -> Self {
        Self::at(table, String::new())
    }

    fn at(table: &'a Map<String, Value>, path: String) -> Self {
        Self {
            table,
            path,
            read: RefCell::default(),
        }
    }

    /// The value as it is, null included.
    fn raw(&self, key: &'static str) -> Option<&'a Value> {
        self.read.borrow_mut().insert(key);
        self.table.get(key)
    }

    pub(super) fn get(&self, key: &'static str) -> Option<&'a Value> {
        self.raw(key).filter(|value| !value.is_null())
    }

    pub(super) fn has(&self, key: &'static str) -> bool {
        self.get(key).is_some()
    }

    pub(super) fn text(&self, key: &'static str) -> Result<Option<&'a str>, LoadError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match value.as_str() {
            Some(text) => Ok(Some(text)),
            None => Err(self.refuse(key, "not a text")),
        }
    }

    /// A whole number that lengths can be made of.
    pub(super) fn size(&self, key: &'static str) -> Result<usize, LoadError> {
        self.size_if(key)?.ok_or(LoadError::KeyMissing { key })
    }

    pub(super) fn size_or(&self, key: &'static str, default: usize) -> Result<usize, LoadError> {
        Ok(self.size_if(key)?.unwrap_or(default))
    }

    pub(super) fn size_if(&self, key: &'static str) -> Result<Option<usize>, LoadError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        value
            .as_u64()
            .filter(|size| (1..=u64::from(u32::MAX)).contains(size))
            .map(|size| Some(size as usize))
            .ok_or_else(|| self.refuse(key, "not a positive whole number"))
    }

    pub(super) fn number(&self, key: &'static str, range: Range) -> Result<f64, LoadError> {
        self.number_if(key, range)?
            .ok_or(LoadError::KeyMissing { key })
    }

    pub(super) fn number_or(
        &self,
        key: &'static str,
        default: f64,
        range: Range,
    ) -> Result<f64, LoadError> {
        Ok(self.number_if(key, range)?.unwrap_or(default))
    }

    pub(super) fn number_if(
        &self,
        key: &'static str,
        range: Range,
    ) -> Result<Option<f64>, LoadError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match value.as_f64().filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(self.refuse(key, &format!("where {} is expected", shown(&range)))),
        }
    }

    pub(super) fn switch_or(&self, key: &'static str, default: bool) -> Result<bool, LoadError> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Bool(switch)) => Ok(*switch),
            Some(_) => Err(self.refuse(key, "neither true nor false")),
        }
    }

    /// A key that files leave out for its default, and set to null for nothing at all.
    pub(super) fn or_none<T>(
        &self,
        key: &'static str,
        default: Option<T>,
        read: impl Fn(&Self, &'static str) -> Result<Option<T>, LoadError>,
    ) -> Result<Option<T>, LoadError> {
        match self.raw(key) {
            None => Ok(default),
            Some(_) => read(self, key),
        }
    }

    pub(super) fn numbers(&self, key: &'static str, range: Range) -> Result<Vec<f64>, LoadError> {
        let value = self.get(key).ok_or(LoadError::KeyMissing { key })?;
        let list = value
            .as_array()
            .ok_or_else(|| self.refuse(key, "not a list"))?;
        list.iter()
            .map(|number| number.as_f64().filter(|number| range.contains(number)))
            .collect::<Option<_>>()
            .ok_or_else(|| {
                let why = format!("where each is expected to be {}", shown(&range));
                self.refuse(key, &why)
            })
    }

    /// A list with one entry for each layer.
    pub(super) fn per_layer(
        &self,
        key: &'static str,
        layers: usize,
    ) -> Result<Option<&'a [Value]>, LoadError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match value.as_array().filter(|list| list.len() == layers) {
            Some(list) => Ok(Some(list)),
            None => Err(self.refuse(key, &format!("not a list of {layers} layers"))),
        }
    }

    /// An object that says something: an empty one counts as absent.
    pub(super) fn filled_table(&self, key: &'static str) -> Result<Option<Keys<'a>>, LoadError> {
        Ok(self.table(key)?.filter(|keys| !keys.table.is_empty()))
    }

    pub(super) fn table(&self, key: &'static str) -> Result<Option<Keys<'a>>, LoadError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match value.as_object() {
            Some(table) => Ok(Some(Keys::at(table, format!("{}{key}.", self.path)))),
            None => Err(self.refuse(key, "not an object")),
        }
    }

    /// Counts keys as read that change nothing here, whatever they say.
    pub(super) fn pass_over(&self, keys: &[&'static str]) {
        self.read.borrow_mut().extend(keys);
    }

    /// Reads a key that this architecture knows at one value only.
    pub(super) fn only(&self, key: &'static str, served: &Value) -> Result<(), LoadError> {
        match self.get(key) {
            Some(value) if value != served => Err(self.refuse(
                key,
                &format!("where this architecture is served with {served}"),
            )),
            _ => Ok(()),
        }
    }

    /// # Errors
    /// Names a key that was not read, and that `changes_nothing` does not vouch for.
    pub(super) fn finish(
        &self,
        changes_nothing: impl Fn(&str, &Value) -> bool,
    ) -> Result<(), LoadError> {
        let read = self.read.borrow();
        let unread = self.table.iter().find(|(key, value)| {
            !read.contains(key.as_str()) && !value.is_null() && !changes_nothing(key, value)
        });
        match unread {
            None => Ok(()),
            Some((key, _)) => Err(LoadError::KeyUnknown {
                key: format!("{}{key}", self.path),
            }),
        }
    }

    pub(super) fn refuse(&self, key: &str, why: &str) -> LoadError {
        LoadError::KeyValue {
            key: format!("{}{key}", self.path),
            value: self.table.get(key).unwrap_or(&Value::Null).to_string(),
            why: why.to_owned(),
        }
    }
}

/// A range, for people.
pub(crate) fn shown(range: &Range) -> String {
    format!("a number from {:?} to {:?}", range.start(), range.end())
}
