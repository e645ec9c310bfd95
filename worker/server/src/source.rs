//! Where the model comes from, and how it gets here.

use std::path::PathBuf;

use tokio::sync::watch;
use weir_policy::source::Roots;
use weir_sources::{Digest, Fetched, Options, Progress, Source, fetch};

use crate::failure::Failure;

/// What a worker is told of its model's files.
#[derive(Debug, Clone, clap::Args)]
pub struct SourceArgs {
    /// Where the model is: hf://OWNER/REPO, https://, s3://, gs://, az://, oci://, pvc://CLAIM/PATH
    /// or file:///PATH.
    #[arg(long, env = "WEIR_SOURCE", value_name = "ADDRESS")]
    pub source: String,

    /// Branch, tag or commit of a repository, tag or digest of an image [default: the source's own]
    #[arg(long, env = "WEIR_REVISION", value_name = "NAME")]
    pub revision: Option<String>,

    /// What the address resolved to before: files of anything else are refused [default: any]
    #[arg(long, env = "WEIR_PINNED", value_name = "REVISION")]
    pub pinned: Option<String>,

    /// A folder that says what the first of several workers found: `resolved`, as above, and
    /// `digest`, over all files of the model. What it does not say is not pinned [default: nothing]
    #[arg(long, env = "WEIR_PINS", value_name = "FOLDER")]
    pub pins: Option<PathBuf>,

    /// SHA-256 of a source that is one file [default: any]
    #[arg(long, env = "WEIR_SHA256", value_name = "HEX")]
    pub sha256: Option<Digest>,

    /// A folder with a file for each credential: token, aws_access_key_id and others, see
    /// docs/sources.md [default: the process's own identity]
    #[arg(long, env = "WEIR_CREDENTIALS", value_name = "FOLDER")]
    pub credentials: Option<PathBuf>,

    /// Certificates to trust besides the system's [default: none]
    #[arg(long, env = "WEIR_CA_BUNDLE", value_name = "FILE")]
    pub ca_bundle: Option<PathBuf>,

    /// Where downloaded models are kept; workers of a machine may share it.
    #[arg(
        long,
        env = "WEIR_CACHE",
        value_name = "FOLDER",
        default_value = "/cache"
    )]
    pub cache: PathBuf,

    /// Ask nobody: serve what is in the cache.
    #[arg(long, env = "WEIR_OFFLINE")]
    pub offline: bool,

    /// What file:// addresses are below.
    #[arg(long, env = "WEIR_FILE_ROOT", value_name = "DIR", default_value = "/")]
    pub file_root: PathBuf,

    /// Where claims of pvc:// addresses are mounted, each under its name.
    #[arg(
        long,
        env = "WEIR_VOLUMES_ROOT",
        value_name = "DIR",
        default_value = "/volumes"
    )]
    pub volumes_root: PathBuf,
}

impl SourceArgs {
    /// Brings the files to this machine, or finds them there: those that were `resolved` before,
    /// where they can be had.
    ///
    /// # Errors
    /// Says what stands in the way, when patience with it is over.
    pub async fn bring(
        &self,
        resolved: Option<&str>,
        progress: &watch::Sender<Progress>,
    ) -> Result<Fetched, Failure> {
        let source: Source = self.source.parse().map_err(|error| {
            let message = format!("source {}: {error}", self.source);
            Failure::of("Unsupported", &message)
        })?;
        let mut options = self.options();
        if let Some(resolved) = resolved.filter(|_| options.pinned.is_none()) {
            let pinned = Options {
                pinned: Some(resolved.to_owned()),
                ..options.clone()
            };
            if has_names_of_contents(&source) {
                options = pinned;
            } else if let Ok(cached) = fetch(&source, &offline(pinned), progress).await {
                return Ok(cached);
            }
        }
        let fetched = fetch(&source, &options, progress).await;
        fetched.map_err(|error| Failure::new(error.reason(), &error))
    }

    fn options(&self) -> Options {
        Options {
            roots: Roots {
                files: self.file_root.clone(),
                volumes: self.volumes_root.clone(),
            },
            revision: self.revision.clone(),
            pinned: self.pinned.clone(),
            sha256: self.sha256,
            credentials: self.credentials.clone(),
            ca_bundle: self.ca_bundle.clone(),
            ambient: variables(),
            offline: self.offline,
            ..Options::new(&self.cache)
        }
    }
}

/// Whether what it resolves to can be asked for, and is the same files whenever it is.
fn has_names_of_contents(source: &Source) -> bool {
    matches!(source, Source::HuggingFace { .. } | Source::Oci { .. })
}

fn offline(options: Options) -> Options {
    Options {
        offline: true,
        ..options
    }
}

/// Of this process. A cluster gives a pod its identity in variables of many names.
fn variables() -> Vec<(String, String)> {
    let all = std::env::vars_os();
    all.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
