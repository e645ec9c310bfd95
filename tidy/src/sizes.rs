//! How long files and functions are, and whether a file says what it is for.

use std::sync::LazyLock;

use regex::Regex;

use crate::Tree;

/// A file aims at this many lines.
pub const FILE_AIM: usize = 300;
/// And has to say why when it has more than this.
pub const FILE_LIMIT: usize = 500;
/// A function has to say why when it has more than this.
pub const FUNCTION_LIMIT: usize = 80;

/// Something longer than its limit, and why splitting it would make it worse.
pub type Exception<'a> = (&'a str, &'a str);

/// Every Rust file opens with `//!` and a sentence.
pub fn undocumented_files(tree: &Tree) -> Vec<String> {
    tree.rust()
        .filter(|(_, text)| !text.starts_with("//! ") || text.starts_with("//! Placeholder"))
        .map(|(path, _)| format!("{path}: opens without `//!` and what it is for"))
        .collect()
}

/// Files over the limit without a reason, and reasons without such a file.
pub fn long_files(tree: &Tree, exceptions: &[Exception]) -> Vec<String> {
    let long = files_over(tree, FILE_LIMIT);
    excepted(long, exceptions, FILE_LIMIT)
}

/// Files over the aim, longest first: nothing wrong with them yet.
pub fn files_over(tree: &Tree, limit: usize) -> Vec<(String, usize)> {
    let sizes = tree
        .rust()
        .map(|(path, text)| (path.to_owned(), text.lines().count()));
    let mut over: Vec<_> = sizes.filter(|(_, lines)| *lines > limit).collect();
    over.sort_by_key(|(_, lines)| std::cmp::Reverse(*lines));
    over
}

/// Functions over the limit without a reason, and reasons without such a function.
pub fn long_functions(tree: &Tree, exceptions: &[Exception]) -> Vec<String> {
    let long = tree.rust().flat_map(|(path, text)| {
        let functions = functions(text).into_iter();
        functions.map(move |(name, lines)| (format!("{path}::{name}"), lines))
    });
    excepted(
        long.filter(|(_, lines)| *lines > FUNCTION_LIMIT).collect(),
        exceptions,
        FUNCTION_LIMIT,
    )
}

fn excepted(long: Vec<(String, usize)>, exceptions: &[Exception], limit: usize) -> Vec<String> {
    let unexplained = long
        .iter()
        .filter(|(name, _)| exceptions.iter().all(|(excepted, _)| excepted != name))
        .map(|(name, lines)| format!("{name}: {lines} lines, more than {limit}"));
    let idle = exceptions
        .iter()
        .filter(|(excepted, _)| long.iter().all(|(name, _)| name != excepted))
        .map(|(excepted, _)| format!("{excepted}: is excepted and need not be"));
    unexplained.chain(idle).collect()
}

static FUNCTION: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^( *)(?:pub(?:\([^)]*\))? )?(?:const |async |unsafe )*fn (\w+)")
        .expect("a constant that compiles")
});

/// Name and length of each function. Leans on rustfmt: a body ends at the first line that is a
/// closing brace as far in as the function began.
fn functions(text: &str) -> Vec<(&str, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (begin, line) in lines.iter().enumerate() {
        let Some(captures) = FUNCTION.captures(line) else {
            continue;
        };
        let (_, [indent, name]) = captures.extract();
        let close = format!("{indent}}}");
        let end = lines[begin..].iter().position(|line| **line == close);
        // One without a body of its own lines: a declaration in a trait, or `{ ... }` in one line.
        let ends_at_once = line.ends_with(';') || line.ends_with('}');
        if let Some(end) = end.filter(|_| !ends_at_once) {
            found.push((name, end + 1));
        }
    }
    found
}
