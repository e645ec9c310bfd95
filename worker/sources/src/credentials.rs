//! What a mounted Secret says, a file per entry.
//!
//! The names that are read: `token` (hub, https), `username` and `password` or `.dockerconfigjson`
//! (registries, https), `endpoint` and `region`, and whatever begins with `aws_`, `google_` or
//! `azure_` and is a setting of that store, such as `aws_access_key_id`, `aws_secret_access_key`,
//! `aws_session_token`, `google_service_account_key` (the JSON itself), `azure_storage_account_name`,
//! `azure_storage_account_key`. Nothing here is ever shown.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use crate::error::SourceError;

/// Larger than any key or token.
const LARGEST_BYTES: u64 = 256 * 1024;
/// Shorter values hide too much of a message that holds them by chance.
const SHORTEST_SCRUBBED: usize = 5;
/// Entries that a message may show.
const OPEN: [&str; 5] = [
    "endpoint",
    "region",
    "aws_region",
    "azure_storage_account_name",
    "username",
];

/// The entries of one Secret, by name.
#[derive(Clone, Default)]
pub struct Credentials(BTreeMap<String, String>);

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Credentials {
    /// Reads the folder that a Secret is mounted at.
    ///
    /// # Errors
    /// Where the folder or an entry cannot be read, or an entry is not text.
    pub fn read(folder: &Path) -> Result<Self, SourceError> {
        let wrong = |name: &str, why: &dyn fmt::Display| SourceError::Setting {
            what: "the credentials cannot be read",
            why: format!("{}: {why}", folder.join(name).display()),
        };
        let mut entries = BTreeMap::new();
        for entry in fs::read_dir(folder).map_err(|error| wrong("", &error))? {
            let entry = entry.map_err(|error| wrong("", &error))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // A kubelet keeps the versions of a volume in folders of such names.
            if name.starts_with("..") {
                continue;
            }
            let path = entry.path();
            let found = fs::metadata(&path).map_err(|error| wrong(&name, &error))?;
            if !found.is_file() {
                continue;
            }
            if found.len() > LARGEST_BYTES {
                return Err(wrong(&name, &"is too large for a credential"));
            }
            let value = fs::read_to_string(&path).map_err(|error| wrong(&name, &error))?;
            entries.insert(name, value.trim_end_matches(['\r', '\n']).to_owned());
        }
        Ok(Self(entries))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Every entry, for stores that know their own settings.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// `text` without the values of secret entries, for words that others wrote.
    pub(crate) fn scrub(&self, text: &str) -> String {
        let secret = self.0.iter().filter(|(name, value)| {
            !OPEN.contains(&name.as_str()) && value.len() >= SHORTEST_SCRUBBED
        });
        secret.fold(text.to_owned(), |text, (_, value)| {
            text.replace(value.as_str(), "***")
        })
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Credentials {
    fn from(entries: [(&str, &str); N]) -> Self {
        Self(
            entries
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mounted_secret_is_read_entry_by_entry_without_line_ends() {
        let folder = tempfile::tempdir().unwrap();
        let version = folder.path().join("..2026_11_21");
        fs::create_dir(&version).unwrap();
        fs::write(version.join("token"), "hf_secret\n").unwrap();
        std::os::unix::fs::symlink(&version, folder.path().join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/token", folder.path().join("token")).unwrap();
        let read = Credentials::read(folder.path()).unwrap();
        assert_eq!(read.get("token"), Some("hf_secret"));
        assert_eq!(read.entries().count(), 1);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = Credentials::read(Path::new("/nowhere/creds")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/creds"), "{error}");
    }

    #[test]
    fn secrets_are_shown_nowhere() {
        let held = Credentials::from([("token", "hf_secret"), ("region", "eu-north-1")]);
        assert_eq!(format!("{held:?}"), r#"{"region", "token"}"#);
        assert_eq!(held.scrub("hf_secret in eu-north-1"), "*** in eu-north-1");
    }
}
