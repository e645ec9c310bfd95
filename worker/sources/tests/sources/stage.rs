//! A cache in a folder of its own, and a hub with one small model.

use std::{fs, path::PathBuf, time::Duration};

use tempfile::TempDir;
use tokio::sync::watch;
use weir_sources::{Digest, Fetched, Options, Patience, Progress, SourceError, fetch};

use crate::server::{Page, Server};

pub const COMMIT: &str = "5f1c2ab05f1c2ab05f1c2ab05f1c2ab05f1c2ab0";
pub const MODEL: &str = "hf://acme/tiny";
pub const LIST: &str = "/api/models/acme/tiny/revision/main";

/// Where a test's files are, until it ends.
pub struct Stage {
    pub folder: TempDir,
}

impl Stage {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    /// Options with little patience.
    pub fn options(&self) -> Options {
        Options {
            patience: Patience {
                total: Duration::from_secs(2),
                first: Duration::from_millis(1),
                longest: Duration::from_millis(20),
                silence: Duration::from_millis(300),
            },
            ..Options::new(self.cache())
        }
    }

    pub fn hub(&self, server: &Server) -> Options {
        Options {
            hub: server.url(),
            ..self.options()
        }
    }

    /// A mounted Secret.
    pub fn secret(&self, entries: &[(&str, &str)]) -> PathBuf {
        let folder = self.folder.path().join("secret");
        fs::create_dir_all(&folder).unwrap();
        for (name, value) in entries {
            fs::write(folder.join(name), value).unwrap();
        }
        folder
    }

    /// Every file below the cache, by its name there.
    pub fn files(&self) -> Vec<String> {
        fn below(folder: PathBuf, root: &std::path::Path, found: &mut Vec<String>) {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.path().is_dir() {
                    true => below(entry.path(), root, found),
                    false => {
                        let path = entry.path();
                        found.push(path.strip_prefix(root).unwrap().display().to_string());
                    }
                }
            }
        }
        let mut found = Vec::new();
        below(self.cache(), &self.cache(), &mut found);
        found.sort();
        found
    }
}

pub async fn run(address: &str, options: &Options) -> Result<Fetched, SourceError> {
    let (tx, _rx) = watch::channel(Progress::default());
    fetch(&address.parse().unwrap(), options, &tx).await
}

pub async fn fails(address: &str, options: &Options) -> SourceError {
    run(address, options).await.unwrap_err()
}

/// Bytes that differ all along, so that a piece in a wrong place shows.
pub fn weights(bytes: usize) -> Vec<u8> {
    (0..bytes as u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

/// A repository with a config and `weights` on `server`.
pub fn repository(server: &Server, weights: &[u8]) {
    let files: [(&str, &[u8]); 3] = [
        ("config.json", b"{}"),
        ("model.safetensors", weights),
        ("pytorch_model.bin", b"not wanted"),
    ];
    let siblings: Vec<String> = files
        .iter()
        .map(|(name, body)| {
            let lfs = match name.ends_with(".json") {
                true => String::new(),
                false => format!(
                    r#","lfs":{{"sha256":"{}","size":{},"pointerSize":134}}"#,
                    Digest::of(body),
                    body.len()
                ),
            };
            format!(r#"{{"rfilename":"{name}","size":{}{lfs}}}"#, body.len())
        })
        .collect();
    list(server, &siblings);
    for (name, body) in files {
        server.file(&resolve(name), body);
    }
}

/// The list of a repository, with `siblings` as they are.
pub fn list(server: &Server, siblings: &[String]) {
    let list = format!(
        r#"{{"sha":"{COMMIT}","siblings":[{}]}}"#,
        siblings.join(",")
    );
    let page = Page {
        body: list.into(),
        ..Page::default()
    };
    for revision in ["main", COMMIT] {
        server.put(
            &format!("/api/models/acme/tiny/revision/{revision}"),
            page.clone(),
        );
    }
}

pub fn resolve(name: &str) -> String {
    format!("/acme/tiny/resolve/{COMMIT}/{name}")
}

pub fn weights_page() -> String {
    resolve("model.safetensors")
}
