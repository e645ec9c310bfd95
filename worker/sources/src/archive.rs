//! Archives, unpacked without trust: only plain files and folders, only below the folder, and not
//! without end.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};

use crate::{
    cache::FetchedFile, digest::Digest, error::SourceError, name::stays_below, remote::Packing,
    space::not_written,
};

/// Weights hardly get smaller by packing; what grows more than this is meant to fill a disk.
const MOST_GROWTH: u64 = 16;
/// An archive this small may grow to this anyway: text packs well.
const LEAST_BOUND_BYTES: u64 = 64 << 20;
const MOST_ENTRIES: usize = 100_000;

/// Unpacks `archive` into `folder`. Blocks.
pub(crate) fn unpack(
    archive: &Path,
    packing: Packing,
    folder: &Path,
) -> Result<Vec<FetchedFile>, SourceError> {
    let opened = File::open(archive).and_then(|file| Ok((file.metadata()?.len(), file)));
    let (bytes, file) = opened.map_err(SourceError::cache("reading", archive))?;
    let file = io::BufReader::with_capacity(1 << 20, file);
    let room = bytes.saturating_mul(MOST_GROWTH).max(LEAST_BOUND_BYTES);
    match packing {
        Packing::Tar => entries(tar::Archive::new(file), archive, folder, room),
        Packing::TarGzip => entries(
            tar::Archive::new(MultiGzDecoder::new(file)),
            archive,
            folder,
            room,
        ),
    }
}

fn entries<R: Read>(
    mut archive: tar::Archive<R>,
    path: &Path,
    folder: &Path,
    mut room: u64,
) -> Result<Vec<FetchedFile>, SourceError> {
    let broken = |error: io::Error| refused(path, &format!("is not whole: {error}"));
    let mut files = Vec::new();
    for (count, entry) in archive.entries().map_err(broken)?.enumerate() {
        let mut entry = entry.map_err(broken)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = name
            .trim_start_matches("./")
            .trim_end_matches('/')
            .to_owned();
        let kind = entry.header().entry_type();
        if count >= MOST_ENTRIES {
            return Err(refused(
                path,
                &format!("holds more than {MOST_ENTRIES} entries"),
            ));
        }
        if kind.is_pax_global_extensions() || (kind.is_dir() && matches!(name.as_str(), "" | ".")) {
            continue;
        }
        if !stays_below(&name) {
            return Err(refused(
                path,
                &format!("holds {name:?}, which leads out of its folder"),
            ));
        }
        if kind.is_dir() {
            continue;
        }
        if !kind.is_file()
            || name
                .rsplit('/')
                .next()
                .is_some_and(|last| last.starts_with(".wh."))
        {
            return Err(refused(
                path,
                &format!("holds {name:?}, which is no plain file"),
            ));
        }
        if entry.size() > room {
            return Err(refused(path, "grows without end when it is unpacked"));
        }
        room -= entry.size();
        files.push(write(&mut entry, name, path, folder)?);
    }
    Ok(files)
}

fn write<R: Read>(
    entry: &mut tar::Entry<'_, R>,
    name: String,
    archive: &Path,
    folder: &Path,
) -> Result<FetchedFile, SourceError> {
    let path = folder.join(&name);
    let needed = entry.size();
    let failed = |error: io::Error| not_written(error, "unpacking", &path, needed);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    let mut file = File::create(&path).map_err(failed)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let read = entry.read(&mut buffer);
        let read = read.map_err(|error| refused(archive, &format!("is not whole: {error}")))?;
        if read == 0 {
            break;
        }
        bytes += read as u64;
        hash.update(&buffer[..read]);
        io::Write::write_all(&mut file, &buffer[..read]).map_err(failed)?;
    }
    file.sync_all().map_err(failed)?;
    Ok(FetchedFile {
        name,
        bytes,
        sha256: Digest::finished(hash),
    })
}

fn refused(archive: &Path, what: &str) -> SourceError {
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    SourceError::Unsafe {
        what: format!("the archive {name} {what}"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    /// An archive of one entry, with a name that the library itself would not write.
    fn archive(name: &str, kind: tar::EntryType, content: &[u8]) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(content.len() as u64);
        header.set_entry_type(kind);
        header.set_cksum();
        let mut builder = tar::Builder::new(Vec::new());
        builder.append(&header, content).unwrap();
        builder.into_inner().unwrap()
    }

    fn unpacked(bytes: &[u8], packing: Packing) -> Result<Vec<FetchedFile>, SourceError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        fs::write(&path, bytes).unwrap();
        let into = folder.path().join("into");
        fs::create_dir(&into).unwrap();
        let files = unpack(&path, packing, &into);
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            2,
            "something got out"
        );
        files
    }

    #[test]
    fn files_come_out_with_their_digests() {
        let tar = archive("./a/config.json", tar::EntryType::Regular, b"{}");
        let file = FetchedFile {
            name: "a/config.json".into(),
            bytes: 2,
            sha256: Digest::of(b"{}"),
        };
        assert_eq!(
            unpacked(&tar, Packing::Tar).unwrap(),
            std::slice::from_ref(&file)
        );
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&tar).unwrap();
        assert_eq!(
            unpacked(&gzip.finish().unwrap(), Packing::TarGzip).unwrap(),
            [file]
        );
    }

    #[test]
    fn entries_that_lead_out_or_are_no_files_are_refused() {
        for (name, kind) in [
            ("../x", tar::EntryType::Regular),
            ("/x", tar::EntryType::Regular),
            ("a/../../x", tar::EntryType::Regular),
            ("link", tar::EntryType::Symlink),
            ("link", tar::EntryType::Link),
            ("device", tar::EntryType::Char),
            ("a/.wh.config.json", tar::EntryType::Regular),
        ] {
            let error = unpacked(&archive(name, kind, b""), Packing::Tar).unwrap_err();
            assert_eq!(error.reason(), "Unsupported", "{name}: {error}");
        }
    }

    #[test]
    fn an_archive_that_is_cut_off_or_none_is_refused() {
        let tar = archive("a", tar::EntryType::Regular, &[7; 5000]);
        assert!(unpacked(&tar[..2000], Packing::Tar).is_err());
        assert!(unpacked(b"not gzip at all", Packing::TarGzip).is_err());
    }

    #[test]
    fn an_archive_that_grows_without_end_is_refused_before_it_does() {
        // A header that promises a terabyte, packed.
        let mut header = tar::Header::new_gnu();
        header.set_path("zeros").unwrap();
        header.set_size(1 << 40);
        header.set_cksum();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(header.as_bytes()).unwrap();
        let error = unpacked(&gzip.finish().unwrap(), Packing::TarGzip).unwrap_err();
        assert!(error.to_string().contains("without end"), "{error}");
    }
}
