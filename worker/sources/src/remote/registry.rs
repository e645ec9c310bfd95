//! Models in OCI registries: artefacts of ModelPack, KitOps and ORAS, and images that hold files.
//!
//! Every manifest and blob is what its digest says. In a cluster such a source is usually mounted
//! as an image volume instead and nothing is downloaded; this is for where that cannot be.

mod artifact;
mod auth;
mod reference;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::{Response, StatusCode, Url};
use tokio::sync::Mutex;

use super::{Listing, Remote, RemoteFile};
use crate::{
    digest::Digest,
    error::{SourceError, Trouble},
    web::{Ask, Opened, Web, text},
};
use artifact::Manifest;
use auth::{Auth, Challenge};
pub(crate) use reference::Reference;

/// Registries refuse larger ones.
const MOST_MANIFEST_BYTES: usize = 4 << 20;
/// An index in an index is allowed, and more of them is a joke.
const DEEPEST_INDEX: usize = 3;

const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";

/// One artefact of a registry.
#[derive(Debug)]
pub(crate) struct Registry {
    web: Web,
    reference: Reference,
    address: String,
    auth: Mutex<Auth>,
}

impl Registry {
    pub(crate) fn new(web: Web, reference: Reference, address: String) -> Self {
        let auth = Auth::new(web.credentials(), &reference.host);
        Self {
            web,
            reference,
            address,
            auth: Mutex::new(auth),
        }
    }

    /// Asks with the credential that worked before, and for another one where it does not.
    async fn get(&self, ask: Ask) -> Result<Response, Trouble> {
        let had = self.auth.lock().await.value();
        let ask = Ask {
            authorization: had.clone(),
            ..ask
        };
        let response = self.web.get(&ask).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return self.good(response);
        }
        // What another host wants, to which a blob was redirected, is not for our credentials.
        let is_ours = response.url().origin() == ask.url.origin();
        let challenge = text(response.headers(), "www-authenticate").filter(|_| is_ours);
        let Some(challenge) = challenge.as_deref().and_then(Challenge::parse) else {
            return Err(self.web.refused(&self.address, &response));
        };
        let mut auth = self.auth.lock().await;
        if auth.value() == had && !auth.answer(&self.web, &ask.url, &challenge).await? {
            return Err(self.web.refused(&self.address, &response));
        }
        let ask = Ask {
            authorization: auth.value(),
            ..ask
        };
        drop(auth);
        let response = self.web.get(&ask).await?;
        self.good(response)
    }

    fn good(&self, response: Response) -> Result<Response, Trouble> {
        match response.status().is_success() {
            true => Ok(response),
            false => Err(self.web.refused(&self.address, &response)),
        }
    }

    /// The manifest that `reference` names, a tag or a digest, and its digest.
    async fn manifest(&self, reference: &str) -> Result<(Digest, Bytes), Trouble> {
        let ask = Ask {
            accept: Some(MANIFESTS),
            ..Ask::new(self.url("manifests", reference)?)
        };
        let response = self.get(ask).await?;
        let told = text(response.headers(), "docker-content-digest");
        let body = self.web.small(response, MOST_MANIFEST_BYTES).await?;
        let found = Digest::of(&body);
        let asked = match reference.contains(':') {
            true => Some(reference),
            false => told.as_deref(),
        };
        let expected = asked.map(str::parse::<Digest>).transpose();
        let expected = expected.map_err(|error| self.unsupported(error.to_string()))?;
        match expected {
            Some(expected) if expected != found => Err(SourceError::DigestMismatch {
                file: format!("the manifest of {}", self.address),
                expected,
                found,
            }
            .into()),
            _ => Ok((found, body)),
        }
    }

    fn url(&self, kind: &str, reference: &str) -> Result<Url, SourceError> {
        let Reference {
            host, repository, ..
        } = &self.reference;
        let scheme = self.reference.scheme();
        let url = format!("{scheme}://{host}/v2/{repository}/{kind}/{reference}");
        url.parse()
            .map_err(|_| self.unsupported("is not an address".to_owned()))
    }

    fn unsupported(&self, what: String) -> SourceError {
        SourceError::Unsupported {
            address: self.address.clone(),
            what,
        }
    }
}

#[async_trait]
impl Remote for Registry {
    async fn list(&self) -> Result<Listing, Trouble> {
        let mut reference = self.reference.reference.clone();
        // Of an index, not of the manifest that it leads this machine to.
        let mut revision = None;
        for _ in 0..DEEPEST_INDEX {
            let (digest, body) = self.manifest(&reference).await?;
            let revision = revision.get_or_insert_with(|| format!("sha256:{digest}"));
            let manifest: Manifest = serde_json::from_slice(&body)
                .map_err(|error| self.unsupported(format!("its manifest is none: {error}")))?;
            if let Some(next) = manifest.of_platform(std::env::consts::ARCH) {
                reference = next.to_owned();
                continue;
            }
            let files = manifest.files().map_err(|what| self.unsupported(what))?;
            return Ok(Listing {
                revision: Some(revision.clone()),
                files,
                asked: None,
                layered: true,
            });
        }
        Err(self
            .unsupported("its index leads to an index, again and again".to_owned())
            .into())
    }

    async fn open(&self, file: &RemoteFile, from: u64) -> Result<Opened, Trouble> {
        let ask = Ask {
            from,
            ..Ask::new(self.url("blobs", &file.key)?)
        };
        let response = self.get(ask.clone()).await?;
        let opened = self.web.opened(&ask, response)?;
        // Its digest is all that a blob is.
        Ok(Opened {
            tag: None,
            ..opened
        })
    }
}
