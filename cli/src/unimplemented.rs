//! Holds `docs/not-implemented.md` to what the code honours: the one list of fields that a user may
//! write and that make their object `Stalled`, reason `NotImplemented`.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;
use weir_policy::honoured::Honoured;

const INTRODUCTION: &str = "# Fields that are not implemented yet

Both kinds are published whole. A field that no code honours yet is never silently ignored: an object that sets it is
`Stalled`, reason `NotImplemented`, the message names the field, and what ran before goes on running. Leave the field
out, or keep the value that is given here. A test writes the two lists from the code.

A request is refused with 400 for what would need earlier responses, threads or prompts to be stored.

What defaults do today, where that is less than their name says:

- `engine.maxSequences` above 256 is 256, as many as a step has tokens. Left out it is measured at the start, 8 at the least.
- `model.quantization: Auto`: the file's own type, or 8 bits where only that fits in memory, makes room for the context that was
  asked for, or doubles the context there is room for.
- `records.to: OTel`: a span, where the router was given a collector, and always a log line.
- `topologySpread: Zone`: as the scheduler's `topologySpreadConstraints`, preferred and not required.

On a laptop, where replicas are processes, there are no limits of memory and no placement but `env`: `weir up --help` lists
what differs.
";

fn schema(kind: &str) -> Value {
    let crds = weir_crds::crds();
    let crd = crds
        .iter()
        .find(|crd| crd.spec.names.kind == kind)
        .expect("both kinds are there");
    let schema = &crd.spec.versions[0].schema;
    serde_json::to_value(schema).expect("a schema is JSON")["openAPIV3Schema"]["properties"]["spec"]
        .take()
}

fn list(kind: &str, honoured: &Honoured) -> String {
    let mut text = format!("\n## {kind}\n\n");
    let missing = honoured.missing(&schema(kind));
    if missing.is_empty() {
        text.push_str("Every field is honoured.\n");
    }
    for missing in missing {
        let (field, exception) = missing.split_once(", but for ").unwrap_or((&missing, ""));
        let exception = match exception {
            "" => String::new(),
            values => format!(", unless it is `{}`", values.replace(" and ", "` or `")),
        };
        writeln!(text, "- `{field}`{exception}").expect("a string takes everything");
    }
    text
}

#[allow(
    clippy::disallowed_methods,
    reason = "a switch of the test, not of a program"
)]
#[test]
fn the_docs_list_the_fields_that_nothing_honours_yet() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/not-implemented.md");
    let now = format!(
        "{INTRODUCTION}{}{}",
        list(
            "SLMDeployment",
            &weir_operator::deployment::validate::HONOURED
        ),
        list("RoutePolicy", &weir_policy::validate::HONOURED),
    );
    if std::env::var_os("WEIR_REWRITE").is_some() {
        std::fs::write(&page, &now).unwrap();
    }
    let written = std::fs::read_to_string(&page).unwrap_or_default();
    assert_eq!(
        written, now,
        "docs/not-implemented.md is stale: run make generate"
    );
}
