//! The real SDKs as clients of a router, through every kind of upstream: `docs/sdks.md` is what they
//! find.
//!
//! All of it is real but the providers, who are stand-ins, and what their model says.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod killed;
mod packages;
mod page;
mod up;

use std::fs;
use std::path::{Path, PathBuf};

use tokio::task::spawn_blocking;

use page::Row;
use up::Up;

/// A line of a program that says which versions it speaks for, and not what came of a feature.
fn is_row(line: &str) -> bool {
    line.contains("\"outcome\"")
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdks")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_feature_of_the_sdks_does_at_every_upstream_what_the_page_says() {
    let up = Up::start().await;
    let arguments = up.arguments();
    let said = spawn_blocking(move || {
        let mut python = packages::python();
        let python = python.arg(folder().join("main.py")).args(&arguments);
        let mut node = packages::node();
        let node = node.arg(folder().join("node.mjs"));
        let node = node.arg(packages::modules()).args(&arguments);
        packages::said_by(python) + &packages::said_by(node)
    });
    let said = said.await.unwrap();
    let (rows, versions): (Vec<&str>, Vec<&str>) = said.lines().partition(|line| is_row(line));
    let rows = rows.into_iter().map(Row::read).collect::<Vec<_>>();
    let versions = versions.into_iter().map(page::versions);
    let versions = versions.collect::<Vec<_>>().join(", ");
    let failed = rows.iter().filter(|row| row.has_failed());
    let failed: Vec<String> = failed.map(Row::to_string).collect();
    assert!(
        failed.is_empty(),
        "{} failed:\n{}",
        failed.len(),
        failed.join("\n")
    );

    let page = page::page(&rows, &versions);
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/sdks.md");
    if up::is_rewriting() {
        fs::write(&place, &page).unwrap();
    }
    let written = fs::read_to_string(&place).unwrap_or_default();
    assert!(
        written == page,
        "docs/sdks.md is not what the SDKs find: WEIR_REWRITE=1 writes it\n{page}"
    );
}
