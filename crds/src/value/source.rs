//! Where a model or an adapter comes from.

use std::{fmt, str::FromStr};

/// An address of model files, by its scheme.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A repository of the Hugging Face hub, or one file of it: `hf://owner/repo[/file]`.
    HuggingFace {
        repository: String,
        file: Option<String>,
    },
    /// `s3://bucket/path`.
    S3 { bucket: String, path: String },
    /// `gs://bucket/path`.
    Gcs { bucket: String, path: String },
    /// `az://container/path`.
    Azure { container: String, path: String },
    /// `https://host/path`: one file.
    Https { url: String },
    /// `oci://registry/repository[:tag|@digest]`, mounted as an image volume.
    Oci { image: String },
    /// `pvc://claim[/path]`: a folder or file on a volume of the namespace.
    Claim { claim: String, path: String },
    /// `file:///path`: a folder or file in the worker's image, or on a laptop.
    File { path: String },
}

/// Why a text is not a source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    #[error(
        "source {0:?} has no scheme that is known: begin with hf://, s3://, gs://, az://, https://, oci://, pvc:// or file:///"
    )]
    UnknownScheme(String),
    #[error("source {address:?} is not complete: write {form}")]
    Incomplete { address: String, form: &'static str },
    #[error("source {0:?} has a blank, a control character or a segment of dots")]
    Unsafe(String),
}

impl Source {
    /// Whether the last segment's suffix says that this is one file.
    pub fn is_single_file(&self) -> bool {
        SINGLE_FILE_SUFFIXES
            .iter()
            .any(|suffix| self.to_string().ends_with(suffix))
    }

    /// Whether this names a GGUF file.
    pub fn is_gguf(&self) -> bool {
        self.to_string().ends_with(".gguf")
    }
}

/// The suffixes by which a source is one file; the schema's rule has the same.
pub(crate) const SINGLE_FILE_SUFFIXES: [&str; 6] =
    [".gguf", ".safetensors", ".tar", ".tar.gz", ".tgz", ".zip"];

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(address: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = address
            .split_once("://")
            .ok_or_else(|| SourceError::UnknownScheme(address.into()))?;
        let bad = |c: char| c.is_whitespace() || c.is_control();
        if rest.contains(bad) || rest.split('/').any(|part| matches!(part, "." | "..")) {
            return Err(SourceError::Unsafe(address.into()));
        }
        let incomplete = |form| SourceError::Incomplete {
            address: address.into(),
            form,
        };
        let two_parts = |form| {
            rest.split_once('/')
                .map(|(first, path)| (first, path.trim_end_matches('/')))
                .filter(|(first, path)| !first.is_empty() && !path.is_empty())
                .map(|(first, path)| (first.to_owned(), path.to_owned()))
                .ok_or_else(|| incomplete(form))
        };
        match scheme {
            "hf" => {
                let (owner, rest) = two_parts("hf://owner/repo or hf://owner/repo/file.gguf")?;
                let (name, file) = match rest.split_once('/') {
                    Some((name, file)) => (name, Some(file.to_owned())),
                    None => (rest.as_str(), None),
                };
                Ok(Source::HuggingFace {
                    repository: format!("{owner}/{name}"),
                    file,
                })
            }
            "s3" => two_parts("s3://bucket/path").map(|(bucket, path)| Source::S3 { bucket, path }),
            "gs" => {
                two_parts("gs://bucket/path").map(|(bucket, path)| Source::Gcs { bucket, path })
            }
            "az" => two_parts("az://container/path")
                .map(|(container, path)| Source::Azure { container, path }),
            "https" => two_parts("https://host/path/model.gguf").map(|_| Source::Https {
                url: address.into(),
            }),
            "oci" => two_parts("oci://registry/repository:tag")
                .map(|_| Source::Oci { image: rest.into() }),
            "pvc" => {
                let (claim, path) = rest.split_once('/').unwrap_or((rest, ""));
                if claim.is_empty() {
                    return Err(incomplete("pvc://claim/path"));
                }
                Ok(Source::Claim {
                    claim: claim.into(),
                    path: path.trim_end_matches('/').into(),
                })
            }
            "file" => match rest.trim_end_matches('/') {
                path if path.len() > 1 && path.starts_with('/') => {
                    Ok(Source::File { path: path.into() })
                }
                _ => Err(incomplete("file:///path")),
            },
            _ => Err(SourceError::UnknownScheme(address.into())),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::HuggingFace {
                repository,
                file: None,
            } => write!(f, "hf://{repository}"),
            Source::HuggingFace {
                repository,
                file: Some(file),
            } => write!(f, "hf://{repository}/{file}"),
            Source::S3 { bucket, path } => write!(f, "s3://{bucket}/{path}"),
            Source::Gcs { bucket, path } => write!(f, "gs://{bucket}/{path}"),
            Source::Azure { container, path } => write!(f, "az://{container}/{path}"),
            Source::Https { url } => f.write_str(url),
            Source::Oci { image } => write!(f, "oci://{image}"),
            Source::Claim { claim, path } if path.is_empty() => write!(f, "pvc://{claim}"),
            Source::Claim { claim, path } => write!(f, "pvc://{claim}/{path}"),
            Source::File { path } => write!(f, "file://{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_reads_and_writes_back() {
        for address in [
            "hf://Qwen/Qwen2.5-3B-Instruct",
            "hf://Qwen/Qwen2.5-3B-Instruct-GGUF/q4/model.gguf",
            "s3://models/triage",
            "gs://models/triage/v1",
            "az://models/triage",
            "https://example.com/model.gguf",
            "oci://registry.example.com/models/triage:v1",
            "pvc://models/triage",
            "pvc://models",
            "file:///models/triage",
        ] {
            let source: Source = address.parse().unwrap();
            assert_eq!(source.to_string(), address);
        }
    }

    #[test]
    fn a_source_without_what_it_needs_says_what_to_write() {
        for (address, problem) in [
            ("triage", "has no scheme that is known"),
            ("ftp://host/model", "has no scheme that is known"),
            ("http://host/model.gguf", "has no scheme that is known"),
            ("hf://repo", "write hf://owner/repo"),
            ("s3://bucket", "write s3://bucket/path"),
            ("pvc:///path", "write pvc://claim/path"),
            ("file://models", "write file:///path"),
            ("file:///", "write file:///path"),
            ("file:///a/../b", "segment of dots"),
            ("s3://a/b c", "a blank"),
        ] {
            let error = address.parse::<Source>().unwrap_err().to_string();
            assert!(error.contains(problem), "{address}: {error}");
        }
    }

    #[test]
    fn one_file_is_known_by_its_suffix() {
        let source = |address: &str| address.parse::<Source>().unwrap();
        assert!(source("hf://a/b/model.gguf").is_gguf());
        assert!(source("https://h/model.tar.gz").is_single_file());
        assert!(!source("hf://a/b").is_single_file());
    }
}
