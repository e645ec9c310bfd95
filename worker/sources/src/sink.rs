//! A file that grows: bytes go to the disk in pieces, and into its digest.
//!
//! Writing happens on threads for blocking work, and the lock of the entry goes along: a download
//! that is dropped in the middle of a write keeps the lock until that write has ended.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;

use crate::{
    cache::Lock,
    digest::{Digest, read_through},
    error::SourceError,
    space::not_written,
};

/// Large enough that a write costs more than the change of threads.
const PIECE_BYTES: usize = 1 << 20;

pub(crate) struct Sink {
    path: PathBuf,
    lock: Arc<Lock>,
    open: Option<Open>,
    waiting: BytesMut,
    written: u64,
    /// What the whole will have, as far as that is known.
    expected: u64,
}

struct Open {
    file: File,
    hash: Sha256,
}

impl Sink {
    /// Goes on with what is at `path`, or begins.
    pub(crate) async fn open(
        path: &Path,
        lock: Arc<Lock>,
        goes_on: bool,
    ) -> Result<Self, SourceError> {
        let (at, held) = (path.to_owned(), lock.clone());
        let opened = blocking(move || {
            let _held = held;
            let (hash, written) = match goes_on && at.exists() {
                true => read_through(&at)?,
                false => (Sha256::new(), 0),
            };
            let mut options = OpenOptions::new();
            let file = options.create(true).append(true).open(&at)?;
            if written == 0 && file.metadata()?.len() > 0 {
                file.set_len(0)?;
            }
            Ok((Open { file, hash }, written))
        })
        .await;
        let (open, written) = opened.map_err(|error| not_written(error, "opening", path, 0))?;
        Ok(Self {
            path: path.to_owned(),
            lock,
            open: Some(open),
            waiting: BytesMut::new(),
            written,
            expected: 0,
        })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.written + self.waiting.len() as u64
    }

    pub(crate) fn expect(&mut self, total: Option<u64>) {
        self.expected = total.unwrap_or(0);
    }

    /// Takes `chunk`; says how many bytes went to the disk for it.
    pub(crate) async fn write(&mut self, chunk: Bytes) -> Result<u64, SourceError> {
        self.waiting.extend_from_slice(&chunk);
        match self.waiting.len() < PIECE_BYTES {
            true => Ok(0),
            false => self.flush().await,
        }
    }

    /// Puts what was taken on the disk; says how many bytes those were.
    pub(crate) async fn flush(&mut self) -> Result<u64, SourceError> {
        let piece = self.waiting.split().freeze();
        let bytes = piece.len() as u64;
        self.with(move |open| {
            open.file.write_all(&piece)?;
            open.hash.update(&piece);
            Ok(())
        })
        .await?;
        self.written += bytes;
        Ok(bytes)
    }

    /// Forgets everything that came.
    pub(crate) async fn restart(&mut self) -> Result<(), SourceError> {
        self.waiting.clear();
        self.written = 0;
        self.with(|open| {
            open.hash = Sha256::new();
            open.file.set_len(0)
        })
        .await
    }

    /// Everything is on the disk, beyond a loss of power. Gives the digest and the length.
    pub(crate) async fn finish(mut self) -> Result<(Digest, u64), SourceError> {
        self.flush().await?;
        self.with(|open| open.file.sync_all()).await?;
        let open = self.open.take().expect("every step gives it back");
        Ok((Digest::finished(open.hash), self.written))
    }

    async fn with(
        &mut self,
        step: impl FnOnce(&mut Open) -> io::Result<()> + Send + 'static,
    ) -> Result<(), SourceError> {
        let mut open = self.open.take().ok_or_else(|| {
            // Its bytes and its digest may not agree any more.
            let broken = io::Error::other("an earlier write failed");
            SourceError::cache("writing", &self.path)(broken)
        })?;
        let held = self.lock.clone();
        let done = blocking(move || {
            let _held = held;
            step(&mut open)?;
            Ok(open)
        })
        .await;
        let needed = self.expected.saturating_sub(self.written);
        let open = done.map_err(|error| not_written(error, "writing", &self.path, needed))?;
        self.open = Some(open);
        Ok(())
    }
}

/// `work` on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(io::Error::other(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{Cache, Key};

    fn lock(folder: &Path) -> Arc<Lock> {
        let key = Key::new("a", Digest::of(b"a"), Digest::of(b"b"));
        Arc::new(Cache::new(folder).try_lock(&key).unwrap().unwrap())
    }

    #[tokio::test]
    async fn a_file_that_is_gone_on_with_has_the_digest_of_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.partial");
        let lock = lock(folder.path());
        std::fs::write(&path, "first ").unwrap();
        let mut sink = Sink::open(&path, lock, true).await.unwrap();
        assert_eq!(sink.bytes(), 6);
        sink.write(Bytes::from_static(b"second")).await.unwrap();
        assert_eq!(
            sink.finish().await.unwrap(),
            (Digest::of(b"first second"), 12)
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"first second");
    }

    #[tokio::test]
    async fn what_is_not_gone_on_with_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.partial");
        std::fs::write(&path, "first").unwrap();
        let mut sink = Sink::open(&path, lock(folder.path()), false).await.unwrap();
        sink.write(Bytes::from_static(b"wrong")).await.unwrap();
        sink.flush().await.unwrap();
        sink.restart().await.unwrap();
        sink.write(Bytes::from_static(b"ab")).await.unwrap();
        assert_eq!(sink.finish().await.unwrap(), (Digest::of(b"ab"), 2));
    }

    #[tokio::test]
    async fn a_disk_that_is_full_is_named_with_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        // Every write to this device fails as on a full disk.
        let path = folder.path().join("a.partial");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let mut sink = Sink::open(&path, lock(folder.path()), false).await.unwrap();
        sink.expect(Some(5000));
        sink.write(Bytes::from_static(b"some")).await.unwrap();
        let error = sink.flush().await.unwrap_err();
        assert!(
            matches!(error, SourceError::DiskFull { needed: 5000, .. }),
            "{error}"
        );
        assert_eq!(error.reason(), "DiskFull");
        assert!(!error.is_permanent());
    }

    #[tokio::test]
    async fn the_lock_is_held_until_the_last_write_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        let key = Key::new("a", Digest::of(b"a"), Digest::of(b"b"));
        let lock = lock(folder.path());
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let mut sink = Sink::open(&folder.path().join("a"), lock, false)
            .await
            .unwrap();
        let writing = sink.with(move |_| wait.recv().map_err(io::Error::other));
        // Begun, and then dropped with everything that holds the lock.
        assert!(futures::poll!(Box::pin(writing)).is_pending());
        drop(sink);
        assert!(cache.try_lock(&key).unwrap().is_none());
        go.send(()).unwrap();
        while cache.try_lock(&key).unwrap().is_none() {
            tokio::task::yield_now().await;
        }
    }
}
