//! `weir model`: what a model is, before anybody serves it.

mod verify;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use weir_worker::Inspection;

use crate::args::ModelCommand;
use crate::say;

pub(crate) fn main(command: &ModelCommand) -> ExitCode {
    let done = match command {
        ModelCommand::Inspect { source } => inspect(source),
        ModelCommand::Verify(args) => verify::verify(args),
    };
    weir_process::exit_code("weir", done)
}

fn inspect(source: &str) -> anyhow::Result<()> {
    let inspection = Inspection::of(path(source)?).context("look at the model")?;
    say(&report(&inspection));
    Ok(())
}

/// Where a source is on this machine.
///
/// # Errors
/// Where it is none that lies on this machine.
fn path(source: &str) -> anyhow::Result<&Path> {
    let path = source.strip_prefix("file://").unwrap_or(source);
    match path.split_once("://") {
        None => Ok(Path::new(path)),
        Some((scheme, _)) => bail!(
            "{source} is not read here, because it is {scheme}://: name a path, or file://PATH"
        ),
    }
}

fn report(inspection: &Inspection) -> String {
    let mut lines = vec![
        ("family", inspection.architecture.clone()),
        ("parameters", counted(inspection.parameters)),
        (
            "files",
            format!(
                "{} tensors, {}",
                inspection.tensors,
                bytes(inspection.file_bytes)
            ),
        ),
        ("context", format!("{} tokens", inspection.context_tokens)),
    ];
    lines.extend(
        inspection
            .switches
            .iter()
            .map(|(name, how)| (*name, how.clone())),
    );
    let named = |(name, taken): (&str, u64)| format!("{name} {}", bytes(taken));
    let weights = inspection.weight_bytes.iter();
    let weights = weights.map(|(choice, taken)| named((choice.name(), *taken)));
    lines.push(("memory, weights", weights.collect::<Vec<_>>().join(", ")));
    let contexts = inspection.context_bytes.iter();
    let contexts = contexts.map(|(kind, taken)| named((kind.name(), *taken)));
    lines.push((
        "memory, one context",
        contexts.collect::<Vec<_>>().join(", "),
    ));
    let lines = lines
        .iter()
        .map(|(name, text)| format!("{name:<20} {text}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// As people say it: 1.24 billion.
fn counted(count: u64) -> String {
    match count {
        1_000_000_000.. => format!("{:.2} billion", count as f64 / 1e9),
        1_000_000.. => format!("{:.2} million", count as f64 / 1e6),
        _ => count.to_string(),
    }
}

fn bytes(count: u64) -> String {
    match count {
        1_000_000_000.. => format!("{:.2} GB", count as f64 / 1e9),
        1_000_000.. => format!("{:.1} MB", count as f64 / 1e6),
        _ => format!("{:.1} kB", count as f64 / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_is_not_on_this_machine_is_refused_by_its_scheme() {
        for (source, scheme) in [
            ("hf://Qwen/Qwen3-4B", "hf://"),
            ("pvc://models/a", "pvc://"),
        ] {
            let said = path(source).unwrap_err().to_string();
            assert!(said.contains(scheme), "{said}");
        }
        assert_eq!(path("file:///models/a").unwrap(), Path::new("/models/a"));
        assert_eq!(path("models/a").unwrap(), Path::new("models/a"));
    }

    #[test]
    fn the_model_of_the_example_is_told_with_what_it_takes() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/triage/model");
        let said = report(&Inspection::of(&folder).unwrap());
        for line in [
            "family               Llama",
            "parameters           2.65 million",
            "context              512 tokens",
            "head                 the embedding",
            "memory, weights      None 5.3 MB, Q8 2.8 MB, Q4 1.7 MB",
        ] {
            assert!(
                said.lines().any(|said| said == line),
                "no {line:?} in\n{said}"
            );
        }
    }
}
