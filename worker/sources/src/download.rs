//! One file, from its source to the disk: resumed after every cut, checked by length and digest.

use std::{fs, path::Path, sync::Arc};

use futures::StreamExt;

use crate::{
    cache::{FetchedFile, Lock},
    digest::{Digest, read_through},
    error::{SourceError, Trouble},
    patience::{Patience, Waiting},
    progress::{Meter, Phase},
    remote::{Remote, RemoteFile},
    sink::{Sink, blocking},
    web::Opened,
};

/// What all files of an entry share.
pub(crate) struct Download<'a> {
    pub(crate) remote: &'a dyn Remote,
    pub(crate) address: &'a str,
    pub(crate) patience: Patience,
    pub(crate) meter: &'a Meter<'a>,
    pub(crate) lock: Arc<Lock>,
}

/// What is known of a file's content, more with each answer.
struct Known {
    total: Option<u64>,
    tag: Option<String>,
}

impl Download<'_> {
    /// `file` at `path`, whole and checked, whatever was there before.
    pub(crate) async fn fetch(
        &self,
        file: &RemoteFile,
        path: &Path,
    ) -> Result<FetchedFile, SourceError> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(SourceError::cache("making", parent))?;
        }
        if let Some(finished) = self.finished(file, path).await? {
            self.meter.correct(as_signed(finished.bytes));
            return Ok(finished);
        }
        let partial = beside(path);
        // Without a digest or a tag, nothing says that an earlier beginning is of the same file.
        let may_go_on = file.sha256.is_some() || file.tag.is_some();
        if may_go_on && partial.exists() {
            self.meter.enter(Phase::Verifying, &file.name);
        }
        let mut sink = Sink::open(&partial, self.lock.clone(), may_go_on).await?;
        let came_before = sink.bytes() > 0;
        self.meter.correct(as_signed(sink.bytes()));
        self.receive(file, &mut sink).await?;
        let (mut found, mut bytes) = sink.finish().await?;
        if came_before && file.sha256.is_some_and(|expected| expected != found) {
            // A machine that lost its power may have left a beginning of zeros.
            self.meter.correct(-as_signed(bytes));
            let mut sink = Sink::open(&partial, self.lock.clone(), false).await?;
            self.receive(file, &mut sink).await?;
            (found, bytes) = sink.finish().await?;
        }
        if let Some(expected) = file.sha256.filter(|expected| *expected != found) {
            fs::remove_file(&partial).map_err(SourceError::cache("removing", partial))?;
            return Err(SourceError::DigestMismatch {
                file: file.name.clone(),
                expected,
                found,
            });
        }
        fs::rename(&partial, path).map_err(SourceError::cache("naming", path))?;
        Ok(FetchedFile {
            name: file.name.clone(),
            bytes,
            sha256: found,
        })
    }

    /// The file, if an earlier process finished it before it ended.
    async fn finished(
        &self,
        file: &RemoteFile,
        path: &Path,
    ) -> Result<Option<FetchedFile>, SourceError> {
        if !path.exists() {
            return Ok(None);
        }
        self.meter.enter(Phase::Verifying, &file.name);
        let (at, held) = (path.to_owned(), self.lock.clone());
        let read = blocking(move || {
            let _held = held;
            read_through(&at)
        })
        .await;
        let (hash, bytes) = read.map_err(SourceError::cache("reading", path))?;
        let sha256 = Digest::finished(hash);
        let agrees = file.bytes.is_none_or(|expected| expected == bytes)
            && file.sha256.is_none_or(|expected| expected == sha256);
        if !agrees {
            fs::remove_file(path).map_err(SourceError::cache("removing", path))?;
            return Ok(None);
        }
        Ok(Some(FetchedFile {
            name: file.name.clone(),
            bytes,
            sha256,
        }))
    }

    /// Takes bytes until all are there, through every trouble that passes.
    async fn receive(&self, file: &RemoteFile, sink: &mut Sink) -> Result<(), SourceError> {
        let mut waiting = Waiting::new(self.patience);
        let mut known = Known {
            total: file.bytes,
            tag: file.tag.clone(),
        };
        if known.total.is_some_and(|total| sink.bytes() > total) {
            self.meter.correct(-as_signed(sink.bytes()));
            sink.restart().await?;
        }
        let mut furthest = sink.bytes();
        loop {
            if known.total == Some(sink.bytes()) && sink.bytes() > 0 {
                return Ok(());
            }
            let trouble = match self.remote.open(file, sink.bytes()).await {
                Ok(opened) => match self.take(file, opened, &mut known, sink).await {
                    Ok(()) => return Ok(()),
                    Err(trouble) => trouble,
                },
                Err(trouble) => trouble,
            };
            // A server that cannot resume and cuts at the same byte each time makes no progress.
            if sink.bytes() > furthest {
                furthest = sink.bytes();
                waiting.progressed();
            }
            if let Trouble::Passing { what, .. } = &trouble {
                self.meter.trouble(what);
            }
            waiting.after(trouble, self.address).await?;
        }
    }

    /// Takes the body of one answer.
    async fn take(
        &self,
        file: &RemoteFile,
        opened: Opened,
        known: &mut Known,
        sink: &mut Sink,
    ) -> Result<(), Trouble> {
        check(file, &opened, known, sink.bytes())?;
        if opened.from == 0 && sink.bytes() > 0 {
            self.meter.correct(-as_signed(sink.bytes()));
            sink.restart().await?;
        }
        known.total = known.total.or(opened.total);
        known.tag = known.tag.take().or(opened.tag);
        sink.expect(known.total);
        let mut body = opened.body;
        while let Some(chunk) = body.next().await {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(trouble) => {
                    self.meter.came(&file.name, sink.flush().await?);
                    return Err(trouble);
                }
            };
            let found = sink.bytes() + chunk.len() as u64;
            if let Some(said) = known.total.filter(|said| found > *said) {
                let file = file.name.clone();
                return Err(SourceError::Length { file, said, found }.into());
            }
            let written = sink.write(chunk).await?;
            if written > 0 {
                self.meter.came(&file.name, written);
            }
        }
        self.meter.came(&file.name, sink.flush().await?);
        match known.total {
            Some(total) if sink.bytes() < total => Err(Trouble::passing(format!(
                "{} ended after {} of {total} bytes",
                file.name,
                sink.bytes()
            ))),
            _ => Ok(()),
        }
    }
}

/// Whether an answer is about the file that was listed, and that earlier answers were about.
fn check(file: &RemoteFile, opened: &Opened, known: &Known, had: u64) -> Result<(), SourceError> {
    let name = file.name.clone();
    if let (Some(said), Some(found)) = (known.total, opened.total)
        && said != found
    {
        return Err(match had {
            0 => SourceError::Length {
                file: name,
                said,
                found,
            },
            _ => SourceError::Changed {
                file: name,
                what: format!("it had {said} bytes, and has {found}"),
            },
        });
    }
    // Where a digest decides in the end, a tag says nothing.
    if file.sha256.is_none()
        && let (Some(before), Some(now)) = (&known.tag, &opened.tag)
        && before != now
    {
        return Err(SourceError::Changed {
            file: name,
            what: format!("its tag was {before}, and is {now}"),
        });
    }
    Ok(())
}

fn beside(path: &Path) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

fn as_signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
