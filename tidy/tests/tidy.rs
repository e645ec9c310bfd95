//! The repository, checked; and each check shown something wrong first.

#![allow(
    clippy::unwrap_used,
    reason = "a test that panics has failed, and says so"
)]

use std::sync::LazyLock;

use weir_tidy::clocks::{self, Look};
use weir_tidy::graph::{Arrows, Metadata, strays};
use weir_tidy::sizes::Exception;
use weir_tidy::{Tree, graph, licences, manifests, names, project, reach, sizes, tree, words};

/// Files that are better whole, and why.
const LONG_FILES: &[Exception] = &[];

/// Functions that are better whole, and why.
const LONG_FUNCTIONS: &[Exception] = &[(
    "lib/policy/src/validate/tests.rs::every_fault_is_named_by_its_field",
    "a table of faults, a few lines each, and one loop over it",
)];

/// Who looks at the clock that people set: for periods of budgets, for what is told to others, and for what others
/// tell as a time.
const LOOKS: &[Look] = &[
    (
        "operator/src/control.rs",
        "told: conditions, and when a count was decided; rollouts, for some seconds a look at most",
    ),
    (
        "operator/src/lease.rs",
        "told: the renewal, which nobody here trusts",
    ),
    (
        "operator/src/namespace.rs",
        "periods of budgets, and told: conditions",
    ),
    ("router/src/attempt/endpoint.rs", "dates of Retry-After"),
    (
        "router/src/endpoints.rs",
        "dates of Retry-After and of limits",
    ),
    ("router/src/money.rs", "periods of budgets"),
    ("router/src/money/own.rs", "periods of budgets"),
    ("router/src/phases.rs", "told: in a record"),
    ("router/src/server.rs", "told: in a record"),
    ("router/src/server/counting.rs", "told: in a record"),
    ("router/src/server/decisions.rs", "told: in a label"),
    ("router/src/server/ready.rs", "told: in a list of models"),
    ("router/src/store/upload.rs", "told: in a name"),
];

/// The crate graph of ARCHITECTURE.md.
const MAP: &[Arrows] = &[
    ("weir-cascade", &[]),
    ("weir-crds", &[]),
    ("weir-kernels", &[]),
    ("weir-process", &[]),
    ("weir-tidy", &[]),
    ("weir-worker-api", &[]),
    ("weir-policy", &["weir-cascade", "weir-crds"]),
    ("weir-model", &["weir-kernels"]),
    ("weir-engine", &["weir-model"]),
    ("weir-reference", &["weir-model"]),
    ("weir-sources", &["weir-crds", "weir-policy"]),
    (
        "weir-worker",
        &[
            "weir-engine",
            "weir-policy",
            "weir-process",
            "weir-sources",
            "weir-worker-api",
        ],
    ),
    (
        "weir-router",
        &[
            "weir-cascade",
            "weir-crds",
            "weir-policy",
            "weir-process",
            "weir-worker-api",
        ],
    ),
    (
        "weir-operator",
        &["weir-crds", "weir-policy", "weir-process"],
    ),
    ("weir-stand-in", &["weir-process"]),
    (
        "weir",
        &[
            "weir-crds",
            "weir-operator",
            "weir-policy",
            "weir-process",
            "weir-reference",
            "weir-router",
            "weir-stand-in",
            "weir-worker",
        ],
    ),
    ("weir-e2e", &["weir-crds"]),
];

static TREE: LazyLock<Tree> = LazyLock::new(|| Tree::read(&tree::root()).unwrap());

/// Each problem on a line of its own, so that a failure is a list of things to do.
#[track_caller]
fn none(problems: Vec<String>) {
    assert!(
        problems.is_empty(),
        "{} to mend:\n{}",
        problems.len(),
        problems.join("\n")
    );
}

#[test]
fn every_file_says_what_it_is_for() {
    let wrong = Tree::of(&[
        ("a.rs", "use b;\n"),
        ("b.rs", "//! For b.\n"),
        ("src/generated/c.rs", "use d;\n"),
    ]);
    assert_eq!(
        sizes::undocumented_files(&wrong),
        ["a.rs: opens without `//!` and what it is for"]
    );
    none(sizes::undocumented_files(&TREE));
}

#[test]
fn every_file_can_be_read_in_one_sitting() {
    let wrong = Tree::of(&[("a.rs", &"\n".repeat(501)), ("b.rs", &"\n".repeat(500))]);
    assert_eq!(
        sizes::long_files(&wrong, &[]),
        ["a.rs: 501 lines, more than 500"]
    );
    assert!(sizes::long_files(&wrong, &[("a.rs", "a table")]).is_empty());
    assert_eq!(
        sizes::long_files(&wrong, &[("a.rs", "a table"), ("b.rs", "another")]),
        ["b.rs: is excepted and need not be"]
    );
    for (path, lines) in sizes::files_over(&TREE, sizes::FILE_AIM) {
        println!("{lines} {path}");
    }
    none(sizes::long_files(&TREE, LONG_FILES));
}

#[test]
fn every_function_fits_on_a_screen() {
    let body = "    work();\n".repeat(79);
    let long = format!("fn short() {{\n}}\n\npub(crate) async fn long() {{\n{body}}}\n");
    let within =
        format!("impl A {{\n    fn kept(&self) -> B;\n    fn short() {{\n    {body}    }}\n}}\n");
    let wrong = Tree::of(&[("a.rs", &long), ("b.rs", &within)]);
    assert_eq!(
        sizes::long_functions(&wrong, &[]),
        [
            "a.rs::long: 81 lines, more than 80",
            "b.rs::short: 81 lines, more than 80"
        ]
    );
    none(sizes::long_functions(&TREE, LONG_FUNCTIONS));
}

#[test]
fn only_periods_and_what_is_told_follow_the_clock_that_people_set() {
    let wrong = Tree::of(&[
        ("router/src/a.rs", "let now = Timestamp::now();"),
        (
            "router/src/b.rs",
            "#[cfg(test)]\nmod tests {\n Timestamp::now() }",
        ),
        ("router/src/c.rs", "std::time::SystemTime::now()"),
        ("bench/d.rs", "SystemTime::now()"),
    ]);
    let known: &[Look] = &[("router/src/c.rs", "told"), ("router/src/d.rs", "told")];
    assert_eq!(
        clocks::looks(&wrong, known),
        [
            "router/src/a.rs: looks at a clock that steps; take an `Instant`, or the time as an argument",
            "router/src/d.rs: is known to look at the clock and does not"
        ]
    );
    none(clocks::looks(&TREE, LOOKS));
}

#[test]
fn every_file_is_reached_from_a_crate() {
    let wrong = Tree::of(&[
        (
            "a/src/lib.rs",
            "mod b;\npub(crate) mod c;\n#[path = \"../odd.rs\"]\nmod d;\n",
        ),
        ("a/src/b.rs", "mod inner;\n"),
        ("a/src/b/inner.rs", "include!(\"../text.rs\");\n"),
        ("a/src/text.rs", ""),
        ("a/src/c.rs", "// mod lost;\n"),
        ("a/src/lost.rs", ""),
        ("a/odd.rs", ""),
    ]);
    let roots = ["a/src/lib.rs".to_owned()];
    assert_eq!(
        reach::unreached(&wrong, &roots),
        ["a/src/lost.rs: is reached from no crate"]
    );

    let root = tree::root();
    let targets = Metadata::read(&root)
        .unwrap()
        .packages
        .into_iter()
        .flat_map(|package| package.targets);
    let paths = targets.map(|target| {
        target
            .src_path
            .strip_prefix(root.to_str().unwrap())
            .unwrap()
            .to_owned()
    });
    let roots: Vec<String> = paths
        .map(|path| path.trim_start_matches('/').to_owned())
        .collect();
    none(reach::unreached(&TREE, &roots));
}

#[test]
fn crates_use_each_other_as_the_map_says() {
    let uses = |name: &str, used: &[&str]| graph::Package {
        name: name.to_owned(),
        dependencies: used
            .iter()
            .map(|used| graph::Dependency {
                name: (*used).to_owned(),
                kind: None,
                path: used.starts_with("ours").then(|| format!("/{used}")),
            })
            .collect(),
        targets: Vec::new(),
    };
    let wrong = Metadata {
        packages: vec![
            uses("ours-a", &["ours-b", "serde"]),
            uses("ours-b", &[]),
            uses("ours-c", &[]),
        ],
    };
    assert_eq!(
        strays(
            &wrong,
            &[("ours-a", &[]), ("ours-b", &["ours-a"]), ("ours-d", &[])]
        ),
        [
            "ours-a uses ours-b, which the map does not allow",
            "ours-b does not use ours-a, though the map says so",
            "ours-c is not on the map",
            "ours-d is on the map and not in the workspace",
        ]
    );
    none(strays(&Metadata::read(&tree::root()).unwrap(), MAP));
}

#[test]
fn names_say_what_they_name() {
    let wrong = Tree::of(&[
        ("a/utils.rs", ""),
        ("b/mod.rs", ""),
        (
            "c/types/d.rs",
            &[
                "pub struct Pool",
                "Manager;\nstruct Metadata;\nenum Key",
                "Info {}\ntype Data = u8;\ntype Page",
                "Data = u8;\n",
            ]
            .concat(),
        ),
    ]);
    assert_eq!(
        names::vague_names(&wrong).len(),
        6,
        "{:?}",
        names::vague_names(&wrong)
    );
    none(names::vague_names(&TREE));
}

#[test]
fn no_work_is_put_off() {
    let wrong = Tree::of(&[
        ("a.rs", &["// TO", "DO: later\n"].concat()),
        ("b.json", "AUTODOC"),
    ]);
    assert_eq!(
        words::unfinished(&wrong),
        [["a.rs:1: `TO", "DO` is work put off"].concat()]
    );
    none(words::unfinished(&TREE));
}

#[test]
fn nothing_points_to_one_machine_or_to_what_is_not_here() {
    for wrong in [
        ["see /ho", "me/anna/x"],
        ["(../sha", "red/A.md)"],
        ["issue", " 3"],
        ["cd /wo", "rk/main"],
    ] {
        let line = wrong.concat();
        assert_eq!(
            words::elsewhere(&Tree::of(&[("a.md", &line)])).len(),
            1,
            "{line}"
        );
    }
    let right = Tree::of(&[(
        "a.md",
        "https://a.dev/home/b/, /home/me/c, /etc/weir, ~/work/c, an issue with 3 parts",
    )]);
    assert!(words::elsewhere(&right).is_empty());
    none(words::elsewhere(&TREE));
}

#[test]
fn versions_and_lints_stand_in_the_root_manifest() {
    let manifest = "[package]\nname = \"a\"\nversion = \"1.0.0\"\nedition.workspace = true\n\
        rust-version.workspace = true\nlicense.workspace = true\npublish.workspace = true\n\
        [dependencies]\nserde = \"1\"\nregex = { workspace = true, features = [\"std\"] }\n\
        [target.'cfg(unix)'.dependencies]\nnix = { version = \"1\" }\n";
    let wrong = Tree::of(&[("a/Cargo.toml", manifest)]);
    assert_eq!(
        manifests::scattered_versions(&wrong),
        [
            "a/Cargo.toml: `version` is not inherited: write `version.workspace = true`",
            "a/Cargo.toml: [dependencies] `serde` is not inherited: its version belongs in the root",
            "a/Cargo.toml: [dependencies] `nix` is not inherited: its version belongs in the root",
        ]
    );
    assert_eq!(manifests::unlinted(&wrong).len(), 1);
    none(manifests::scattered_versions(&TREE));
    none(manifests::unlinted(&TREE));
}

#[test]
fn the_root_manifest_names_no_version_that_nobody_uses() {
    let root = "[workspace.dependencies]\nserde = \"1\"\nidle = \"1\"\n";
    let wrong = Tree::of(&[
        ("Cargo.toml", root),
        ("a/Cargo.toml", "[dependencies]\nserde.workspace = true\n"),
    ]);
    assert_eq!(
        manifests::unused_versions(&wrong),
        ["Cargo.toml: `idle` is used by no crate"]
    );
    none(manifests::unused_versions(&TREE));
}

#[test]
fn chart_and_changelog_have_the_workspaces_version() {
    let root = "[workspace.package]\nversion = \"0.2.0\"\n";
    let chart = "name: weir\nversion: 0.1.0\nappVersion: \"0.2.0\"\n";
    let wrong = Tree::of(&[
        ("Cargo.toml", root),
        ("charts/weir/Chart.yaml", chart),
        ("CHANGELOG.md", "## 0.1.0\n"),
    ]);
    assert_eq!(
        project::disagreeing_versions(&wrong),
        [
            "charts/weir/Chart.yaml: `version` is not the workspace's 0.2.0",
            "CHANGELOG.md: has no section for 0.2.0, nor one for what is unreleased",
        ]
    );
    none(project::disagreeing_versions(&TREE));
}

#[test]
fn what_a_newcomer_looks_for_is_there() {
    let wrong = Tree::of(&[
        ("Makefile", "demo: build\n\ttrue\n.PHONY: test\n"),
        ("README.md", ""),
    ]);
    assert_eq!(project::missing_files(&wrong).len(), 7);
    assert_eq!(project::missing_targets(&wrong).len(), 5);
    none(project::missing_files(&TREE));
    none(project::missing_targets(&TREE));
}

#[test]
fn licences_and_duplicates_of_dependencies_are_decided() {
    assert_eq!(
        project::undecided_dependencies(&Tree::of(&[])),
        ["deny.toml: is not there, or not TOML"]
    );
    let wrong = Tree::of(&[("deny.toml", "[licenses]\n[bans]\n[sources]\n")]);
    assert_eq!(
        project::undecided_dependencies(&wrong),
        ["deny.toml: says nothing about advisories"]
    );
    none(project::undecided_dependencies(&TREE));
}

#[test]
fn only_welcome_dependencies_come_in() {
    let foreign = |name: &str, license: Option<&str>| licences::Foreign {
        name: name.to_owned(),
        license: license.map(str::to_owned),
    };
    let deny = "[licenses]\nallow = [\"MIT\", \"ISC\"]\n[bans]\ndeny = [{ crate = \"openssl\" }]\n";
    let locked = licences::Locked {
        packages: vec![
            foreign("a", Some("MIT OR GPL-3.0")),
            foreign("b", Some("MIT/Apache-2.0")),
            foreign("c", Some("(GPL-3.0 OR MIT) AND ISC")),
            foreign("d", Some("MIT AND GPL-3.0")),
            foreign("e", None),
            foreign("openssl", Some("MIT")),
        ],
    };
    assert_eq!(
        licences::unwelcome(&locked, deny),
        [
            "d is under MIT AND GPL-3.0",
            "e names no licence",
            "openssl is banned",
        ]
    );
    let deny = TREE.get("deny.toml").unwrap();
    none(licences::unwelcome(
        &licences::Locked::read(&tree::root()).unwrap(),
        deny,
    ));
}

#[test]
fn links_in_documents_lead_somewhere() {
    let page = "[a](b.md) [b](lost.md#part) [c](https://weir.dev/x) [d](#here) [e](../c)";
    let wrong = Tree::of(&[("docs/a.md", page), ("docs/b.md", ""), ("c/d.rs", "")]);
    assert_eq!(
        project::dead_links(&wrong),
        ["docs/a.md: points to lost.md, which is not there"]
    );
    none(project::dead_links(&TREE));
}

#[test]
fn what_documents_name_in_the_code_is_there() {
    let page = "`a/b.rs`, `a/b.rs::tested`, `a/b.rs::lost`, `c/lost.rs` and `b.rs` somewhere";
    let wrong = Tree::of(&[("docs/a.md", page), ("a/b.rs", "fn tested() {}")]);
    assert_eq!(
        project::lost_names(&wrong),
        [
            "docs/a.md: names `a/b.rs::lost`, which is not there",
            "docs/a.md: names `c/lost.rs`, which is not there",
        ]
    );
    none(project::lost_names(&TREE));
}
