//! Objects of Kubernetes that somebody wrote into values: a name in one that Kubernetes does not know is refused.
//!
//! Left out, as elsewhere, a mistyped selector would be an empty one, which selects everything.

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, from_value, to_value};

/// A list of objects, nothing of which is lost.
pub(super) fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Serialize,
{
    let written = Vec::<Value>::deserialize(deserializer)?;
    let objects = written.into_iter().map(|written| {
        let read: T = from_value(written.clone()).map_err(Error::custom)?;
        let kept = to_value(&read).map_err(Error::custom)?;
        match lost(&written, &kept) {
            None => Ok(read),
            Some(name) => Err(Error::custom(format!(
                "unknown field `{name}` in {written}"
            ))),
        }
    });
    objects.collect()
}

/// The name of a field that is written and was not kept.
fn lost(written: &Value, kept: &Value) -> Option<String> {
    match (written, kept) {
        (Value::Object(written), Value::Object(kept)) => {
            written
                .iter()
                .find_map(|(name, value)| match kept.get(name) {
                    Some(kept) => lost(value, kept),
                    None => Some(name.clone()),
                })
        }
        (Value::Array(written), Value::Array(kept)) => written
            .iter()
            .zip(kept)
            .find_map(|(written, kept)| lost(written, kept)),
        _ => None,
    }
}
