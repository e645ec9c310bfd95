//! What came of each feature, and the page that shows it.

use std::fmt::{Display, Formatter};

use serde::Deserialize;
use serde_json::{Map, Value};

/// What one client found of one feature at one upstream.
#[derive(Debug, Deserialize)]
pub struct Row {
    client: String,
    wire: String,
    feature: String,
    upstream: String,
    outcome: Outcome,
    /// The field that was refused or left out, or what went wrong.
    why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Pass,
    Refused,
    Fail,
    /// There is nothing to try.
    None,
}

const UPSTREAMS: [(&str, &str); 4] = [
    ("worker", "our worker"),
    ("compatible", "OpenAI-compatible"),
    ("openai", "OpenAI"),
    ("anthropic", "Anthropic"),
];

const PREFACE: &str = "# What SDKs can do

The providers' own SDKs, as they come from their registries, against a router in front of each kind of
tier. A test runs every feature on every tier, by the synchronous and the asynchronous client where the
SDK has both, and writes this page; what it asks and expects is in `cli/tests/sdks`. The providers are
stand-ins (`examples/frontier`), the worker serves the example's model of a megabyte, which can be made
to call tools and to keep to a form, and knows nothing but tickets: of its words little is expected.

- **yes**: the feature does what the SDK promises.
- **without**: there is an answer, and `x-weir-dropped` names this field, which was left out.
- **refused**: 400, which names this field: no tier of the model can serve it (`wires.md`).
- **–**: nothing to try there.
";

impl Row {
    pub fn read(line: &str) -> Self {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    pub fn has_failed(&self) -> bool {
        self.outcome == Outcome::Fail
    }

    fn cell(&self) -> String {
        match self.outcome {
            Outcome::Pass if self.why.is_empty() => "yes".to_owned(),
            Outcome::Pass => format!("without `{}`", self.why),
            Outcome::Refused => format!("refused: `{}`", self.why),
            Outcome::Fail => "**no**".to_owned(),
            Outcome::None => "–".to_owned(),
        }
    }
}

impl Display for Row {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Self {
            client,
            wire,
            feature,
            upstream,
            why,
            ..
        } = self;
        write!(f, "{wire}, {feature}, at {upstream} ({client}): {why}")
    }
}

/// The versions that a line of a program names.
pub fn versions(line: &str) -> String {
    let named: Map<String, Value> = serde_json::from_str(line).unwrap();
    let named = named.iter();
    let named = named.map(|(name, version)| format!("{name} {}", version.as_str().unwrap()));
    named.collect::<Vec<_>>().join(", ")
}

/// The page.
pub fn page(rows: &[Row], versions: &str) -> String {
    let mut page = format!("{PREFACE}\nVersions: {versions}.\n");
    for wire in in_order(rows.iter().map(|row| row.wire.as_str())) {
        let of_wire: Vec<&Row> = rows.iter().filter(|row| row.wire == wire).collect();
        page.push_str(&format!("\n## {wire}\n\n| feature |"));
        UPSTREAMS
            .iter()
            .for_each(|(_, name)| page.push_str(&format!(" {name} |")));
        page.push_str("\n| --- | --- | --- | --- | --- |\n");
        for feature in in_order(of_wire.iter().map(|row| row.feature.as_str())) {
            page.push_str(&format!("| {feature} |"));
            let of_feature = of_wire.iter().filter(|row| row.feature == feature);
            let of_feature: Vec<&&Row> = of_feature.collect();
            for (upstream, _) in UPSTREAMS {
                let cells = of_feature.iter().filter(|row| row.upstream == upstream);
                let cells = in_order(cells.map(|row| row.cell()));
                page.push_str(&format!(" {} |", cells.join(" / ")));
            }
            page.push('\n');
        }
    }
    page
}

/// Each value once, as they first come.
fn in_order<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    for value in values {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen
}
