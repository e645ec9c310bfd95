//! Repositories of the Hugging Face hub, and of mirrors that answer as it does.

use async_trait::async_trait;
use reqwest::{Response, StatusCode, Url, header::HeaderValue};
use serde::Deserialize;

use super::{Listing, MOST_FILES, MOST_LIST_BYTES, Packing, Remote, RemoteFile};
use crate::{
    error::{SourceError, Trouble},
    web::{Ask, Opened, Web, bearer, text},
};

/// The branch that a repository begins with.
const MAIN: &str = "main";

/// Whether `revision` is a commit, which means the same forever.
pub(crate) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// One repository at one revision.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) web: Web,
    pub(crate) endpoint: Url,
    pub(crate) repository: String,
    pub(crate) file: Option<String>,
    pub(crate) revision: Option<String>,
    pub(crate) address: String,
}

#[derive(Debug, Deserialize)]
struct Repository {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Debug, Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    lfs: Option<Lfs>,
}

#[derive(Debug, Deserialize)]
struct Lfs {
    sha256: Option<String>,
    size: Option<u64>,
}

#[async_trait]
impl Remote for Hub {
    async fn list(&self) -> Result<Listing, Trouble> {
        let revision = self.revision.as_deref().unwrap_or(MAIN);
        let mut url = self.url("api/models", &["revision", revision])?;
        url.set_query(Some("blobs=true"));
        let ask = self.ask(url)?;
        let response = self.web.get(&ask).await?;
        if !response.status().is_success() {
            return Err(self.refused(&response));
        }
        let body = self.web.small(response, MOST_LIST_BYTES).await?;
        let repository: Repository = serde_json::from_slice(&body).map_err(|error| {
            let what = format!("its list of files is not as the hub's: {error}");
            self.unsupported(what)
        })?;
        if repository.siblings.len() > MOST_FILES {
            return Err(self
                .unsupported(format!("more than {MOST_FILES} files"))
                .into());
        }
        if !is_commit(&repository.sha) {
            return Err(self
                .unsupported("its list of files names no commit".to_owned())
                .into());
        }
        let commit = repository.sha;
        let files = repository
            .siblings
            .into_iter()
            .map(|sibling| self.file(&commit, sibling));
        Ok(Listing {
            files: files.collect::<Result<_, _>>()?,
            revision: Some(commit),
            asked: self.file.clone(),
            layered: false,
        })
    }

    async fn open(&self, file: &RemoteFile, from: u64) -> Result<Opened, Trouble> {
        let url = file
            .key
            .parse()
            .map_err(|_| self.unsupported("no address".to_owned()))?;
        let ask = Ask {
            from,
            ..self.ask(url)?
        };
        let response = self.web.get(&ask).await?;
        if !response.status().is_success() {
            return Err(self.refused(&response));
        }
        let opened = self.web.opened(&ask, response)?;
        // The hub and where it redirects to have tags of their own; a commit's file has one content.
        Ok(Opened {
            tag: None,
            ..opened
        })
    }
}

impl Hub {
    fn file(&self, commit: &str, sibling: Sibling) -> Result<RemoteFile, Trouble> {
        let name = sibling.rfilename;
        let parts: Vec<&str> = ["resolve", commit]
            .into_iter()
            .chain(name.split('/'))
            .collect();
        let key = self.url("", &parts)?.to_string();
        let lfs_sha256 = sibling.lfs.as_ref().and_then(|lfs| lfs.sha256.as_deref());
        let sha256 = lfs_sha256.map(str::parse).transpose();
        Ok(RemoteFile {
            sha256: sha256.map_err(|error| self.unsupported(format!("{name}: {error}")))?,
            bytes: sibling.lfs.and_then(|lfs| lfs.size).or(sibling.size),
            // The files of a commit never change.
            tag: Some(commit.to_owned()),
            packing: Packing::of(&name),
            key,
            name,
        })
    }

    /// `<endpoint>/<before>/<owner>/<repo>/<parts>`, each part as one segment.
    fn url(&self, before: &str, parts: &[&str]) -> Result<Url, Trouble> {
        let mut url = self.endpoint.clone();
        let whole = before.split('/').chain(self.repository.split('/'));
        match url.path_segments_mut() {
            Ok(mut path) => {
                path.pop_if_empty();
                path.extend(whole.filter(|part| !part.is_empty()));
                path.extend(parts);
            }
            Err(()) => return Err(self.unsupported("no address".to_owned()).into()),
        }
        Ok(url)
    }

    fn ask(&self, url: Url) -> Result<Ask, Trouble> {
        Ok(Ask {
            authorization: self.authorization()?,
            ..Ask::new(url)
        })
    }

    fn authorization(&self) -> Result<Option<HeaderValue>, SourceError> {
        self.web.credentials().get("token").map(bearer).transpose()
    }

    /// The hub says in a header what a status alone leaves open, and hides private repositories
    /// behind 401.
    fn refused(&self, response: &Response) -> Trouble {
        let code = text(response.headers(), "x-error-code").unwrap_or_default();
        let has_token = self.web.credentials().get("token").is_some();
        let address = self.address.clone();
        let not_found = |what: &str| SourceError::NotFound {
            address: self.address.clone(),
            what: what.to_owned(),
        };
        match (response.status(), code.as_str()) {
            (_, "RevisionNotFound") => {
                let revision = self.revision.as_deref().unwrap_or(MAIN);
                not_found(&format!("the repository has no revision {revision}")).into()
            }
            (_, "RepoNotFound") if has_token => {
                not_found("no such repository, or the token may not see it").into()
            }
            (_, "GatedRepo") => SourceError::Unauthorized {
                address,
                what:
                    "the repository is gated: accept its terms on its page, and name a Secret with \
                       a `token` of that account in credentialsSecretRef"
                        .to_owned(),
            }
            .into(),
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) if !has_token => {
                SourceError::Unauthorized {
                    address,
                    what: "no such repository, or it is private: name a Secret with a `token` in \
                           credentialsSecretRef"
                        .to_owned(),
                }
                .into()
            }
            _ => self.web.refused(&self.address, response),
        }
    }

    fn unsupported(&self, what: String) -> SourceError {
        SourceError::Unsupported {
            address: self.address.clone(),
            what,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_forty_hex_digits() {
        assert!(is_commit("5f1c2ab05f1c2ab05f1c2ab05f1c2ab05f1c2ab0"));
        assert!(!is_commit("main"));
        assert!(!is_commit("5f1c2ab"));
    }
}
