//! The files of an entry: room for them, the downloads, and what is packed unpacked.

use std::{fs, path::PathBuf, sync::Arc};

use futures::{StreamExt, TryStreamExt, stream};

use super::Fetching;
use crate::{
    archive::unpack,
    cache::{FetchedFile, Lock},
    choose::Load,
    download::Download,
    error::SourceError,
    plan::{Plan, load_unpacked},
    progress::Phase,
    remote::{Packing, RemoteFile},
    sink::blocking,
    space::foresee,
};

/// Files that come at the same time: one connection rarely fills a line.
const FILES_AT_ONCE: usize = 4;

impl Fetching<'_> {
    /// Puts the files of `plan` below `folder`.
    pub(super) async fn fill(
        &self,
        plan: &Plan,
        folder: PathBuf,
        lock: &Arc<Lock>,
    ) -> Result<(Load, Vec<FetchedFile>), SourceError> {
        let total = plan.total_bytes();
        let begun = sizes(&folder, &plan.files);
        let missing = total.unwrap_or(0).saturating_sub(begun);
        foresee(&folder, missing.saturating_add(plan.packed_bytes()))?;
        tracing::info!(
            source = self.address,
            revision = plan.revision,
            files = plan.files.len(),
            total_bytes = total,
            begun_bytes = begun,
            "downloading"
        );
        self.meter.enter(Phase::Downloading, "");
        self.meter.expect(0, total);
        let download = Download {
            remote: self.remote.as_ref(),
            address: &self.address,
            patience: self.options.patience,
            meter: self.meter,
            lock: lock.clone(),
        };
        let download = &download;
        let mut coming = Vec::new();
        for file in &plan.files {
            let path = folder.join(&file.name);
            coming.push(async move { download.fetch(file, &path).await });
        }
        // In the order of the plan, so that the manifest does not depend on who was quicker.
        let mut files: Vec<FetchedFile> = stream::iter(coming)
            .buffered(FILES_AT_ONCE)
            .try_collect()
            .await?;
        let Some(load) = &plan.load else {
            for file in &plan.files {
                if let Some(packing) = file.packing {
                    let unpacked = self.unpack(file, packing, &folder, lock).await?;
                    files.retain(|there| {
                        there.name != file.name
                            && !unpacked.iter().any(|fresh| fresh.name == there.name)
                    });
                    files.extend(unpacked);
                }
            }
            let names: Vec<String> = files.iter().map(|file| file.name.clone()).collect();
            return Ok((load_unpacked(&names, &self.address)?, files));
        };
        Ok((load.clone(), files))
    }

    async fn unpack(
        &self,
        file: &RemoteFile,
        packing: Packing,
        folder: &std::path::Path,
        lock: &Arc<Lock>,
    ) -> Result<Vec<FetchedFile>, SourceError> {
        self.meter.enter(Phase::Unpacking, &file.name);
        let archive = folder.join(&file.name);
        let (folder, held) = (folder.to_owned(), lock.clone());
        let path = archive.clone();
        let unpacked = blocking(move || {
            let _held = held;
            let unpacked = unpack(&path, packing, &folder);
            match &unpacked {
                Ok(_) => fs::remove_file(&path)?,
                // Half an archive helps nobody, and may be what fills the disk.
                Err(_) => fs::remove_dir_all(&folder)?,
            }
            Ok(unpacked)
        })
        .await;
        unpacked.map_err(SourceError::cache("unpacking", archive))?
    }
}

/// What there is already of `files`.
fn sizes(folder: &std::path::Path, files: &[RemoteFile]) -> u64 {
    let size = |name: String| fs::metadata(folder.join(name)).map_or(0, |found| found.len());
    let of = |file: &RemoteFile| size(file.name.clone()) + size(format!("{}.partial", file.name));
    files.iter().map(of).sum()
}
