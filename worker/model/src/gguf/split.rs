//! A model in several files: `name-00001-of-00003.gguf` and its neighbours.

use std::path::{Path, PathBuf};

use super::metadata::Metadata;
use crate::LoadError;

/// More than any model is split into.
const MOST: usize = 1_000;
/// How many missing files an error lists.
const LISTED: usize = 8;

/// The files that a path stands for, in order: those of its split, or itself alone.
///
/// # Errors
/// Names each part that does not exist.
pub(super) fn parts(path: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let Some((stem, _, count)) = split_name(path) else {
        return Ok(vec![path.to_owned()]);
    };
    if !(1..=MOST).contains(&count) {
        return Err(LoadError::Malformed {
            path: path.to_owned(),
            why: format!("its name says {count} parts, where 1 to {MOST} are read"),
        });
    }
    let parts: Vec<PathBuf> = (1..=count)
        .map(|part| path.with_file_name(format!("{stem}-{part:05}-of-{count:05}.gguf")))
        .collect();
    let missing: Vec<&PathBuf> = parts.iter().filter(|part| !part.is_file()).collect();
    if missing.is_empty() {
        return Ok(parts);
    }
    let listed = missing.iter().take(LISTED).copied().cloned().collect();
    Err(LoadError::PartsMissing {
        missing: listed,
        others: missing.len().saturating_sub(LISTED),
    })
}

/// The stem, the part and the count in a file name that has them.
fn split_name(path: &Path) -> Option<(&str, usize, usize)> {
    let name = path.file_name()?.to_str()?.strip_suffix(".gguf")?;
    let (rest, count) = numbered(name, "-of-")?;
    let (stem, part) = numbered(rest, "-")?;
    Some((stem, part, count))
}

/// A text that ends in a mark and five digits: what is before the mark, and the number.
fn numbered<'a>(text: &'a str, mark: &str) -> Option<(&'a str, usize)> {
    let (before, digits) = text.rsplit_once(mark)?;
    let five = digits.len() == 5 && digits.bytes().all(|digit| digit.is_ascii_digit());
    five.then(|| digits.parse().ok())?
        .map(|number| (before, number))
}

/// Holds the place of a part, counted from 0, against what the part says of itself.
pub(super) fn check_part(part: &Metadata, place: usize, count: usize) -> Result<(), LoadError> {
    let says: u16 = part.get("split.count")?.unwrap_or(0);
    if count == 1 && says <= 1 {
        return Ok(());
    }
    if usize::from(says) != count {
        let why = match count {
            1 => "where its name is not that of a part: it must end in -00001-of-00003.gguf, say"
                .to_owned(),
            _ => format!("where its name says that there are {count} parts"),
        };
        return Err(part.refuse("split.count", why));
    }
    if usize::from(part.need::<u16>("split.no")?) != place {
        let why = format!("where its name says {place}, counted from 0");
        return Err(part.refuse("split.no", why));
    }
    Ok(())
}

/// Holds the number of tensors in all parts against what the first says.
pub(super) fn check_tensors(first: &Metadata, found: usize) -> Result<(), LoadError> {
    let key = "split.tensors.count";
    match first.get::<u32>(key)? {
        Some(count) if count as usize != found => {
            let why = format!("where the parts have {found} tensors together");
            Err(first.refuse(key, why))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(name: &str) -> Option<(&str, usize, usize)> {
        split_name(Path::new(name))
    }

    #[test]
    fn a_name_of_a_part_says_which_it_is() {
        assert_eq!(
            parsed("/m/tiny-q4-00002-of-00003.gguf"),
            Some(("tiny-q4", 2, 3))
        );
    }

    #[test]
    fn a_name_without_five_digits_twice_is_of_no_part() {
        for name in [
            "tiny.gguf",
            "tiny-2-of-3.gguf",
            "tiny-00002-of-00003.bin",
            "tiny-0000x-of-00003.gguf",
            "00002-of-00003.gguf",
        ] {
            assert_eq!(parsed(name), None, "{name}");
        }
    }
}
