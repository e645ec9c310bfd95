//! Names of files as others write them, and where they may lead.

/// Longer names are refused by file systems.
const LONGEST_PART: usize = 255;

/// Whether `name` is a path that stays below the folder it is joined to: no root, no dots for
/// folders, no backslash or control character, nothing empty.
pub(crate) fn stays_below(name: &str) -> bool {
    let good = |part: &str| {
        let plain = !part.contains(|c: char| c.is_control() || c == '\\');
        plain && !matches!(part, "" | "." | "..") && part.len() <= LONGEST_PART
    };
    name.len() <= 1024 && name.split('/').all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let long = "a".repeat(256);
        for name in [
            "",
            "/etc/passwd",
            "../a",
            "a/../../b",
            "a//b",
            "a/",
            "./a",
            "a/..",
            "a\\b",
            "a\0b",
            "a\nb",
            &long,
        ] {
            assert!(!stays_below(name), "{name:?}");
        }
        for name in ["a", "a/b.json", "..a", "a..b/c", "modèle.gguf"] {
            assert!(stays_below(name), "{name:?}");
        }
    }
}
