//! The files around the code: they exist, agree with it, and point to what is there.

use std::sync::LazyLock;

use regex::Regex;
use toml::Table;

use crate::Tree;
use crate::manifests::workspace_version;
use crate::reach::normal;

/// What a person types after `make`.
const MAKE_TARGETS: [&str; 6] = ["demo", "test", "e2e", "bench", "generate", "lint"];

/// What somebody who opens the repository looks for.
const EXPECTED: [&str; 9] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "clippy.toml",
    "deny.toml",
    "rust-toolchain.toml",
];

/// Files that every project has and this one lacks.
pub fn missing_files(tree: &Tree) -> Vec<String> {
    let missing = EXPECTED.iter().filter(|path| !tree.has(path));
    missing
        .map(|path| format!("{path}: is not there"))
        .collect()
}

/// Targets that the documentation promises and the Makefile lacks.
pub fn missing_targets(tree: &Tree) -> Vec<String> {
    let makefile = tree.get("Makefile").unwrap_or_default();
    let has = |target: &str| {
        makefile
            .lines()
            .any(|line| line.starts_with(&format!("{target}:")))
    };
    let missing = MAKE_TARGETS.iter().filter(|target| !has(target));
    missing
        .map(|target| format!("Makefile: has no target `{target}`"))
        .collect()
}

/// The chart's own version and that of what it installs are the workspace's.
pub fn disagreeing_versions(tree: &Tree) -> Vec<String> {
    let Some(version) = workspace_version(tree) else {
        return vec!["Cargo.toml: names no version of the workspace".to_owned()];
    };
    let chart = tree.get("charts/weir/Chart.yaml").unwrap_or_default();
    let value_of = |key: &str| {
        let line = chart
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{key}:")))?;
        Some(line.trim().trim_matches('"').to_owned())
    };
    let mut problems: Vec<String> = ["version", "appVersion"]
        .into_iter()
        .filter(|key| value_of(key).as_ref() != Some(&version))
        .map(|key| format!("charts/weir/Chart.yaml: `{key}` is not the workspace's {version}"))
        .collect();
    let changes = tree.get("CHANGELOG.md").unwrap_or_default();
    if !changes.contains(&format!("## {version}")) && !changes.contains("## Unreleased") {
        problems.push(format!(
            "CHANGELOG.md: has no section for {version}, nor one for what is unreleased"
        ));
    }
    problems
}

/// `deny.toml` decides about licences, duplicates and sources.
pub fn undecided_dependencies(tree: &Tree) -> Vec<String> {
    let Some(Ok(deny)) = tree.get("deny.toml").map(toml::from_str::<Table>) else {
        return vec!["deny.toml: is not there, or not TOML".to_owned()];
    };
    let sections = ["advisories", "bans", "licenses", "sources"];
    let missing = sections
        .into_iter()
        .filter(|section| !deny.contains_key(*section));
    missing
        .map(|section| format!("deny.toml: says nothing about {section}"))
        .collect()
}

static LINK: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\]\(([^)\s#]+)(?:#[^)\s]*)?\)").expect("a constant that compiles")
});

/// Links in documents to files that are not in the repository.
pub fn dead_links(tree: &Tree) -> Vec<String> {
    tree.ending(&[".md"])
        .flat_map(|(path, text)| {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let links = LINK.captures_iter(text).map(|link| link[1].to_owned());
            links
                .filter(|link| !link.contains("://") && !link.starts_with("mailto:"))
                .filter(move |link| !tree.has(&normal(&format!("{folder}/{link}"))))
                .map(move |link| format!("{path}: points to {link}, which is not there"))
        })
        .collect()
}

static TEST: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"`([\w/]+\.rs)(?:::(\w+))?`").expect("a constant that compiles"));

/// Files of code, and functions in them, that documents name and that are not there.
pub fn lost_names(tree: &Tree) -> Vec<String> {
    let mut lost = Vec::new();
    for (path, text) in tree.ending(&[".md"]) {
        for named in TEST
            .captures_iter(text)
            .filter(|named| named[1].contains('/'))
        {
            let end = format!("/{}", &named[1]);
            let mut files = tree.rust();
            let code =
                files.find_map(|(path, text)| format!("/{path}").ends_with(&end).then_some(text));
            let is_there = match named.get(2) {
                None => code.is_some(),
                Some(name) => {
                    code.is_some_and(|code| code.contains(&format!("fn {}(", name.as_str())))
                }
            };
            if !is_there {
                lost.push(format!("{path}: names {}, which is not there", &named[0]));
            }
        }
    }
    lost
}
