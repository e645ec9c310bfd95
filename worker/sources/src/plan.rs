//! From what a source holds to what is downloaded of it: pure.

use std::collections::BTreeSet;

use crate::{
    choose::{Choice, Load, Unclear, below_single_folders, choose},
    digest::Digest,
    error::SourceError,
    name::stays_below,
    remote::{Listing, RemoteFile},
};

/// What is downloaded.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) revision: String,
    pub(crate) files: Vec<RemoteFile>,
    /// Nothing where only the unpacked files can say.
    pub(crate) load: Option<Load>,
}

impl Plan {
    /// The bytes of all files, if the source says them.
    pub(crate) fn total_bytes(&self) -> Option<u64> {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// The bytes that unpacking adds at least.
    pub(crate) fn packed_bytes(&self) -> u64 {
        let packed = self.files.iter().filter(|file| file.packing.is_some());
        packed
            .filter_map(|file| file.bytes)
            .fold(0, u64::saturating_add)
    }
}

/// # Errors
/// Where nothing of `listing` can be served, or it is not to be trusted.
pub(crate) fn plan(
    listing: Listing,
    sha256: Option<Digest>,
    address: &str,
) -> Result<Plan, SourceError> {
    let names: Vec<String> = listing.files.iter().map(|file| file.name.clone()).collect();
    let mut seen = BTreeSet::new();
    for name in &names {
        if !stays_below(name) || !seen.insert(name) {
            return Err(SourceError::Unsafe {
                what: format!("{address} lists {name:?}, which leads elsewhere or is there twice"),
            });
        }
    }
    let asked = listing.asked.as_deref();
    let in_archives = listing.layered && listing.files.iter().any(|file| file.packing.is_some());
    let Choice { names, load } = match in_archives {
        true => Choice {
            names,
            load: Load::Folder(String::new()),
        },
        false => choose(&names, asked).map_err(|unclear| unclear.at(address))?,
    };
    let mut files: Vec<RemoteFile> = listing
        .files
        .into_iter()
        .filter(|file| names.contains(&file.name))
        .collect();
    if let Some(zip) = names.iter().find(|name| name.ends_with(".zip")) {
        return Err(SourceError::Unsupported {
            address: address.to_owned(),
            what: format!("{zip}: zip is not unpacked; pack it as .tar or .tar.gz"),
        });
    }
    if let Some(sha256) = sha256 {
        demand(&mut files, sha256, address)?;
    }
    let is_packed = files.iter().any(|file| file.packing.is_some());
    Ok(Plan {
        revision: listing.revision.unwrap_or_else(|| content(&files)),
        load: (!is_packed).then_some(load),
        files,
    })
}

/// What the unpacked `names` are to the loader.
pub(crate) fn load_unpacked(names: &[String], address: &str) -> Result<Load, SourceError> {
    let root = below_single_folders(names);
    let choice = choose(names, root.as_deref()).map_err(|unclear| unclear.at(address))?;
    Ok(choice.load)
}

/// The digest that was asked for is that of the one file.
fn demand(files: &mut [RemoteFile], asked: Digest, address: &str) -> Result<(), SourceError> {
    let [file] = files else {
        return Err(SourceError::Unsupported {
            address: address.to_owned(),
            what: format!("sha256 is for one file, and these are {}", files.len()),
        });
    };
    match file.sha256.replace(asked) {
        Some(found) if found != asked => Err(SourceError::DigestMismatch {
            file: file.name.clone(),
            expected: asked,
            found,
        }),
        _ => Ok(()),
    }
}

/// What tells these files from others of the same names, where no commit or digest does.
fn content(files: &[RemoteFile]) -> String {
    let lines = files.iter().map(|file| {
        let tag = file.tag.as_deref().unwrap_or_default();
        format!("{}\n{:?}\n{tag}\n", file.name, file.bytes)
    });
    format!(
        "content:{}",
        Digest::of(lines.collect::<String>().as_bytes()).short()
    )
}

impl Unclear {
    fn at(self, address: &str) -> SourceError {
        let address = address.to_owned();
        match self {
            Self::Missing { asked, found } => SourceError::NotFound {
                address,
                what: format!("no {asked} among {}", found.join(", ")),
            },
            Self::Parts(missing) => SourceError::NotFound {
                address,
                what: format!("parts are missing: {}", missing.join(", ")),
            },
            Self::Several(choices) => SourceError::Ambiguous { address, choices },
            Self::Nothing(found) => SourceError::Unsupported {
                address,
                what: match found.is_empty() {
                    true => "it holds nothing".to_owned(),
                    false => format!(
                        "only safetensors and GGUF are read, and it holds {}",
                        found.join(", ")
                    ),
                },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::Packing;

    fn listing(names: &[&str], layered: bool) -> Listing {
        let file = |name: &&str| RemoteFile {
            name: (*name).to_owned(),
            key: String::new(),
            bytes: Some(7),
            sha256: None,
            tag: Some("\"a\"".to_owned()),
            packing: Packing::of(name),
        };
        Listing {
            files: names.iter().map(file).collect(),
            layered,
            ..Listing::default()
        }
    }

    #[test]
    fn names_that_lead_elsewhere_or_come_twice_are_refused() {
        for names in [
            ["../config.json", "model.safetensors"],
            ["a.gguf", "a.gguf"],
        ] {
            let error = plan(listing(&names, false), None, "hf://a/b").unwrap_err();
            assert!(matches!(error, SourceError::Unsafe { .. }), "{error}");
        }
    }

    #[test]
    fn layers_are_taken_whole_and_an_archive_beside_a_model_is_left() {
        let layers = ["a.tar", "config.json"];
        let taken = plan(listing(&layers, true), None, "oci://a/b").unwrap();
        assert_eq!((taken.files.len(), taken.load), (2, None));
        assert_eq!(
            plan(listing(&layers, true), None, "x")
                .unwrap()
                .packed_bytes(),
            7
        );
        let folder = ["extra.tar", "config.json", "model.safetensors"];
        let taken = plan(listing(&folder, false), None, "hf://a/b").unwrap();
        assert_eq!(taken.files.len(), 2);
        assert_eq!(taken.load, Some(Load::Folder(String::new())));
    }

    #[test]
    fn a_digest_that_is_asked_for_is_of_one_file() {
        let asked = Some(Digest::of(b"x"));
        let one = plan(listing(&["a.gguf"], false), asked, "hf://a/b").unwrap();
        assert_eq!(one.files[0].sha256, asked);
        let folder = ["config.json", "model.safetensors"];
        let error = plan(listing(&folder, false), asked, "hf://a/b").unwrap_err();
        assert_eq!(error.reason(), "Unsupported");
        let mut known = listing(&["a.gguf"], false);
        known.files[0].sha256 = Some(Digest::of(b"y"));
        let error = plan(known, asked, "hf://a/b").unwrap_err();
        assert_eq!(error.reason(), "DigestMismatch");
    }

    #[test]
    fn files_without_a_commit_are_told_apart_by_their_tags() {
        let revision = |tag: &str| {
            let mut listing = listing(&["a.gguf"], false);
            listing.files[0].tag = Some(tag.to_owned());
            plan(listing, None, "s3://b/a.gguf").unwrap().revision
        };
        assert_eq!(revision("1"), revision("1"));
        assert_ne!(revision("1"), revision("2"));
    }

    #[test]
    fn several_models_are_an_error_that_lists_them() {
        let error = plan(listing(&["a.gguf", "b.gguf"], false), None, "hf://a/b").unwrap_err();
        assert_eq!(error.reason(), "AmbiguousSource");
        assert_eq!(
            error.to_string(),
            "hf://a/b holds several models; name one of them: a.gguf, b.gguf"
        );
    }
}
