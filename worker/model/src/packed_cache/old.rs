//! What need not be kept: weights packed by another version, and what nobody started from for long.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::PACKED;
use super::known::NOTE;
use super::place::PART;

/// Longer than a model that is still wanted goes without a start.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Longer than the writing of a file takes whose writer still lives.
const WRITTEN: Duration = Duration::from_secs(60 * 60);

/// The names of what lies in a folder; none where it cannot be read.
pub(super) fn names(folder: &Path) -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}

/// Whether a file may go. `current` has just been written or used; `used` is when the file was.
pub(super) fn is_old(name: &str, current: &str, used: SystemTime, now: SystemTime) -> bool {
    if name == current || !is_ours(name) {
        return false;
    }
    let age = now.duration_since(used).unwrap_or_default();
    match name.ends_with(PART) {
        true => age > WRITTEN,
        false => is_of_another_version(name, current) || age > KEPT,
    }
}

/// Whether the name is one that this module gives: 64 digits of a digest first, and our endings.
fn is_ours(name: &str) -> bool {
    let digits = name.bytes().take_while(u8::is_ascii_hexdigit).count();
    let name = name.strip_suffix(PART).unwrap_or(name);
    digits == 64 && (name.ends_with(PACKED) || name.ends_with(NOTE))
}

/// The same weights, rounded alike: `digest-rounding-bytes-version.packed`.
fn is_of_another_version(name: &str, current: &str) -> bool {
    let of = |name: &str| {
        let (weights, _) = name.strip_suffix(PACKED)?.rsplit_once('-')?;
        Some(weights.to_owned())
    };
    of(name).is_some() && of(name) == of(current)
}

/// Removes what is old. What cannot be removed stays, and is tried at the next start.
pub(super) fn remove(folder: &Path, current: &str, now: SystemTime) {
    for name in names(folder) {
        let path = folder.join(&name);
        let used = path.symlink_metadata().and_then(|found| found.modified());
        if used.is_ok_and(|used| is_old(&name, current, used, now)) {
            std::fs::remove_file(path).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    fn named(digit: &str, rest: &str) -> String {
        digit.repeat(64) + rest
    }

    #[test]
    fn another_version_goes_and_other_weights_stay_until_nobody_uses_them() {
        let now = SystemTime::UNIX_EPOCH + HOUR * 24 * 365;
        let current = named("a", "-q8-99-1.2.packed");
        let is_old = |name: &str, age: Duration| is_old(name, &current, now - age, now);
        assert!(is_old(&named("a", "-q8-99-1.1.packed"), HOUR));
        assert!(!is_old(&current, HOUR * 24 * 31));
        for other in [
            named("a", "-q4-99-1.1.packed"),
            named("b", "-q8-99-1.1.packed"),
            named("b", ".digest"),
        ] {
            assert!(!is_old(&other, HOUR * 24 * 29), "{other}");
            assert!(is_old(&other, HOUR * 24 * 31), "{other}");
        }
        // Used in what is the future here.
        assert!(!super::is_old(
            &named("b", ".digest"),
            &current,
            now + HOUR,
            now
        ));
    }

    #[test]
    fn what_a_writer_left_goes_after_an_hour() {
        let now = SystemTime::UNIX_EPOCH + HOUR * 24 * 365;
        let current = named("a", "-q8-99-1.2.packed");
        for part in [
            named("a", "-q8-99-1.2.packed.part"),
            named("b", ".digest.part"),
        ] {
            assert!(!is_old(&part, &current, now - HOUR, now), "{part}");
            assert!(is_old(&part, &current, now - HOUR * 2, now), "{part}");
        }
    }

    #[test]
    fn what_others_keep_in_the_folder_stays() {
        let now = SystemTime::UNIX_EPOCH + HOUR * 24 * 365;
        let current = named("a", "-q8-99-1.2.packed");
        for name in [
            "notes.packed".to_owned(),
            "model.safetensors".to_owned(),
            named("b", ".safetensors"),
            named("z", "-q8-99-1.2.packed"),
        ] {
            assert!(
                !is_old(&name, &current, SystemTime::UNIX_EPOCH, now),
                "{name}"
            );
        }
    }
}
