//! The list: `adapters.json` in a folder that is mounted, an array of
//! `{"name", "source", "revision", "sha256"}` of which the last two may be left out.

use serde::Deserialize;
use thiserror::Error;

pub(super) const FILE: &str = "adapters.json";

/// As many as a deployment may list.
pub(super) const MOST: usize = 32;
const MOST_BYTES: usize = 1 << 20;
const LONGEST_NAME: usize = 63;

/// One adapter that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed {
    pub name: String,
    pub source: String,
    #[serde(default)]
    pub revision: Option<String>,
    #[serde(default)]
    pub sha256: Option<String>,
}

/// Why a list is not taken up.
#[derive(Debug, Error)]
pub(super) enum ListError {
    #[error("it has more than {MOST_BYTES} bytes")]
    TooLarge,
    #[error("it is not a list of adapters: {0}")]
    Shape(String),
    #[error("it names {0} adapters, and at most {MOST} are served")]
    TooMany(usize),
    #[error("`{0}` is no name: lower-case letters, digits and dashes, at most {LONGEST_NAME}")]
    Name(String),
    #[error("it names `{0}` twice")]
    Twice(String),
}

pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Listed>, ListError> {
    if bytes.len() > MOST_BYTES {
        return Err(ListError::TooLarge);
    }
    let list: Result<Vec<Listed>, _> = serde_json::from_slice(bytes);
    let list = list.map_err(|error| ListError::Shape(error.to_string()))?;
    if list.len() > MOST {
        return Err(ListError::TooMany(list.len()));
    }
    for (index, listed) in list.iter().enumerate() {
        let name = &listed.name;
        if !is_name(name) {
            return Err(ListError::Name(name.chars().take(LONGEST_NAME).collect()));
        }
        if list[..index].iter().any(|before| before.name == *name) {
            return Err(ListError::Twice(name.clone()));
        }
    }
    Ok(list)
}

fn is_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_inner = |byte: u8| is_letter(byte) || byte == b'-';
    let ends = [name.bytes().next(), name.bytes().last()];
    name.len() <= LONGEST_NAME
        && ends.into_iter().all(|end| end.is_some_and(is_letter))
        && name.bytes().all(is_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_where_each_adapter_is() {
        let list = decode(
            br#"[{"name":"a-1","source":"s3://m/a"},{"name":"b","source":"hf://o/b","revision":"v2"}]"#,
        );
        let list = list.unwrap();
        assert_eq!(list[0].source, "s3://m/a");
        assert_eq!(list[1].revision.as_deref(), Some("v2"));
        assert!(decode(b"[]").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_list_is_refused_with_what_is_wrong() {
        let said = |text: &str| decode(text.as_bytes()).unwrap_err().to_string();
        let entry = |name: &str| format!(r#"{{"name":"{name}","source":"file:///a"}}"#);
        assert!(said("{").starts_with("it is not a list of adapters: "));
        assert!(said(r#"[{"name":"a"}]"#).contains("missing field `source`"));
        assert!(said(r#"[{"name":"a","source":"s","rank":1}]"#).contains("unknown field `rank`"));
        for name in ["", "A", "a:b", "-a", "a-", &"a".repeat(64)] {
            let refused = said(&format!("[{}]", entry(name)));
            assert!(refused.contains("is no name"), "{refused}");
        }
        let twice = format!("[{0},{0}]", entry("a"));
        assert_eq!(said(&twice), "it names `a` twice");
        let many: Vec<String> = (0..33).map(|index| entry(&format!("a{index}"))).collect();
        let many = format!("[{}]", many.join(","));
        assert_eq!(
            said(&many),
            "it names 33 adapters, and at most 32 are served"
        );
        assert_eq!(
            said(&" ".repeat(MOST_BYTES + 1)),
            "it has more than 1048576 bytes"
        );
    }
}
