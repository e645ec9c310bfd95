//! One file at an https address. A folder cannot be listed there: pack it as .tar or .tar.gz.

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{Response, Url, header::HeaderValue};

use super::{Listing, Packing, Remote, RemoteFile};
use crate::{
    digest::Digest,
    error::{SourceError, Trouble},
    web::{Ask, Opened, Web, authorization, bearer},
};

#[derive(Debug)]
pub(crate) struct Page {
    web: Web,
    url: Url,
    name: String,
    address: String,
    sha256: Option<Digest>,
}

impl Page {
    /// # Errors
    /// Where the address names no file.
    pub(crate) fn new(
        web: Web,
        url: &str,
        sha256: Option<Digest>,
        address: String,
    ) -> Result<Self, SourceError> {
        let unsupported = |what: &str| SourceError::Unsupported {
            address: address.clone(),
            what: what.to_owned(),
        };
        let url: Url = url.parse().map_err(|_| unsupported("is not an address"))?;
        let name = url.path_segments().and_then(|mut parts| parts.next_back());
        let name = name.filter(|name| !name.is_empty()).ok_or_else(|| {
            unsupported(
                "a folder cannot be listed over https: name one file, or pack it as .tar.gz",
            )
        })?;
        Ok(Self {
            name: name.to_owned(),
            web,
            url,
            address,
            sha256,
        })
    }

    fn ask(&self) -> Result<Ask, SourceError> {
        let mut url = self.url.clone();
        let of_address = (url.username().to_owned(), url.password().map(str::to_owned));
        // Both fail for addresses that cannot have them.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        Ok(Ask {
            authorization: self.authorization(&of_address)?,
            tag: None,
            ..Ask::new(url)
        })
    }

    fn authorization(
        &self,
        (user, password): &(String, Option<String>),
    ) -> Result<Option<HeaderValue>, SourceError> {
        let held = self.web.credentials();
        let basic = |user: &str, password: &str| {
            authorization(&format!(
                "Basic {}",
                STANDARD.encode(format!("{user}:{password}"))
            ))
        };
        match (held.get("token"), held.get("username")) {
            (Some(token), _) => bearer(token).map(Some),
            (None, Some(name)) => basic(name, held.get("password").unwrap_or_default()).map(Some),
            (None, None) if !user.is_empty() => {
                basic(user, password.as_deref().unwrap_or_default()).map(Some)
            }
            (None, None) => Ok(None),
        }
    }

    async fn get(&self, ask: &Ask) -> Result<Response, Trouble> {
        let response = self.web.get(ask).await?;
        match response.status().is_success() {
            true => Ok(response),
            false => Err(self.web.refused(&self.address, &response)),
        }
    }
}

#[async_trait]
impl Remote for Page {
    /// Asks for the file and reads only how it begins: a signed address allows no other method.
    async fn list(&self) -> Result<Listing, Trouble> {
        let ask = self.ask()?;
        let response = self.get(&ask).await?;
        let opened = self.web.opened(&ask, response)?;
        let file = RemoteFile {
            name: self.name.clone(),
            key: String::new(),
            bytes: opened.total,
            sha256: self.sha256,
            tag: opened.tag,
            packing: Packing::of(&self.name),
        };
        Ok(Listing {
            revision: self.sha256.map(|digest| format!("sha256:{digest}")),
            files: vec![file],
            asked: Some(self.name.clone()),
            layered: false,
        })
    }

    async fn open(&self, file: &RemoteFile, from: u64) -> Result<Opened, Trouble> {
        let ask = Ask {
            from,
            tag: file.tag.clone(),
            ..self.ask()?
        };
        let response = self.get(&ask).await?;
        self.web.opened(&ask, response)
    }
}
