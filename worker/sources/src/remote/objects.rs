//! Objects of S3, Google Cloud Storage and Azure, and of servers that speak as they do.
//!
//! Without mounted credentials those of the machine are taken: a web identity from the variables that
//! Kubernetes was given, or the machine's metadata service.

mod watched;

use std::{error::Error, sync::Arc};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use object_store::{
    GetOptions, GetRange, ObjectMeta, ObjectStore, RetryConfig, aws::AmazonS3Builder,
    azure::MicrosoftAzureBuilder, gcp::GoogleCloudStorageBuilder, path::Path,
};
use reqwest::Client;
use watched::{NoIdentity, Refused, Watched};
use weir_crds::Source;

use super::{Listing, MOST_FILES, Packing, Remote, RemoteFile};
use crate::{
    credentials::Credentials,
    error::{SourceError, Trouble},
    web::{Opened, untrusted},
};

/// A file or folder of one bucket.
#[derive(Debug)]
pub(crate) struct Objects {
    store: Arc<dyn ObjectStore>,
    path: String,
    single: bool,
    address: String,
    credentials: Credentials,
}

impl Objects {
    /// The store of `source`; nothing for a source of another kind. `ambient` are the variables of
    /// the process.
    pub(crate) fn new(
        source: &Source,
        client: Client,
        credentials: &Credentials,
        ambient: &[(String, String)],
    ) -> Result<Option<Self>, SourceError> {
        let (bucket, path) = match source {
            Source::S3 { bucket, path } | Source::Gcs { bucket, path } => (bucket, path),
            Source::Azure { container, path } => (container, path),
            _ => return Ok(None),
        };
        let settings = settings(source, credentials, ambient);
        let watched = Watched::new(client);
        let store = match source {
            Source::S3 { .. } => s3(bucket, &settings, watched),
            Source::Gcs { .. } => gcs(bucket, &settings, watched),
            _ => azure(bucket, &settings, watched),
        };
        let store = store.map_err(|error| SourceError::Setting {
            what: "the settings of the store cannot be used",
            why: credentials.scrub(&error.to_string()),
        })?;
        Ok(Some(Self {
            store,
            path: path.clone(),
            single: source.is_single_file(),
            address: source.to_string(),
            credentials: credentials.clone(),
        }))
    }

    fn path(&self, text: &str) -> Result<Path, Trouble> {
        Path::parse(text).map_err(|error| {
            Trouble::Final(SourceError::Unsafe {
                what: format!("{}: {error}", self.address),
            })
        })
    }

    /// All objects below `folder`, by what follows it.
    async fn below(&self, folder: &str) -> Result<Vec<RemoteFile>, Trouble> {
        let prefix = self.path(folder)?;
        let mut found = self.store.list(Some(&prefix));
        let mut files = Vec::new();
        while let Some(object) = found.next().await {
            let object = object.map_err(|error| self.trouble(&error))?;
            let key = object.location.to_string();
            let below = key
                .strip_prefix(prefix.as_ref())
                .and_then(|name| name.strip_prefix('/'));
            if let Some(name) = below {
                files.push(file(name, &object));
            }
            if files.len() > MOST_FILES {
                return Err(Trouble::Final(SourceError::Unsupported {
                    address: self.address.clone(),
                    what: format!("more than {MOST_FILES} objects below one path"),
                }));
            }
        }
        Ok(files)
    }

    async fn one(&self) -> Result<Option<RemoteFile>, Trouble> {
        let options = GetOptions {
            head: true,
            ..GetOptions::default()
        };
        match self.store.get_opts(&self.path(&self.path)?, options).await {
            Ok(found) => Ok(Some(file(last(&self.path), &found.meta))),
            Err(error) if cause::<Refused>(&error).is_some_and(Refused::is_not_found) => Ok(None),
            Err(error) => Err(self.trouble(&error)),
        }
    }

    fn not_found(&self) -> Trouble {
        Trouble::Final(SourceError::NotFound {
            address: self.address.clone(),
            what: "no object of that name, and none below it".to_owned(),
        })
    }

    fn trouble(&self, error: &object_store::Error) -> Trouble {
        let address = self.address.clone();
        if let Some(refused) = cause::<Refused>(error) {
            return refused.trouble(address);
        }
        if cause::<NoIdentity>(error).is_some() {
            return Trouble::Final(SourceError::Unauthorized {
                address,
                what: "no credentials were mounted, and this machine has none of its own: name a \
                       Secret in credentialsSecretRef (for what is public, with the entry \
                       `aws_skip_signature`, `google_skip_signature` or `azure_skip_signature`: true)"
                    .to_owned(),
            });
        }
        if let Some(why) = untrusted(error) {
            return Trouble::Final(SourceError::Untrusted { host: address, why });
        }
        Trouble::passing(self.credentials.scrub(&chain(error)))
    }
}

#[async_trait]
impl Remote for Objects {
    async fn list(&self) -> Result<Listing, Trouble> {
        let name = last(&self.path);
        let in_parts = self.single && name.ends_with(".gguf") && name.contains("-of-");
        if self.single && !in_parts {
            let file = self.one().await?.ok_or_else(|| self.not_found())?;
            return Ok(Listing {
                files: vec![file],
                asked: Some(name.to_owned()),
                ..Listing::default()
            });
        }
        if in_parts {
            // The other parts lie beside the one that is named.
            let folder = self.path.strip_suffix(name).unwrap_or_default();
            return Ok(Listing {
                files: self.below(folder.trim_end_matches('/')).await?,
                asked: Some(name.to_owned()),
                ..Listing::default()
            });
        }
        let files = self.below(&self.path).await?;
        if !files.is_empty() {
            return Ok(Listing {
                files,
                ..Listing::default()
            });
        }
        let file = self.one().await?.ok_or_else(|| self.not_found())?;
        Ok(Listing {
            files: vec![file],
            asked: Some(name.to_owned()),
            ..Listing::default()
        })
    }

    async fn open(&self, file: &RemoteFile, from: u64) -> Result<Opened, Trouble> {
        let options = GetOptions {
            // Weak tags match nothing.
            if_match: file.tag.clone().filter(|tag| !tag.starts_with("W/")),
            range: (from > 0).then_some(GetRange::Offset(from)),
            ..GetOptions::default()
        };
        let found = self.store.get_opts(&self.path(&file.key)?, options).await;
        let found = found.map_err(|error| self.trouble(&error))?;
        let (address, credentials) = (self.address.clone(), self.credentials.clone());
        Ok(Opened {
            from: found.range.start,
            total: Some(found.meta.size),
            tag: found.meta.e_tag.clone(),
            body: found
                .into_stream()
                .map_err(move |error| {
                    Trouble::passing(credentials.scrub(&format!("{address}: {}", chain(&error))))
                })
                .boxed(),
        })
    }
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn file(name: &str, object: &ObjectMeta) -> RemoteFile {
    RemoteFile {
        name: name.to_owned(),
        key: object.location.to_string(),
        bytes: Some(object.size),
        // The tag of an object in several parts is no digest of its content.
        sha256: None,
        tag: object
            .e_tag
            .clone()
            .or_else(|| Some(object.last_modified.to_rfc3339())),
        packing: Packing::of(name),
    }
}

/// Names and values as the store's own library knows them; later ones win.
fn settings(
    source: &Source,
    credentials: &Credentials,
    ambient: &[(String, String)],
) -> Vec<(String, String)> {
    let prefix = match source {
        Source::S3 { .. } => "aws_",
        Source::Gcs { .. } => "google_",
        _ => "azure_",
    };
    let ours = |name: &str| match (name, source) {
        ("endpoint", Source::S3 { .. }) => Some("aws_endpoint".to_owned()),
        ("endpoint", Source::Gcs { .. }) => Some("google_base_url".to_owned()),
        ("endpoint", _) => Some("azure_storage_endpoint".to_owned()),
        ("region", Source::S3 { .. }) => Some("aws_region".to_owned()),
        _ => Some(name.to_ascii_lowercase()).filter(|name| name.starts_with(prefix)),
    };
    let ambient = ambient
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.as_str()))
        .filter(|(name, _)| name.starts_with(prefix));
    let mounted = credentials
        .entries()
        .filter_map(|(name, value)| Some((ours(name)?, value)));
    ambient
        .chain(mounted)
        .map(|(name, value)| (name, value.to_owned()))
        .collect()
}

/// Waiting and trying again are ours, where they can be seen.
fn once() -> RetryConfig {
    RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    }
}

type Built = object_store::Result<Arc<dyn ObjectStore>>;

fn s3(bucket: &str, settings: &[(String, String)], watched: Watched) -> Built {
    let known = settings
        .iter()
        .filter_map(|(name, value)| Some((name.parse().ok()?, value)));
    let builder = known.fold(AmazonS3Builder::new(), |builder, (name, value)| {
        builder.with_config(name, value)
    });
    let builder = builder.with_bucket_name(bucket).with_retry(once());
    Ok(Arc::new(builder.with_http_connector(watched).build()?))
}

fn gcs(bucket: &str, settings: &[(String, String)], watched: Watched) -> Built {
    let known = settings
        .iter()
        .filter_map(|(name, value)| Some((name.parse().ok()?, value)));
    let builder = known.fold(
        GoogleCloudStorageBuilder::new(),
        |builder, (name, value)| builder.with_config(name, value),
    );
    let builder = builder.with_bucket_name(bucket).with_retry(once());
    Ok(Arc::new(builder.with_http_connector(watched).build()?))
}

fn azure(container: &str, settings: &[(String, String)], watched: Watched) -> Built {
    let known = settings
        .iter()
        .filter_map(|(name, value)| Some((name.parse().ok()?, value)));
    let builder = known.fold(MicrosoftAzureBuilder::new(), |builder, (name, value)| {
        builder.with_config(name, value)
    });
    let builder = builder.with_container_name(container).with_retry(once());
    Ok(Arc::new(builder.with_http_connector(watched).build()?))
}

/// The first cause of `error` that is an `E`.
fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// The last cause: the others say the same with an address in front.
fn chain(error: &object_store::Error) -> String {
    let mut last: &dyn Error = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounted_settings_win_over_those_of_the_machine_and_others_stay_out() {
        let source = "s3://b/p".parse().unwrap();
        let mounted = Credentials::from([
            ("token", "hf_x"),
            ("region", "eu-north-1"),
            ("endpoint", "http://minio:9000"),
            ("aws_access_key_id", "id"),
        ]);
        let ambient = [
            ("AWS_REGION", "us-east-1"),
            ("HOME", "/"),
            ("AZURE_CLIENT_ID", "x"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = settings(&source, &mounted, &ambient);
        let of = |name: &str| {
            let found = settings.iter().rev().find(|(known, _)| known == name);
            found.map(|(_, value)| value.as_str())
        };
        assert_eq!(of("aws_region"), Some("eu-north-1"));
        assert_eq!(of("aws_endpoint"), Some("http://minio:9000"));
        assert_eq!(of("aws_access_key_id"), Some("id"));
        assert_eq!(settings.len(), 4, "{settings:?}");
    }
}
