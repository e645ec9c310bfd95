//! Requests to servers that nobody vouches for: redirects are followed by hand and bounded, a
//! credential goes to the host it was given for and to no other, https never becomes http, and no
//! body is read beyond its limit.

mod causes;
mod headers;

use std::{fs, path::Path, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use reqwest::{
    Certificate, Client, Response, StatusCode, Url,
    header::{
        ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_RANGE, HeaderMap,
        HeaderValue, IF_RANGE, LOCATION, RANGE, RETRY_AFTER,
    },
    redirect,
};

use causes::chain;
pub(crate) use causes::untrusted;
use headers::{content_range, seconds};
pub(crate) use headers::{tag, text};

use crate::{
    credentials::Credentials,
    error::{SourceError, Trouble},
    patience::Patience,
};

/// A hub needs two, a registry three.
const MOST_REDIRECTS: usize = 8;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client that trusts what the system trusts, and the authorities of `ca_bundle`.
///
/// # Errors
/// Where the bundle cannot be read or holds no certificate.
pub(crate) fn client(ca_bundle: Option<&Path>, patience: &Patience) -> Result<Client, SourceError> {
    // An error means that the process chose its provider before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let setting = |why: String| SourceError::Setting {
        what: "the CA bundle cannot be used",
        why,
    };
    let builder = || {
        Client::builder()
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT.min(patience.silence))
            .read_timeout(patience.silence)
            .redirect(redirect::Policy::none())
            .no_proxy()
    };
    let Some(path) = ca_bundle else {
        return builder().build().map_err(|error| setting(chain(&error)));
    };
    let pem = fs::read(path).map_err(|error| setting(format!("{}: {error}", path.display())))?;
    let bundle = Certificate::from_pem_bundle(&pem);
    let bundle =
        bundle.map_err(|error| setting(format!("{}: {}", path.display(), chain(&error))))?;
    if bundle.is_empty() {
        return Err(setting(format!("{} holds no certificate", path.display())));
    }
    // An image without authorities of its own cannot merge them.
    let merged = builder().tls_certs_merge(bundle.clone()).build();
    merged
        .or_else(|_| builder().tls_certs_only(bundle).build())
        .map_err(|error| setting(chain(&error)))
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) url: Url,
    pub(crate) accept: Option<&'static str>,
    /// The value of `Authorization`, marked sensitive, for the host of `url` only.
    pub(crate) authorization: Option<HeaderValue>,
    /// From which byte on, and the strong tag of what was there before.
    pub(crate) from: u64,
    pub(crate) tag: Option<String>,
}

impl Ask {
    pub(crate) fn new(url: Url) -> Self {
        Self {
            url,
            accept: None,
            authorization: None,
            from: 0,
            tag: None,
        }
    }
}

/// `Authorization: Bearer <token>`.
pub(crate) fn bearer(token: &str) -> Result<HeaderValue, SourceError> {
    authorization(&format!("Bearer {token}"))
}

/// `Authorization: <value>`, which no log shows.
pub(crate) fn authorization(value: &str) -> Result<HeaderValue, SourceError> {
    let mut value = HeaderValue::from_str(value).map_err(|_| SourceError::Setting {
        what: "the credentials cannot be used",
        why: "a token has a character that no header may hold".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The body of a file from some byte on.
pub(crate) struct Opened {
    /// Zero where the server does not resume.
    pub(crate) from: u64,
    /// Of the whole file.
    pub(crate) total: Option<u64>,
    pub(crate) tag: Option<String>,
    pub(crate) body: BoxStream<'static, Result<Bytes, Trouble>>,
}

/// Sends requests, and keeps credentials out of what goes wrong.
#[derive(Clone, Debug)]
pub(crate) struct Web {
    client: Client,
    credentials: Credentials,
}

impl Web {
    pub(crate) fn new(client: Client, credentials: Credentials) -> Self {
        Self {
            client,
            credentials,
        }
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The answer after all redirects, whatever its status.
    pub(crate) async fn get(&self, ask: &Ask) -> Result<Response, Trouble> {
        let mut url = ask.url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let mut request = self.client.get(url.clone()).headers(headers(ask)?);
            if let Some(value) = &ask.authorization
                && url.origin() == ask.url.origin()
            {
                request = request.header(AUTHORIZATION, value.clone());
            }
            let response = request
                .send()
                .await
                .map_err(|error| self.trouble(&url, &error))?;
            let Some(next) = redirected(&url, &response)? else {
                return Ok(response);
            };
            url = next;
        }
        Err(Trouble::Final(SourceError::Unsafe {
            what: format!(
                "{} redirects more than {MOST_REDIRECTS} times",
                host(&ask.url)
            ),
        }))
    }

    /// The whole body of a small answer.
    pub(crate) async fn small(&self, response: Response, limit: usize) -> Result<Bytes, Trouble> {
        let url = response.url().clone();
        let mut body = response.bytes_stream();
        let mut whole = BytesMut::new();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| self.trouble(&url, &error))?;
            if whole.len() + chunk.len() > limit {
                return Err(Trouble::Final(SourceError::Unsafe {
                    what: format!("{} lists more than {limit} bytes", host(&url)),
                }));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }

    /// The body of a file, where the status says that it is one.
    pub(crate) fn opened(&self, ask: &Ask, response: Response) -> Result<Opened, Trouble> {
        let unsafe_ = |what: String| Trouble::Final(SourceError::Unsafe { what });
        let url = response.url().clone();
        let headers = response.headers();
        if let Some(coding) = headers.get(CONTENT_ENCODING)
            && coding != "identity"
        {
            return Err(unsafe_(format!("{} sends {coding:?} unasked", host(&url))));
        }
        let (from, total) = match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = text(headers, CONTENT_RANGE.as_str());
                let parsed = range.as_deref().and_then(content_range);
                let (first, total) = parsed.unwrap_or((u64::MAX, None));
                if first != ask.from {
                    let what = format!(
                        "{} answers {range:?} where bytes from {} on were asked for",
                        host(&url),
                        ask.from
                    );
                    return Err(unsafe_(what));
                }
                (first, total)
            }
            _ => (0, response.content_length()),
        };
        let web = self.clone();
        Ok(Opened {
            from,
            total,
            tag: tag(headers),
            body: response
                .bytes_stream()
                .map_err(move |error| web.trouble(&url, &error))
                .boxed(),
        })
    }

    /// What a status that is no success means, where the scheme has nothing more to say.
    pub(crate) fn refused(&self, address: &str, response: &Response) -> Trouble {
        let status = response.status();
        let address = address.to_owned();
        let after = text(response.headers(), RETRY_AFTER.as_str()).and_then(|text| seconds(&text));
        let what = format!("{} answers {status}", host(response.url()));
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => SourceError::Unauthorized {
                address,
                what: format!("{what}: name a Secret in credentialsSecretRef that may read it"),
            }
            .into(),
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                SourceError::NotFound { address, what }.into()
            }
            StatusCode::RANGE_NOT_SATISFIABLE => SourceError::Changed {
                file: address,
                what: format!("{what}: it is shorter than it was"),
            }
            .into(),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS | StatusCode::TOO_EARLY => {
                Trouble::Passing { what, after }
            }
            _ if status.is_server_error() => Trouble::Passing { what, after },
            _ => SourceError::Unsupported { address, what }.into(),
        }
    }

    fn trouble(&self, url: &Url, error: &reqwest::Error) -> Trouble {
        match untrusted(error) {
            Some(why) => Trouble::Final(SourceError::Untrusted {
                host: host(url),
                why,
            }),
            None => {
                let what = format!("{}: {}", host(url), chain(error));
                Trouble::passing(self.credentials.scrub(&what))
            }
        }
    }
}

fn headers(ask: &Ask) -> Result<HeaderMap, Trouble> {
    let mut headers = HeaderMap::new();
    // A length and a range are those of the file only if nothing packs it on the way.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(accept) = ask.accept {
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
    }
    if ask.from > 0 {
        let range = HeaderValue::from_str(&format!("bytes={}-", ask.from));
        headers.insert(RANGE, range.expect("digits are allowed in a header"));
        let strong = ask.tag.as_deref().filter(|tag| tag.starts_with('"'));
        if let Some(tag) = strong.and_then(|tag| HeaderValue::from_str(tag).ok()) {
            headers.insert(IF_RANGE, tag);
        }
    }
    Ok(headers)
}

/// Where a redirect leads; nothing where the answer is none.
fn redirected(from: &Url, response: &Response) -> Result<Option<Url>, Trouble> {
    let follows = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let Some(to) = text(response.headers(), LOCATION.as_str()).filter(|_| follows) else {
        return Ok(None);
    };
    let refused = |why: &str| {
        Trouble::Final(SourceError::Unsafe {
            what: format!("{} redirects {why}", host(from)),
        })
    };
    let to = from
        .join(&to)
        .map_err(|_| refused("to what is no address"))?;
    match (from.scheme(), to.scheme()) {
        (_, "https") | ("http", "http") => Ok(Some(to)),
        ("https", "http") => Err(refused("from https to http")),
        _ => Err(refused("to what is not the web")),
    }
}

/// Host and port: what a message may say of an address.
pub(crate) fn host(url: &Url) -> String {
    let name = url.host_str().unwrap_or("nowhere");
    url.port()
        .map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_sent_back_only_where_it_is_strong() {
        let mut ask = Ask::new("http://h/".parse().unwrap());
        ask.from = 5;
        for (tag, sent) in [
            ("\"a\"", true),
            ("W/\"a\"", false),
            ("Sat, 21 Nov 2026", false),
        ] {
            ask.tag = Some(tag.to_owned());
            assert_eq!(headers(&ask).unwrap().contains_key(IF_RANGE), sent, "{tag}");
        }
    }
}
