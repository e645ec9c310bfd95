//! What the docs show of kubectl is what it prints of the example. Numbers, names and times are another's; columns and
//! labels are held.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weir_e2e::repository;

use crate::stage::{Stage, eventually};

const PAGE: &str = "docs/conditions.md";

pub async fn the_docs_show_what_kubectl_prints(stage: &Stage) -> Result<()> {
    let text = fs::read_to_string(repository().join(PAGE))?;
    let shown: Vec<(&str, &str)> = text
        .split("```console\n$ kubectl ")
        .skip(1)
        .filter_map(|rest| rest.split("```").next()?.split_once('\n'))
        .collect();
    ensure!(shown.len() == 3, "{PAGE} shows {} commands", shown.len());
    for (arguments, shown) in shown {
        // What replicas measured is in the status a moment after they are ready.
        eventually(Duration::from_secs(20), || {
            let printed = stage.kubectl(arguments)?;
            let missing: Vec<String> = labels(shown)
                .difference(&labels(&printed))
                .cloned()
                .collect();
            ensure!(missing.is_empty(), "{missing:?} is not in:\n{printed}");
            Ok(())
        })
        .await
        .with_context(|| format!("kubectl {arguments}"))?;
    }
    Ok(())
}

/// Lines of columns as they are, and of other lines what is before the colon.
fn labels(text: &str) -> BTreeSet<String> {
    let of_line = |line: &str| match line.split_whitespace().next() {
        Some("NAME") => Some(line.split_whitespace().collect::<Vec<_>>().join(" ")),
        _ => Some(line.split_once(':')?.0.trim().to_owned()),
    };
    let before_events = text.split("\nEvents:").next().unwrap_or(text);
    before_events.lines().filter_map(of_line).collect()
}
