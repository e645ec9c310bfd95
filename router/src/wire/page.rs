//! The page of the documentation that shows the table, written from it.

use std::fmt::Write;
use std::path::Path;

use super::{Row, Treatment, Upstream, Wire};

const HEAD: &str = "\
# What becomes of every field

A client speaks one wire; the tier that answers may understand another. This table says what becomes
of every field of a request on every kind of tier. A test writes it from the code, and another holds
the code to it.

- **carry**: passed on as it is.
- **map**: passed on in the tier's own form.
- *advisory*: left out where the tier does not take it, and named in `x-weir-dropped` and in the
  decision.
- **required**: a tier that cannot serve it is not asked; 400 with the field's name if none is left.

`null` counts as absent, and so does a value that asks for nothing: the last column. Fields that are
not in the table are carried to tiers that speak the client's wire, and advisory for all others.
Parts of messages and tools that only their own wire can say (hosted tools, files, sound) are required;
images are required where our workers are asked, and `json_object` where Anthropic is.

What an endpoint does not take although its kind does is said in its `unsupported`: fields in the words of
any of these wires, members of fields with a dot (`text.format`), and `images` for one that cannot look at
them. Each is understood whatever the client speaks: `response_format` takes the tier out for an ask with
`output_config.format`. What the answer would be another one without takes the tier out (what is required
anywhere, and tools, schemas, log-probabilities, `n`, `echo`, `dimensions`); all else is left out, and named
as the client named it. Anthropic's API refuses `temperature`, `top_p` and `top_k` from version 2026-10-21
on: there they count as unsupported. It also refuses to go on from the beginning of an answer, so that an
ask whose last message is the assistant's text takes the tier out unless `apiVersion` is older.

Of mapped fields, what Anthropic's API has no word for is left out and named too: stop strings of blanks
alone (as `stop[0]`), and an effort of `none` or of a word that it does not know.
";

fn title(wire: Wire) -> &'static str {
    match wire {
        Wire::Chat => "OpenAI chat completions: `POST /v1/chat/completions`",
        Wire::Completions => "OpenAI completions: `POST /v1/completions`",
        Wire::Responses => "OpenAI responses: `POST /v1/responses`",
        Wire::Messages => "Anthropic messages: `POST /v1/messages`",
        Wire::Embeddings => "OpenAI embeddings: `POST /v1/embeddings`",
    }
}

fn word(treatment: Treatment) -> &'static str {
    match treatment {
        Treatment::Carry => "carry",
        Treatment::Map => "map",
        Treatment::Advisory => "*advisory*",
        Treatment::Required => "**required**",
    }
}

fn line(row: &Row) -> String {
    let cells = Upstream::ALL.map(|upstream| word(row.at(upstream)));
    let neutral: Vec<String> = row
        .neutral
        .iter()
        .map(|value| format!("`{value}`"))
        .collect();
    let cells = cells.join(" | ");
    format!("| `{}` | {cells} | {} |\n", row.field, neutral.join(", "))
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    for wire in Wire::ALL {
        write!(page, "\n## {}\n\n", title(wire)).unwrap();
        page.push_str(
            "| field | our worker | OpenAI-compatible | OpenAI | Anthropic | asks for nothing |\n",
        );
        page.push_str("| --- | --- | --- | --- | --- | --- |\n");
        page.extend(wire.rows().iter().map(line));
    }
    page
}

#[test]
fn the_page_of_fields_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/wires.md");
    let fresh = page();
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    #[allow(clippy::disallowed_methods, reason = "a person asks the test to write")]
    let rewrites = std::env::var_os("WEIR_REWRITE").is_some();
    if rewrites {
        std::fs::write(&path, &fresh).unwrap();
    } else {
        assert!(
            committed == fresh,
            "docs/wires.md is not what the table says: make generate"
        );
    }
}
