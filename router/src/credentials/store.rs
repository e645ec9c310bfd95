//! What a Secret says about the object storage for records. Nothing of it is ever shown.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::{LONGEST_KEY, beneath, read_file};

/// The entries that are read, named as for models (`docs/sources.md`). No other setting of the store's
/// library can be reached from a Secret.
const ENTRIES: [&str; 7] = [
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "aws_skip_signature",
    "aws_virtual_hosted_style_request",
    "endpoint",
    "region",
];
/// Those that must be there.
const NEEDED: [&str; 2] = ["aws_access_key_id", "aws_secret_access_key"];

/// The entries of one Secret, by name.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct StoreKeys(BTreeMap<&'static str, String>);

impl fmt::Debug for StoreKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl StoreKeys {
    /// Reads the Secret's files; the error is the entry that is missing.
    pub fn read(root: &Path, secret: &str) -> Result<Self, &'static str> {
        let read = |name: &'static str| {
            let text = read_file(&beneath(root, &[secret, name])?, LONGEST_KEY)?;
            let text = text.trim();
            (!text.is_empty()).then(|| (name, text.to_owned()))
        };
        let keys = Self(ENTRIES.into_iter().filter_map(read).collect());
        let is_open = keys.get("aws_skip_signature") == Some("true");
        let mut needed = NEEDED.into_iter();
        match needed.find(|name| !is_open && keys.get(name).is_none()) {
            Some(missing) => Err(missing),
            None => Ok(keys),
        }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn entries(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_needs_both_keys_unless_it_looks_at_none_and_shows_neither() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let folder = root.path().join("s3");
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(name), text).unwrap();
        };
        let read = || StoreKeys::read(root.path(), "s3");
        assert_eq!(read(), Err("aws_access_key_id"));
        write("aws_access_key_id", "id\n");
        write("aws_proxy_url", "http://169.254.169.254");
        assert_eq!(read(), Err("aws_secret_access_key"));
        write("aws_secret_access_key", "hush\n");
        let keys = read().unwrap();
        assert_eq!(keys.get("aws_secret_access_key"), Some("hush"));
        assert_eq!(keys.entries().count(), 2);
        assert!(!format!("{keys:?}").contains("hush"));
        write("aws_access_key_id", "");
        write("aws_skip_signature", "true");
        assert!(read().is_ok());
    }
}
