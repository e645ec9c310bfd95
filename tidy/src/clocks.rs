//! Who looks at the clock that people set: it steps, so that nothing may be measured by it.

use std::sync::LazyLock;

use regex::Regex;

use crate::Tree;

/// Where limits, holds, leases and money are.
const PARTS: [&str; 3] = ["router/src/", "lib/", "operator/src/"];

static LOOK: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\b(?:SystemTime::now|Timestamp::now|Zoned::now|Utc::now)\b")
        .expect("a constant that compiles")
});

/// A file that may look at it, and what for.
pub type Look = (&'static str, &'static str);

/// Files that look at the clock and are not `known` to, and known ones that do not. Tests may look.
pub fn looks(tree: &Tree, known: &[Look]) -> Vec<String> {
    let found: Vec<&str> = tree
        .rust()
        .filter(|(path, _)| PARTS.iter().any(|part| path.starts_with(part)))
        .filter(|(path, _)| !path.contains("tests"))
        .filter(|(_, text)| {
            let code = text.split("#[cfg(test)]\nmod tests {").next();
            code.is_some_and(|code| LOOK.is_match(code))
        })
        .map(|(path, _)| path)
        .collect();
    let unknown = found
        .iter()
        .filter(|path| !known.iter().any(|(known, _)| known == *path))
        .map(|path| {
            format!(
                "{path}: looks at a clock that steps; take an `Instant`, or the time as an argument"
            )
        });
    let gone = known
        .iter()
        .filter(|(path, _)| !found.contains(path))
        .map(|(path, _)| format!("{path}: is known to look at the clock and does not"));
    unknown.chain(gone).collect()
}
