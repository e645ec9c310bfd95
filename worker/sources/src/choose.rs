//! Which files of a source are wanted, and what is loaded of them: plain decisions over names.
//!
//! A model is a folder of safetensors with its JSON, templates and tokenizer, or one GGUF with all
//! its parts. Where both are there, safetensors win: the folder is what the authors published.
//! PyTorch and ONNX files, and `consolidated` copies of the same weights, are left where they are.

use std::collections::BTreeSet;

/// What to take, and what to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) names: Vec<String>,
    pub(crate) load: Load,
}

/// What the loader is given: a path below the entry.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Load {
    /// A folder; empty for the whole.
    Folder(String),
    File(String),
}

/// Why nothing can be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unclear {
    /// Nothing of that name; what there is instead.
    Missing {
        asked: String,
        found: Vec<String>,
    },
    /// Some parts of a GGUF in parts.
    Parts(Vec<String>),
    Several(Vec<String>),
    /// No weights that can be read; what there is instead.
    Nothing(Vec<String>),
}

/// Kinds of weights that are not read, to be named where nothing else is there.
const FOREIGN: [&str; 6] = [".bin", ".pth", ".pt", ".onnx", ".h5", ".msgpack"];
/// Small files beside the weights that are not JSON or templates.
const BESIDE: [&str; 4] = [
    "tokenizer.model",
    "merges.txt",
    "vocab.txt",
    "1_Pooling/config.json",
];
/// Names in a message: more of them help nobody.
const MOST_NAMED: usize = 20;

/// Picks from `names`, all of them files below one root. `asked` is one file, or a folder.
pub(crate) fn choose(names: &[String], asked: Option<&str>) -> Result<Choice, Unclear> {
    let Some(asked) = asked else {
        return whole(names, "");
    };
    if names.iter().any(|name| name == asked) {
        return one(names, asked);
    }
    let folder = format!("{}/", asked.trim_end_matches('/'));
    if names.iter().any(|name| name.starts_with(&folder)) {
        return whole(names, &folder);
    }
    Err(Unclear::Missing {
        asked: asked.to_owned(),
        found: named(names.iter()),
    })
}

/// Where the files are that came out of an archive: below all the folders that hold everything.
pub(crate) fn below_single_folders(names: &[String]) -> Option<String> {
    let mut root = String::new();
    loop {
        let rest: BTreeSet<Option<&str>> = names
            .iter()
            .filter_map(|name| name.strip_prefix(&root))
            .map(|rest| rest.split_once('/').map(|(folder, _)| folder))
            .collect();
        match rest.iter().next() {
            Some(Some(folder)) if rest.len() == 1 => root = format!("{root}{folder}/"),
            _ => return (!root.is_empty()).then(|| root.trim_end_matches('/').to_owned()),
        }
    }
}

fn one(names: &[String], asked: &str) -> Result<Choice, Unclear> {
    let Some(parts) = Parts::of(asked) else {
        return Ok(Choice {
            names: vec![asked.to_owned()],
            load: Load::File(asked.to_owned()),
        });
    };
    let all: Vec<String> = (1..=parts.count).map(|part| parts.name(part)).collect();
    let missing: Vec<&String> = all.iter().filter(|part| !names.contains(part)).collect();
    if !missing.is_empty() {
        return Err(Unclear::Parts(named(missing.into_iter())));
    }
    Ok(Choice {
        load: Load::File(parts.name(1)),
        names: all,
    })
}

fn whole(names: &[String], folder: &str) -> Result<Choice, Unclear> {
    let here: Vec<&str> = names
        .iter()
        .filter_map(|name| name.strip_prefix(folder))
        .collect();
    let weights = safetensors(&here);
    if weights.is_empty() {
        return gguf(names, folder);
    }
    let wanted = |name: &&&str| {
        let beside = !name.contains('/') && (name.ends_with(".json") || name.ends_with(".jinja"));
        weights.contains(*name) || beside || BESIDE.contains(*name)
    };
    Ok(Choice {
        names: here
            .iter()
            .filter(wanted)
            .map(|name| format!("{folder}{name}"))
            .collect(),
        load: Load::Folder(folder.trim_end_matches('/').to_owned()),
    })
}

/// The weights of a folder, each once: the shards of an index, or the one file, or whatever has
/// another name, such as an adapter's.
fn safetensors<'a>(here: &[&'a str]) -> Vec<&'a str> {
    let is_weights = |name: &&str| {
        name.ends_with(".safetensors") && !name.contains('/') && !name.starts_with("consolidated")
    };
    let all: Vec<&str> = here
        .iter()
        .copied()
        .filter(|name| is_weights(name))
        .collect();
    let shards: Vec<&str> = all
        .iter()
        .copied()
        .filter(|name| name.starts_with("model-") && name.contains("-of-"))
        .collect();
    if here.contains(&"model.safetensors.index.json") && !shards.is_empty() {
        return shards;
    }
    if all.contains(&"model.safetensors") {
        return vec!["model.safetensors"];
    }
    all
}

fn gguf(names: &[String], folder: &str) -> Result<Choice, Unclear> {
    let firsts: BTreeSet<String> = names
        .iter()
        .filter(|name| name.starts_with(folder) && name.ends_with(".gguf"))
        // What lets a model see comes beside it, and is no model.
        .filter(|name| {
            !name
                .rsplit('/')
                .next()
                .is_some_and(|last| last.starts_with("mmproj"))
        })
        .map(|name| Parts::of(name).map_or_else(|| name.clone(), |parts| parts.name(1)))
        .collect();
    let mut firsts = firsts.into_iter();
    match (firsts.next(), firsts.next()) {
        (Some(first), None) => one(names, &first),
        (Some(first), Some(second)) => {
            let all: Vec<String> = [first, second].into_iter().chain(firsts).collect();
            Err(Unclear::Several(named(all.iter())))
        }
        (None, _) => {
            let foreign: Vec<&String> = names
                .iter()
                .filter(|name| FOREIGN.iter().any(|kind| name.ends_with(kind)))
                .collect();
            match foreign.is_empty() {
                true => Err(Unclear::Nothing(named(names.iter()))),
                false => Err(Unclear::Nothing(named(foreign.into_iter()))),
            }
        }
    }
}

fn named<'a>(names: impl ExactSizeIterator<Item = &'a String>) -> Vec<String> {
    let more = names.len().saturating_sub(MOST_NAMED);
    let mut named: Vec<String> = names.take(MOST_NAMED).cloned().collect();
    if more > 0 {
        named.push(format!("and {more} more"));
    }
    named
}

/// `<stem>-00001-of-00003.gguf`.
struct Parts<'a> {
    stem: &'a str,
    count: u32,
}

impl<'a> Parts<'a> {
    fn of(name: &'a str) -> Option<Self> {
        let (rest, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
        let (stem, part) = rest.rsplit_once('-')?;
        let five = |digits: &str| digits.len() == 5 && digits.bytes().all(|d| d.is_ascii_digit());
        if !five(part) || !five(count) {
            return None;
        }
        let count = count.parse().ok()?;
        // More than any model has; a name must not make a list of a hundred thousand.
        (1..=1000).contains(&count).then_some(Self { stem, count })
    }

    fn name(&self, part: u32) -> String {
        format!("{}-{part:05}-of-{:05}.gguf", self.stem, self.count)
    }
}

#[cfg(test)]
mod tests;
