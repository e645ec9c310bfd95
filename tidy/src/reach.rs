//! Files that no crate reaches: they look like code and are compiled by nobody.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use crate::Tree;

static MODULE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?m)^(?:\s*#\[path = "([^"]+)"\]\n)?\s*(?:pub(?:\([^)]*\))? )?mod (\w+);"#)
        .expect("a constant that compiles")
});
static INCLUDED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"include!\("([^"]+)"\)"#).expect("a constant that compiles"));

/// Rust files that are reached from none of `roots` (paths from the repository's root).
pub fn unreached(tree: &Tree, roots: &[String]) -> Vec<String> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<(String, bool)> = roots.iter().map(|root| (root.clone(), true)).collect();
    while let Some((path, is_root)) = next.pop() {
        let Some(text) = tree.get(&path) else {
            continue;
        };
        if reached.insert(path.clone()) {
            next.extend(
                modules(tree, &path, is_root, text)
                    .into_iter()
                    .map(|path| (path, false)),
            );
        }
    }
    tree.ending(&[".rs"])
        .filter(|(path, _)| !reached.contains(*path))
        .map(|(path, _)| format!("{path}: is reached from no crate"))
        .collect()
}

/// The files that a file names.
fn modules(tree: &Tree, path: &str, is_root: bool, text: &str) -> Vec<String> {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    // A root's modules lie beside it, another file's in the folder of its name.
    let within = if is_root {
        folder.to_owned()
    } else {
        format!("{folder}/{}", file.trim_end_matches(".rs"))
    };
    let mut found = Vec::new();
    for module in MODULE.captures_iter(text) {
        match module.get(1) {
            Some(elsewhere) => found.push(normal(&format!("{folder}/{}", elsewhere.as_str()))),
            None => {
                let name = &module[2];
                let names = [
                    format!("{within}/{name}.rs"),
                    format!("{within}/{name}/mod.rs"),
                ];
                found.extend(names.into_iter().filter(|name| tree.get(name).is_some()));
            }
        }
    }
    let included = INCLUDED
        .captures_iter(text)
        .map(|included| normal(&format!("{folder}/{}", &included[1])));
    found.extend(included);
    found
}

/// The path without `.` and `..`.
pub fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
