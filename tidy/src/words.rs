//! Words that have no place in a file that is committed.

use std::sync::LazyLock;

use regex::Regex;

use crate::Tree;

/// Files that people write and read.
const WRITTEN: [&str; 19] = [
    ".rs",
    ".toml",
    ".md",
    ".yaml",
    ".yml",
    ".json",
    ".py",
    ".sh",
    ".go",
    ".mod",
    ".proto",
    ".tpl",
    ".tera",
    ".txt",
    "Makefile",
    "Dockerfile",
    ".Dockerfile",
    "Containerfile",
    ".ci/run",
];

static UNFINISHED: LazyLock<Regex> =
    LazyLock::new(|| compiled(&[r"\b(?:TO", r"DO|FIX", r"ME|XX", r"X)\b"]));

/// A path that exists on one machine only, or a pointer to a text that is not in the repository.
static ELSEWHERE: LazyLock<Regex> = LazyLock::new(|| {
    compiled(&[
        r#"(?:^|[\s"'`=(:,])(?:/home/\w+/|/Users/\w+/|/root/\.|/work\b|/workspace\b|/builds/\w|/tmp/brief|"#,
        r"\.\./shared\b|\.\./\.\./shared\b)|\bissue #?\d+\b",
    ])
});

/// Whose home a made-up path may lie in.
const NOBODYS_HOME: &str = "/home/me/";

/// Pieces, so that this file does not hold what it looks for.
fn compiled(pieces: &[&str]) -> Regex {
    Regex::new(&pieces.concat()).expect("a constant that compiles")
}

/// Marks of work that was put off: finish it, or write it down where work is planned.
pub fn unfinished(tree: &Tree) -> Vec<String> {
    found(tree, &UNFINISHED, "is work put off")
}

/// Paths of one machine, and texts that a reader of the repository does not have.
pub fn elsewhere(tree: &Tree) -> Vec<String> {
    found(tree, &ELSEWHERE, "is not in this repository")
}

fn found(tree: &Tree, word: &Regex, wrong: &str) -> Vec<String> {
    let files = tree
        .ending(&WRITTEN)
        .filter(|(path, _)| !is_vocabulary(path));
    files
        .flat_map(|(path, text)| {
            let lines = text.lines().enumerate();
            lines.filter_map(move |(index, line)| {
                let mut seen = word.find_iter(line).map(|seen| seen.as_str().trim());
                let seen = seen.find(|seen| !seen.ends_with(NOBODYS_HOME))?;
                Some(format!("{path}:{}: `{seen}` {wrong}", index + 1))
            })
        })
        .collect()
}

/// A tokenizer's pieces are any letters in any order.
fn is_vocabulary(path: &str) -> bool {
    path.ends_with("tokenizer.json") || path.ends_with("vocab.json")
}
