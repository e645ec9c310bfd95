//! The chart agrees with the code: the definitions it installs, the version, the arguments.

#![allow(clippy::unwrap_used, reason = "what surprises a test ends it")]

use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use weir_operator::Args;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap()
}

/// By name, the text of every file of a folder.
fn files(folder: &str) -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = fs::read_dir(repository().join(folder))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn the_chart_installs_the_definitions_as_they_are_generated() {
    let of_chart = files("charts/weir/files/crds");
    assert!(
        of_chart == files("crds/yaml"),
        "crds/yaml has changed: `make generate` copies it into the chart"
    );
    assert_eq!(of_chart.len(), 2);
}

#[test]
fn the_chart_is_of_the_version_of_the_code() {
    let chart = read("charts/weir/Chart.yaml");
    let version = env!("CARGO_PKG_VERSION");
    for field in ["version", "appVersion"] {
        assert!(
            chart.contains(&format!("\n{field}: {version}\n")),
            "{field}"
        );
    }
}

#[test]
fn every_argument_and_variable_of_the_chart_is_one_that_the_operator_knows() {
    let template = read("charts/weir/templates/deployment.yaml");
    let command = Args::command();
    let flags: Vec<String> = command
        .get_arguments()
        .filter_map(|argument| Some(format!("--{}", argument.get_long()?)))
        .collect();
    let variables: Vec<String> = command
        .get_arguments()
        .filter_map(|argument| Some(argument.get_env()?.to_string_lossy().into_owned()))
        .collect();
    let words = template.split_whitespace();
    let mut seen = 0;
    for word in words {
        if let Some((flag, _)) = word.split_once('=').filter(|_| word.starts_with("--")) {
            assert!(flags.iter().any(|known| known == flag), "{flag}");
            seen += 1;
        } else if word.starts_with("WEIR_") {
            assert!(variables.iter().any(|known| known == word), "{word}");
            seen += 1;
        }
    }
    assert!(seen > 12, "{seen}");
}

/// Whoever may grant a right has it: what routers may read is among what the operator may.
#[test]
fn the_operator_may_all_that_it_grants_and_no_secret_is_among_it() {
    let rules = read("charts/weir/templates/_helpers.tpl");
    for granted in [
        "slmdeployments",
        "routepolicies",
        "endpointslices",
        "configmaps",
    ] {
        let line = rules.lines().position(|line| {
            line.contains("resources:") && line.contains(granted) && !line.contains('/')
        });
        let verbs = rules.lines().nth(line.unwrap() + 1).unwrap();
        assert!(verbs.contains("get, list, watch"), "{granted}: {verbs}");
    }
    assert!(!rules.contains("secrets"));
}
