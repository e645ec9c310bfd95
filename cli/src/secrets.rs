//! Secrets on a laptop: entries taken from files or the environment, laid out as a pod would see them.
//!
//! Every entry is a file `<secret>/<key>` below one folder that only its owner may read.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// `NAME/KEY=env:VARIABLE` or `NAME/KEY=file:PATH`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    secret: String,
    key: String,
    origin: Origin,
}

#[derive(Clone, Debug, PartialEq)]
enum Origin {
    Environment(String),
    File(PathBuf),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("secret {secret}/{key}: the environment variable {variable} is not set")]
    Unset {
        secret: String,
        key: String,
        variable: String,
    },
    #[error("secret {secret}/{key}")]
    Copy {
        secret: String,
        key: String,
        #[source]
        source: io::Error,
    },
}

impl FromStr for Entry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write it as name/key=env:VARIABLE or name/key=file:PATH".to_owned();
        let (name, origin) = text.split_once('=').ok_or_else(wrong)?;
        let (secret, key) = name.split_once('/').ok_or_else(wrong)?;
        let plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains('/');
        if !plain(secret) || !plain(key) {
            return Err(wrong());
        }
        let origin = match origin.split_once(':') {
            Some(("env", variable)) if !variable.is_empty() => Origin::Environment(variable.into()),
            Some(("file", path)) if !path.is_empty() => Origin::File(path.into()),
            _ => return Err(wrong()),
        };
        Ok(Self {
            secret: secret.into(),
            key: key.into(),
            origin,
        })
    }
}

/// Writes every entry below `root`, which is made if it is not there.
pub(crate) fn lay_out(
    root: &Path,
    entries: &[Entry],
    environment: impl Fn(&str) -> Option<String>,
) -> Result<(), SecretError> {
    for entry in entries {
        let (secret, key) = (entry.secret.clone(), entry.key.clone());
        let value = match &entry.origin {
            Origin::Environment(variable) => environment(variable)
                .map(String::into_bytes)
                .ok_or_else(|| SecretError::Unset {
                    secret: secret.clone(),
                    key: key.clone(),
                    variable: variable.clone(),
                })?,
            Origin::File(path) => fs::read(path).map_err(|source| SecretError::Copy {
                secret: secret.clone(),
                key: key.clone(),
                source,
            })?,
        };
        write(&root.join(&secret), &key, &value).map_err(|source| SecretError::Copy {
            secret,
            key,
            source,
        })?;
    }
    Ok(())
}

fn write(folder: &Path, key: &str, value: &[u8]) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true).mode(0o600);
    options.open(folder.join(key))?.write_all(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn an_entry_becomes_a_file_that_only_its_owner_reads() {
        let root = tempfile::tempdir().unwrap();
        let entry: Entry = "openai/api-key=env:KEY".parse().unwrap();
        lay_out(root.path(), &[entry], |name| {
            (name == "KEY").then(|| "sk-1".into())
        })
        .unwrap();
        let file = root.path().join("openai/api-key");
        assert_eq!(fs::read_to_string(&file).unwrap(), "sk-1");
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        let root = tempfile::tempdir().unwrap();
        let entry: Entry = "openai/api-key=env:KEY".parse().unwrap();
        let error = lay_out(root.path(), &[entry], |_| None).unwrap_err();
        assert!(error.to_string().contains("KEY is not set"), "{error}");
    }

    #[test]
    fn a_name_cannot_leave_the_folder() {
        for text in [
            "../x/key=env:A",
            "a/../b=env:A",
            "a=env:A",
            "a/b=A",
            "a/b=file:",
        ] {
            assert!(text.parse::<Entry>().is_err(), "{text}");
        }
    }
}
