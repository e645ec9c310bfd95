//! What lies at a path: a folder as the hub lays it out, or GGUF.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::config::{self, decoder_spec};
use crate::digest::Digested;
use crate::gguf::names::Architecture;
use crate::gguf::tensors::GgufTensors;
use crate::hub::HubTensors;
use crate::layers::{FeedForwardTensors, Layout};
use crate::spec::DecoderSpec;
use crate::weights::Source;
use crate::{Gguf, LoadError, digest, files};

/// Files beside the weights that answers depend on, in the order of their names.
const DIGESTED: [&str; 5] = [
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
];

/// A model whose weights have not been read yet.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) spec: DecoderSpec,
    pub(crate) layout: Layout,
    pub(crate) source: Source,
    pub(crate) digested: Digested,
    pub(crate) tokenizer_digest: String,
}

/// Opens the model at a path, for sequences of up to `asked` tokens.
///
/// # Errors
/// Names the file, key or tensor that is missing or that cannot be served.
pub(crate) fn open(path: &Path, asked: Option<u32>) -> Result<Opened, LoadError> {
    match gguf_at(path)? {
        Some(file) => open_gguf(&file, asked),
        None => open_folder(path, asked),
    }
}

/// The GGUF file at a path: the path itself, or the only one in a folder that is no other model.
///
/// # Errors
/// Where nothing is there, or several files are and none is meant more than another.
pub fn gguf_at(path: &Path) -> Result<Option<PathBuf>, LoadError> {
    if path.is_file() {
        return Ok(Some(path.to_owned()));
    }
    if !path.is_dir() {
        return Err(LoadError::FolderMissing {
            path: path.to_owned(),
        });
    }
    if path.join("config.json").exists() {
        return Ok(None);
    }
    let read = |source| LoadError::Read {
        path: path.to_owned(),
        source,
    };
    let mut choices = Vec::new();
    for entry in std::fs::read_dir(path).map_err(read)? {
        let file = entry.map_err(read)?.path();
        let is_gguf = file
            .extension()
            .is_some_and(|extension| extension == "gguf");
        if is_gguf && !is_later_part(&file) {
            choices.push(file);
        }
    }
    choices.sort_unstable();
    match choices.len() {
        0 => Ok(None),
        1 => Ok(choices.pop()),
        _ => Err(LoadError::Choices {
            path: path.to_owned(),
            choices: choices
                .iter()
                .filter_map(|file| file.file_name()?.to_str())
                .collect::<Vec<_>>()
                .join(", "),
        }),
    }
}

/// A part of a split file that is not the first: `name-00002-of-00003.gguf`.
fn is_later_part(file: &Path) -> bool {
    let stem = file
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or("");
    let Some((rest, count)) = stem.rsplit_once("-of-") else {
        return false;
    };
    let number = rest.rsplit_once('-').map_or("", |(_, number)| number);
    let is_part = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    is_part(count) && is_part(number) && number != "00001"
}

fn open_folder(folder: &Path, asked: Option<u32>) -> Result<Opened, LoadError> {
    let config: Map<String, Value> = files::needed_json(folder, "config.json")?;
    let (spec, layout) = decoder_spec(&config, asked)?;
    let tokenizer = files::needed(folder, "tokenizer.json")?;
    let source = Source::Hub(HubTensors::open(folder)?);
    let mut small = Vec::new();
    for name in DIGESTED {
        if let Some(bytes) = files::read(&folder.join(name))? {
            small.push((name.to_owned(), bytes));
        }
    }
    Ok(Opened {
        spec,
        layout,
        digested: Digested {
            small,
            weights: source.files().to_vec(),
        },
        source,
        tokenizer_digest: digest::of_content(&tokenizer),
    })
}

fn open_gguf(file: &Path, asked: Option<u32>) -> Result<Opened, LoadError> {
    let gguf = Gguf::open(file)?;
    let (architecture, spec) = config::gguf::decoder_spec(&gguf, asked)?;
    let layout = layout(architecture);
    let written = gguf.metadata().written("tokenizer.ggml.");
    let tokenizer_digest = digest::of_files(written);
    let source = Source::Gguf(GgufTensors::new(gguf, architecture, spec.head_dim));
    Ok(Opened {
        spec,
        layout,
        digested: Digested {
            small: Vec::new(),
            weights: source.files().to_vec(),
        },
        source,
        tokenizer_digest,
    })
}

fn layout(architecture: &Architecture) -> Layout {
    Layout {
        fused_attention: architecture.fused,
        feed_forward: match architecture.fused {
            true => FeedForwardTensors::Fused,
            false => FeedForwardTensors::Apart,
        },
        is_wrapped: false,
    }
}
