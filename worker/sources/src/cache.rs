//! Where downloaded files lie, so that a node downloads each once.
//!
//! ```text
//! content/<key>/manifest.json    what was resolved, and the digest of every file
//! content/<key>/files/...        the files; never written again
//! partial/<key>/...              the same while it is being filled; then renamed
//! locks/<key>                    held by whoever fills it
//! resolved/<address>.json        what an address meant last
//! ```
//!
//! A key is made of the address, and of what it resolved to. An entry is complete or absent: its
//! files are on the disk before its folder gets its name.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{choose::Load, digest::Digest, error::SourceError, name::stays_below};

const MANIFEST: &str = "manifest.json";
const FILES: &str = "files";

/// One file of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedFile {
    /// Below the entry, with slashes.
    pub name: String,
    pub bytes: u64,
    pub sha256: Digest,
}

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) address: String,
    pub(crate) revision: String,
    pub(crate) load: Load,
    pub(crate) files: Vec<FetchedFile>,
}

/// The name of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Key(String);

impl Key {
    /// `address` is what was asked for, `content` what it resolved to.
    pub(crate) fn new(shown: &str, address: Digest, content: Digest) -> Self {
        Self(format!(
            "{}{}",
            Self::prefix(shown, address),
            content.short()
        ))
    }

    /// What all entries of one address begin with.
    fn prefix(shown: &str, address: Digest) -> String {
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || c == '.' {
                c
            } else {
                '-'
            }
        };
        let readable: String = shown.chars().map(plain).take(80).collect();
        format!("{}-{}-", readable.replace("---", "-"), address.short())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Held while an entry is filled. Dropping it lets others go on.
#[derive(Debug)]
pub(crate) struct Lock(#[allow(dead_code, reason = "held open, which is what locks")] File);

/// A folder of entries, which processes and machines may share.
#[derive(Clone, Debug)]
pub(crate) struct Cache(PathBuf);

#[derive(Serialize, Deserialize)]
struct Resolved {
    key: Key,
}

impl Cache {
    pub(crate) fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// What lies under `key`, if all of it is there.
    pub(crate) fn complete(&self, key: &Key) -> Option<Manifest> {
        let entry = self.content(key);
        let manifest = fs::read(entry.join(MANIFEST)).ok()?;
        let manifest: Manifest = serde_json::from_slice(&manifest).ok()?;
        let files = entry.join(FILES);
        // A person may have taken a file away, or another manifest may lead out of here.
        let is_there = |file: &FetchedFile| {
            let found = fs::metadata(files.join(&file.name));
            stays_below(&file.name) && found.is_ok_and(|found| found.len() == file.bytes)
        };
        manifest.files.iter().all(is_there).then_some(manifest)
    }

    /// What is given to the loader.
    pub(crate) fn load_path(&self, key: &Key, load: &Load) -> PathBuf {
        let files = self.content(key).join(FILES);
        match load {
            Load::Folder(folder) if folder.is_empty() => files,
            Load::Folder(below) | Load::File(below) => files.join(below),
        }
    }

    /// What `address` meant last.
    pub(crate) fn resolved(&self, address: Digest) -> Option<Key> {
        let text = fs::read(self.resolved_path(address)).ok()?;
        let resolved: Resolved = serde_json::from_slice(&text).ok()?;
        stays_below(resolved.key.as_str()).then_some(resolved.key)
    }

    pub(crate) fn remember(&self, address: Digest, key: &Key) -> Result<(), SourceError> {
        let path = self.resolved_path(address);
        let resolved = Resolved { key: key.clone() };
        let text = serde_json::to_vec(&resolved).expect("a name can be written as JSON");
        if fs::read(&path).is_ok_and(|there| there == text) {
            return Ok(());
        }
        let fresh = path.with_extension(format!("{}.new", std::process::id()));
        let written = fs::create_dir_all(self.0.join("resolved"))
            .and_then(|()| fs::write(&fresh, text))
            .and_then(|()| fs::rename(&fresh, &path));
        written.map_err(SourceError::cache("remembering what was resolved in", path))
    }

    /// The lock of `key`; nothing while another holds it.
    pub(crate) fn try_lock(&self, key: &Key) -> Result<Option<Lock>, SourceError> {
        let path = self.0.join("locks").join(key.as_str());
        let locked = fs::create_dir_all(self.0.join("locks"))
            .and_then(|()| File::options().create(true).append(true).open(&path));
        let file = locked.map_err(SourceError::cache("making the lock", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => {
                Err(SourceError::cache("taking the lock", path)(error))
            }
        }
    }

    /// The folder to fill for `key`, with what an earlier try left there.
    pub(crate) fn begin(&self, key: &Key) -> Result<PathBuf, SourceError> {
        let content = self.content(key);
        if content.exists() {
            // It was not complete, and nothing writes below content.
            fs::remove_dir_all(&content).map_err(SourceError::cache("clearing", content))?;
        }
        let files = self.partial(key).join(FILES);
        fs::create_dir_all(&files).map_err(SourceError::cache("making", &files))?;
        Ok(files)
    }

    /// Names what was filled. The files themselves are on the disk already.
    pub(crate) fn finish(&self, key: &Key, manifest: &Manifest) -> Result<(), SourceError> {
        let partial = self.partial(key);
        let text = serde_json::to_vec_pretty(manifest).expect("names can be written as JSON");
        let written = (|| {
            let path = partial.join(MANIFEST);
            fs::write(&path, text)?;
            File::open(&path)?.sync_all()?;
            sync_folders(&partial)?;
            fs::create_dir_all(self.0.join("content"))?;
            fs::rename(&partial, self.content(key))?;
            File::open(self.0.join("content"))?.sync_all()
        })();
        written.map_err(SourceError::cache("completing", partial))
    }

    /// Removes what was begun for earlier contents of the same address and that nobody fills now.
    pub(crate) fn clear_outdated(&self, shown: &str, address: Digest, key: &Key) {
        let prefix = Key::prefix(shown, address);
        let begun = fs::read_dir(self.0.join("partial"))
            .into_iter()
            .flatten()
            .flatten();
        for entry in begun {
            let name = entry.file_name().to_string_lossy().into_owned();
            let other = Key(name);
            if !other.as_str().starts_with(&prefix) || other == *key {
                continue;
            }
            if let Ok(Some(lock)) = self.try_lock(&other) {
                tracing::info!(entry = other.as_str(), "removing an outdated download");
                // What cannot be removed now is tried again the next time.
                let _ = fs::remove_dir_all(entry.path());
                drop(lock);
            }
        }
    }

    /// The bytes that whoever holds the lock has written so far.
    pub(crate) fn begun_bytes(&self, key: &Key) -> u64 {
        fn below(folder: &Path) -> u64 {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            let sizes = entries.map(|entry| match entry.metadata() {
                Ok(found) if found.is_dir() => below(&entry.path()),
                Ok(found) => found.len(),
                Err(_) => 0,
            });
            sizes.sum()
        }
        below(&self.partial(key).join(FILES))
    }

    fn content(&self, key: &Key) -> PathBuf {
        self.0.join("content").join(key.as_str())
    }

    fn partial(&self, key: &Key) -> PathBuf {
        self.0.join("partial").join(key.as_str())
    }

    fn resolved_path(&self, address: Digest) -> PathBuf {
        self.0
            .join("resolved")
            .join(format!("{}.json", address.short()))
    }
}

fn sync_folders(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(cache: &Cache) -> Key {
        let key = Key::new("hf://a/b", Digest::of(b"hf://a/b"), Digest::of(b"1"));
        let files = cache.begin(&key).unwrap();
        fs::write(files.join("config.json"), "{}").unwrap();
        let manifest = Manifest {
            address: "hf://a/b".into(),
            revision: "1".into(),
            load: Load::Folder(String::new()),
            files: vec![FetchedFile {
                name: "config.json".into(),
                bytes: 2,
                sha256: Digest::of(b"{}"),
            }],
        };
        cache.finish(&key, &manifest).unwrap();
        key
    }

    #[test]
    fn an_entry_is_there_when_it_is_finished_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        let key = entry(&cache);
        let manifest = cache.complete(&key).unwrap();
        let path = cache.load_path(&key, &manifest.load);
        assert!(path.join("config.json").is_file());
        fs::write(path.join("config.json"), "").unwrap();
        assert_eq!(cache.complete(&key), None);
        cache.begin(&key).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_key_says_which_address_it_is_of() {
        let key = Key::new("hf://a/b", Digest::of(b"x"), Digest::of(b"y"));
        assert!(key.as_str().starts_with("hf-a-b-"), "{}", key.as_str());
        assert!(stays_below(key.as_str()));
    }

    #[test]
    fn a_lock_is_held_by_one_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        let key = Key("k".into());
        let lock = cache.try_lock(&key).unwrap();
        assert!(lock.is_some());
        assert!(cache.try_lock(&key).unwrap().is_none());
        drop(lock);
        assert!(cache.try_lock(&key).unwrap().is_some());
    }

    #[test]
    fn downloads_of_earlier_contents_are_removed_unless_someone_is_at_them() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        let address = Digest::of(b"hf://a/b");
        let key = |content: &[u8]| Key::new("hf://a/b", address, Digest::of(content));
        let (old, held, new) = (key(b"old"), key(b"held"), key(b"new"));
        for begun in [&old, &held, &new] {
            cache.begin(begun).unwrap();
        }
        let _lock = cache.try_lock(&held).unwrap();
        cache.clear_outdated("hf://a/b", address, &new);
        let there = [&old, &held, &new].map(|key| cache.partial(key).exists());
        assert_eq!(there, [false, true, true]);
    }

    #[test]
    fn what_an_address_meant_is_remembered_and_a_key_that_leads_elsewhere_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        let address = Digest::of(b"a");
        assert_eq!(cache.resolved(address), None);
        cache.remember(address, &Key("one".into())).unwrap();
        cache.remember(address, &Key("two".into())).unwrap();
        assert_eq!(cache.resolved(address), Some(Key("two".into())));
        cache.remember(address, &Key("../../etc".into())).unwrap();
        assert_eq!(cache.resolved(address), None);
    }
}
