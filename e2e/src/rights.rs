//! What an account may do, as the API server itself says it, and as `docs/rights.md` has it.

use std::fs;

use anyhow::{Context, Result};

use crate::kubectl::Kubectl;
use crate::settings::repository;

/// Where the lists are written down.
pub const PAGE: &str = "docs/rights.md";
const HEAD: &str = "| what | names | verbs |\n| --- | --- | --- |\n";
/// What an account has that has no rights.
const NOTHING: &str = "Nothing.\n";

/// What the account `name` of the namespace `home` may do in `namespace` beyond what every account
/// may, as a table, sorted.
///
/// # Errors
/// When the API server does not say.
pub fn of(kubectl: &Kubectl, (home, name): (&str, &str), namespace: &str) -> Result<String> {
    let ask = |name: &str| {
        kubectl.run(&format!(
            "auth can-i --list --namespace {namespace} --as=system:serviceaccount:{home}:{name}"
        ))
    };
    let everybody: Vec<String> = rows(&ask("an-account-that-nobody-made")?);
    let mut own: Vec<String> = rows(&ask(name)?);
    own.retain(|row| !everybody.contains(row));
    own.sort();
    if own.is_empty() {
        return Ok(NOTHING.to_owned());
    }
    Ok(format!("{HEAD}{}", own.concat()))
}

/// What [`PAGE`] has under a heading.
///
/// # Errors
/// When it has no such heading.
pub fn written(heading: &str) -> Result<String> {
    let page = fs::read_to_string(repository().join(PAGE)).context("reading the page of rights")?;
    let sections = page.split("\n## ");
    let found = sections
        .filter_map(|section| section.split_once("\n\n"))
        .find(|(name, _)| *name == heading);
    let (_, table) = found.with_context(|| format!("{PAGE} has no heading {heading:?}"))?;
    Ok(format!("{}\n", table.trim_end()))
}

/// The rows of kubectl's table that speak of resources.
fn rows(table: &str) -> Vec<String> {
    table.lines().skip(1).filter_map(row).collect()
}

/// `pods   []   [a b]   [get list]`; a row of a URL begins with blanks.
fn row(line: &str) -> Option<String> {
    let (resource, lists) = line.split_once(' ')?;
    let mut lists = lists.split('[').skip(1);
    let mut list = || Some(lists.next()?.split_once(']')?.0.trim().to_owned());
    let (_urls, names, verbs) = (list()?, list()?, list()?);
    let names = if names.is_empty() { "all" } else { &names };
    (!resource.is_empty()).then(|| format!("| {resource} | {names} | {verbs} |\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_resource_its_names_and_verbs_and_urls_have_none() {
        let table = "Resources    Non-Resource URLs   Resource Names    Verbs\n\
                     configmaps   []                  [a b]             [get list]\n\
                     pods         []                  []                [watch]\n\
                     \u{20}            [/api/*]            []                [get]\n";
        assert_eq!(
            rows(table),
            [
                "| configmaps | a b | get list |\n",
                "| pods | all | watch |\n"
            ]
        );
    }
}
