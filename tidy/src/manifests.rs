//! Manifests: one place for versions and lints.

use toml::{Table, Value};

use crate::Tree;

/// Versions stand in the root manifest, and each crate inherits them.
pub fn scattered_versions(tree: &Tree) -> Vec<String> {
    each_manifest(tree, |manifest| {
        let mut problems = Vec::new();
        let package = manifest.get("package").and_then(Value::as_table);
        for key in ["version", "edition", "rust-version", "license", "publish"] {
            if !inherits(package.and_then(|package| package.get(key))) {
                problems.push(format!(
                    "`{key}` is not inherited: write `{key}.workspace = true`"
                ));
            }
        }
        for (section, dependencies) in dependency_sections(manifest) {
            for (name, dependency) in dependencies {
                if !inherits(Some(dependency)) {
                    problems.push(format!(
                        "[{section}] `{name}` is not inherited: its version belongs in the root"
                    ));
                }
            }
        }
        problems
    })
}

/// Every crate takes the workspace's lints.
pub fn unlinted(tree: &Tree) -> Vec<String> {
    each_manifest(tree, |manifest| {
        let problem = "does not take the workspace's lints: write `[lints]` and `workspace = true`"
            .to_owned();
        if inherits(manifest.get("lints")) {
            Vec::new()
        } else {
            vec![problem]
        }
    })
}

/// Versions that the root names and no crate uses.
pub fn unused_versions(tree: &Tree) -> Vec<String> {
    let Some(Ok(root)) = tree.get("Cargo.toml").map(toml::from_str::<Table>) else {
        return vec!["Cargo.toml: is not there, or not TOML".to_owned()];
    };
    let named = root
        .get("workspace")
        .and_then(|workspace| workspace.get("dependencies"));
    let manifests: Vec<Table> = tree
        .manifests()
        .filter_map(|(_, text)| toml::from_str(text).ok())
        .collect();
    let used = |name: &str| {
        let mut sections = manifests.iter().flat_map(dependency_sections);
        sections.any(|(_, dependencies)| dependencies.contains_key(name))
    };
    let names = named
        .and_then(Value::as_table)
        .into_iter()
        .flat_map(Table::keys);
    // Those of ours are there for whoever comes next.
    names
        .filter(|name| *name != "weir" && !name.starts_with("weir-") && !used(name))
        .map(|name| format!("Cargo.toml: `{name}` is used by no crate"))
        .collect()
}

/// The version of the workspace.
pub fn workspace_version(tree: &Tree) -> Option<String> {
    let root: Table = toml::from_str(tree.get("Cargo.toml")?).ok()?;
    let version = root.get("workspace")?.get("package")?.get("version")?;
    Some(version.as_str()?.to_owned())
}

fn each_manifest(tree: &Tree, check: impl Fn(&Table) -> Vec<String>) -> Vec<String> {
    tree.manifests()
        .flat_map(|(path, text)| {
            let problems = match toml::from_str(text) {
                Ok(manifest) => check(&manifest),
                Err(error) => vec![error.to_string()],
            };
            problems
                .into_iter()
                .map(move |problem| format!("{path}: {problem}"))
        })
        .collect()
}

/// Each section of dependencies with its name, those of single platforms too.
fn dependency_sections(manifest: &Table) -> Vec<(&'static str, &Table)> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let platforms = targets
        .into_iter()
        .flat_map(Table::values)
        .filter_map(Value::as_table);
    let owners = std::iter::once(manifest).chain(platforms);
    owners
        .flat_map(|owner| {
            ["dependencies", "dev-dependencies", "build-dependencies"]
                .into_iter()
                .filter_map(|kind| Some((kind, owner.get(kind)?.as_table()?)))
        })
        .collect()
}

fn inherits(value: Option<&Value>) -> bool {
    let inherited = |table: &Table| {
        table.get("workspace").and_then(Value::as_bool) == Some(true)
            && !table.contains_key("version")
    };
    value.and_then(Value::as_table).is_some_and(inherited)
}
