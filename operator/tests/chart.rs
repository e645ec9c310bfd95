//! The chart agrees with the code: the definitions it installs, the version, the arguments.

#![allow(clippy::unwrap_used, reason = "what surprises a test ends it")]

use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role};
use serde_json::Value;
use weir_crds::Quantity;
use weir_operator::Args;
use weir_operator::settings::network::NetworkPolicies;
use weir_operator::settings::profiles::Profiles;
use weir_policy::cidr::Cidr;

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

/// What the schema lets pass the operator starts with, so that `helm install` is where it is told.
#[test]
fn the_networks_that_the_chart_takes_are_those_that_the_operator_takes() {
    let schema: Value = serde_json::from_str(&read("charts/weir/values.schema.json")).unwrap();
    let pattern = &schema["definitions"]["cidr"]["pattern"];
    let pattern = regex::Regex::new(pattern.as_str().unwrap()).unwrap();
    for text in [
        "10.244.0.0/16",
        "0.0.0.0/0",
        "198.18.0.0/15",
        "255.255.255.255/32",
        "fd00::/8",
        "::/0",
        "2001:db8::/32",
        "fd00:1:2:3:4:5:6:7/128",
    ] {
        assert!(
            pattern.is_match(text) && text.parse::<Cidr>().is_ok(),
            "{text}"
        );
    }
    for text in [
        "10.0.0.0",
        "10.0.0.0/33",
        "300.0.0.0/8",
        "10.0.0/8",
        "1.2.3.4.5/8",
        "10.0.0.0/8,",
        "010.0.0.0/8",
        "::/129",
        "fd00/8",
        "10.0.0.0/",
        "/8",
        "",
        " ::/0",
    ] {
        assert!(
            !pattern.is_match(text) && text.parse::<Cidr>().is_err(),
            "{text}"
        );
    }
}

/// What the schema lets pass routers dial.
#[test]
fn the_proxy_that_the_chart_takes_is_the_one_that_routers_take() {
    let schema: Value = serde_json::from_str(&read("charts/weir/values.schema.json")).unwrap();
    let router = &schema["properties"]["router"]["properties"];
    let pattern = router["egressProxy"]["pattern"].as_str().unwrap();
    assert_eq!(pattern, format!("^$|{}", weir_policy::proxy::PATTERN));
}

#[test]
fn the_quantities_that_the_chart_takes_are_those_that_the_operator_takes() {
    let schema: Value = serde_json::from_str(&read("charts/weir/values.schema.json")).unwrap();
    let pattern = &schema["definitions"]["quantity"]["pattern"];
    let pattern = regex::Regex::new(pattern.as_str().unwrap()).unwrap();
    for (text, is_one) in [
        ("100m", true),
        ("1.5", true),
        ("0.5Gi", true),
        ("010", true),
        ("2Pi", true),
        ("0", false),
        ("0.0Gi", false),
        ("1e3", false),
        ("1Gib", false),
        (".5", false),
        ("1.", false),
        ("-1", false),
        ("", false),
    ] {
        assert_eq!(pattern.is_match(text), is_one, "{text}");
        // That there are no two pebibytes the operator alone says.
        let is_read = Quantity::from(text).bytes().is_ok();
        assert_eq!(is_read, is_one && text != "2Pi", "{text}");
    }
}

/// What an operator without a chart assumes is what the chart says.
#[test]
fn the_network_policies_of_the_chart_are_those_that_the_operator_assumes() {
    let values: Value = serde_saphyr::from_str(&read("charts/weir/values.yaml")).unwrap();
    let of_chart = values["networkPolicies"].to_string();
    let of_chart: NetworkPolicies = of_chart.parse().unwrap();
    assert_eq!(of_chart, NetworkPolicies::default());
    assert!(values["profiles"].to_string().parse::<Profiles>().is_ok());
}

/// What the schema lets pass the operator starts with: the fields are the same.
#[test]
fn the_schema_knows_the_fields_of_network_policies_and_profiles_that_the_operator_knows() {
    let schema: Value = serde_json::from_str(&read("charts/weir/values.schema.json")).unwrap();
    let fields = |schema: &Value| -> Vec<String> {
        schema["properties"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect()
    };
    let unknown = |error: &dyn std::fmt::Display, name: &str| {
        error
            .to_string()
            .contains(&format!("unknown field `{name}`"))
    };
    let network = fields(&schema["properties"]["networkPolicies"]);
    assert_eq!(network.len(), 8);
    for name in network {
        let read = format!(r#"{{"{name}":null}}"#).parse::<NetworkPolicies>();
        assert!(!read.is_err_and(|error| unknown(&error, &name)), "{name}");
    }
    let profile = fields(&schema["definitions"]["profile"]);
    assert_eq!(profile.len(), 8);
    for name in profile {
        let read = format!(r#"{{"one":{{"{name}":null}}}}"#).parse::<Profiles>();
        assert!(!read.is_err_and(|error| unknown(&error, &name)), "{name}");
    }
}

/// One collector for everything that the release runs.
#[test]
fn the_collector_of_the_chart_reaches_operator_routers_and_workers() {
    let template = read("charts/weir/templates/deployment.yaml");
    let (_, with) = template
        .split_once("{{- with .Values.otlpEndpoint }}")
        .unwrap();
    let (with, _) = with.split_once("{{- end }}").unwrap();
    let flags: Vec<&str> = with
        .split_whitespace()
        .filter(|word| word.starts_with("--"))
        .collect();
    assert_eq!(flags, ["--otlp-endpoint={{", "--pods-otlp-endpoint={{"]);
}

/// The rules of the template "weir.rules", which has nothing to fill in.
fn rules_of_the_operator() -> Vec<PolicyRule> {
    let helpers = read("charts/weir/templates/_helpers.tpl");
    let (_, rules) = helpers.split_once("{{- define \"weir.rules\" -}}").unwrap();
    let (rules, _) = rules.split_once("{{- end }}").unwrap();
    serde_saphyr::from_str(rules).unwrap()
}

/// The rules of the Role that routers get.
fn rules_of_routers() -> Vec<PolicyRule> {
    let expected = read("operator/tests/expected/namespace-with-policy.yaml");
    let role = expected
        .split("---\n")
        .find(|object| object.contains("\nkind: Role\n"))
        .unwrap();
    serde_saphyr::from_str::<Role>(role).unwrap().rules.unwrap()
}

/// Each right of `rules` on its own: group, resource, name (nothing means all), verb.
fn rights(rules: &[PolicyRule]) -> Vec<(String, String, Option<String>, String)> {
    let mut rights = Vec::new();
    for rule in rules {
        let names = match rule.resource_names.as_deref() {
            None | Some([]) => vec![None],
            Some(names) => names.iter().cloned().map(Some).collect(),
        };
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                for name in &names {
                    for verb in &rule.verbs {
                        let right = (group.clone(), resource.clone(), name.clone(), verb.clone());
                        rights.push(right);
                    }
                }
            }
        }
    }
    rights
}

/// Whoever may grant a right has it, on the same name or on all names.
#[test]
fn the_operator_may_all_that_it_grants_and_no_secret_is_among_it() {
    let has = rights(&rules_of_the_operator());
    let granted = rights(&rules_of_routers());
    assert!(granted.len() > 8, "{granted:?}");
    for right in granted {
        let (group, resource, _, verb) = right.clone();
        let of_all = (group, resource, None, verb);
        assert!(has.contains(&right) || has.contains(&of_all), "{right:?}");
    }
    for (_, resource, _, verb) in has {
        assert!(resource != "secrets" && resource != "*" && verb != "*");
    }
}

/// Two releases in one namespace are two installations: neither stands by for the other.
#[test]
fn every_release_has_a_lease_of_its_own_and_may_renew_it() {
    let lease = "{{ include \"weir.name\" . }}";
    let deployment = read("charts/weir/templates/deployment.yaml");
    assert!(deployment.contains(&format!("- --lease={lease}\n")));
    let roles = read("charts/weir/templates/rbac.yaml");
    assert!(roles.contains(&format!("resourceNames: [{lease}]\n")));
}

/// Two equal keys are no YAML: of labels that are ours and the user's, one is written.
#[test]
fn labels_of_the_user_are_merged_under_ours() {
    let deployment = read("charts/weir/templates/deployment.yaml");
    let lines = deployment.lines();
    let with: Vec<&str> = lines.filter(|line| line.contains("podLabels")).collect();
    assert_eq!(with.len(), 1, "{with:?}");
    assert!(
        with[0].contains("merge (include \"weir.labels\" . | fromYaml) .Values.operator.podLabels")
    );
}
