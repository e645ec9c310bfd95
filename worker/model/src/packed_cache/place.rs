//! Puts a whole file in its place: written beside it by one writer at a time, then renamed.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What the name of a file ends in while it is written.
pub(super) const PART: &str = ".part";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    Whole,
    /// Nothing was done: another writer is at it, or was until a moment ago.
    ByAnother,
}

/// Writes a file and makes it last before it gets its name. Whoever has the file that had the name
/// keeps that one.
///
/// # Errors
/// Where a step fails; then nothing is left but the file that had the name.
pub(super) fn place(
    path: &Path,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<Placed> {
    let mut name = path.as_os_str().to_owned();
    name.push(PART);
    let part = Path::new(&name);
    // Not emptied before it is known whose it is.
    let mut file = File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(part)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(Placed::ByAnother),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // The lock may be on a file that got its name between our two steps, and that others have mapped.
    if !is_at(&file, part)? {
        return Ok(Placed::ByAnother);
    }
    let filled = file
        .set_len(0)
        .and_then(|()| fill(&mut file))
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(part, path));
    if let Err(error) = filled {
        // It is ours, and nobody else's use.
        std::fs::remove_file(part).ok();
        return Err(error);
    }
    // So that the name lasts too; without it the file is written again.
    path.parent()
        .and_then(|folder| File::open(folder).ok()?.sync_all().ok());
    Ok(Placed::Whole)
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let held = file.metadata()?;
    match path.symlink_metadata() {
        Ok(found) => Ok((found.dev(), found.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_is_whole_or_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let failed = place(&path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("the disk is full"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "the disk is full");
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
        let placed = place(&path, |file| file.write_all(b"whole"));
        assert_eq!(placed.unwrap(), Placed::Whole);
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn what_a_writer_left_that_died_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(folder.path().join("a.part"), b"half of what was longer").unwrap();
        place(&path, |file| file.write_all(b"whole")).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
    }

    #[test]
    fn a_second_writer_leaves_the_first_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let placed = place(&path, |file| {
            let second = place(&path, |_| panic!("two writers"));
            assert_eq!(second.unwrap(), Placed::ByAnother);
            file.write_all(b"whole")
        });
        assert_eq!(placed.unwrap(), Placed::Whole);
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
    }

    #[test]
    fn a_file_that_got_its_name_meanwhile_is_not_taken_for_the_part() {
        let folder = tempfile::tempdir().unwrap();
        let (path, part) = (folder.path().join("a"), folder.path().join("a.part"));
        std::fs::write(&part, b"whole").unwrap();
        let opened = File::open(&part).unwrap();
        assert!(is_at(&opened, &part).unwrap());
        std::fs::rename(&part, &path).unwrap();
        assert!(!is_at(&opened, &part).unwrap());
        std::fs::write(&part, b"another's").unwrap();
        assert!(!is_at(&opened, &part).unwrap());
    }
}
