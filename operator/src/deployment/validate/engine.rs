//! Whose server runs in the pods of a deployment: our worker, or another's that speaks OpenAI's wire.

use std::collections::BTreeSet;

use weir_crds::{
    Accelerator, KeyValueType, PrefixCache, Protocol, Quantization, SLMDeploymentSpec, Source,
    labels,
};
use weir_policy::source::{Roots, local_path};
use weir_policy::validate::Problem;

use super::super::began::image;
use super::{Valid, invalid};
use crate::settings::Settings;

const CONTEXT_TOKENS: &str = "WEIR_CONTEXT_TOKENS";
const MAX_SEQUENCES: &str = "WEIR_MAX_SEQUENCES";
/// Variables of this beginning are ours to set.
const OURS: &str = "WEIR_";

/// A server that is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign<'a> {
    pub image: &'a str,
    /// What it is told, by name: its arguments may refer to each.
    pub variables: Vec<(&'static str, String)>,
}

/// The server of `spec`, of the deployment `name`, if it is not ours; or everything that is wrong with what
/// is said of it.
pub(super) fn foreign<'a>(
    name: &str,
    spec: &'a SLMDeploymentSpec,
    source: Option<&Source>,
) -> Result<Option<Foreign<'a>>, Vec<Problem>> {
    let mut problems: Vec<Problem> = accelerators(spec).into_iter().collect();
    let engine = &spec.engine;
    let foreign = match (&engine.image, engine.protocol) {
        (Some(image), Protocol::OpenAI) => {
            problems.extend(not_of_others(spec));
            problems.extend(source.and_then(not_brought));
            let variables = variables(name, spec, source);
            problems.extend(references(spec, &variables));
            Some(Foreign { image, variables })
        }
        (image, protocol) => {
            problems.extend(contradictions(image.is_some(), protocol, spec));
            None
        }
    };
    match problems.is_empty() {
        true => Ok(foreign),
        false => Err(problems),
    }
}

/// The same, where whoever installed Weir named an image that can run it.
///
/// # Errors
/// Says which image is missing.
pub fn with_image<'a>(valid: Valid<'a>, settings: &Settings) -> Result<Valid<'a>, Vec<Problem>> {
    if valid.foreign.is_some() || image(valid.spec, settings).is_some() {
        return Ok(valid);
    }
    let field = "spec.resources.accelerator";
    let message = format!(
        "{field}: Nvidia needs an image of our worker that computes there, and this installation names none: \
         whoever installed it sets worker.cudaImage of the chart (--worker-cuda-image of the operator) or the image of a profile, or set \
         engine.image to a server of your own"
    );
    Err(vec![invalid(field, message)])
}

/// Admission refuses these; where there is none, on a laptop, they are found here.
fn contradictions(has_image: bool, protocol: Protocol, spec: &SLMDeploymentSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    if has_image {
        problems.push(said(
            "spec.engine.image",
            "is for a server that speaks OpenAI: set engine.protocol to OpenAI, or take it out",
        ));
    } else if protocol == Protocol::OpenAI {
        problems.push(said(
            "spec.engine.protocol",
            "OpenAI is for a server of your own: set engine.image, or take it out",
        ));
    }
    if !has_image && !spec.engine.args.is_empty() {
        problems.push(said(
            "spec.engine.args",
            "are arguments of engine.image: set that too, or take them out",
        ));
    }
    problems
}

fn accelerators(spec: &SLMDeploymentSpec) -> Option<Problem> {
    let count = spec.resources.count?;
    let field = "spec.resources.count";
    match spec.resources.accelerator {
        Accelerator::None => Some(said(
            field,
            "counts accelerators: set resources.accelerator, or take it out",
        )),
        Accelerator::Nvidia if count > 1 && spec.engine.image.is_none() => Some(said(
            field,
            "our worker runs on one accelerator: set it to 1, or set engine.image",
        )),
        Accelerator::Nvidia => None,
    }
}

/// What only our worker does.
fn not_of_others(spec: &SLMDeploymentSpec) -> impl Iterator<Item = Problem> {
    let (model, engine) = (&spec.model, &spec.engine);
    let ours = [
        ("spec.adapters", !spec.adapters.is_empty()),
        ("spec.model.chatTemplate", model.chat_template.is_some()),
        (
            "spec.model.quantization",
            model.quantization != Quantization::default(),
        ),
        (
            "spec.engine.keyValueType",
            engine.key_value_type != KeyValueType::default(),
        ),
        (
            "spec.engine.prefixCache",
            engine.prefix_cache != PrefixCache::default(),
        ),
        ("spec.model.revision", model.revision.is_some()),
        ("spec.model.sha256", model.sha256.is_some()),
        (
            "spec.model.credentialsSecretRef",
            model.credentials_secret_ref.is_some(),
        ),
        ("spec.model.caBundle", model.ca_bundle.is_some()),
    ];
    let ours = ours.into_iter().filter(|(_, is_set)| *is_set);
    ours.map(|(field, _)| {
        said(
            field,
            "is what our worker does, and engine.image is another server: say it in engine.args if that server has \
             such a thing, and take it out here",
        )
    })
}

/// Our worker downloads; another's server finds what is mounted.
fn not_brought(source: &Source) -> Option<Problem> {
    let is_there = local_path(source, &Roots::default()).is_some();
    (!is_there).then(|| {
        said(
            "spec.model.source",
            "with engine.image a model is a path in that image (file://) or on a claim (pvc://): nothing downloads \
             it for a server that is not ours",
        )
    })
}

fn variables(
    name: &str,
    spec: &SLMDeploymentSpec,
    source: Option<&Source>,
) -> Vec<(&'static str, String)> {
    let path = source.and_then(|source| local_path(source, &Roots::default()));
    let cores = spec.resources.cpu.milli_cpu().ok();
    let accelerators = match spec.resources.accelerator {
        Accelerator::None => None,
        Accelerator::Nvidia => Some(spec.resources.count.unwrap_or(1)),
    };
    let all = [
        ("WEIR_MODEL", path.map(|path| path.display().to_string())),
        ("WEIR_MODEL_NAME", Some(name.to_owned())),
        ("WEIR_PORT", Some(labels::WORKER_PORT.to_string())),
        (
            "WEIR_THREADS",
            cores.map(|cores| (cores.0 / 1000).max(1).to_string()),
        ),
        (
            "WEIR_ACCELERATORS",
            accelerators.map(|count| count.to_string()),
        ),
        (
            CONTEXT_TOKENS,
            spec.model.context_tokens.map(|tokens| tokens.to_string()),
        ),
        (
            MAX_SEQUENCES,
            spec.engine.max_sequences.map(|most| most.to_string()),
        ),
    ];
    let all = all.into_iter();
    all.filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

/// What is referred to and is not there would reach the server as it is written; and a field that becomes a
/// variable has no effect where nobody refers to it.
fn references(spec: &SLMDeploymentSpec, variables: &[(&'static str, String)]) -> Vec<Problem> {
    let theirs = &spec.placement.env;
    let is_there = |name: &str| {
        variables.iter().any(|(known, _)| *known == name)
            || theirs.iter().any(|variable| variable.name == name)
    };
    let mut referred = BTreeSet::new();
    let mut problems = Vec::new();
    for (index, argument) in spec.engine.args.iter().enumerate() {
        for name in referred_in(argument) {
            if name.starts_with(OURS) && !is_there(name) {
                let field = format!("spec.engine.args[{index}]");
                let message =
                    format!("{field}: there is no variable {name} here: see docs/engines.md");
                problems.push(invalid(&field, message));
            }
            referred.insert(name);
        }
    }
    let values = theirs.iter().filter_map(|theirs| theirs.value.as_deref());
    referred.extend(values.flat_map(referred_in));
    let told = [
        ("spec.model.contextTokens", CONTEXT_TOKENS),
        ("spec.engine.maxSequences", MAX_SEQUENCES),
    ];
    for (field, variable) in told {
        let is_set = variables.iter().any(|(name, _)| *name == variable);
        if is_set && !referred.contains(variable) {
            let message = format!(
                "{field}: engine.args do not refer to $({variable}), so that it has no effect: use it there, or take \
                 the field out"
            );
            problems.push(invalid(field, message));
        }
    }
    problems
}

/// The names in `$(NAME)`; `$$(NAME)` stands for itself.
fn referred_in(text: &str) -> impl Iterator<Item = &str> {
    let mut is_escaped = text
        .split("$(")
        .next()
        .is_some_and(|before| before.ends_with('$'));
    text.split("$(").skip(1).filter_map(move |rest| {
        let was_escaped = std::mem::replace(&mut is_escaped, rest.ends_with('$'));
        let (name, _) = rest.split_once(')')?;
        (!was_escaped).then_some(name)
    })
}

fn said(field: &str, what: &str) -> Problem {
    invalid(field, format!("{field}: {what}"))
}

#[cfg(test)]
mod tests;
