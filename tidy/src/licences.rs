//! What comes in through dependencies, held against `deny.toml` without the network.
//!
//! `cargo deny check` also knows advisories; this is the part that can be checked anywhere.

use std::io;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use toml::Table;

/// What `cargo metadata` says of every crate that is built here.
#[derive(Debug, Deserialize)]
pub struct Locked {
    /// Ours and everybody else's.
    pub packages: Vec<Foreign>,
}

/// One crate, as its manifest describes it.
#[derive(Debug, Deserialize)]
pub struct Foreign {
    /// As in its manifest.
    pub name: String,
    /// An SPDX expression.
    pub license: Option<String>,
}

impl Locked {
    /// Asks cargo for the crates of Linux on x86-64, which a build has brought here.
    pub fn read(root: &Path) -> io::Result<Self> {
        let asked = Command::new(env!("CARGO"))
            .current_dir(root)
            .args(["metadata", "--offline", "--format-version", "1"])
            .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
            .output()?;
        if !asked.status.success() {
            return Err(io::Error::other(
                String::from_utf8_lossy(&asked.stderr).into_owned(),
            ));
        }
        serde_json::from_slice(&asked.stdout).map_err(io::Error::other)
    }
}

/// The crates that `deny`, the text of `deny.toml`, does not let in.
pub fn unwelcome(locked: &Locked, deny: &str) -> Vec<String> {
    let Ok(deny) = deny.parse::<Table>() else {
        return vec!["deny.toml: is not TOML".to_owned()];
    };
    let allowed: Vec<&str> = entries(&deny, "licenses", "allow")
        .filter_map(|licence| licence.as_str())
        .collect();
    let banned: Vec<&str> = entries(&deny, "bans", "deny")
        .filter_map(|ban| ban.get("crate")?.as_str())
        .collect();
    let mut problems = Vec::new();
    for package in &locked.packages {
        if banned.contains(&package.name.as_str()) {
            problems.push(format!("{} is banned", package.name));
        }
        match &package.license {
            Some(licence) if may_be_used(licence, &allowed) => {}
            Some(licence) => problems.push(format!("{} is under {licence}", package.name)),
            None => problems.push(format!("{} names no licence", package.name)),
        }
    }
    problems
}

fn entries<'a>(
    table: &'a Table,
    section: &str,
    list: &str,
) -> impl Iterator<Item = &'a toml::Value> {
    let list = table.get(section).and_then(|section| section.get(list));
    list.and_then(toml::Value::as_array).into_iter().flatten()
}

/// Whether some choice in the expression needs allowed licences only. Expressions nest one level
/// deep at most in practice: `(A OR B) AND C`.
fn may_be_used(expression: &str, allowed: &[&str]) -> bool {
    // Before SPDX, a slash was the `OR`.
    let expression = expression.replace('/', " OR ");
    let (mut depth, mut all, mut clause) = (0_i32, true, String::new());
    let mut clauses = Vec::new();
    for word in expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .split_whitespace()
    {
        match word {
            "(" => depth += 1,
            ")" => depth -= 1,
            "AND" if depth == 0 => clauses.push(std::mem::take(&mut clause)),
            word => clause = format!("{clause} {word}"),
        }
    }
    clauses.push(clause);
    // `A OR B AND C` binds as `A OR (B AND C)`: taking it clause by clause is the stricter reading.
    for clause in &clauses {
        let mut choices = clause.split(" OR ").map(str::trim);
        all &= choices.any(|choice| {
            choice
                .split(" AND ")
                .all(|part| allowed.contains(&part.trim()))
        });
    }
    all
}
