//! The text files of the repository.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

/// Every text file by its path from the root, with `/` between its parts.
#[derive(Debug, Default)]
pub struct Tree {
    files: BTreeMap<String, String>,
    /// Files that are not text: only their names count.
    others: Vec<String>,
}

impl Tree {
    /// What git tracks here or would if it were added. Files deleted since are left out.
    pub fn read(root: &Path) -> io::Result<Self> {
        let listed = Command::new("git")
            .current_dir(root)
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .output()?;
        if !listed.status.success() {
            return Err(io::Error::other(
                String::from_utf8_lossy(&listed.stderr).into_owned(),
            ));
        }
        let mut tree = Self::default();
        for path in String::from_utf8_lossy(&listed.stdout).split_terminator('\0') {
            match fs::read(root.join(path)).map(String::from_utf8) {
                Ok(Ok(text)) => {
                    tree.files.insert(path.to_owned(), text);
                }
                Ok(Err(_)) => tree.others.push(path.to_owned()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(tree)
    }

    /// A made-up tree, to show a check something wrong.
    pub fn of(files: &[(&str, &str)]) -> Self {
        let files = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        Self {
            files: files.collect(),
            others: Vec::new(),
        }
    }

    /// The text of one file.
    pub fn get(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Whether there is such a file or folder, whatever is in it.
    pub fn has(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        let names = self.files.keys().chain(&self.others);
        path.is_empty()
            || names
                .into_iter()
                .any(|name| name == path || name.starts_with(&folder))
    }

    /// Every file with one of these endings: path and text.
    pub fn ending<'a>(&'a self, endings: &'a [&str]) -> impl Iterator<Item = (&'a str, &'a str)> {
        let files = self
            .files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()));
        files.filter(|(path, _)| endings.iter().any(|ending| path.ends_with(ending)))
    }

    /// Every Rust file that a person wrote.
    pub fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.ending(&[".rs"])
            .filter(|(path, _)| !path.contains("/generated/"))
    }

    /// Every manifest of a crate, the root's left out.
    pub fn manifests(&self) -> impl Iterator<Item = (&str, &str)> {
        self.ending(&["/Cargo.toml"])
    }
}

/// The root of this repository.
pub fn root() -> PathBuf {
    let tidy = Path::new(env!("CARGO_MANIFEST_DIR"));
    tidy.parent()
        .expect("this crate lies in a folder of the repository")
        .to_owned()
}
