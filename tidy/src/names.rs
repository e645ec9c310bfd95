//! Names that say nothing.

use std::sync::LazyLock;

use regex::Regex;

use crate::Tree;

/// Modules that would hold whatever found no place.
const NOWHERE: [&str; 8] = [
    "utils", "util", "common", "types", "helpers", "helper", "misc", "mod",
];

// A type that is called `Data` and no more is what somebody else's trait calls it.
static VAGUE_TYPE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"\b(?:(?:struct|enum|union|trait) \w*|type \w+)(?:Manager|Helper|Data|Info|Utils)\b",
    )
    .expect("a constant that compiles")
});

/// Files and folders named for no idea, and types named for none.
pub fn vague_names(tree: &Tree) -> Vec<String> {
    let modules = tree.rust().filter_map(|(path, _)| {
        let parts: Vec<&str> = path.split('/').collect();
        // `tests/common/mod.rs` is cargo's way to share code between tests, and still a bad name.
        let nowhere = parts
            .iter()
            .find(|part| NOWHERE.contains(&part.trim_end_matches(".rs")))?;
        Some(format!(
            "{path}: `{nowhere}` says nothing about what is in it"
        ))
    });
    let types = tree.rust().flat_map(|(path, text)| {
        let names = VAGUE_TYPE
            .find_iter(text)
            .map(|found| found.as_str().to_owned());
        names.map(move |name| format!("{path}: `{name}` ends in a word that says nothing"))
    });
    modules.chain(types).collect()
}
