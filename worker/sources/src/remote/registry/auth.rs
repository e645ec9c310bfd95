//! How a registry wants to know who asks: it answers 401 with a challenge, which is Basic, or names
//! a server that gives tokens.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{Url, header::HeaderValue};
use serde::Deserialize;

use crate::{
    credentials::Credentials,
    error::{SourceError, Trouble},
    web::{Ask, Web, authorization, bearer, host},
};

const MOST_TOKEN_BYTES: usize = 1 << 20;

/// What `WWW-Authenticate` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer(BTreeMap<String, String>),
}

impl Challenge {
    pub(super) fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut parameters = BTreeMap::new();
        let mut rest = rest.trim_start();
        while let Some((name, after)) = rest.split_once('=') {
            // A scope has commas inside its quotes.
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => after.split_once(',').unwrap_or((after, "")),
            };
            parameters.insert(name.trim().to_ascii_lowercase(), value.to_owned());
            rest = after.trim_start_matches([',', ' ']);
        }
        parameters
            .contains_key("realm")
            .then_some(Self::Bearer(parameters))
    }
}

/// Who we are to one registry.
#[derive(Debug)]
pub(super) struct Auth {
    basic: Option<HeaderValue>,
    current: Option<HeaderValue>,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Auth {
    pub(super) fn new(credentials: &Credentials, registry: &str) -> Self {
        Self {
            basic: basic(credentials, registry),
            current: None,
        }
    }

    /// What to send now.
    pub(super) fn value(&self) -> Option<HeaderValue> {
        self.current.clone()
    }

    /// Does what the registry at `asked` wants; whether there is anything new to try.
    pub(super) async fn answer(
        &mut self,
        web: &Web,
        asked: &Url,
        challenge: &Challenge,
    ) -> Result<bool, Trouble> {
        let next = match challenge {
            Challenge::Basic => self.basic.clone(),
            Challenge::Bearer(parameters) => Some(self.token(web, asked, parameters).await?),
        };
        let is_new = next.is_some() && next != self.current;
        self.current = next;
        Ok(is_new)
    }

    async fn token(
        &self,
        web: &Web,
        asked: &Url,
        parameters: &BTreeMap<String, String>,
    ) -> Result<HeaderValue, Trouble> {
        let unsafe_ = |what: &str| SourceError::Unsafe {
            what: format!("{} wants to know who asks {what}", host(asked)),
        };
        let realm = parameters.get("realm").map_or("", String::as_str);
        let mut url: Url = realm
            .parse()
            .map_err(|_| unsafe_("at what is no address"))?;
        if url.scheme() != "https" && (asked.scheme() == "https" || url.host() != asked.host()) {
            return Err(unsafe_("without TLS").into());
        }
        let wanted = ["service", "scope"];
        let sent = wanted
            .iter()
            .filter_map(|name| Some((name, parameters.get(*name)?)));
        url.query_pairs_mut().extend_pairs(sent);
        let ask = Ask {
            authorization: self.basic.clone(),
            ..Ask::new(url)
        };
        let response = web.get(&ask).await?;
        if !response.status().is_success() {
            return Err(web.refused(&host(asked), &response));
        }
        let body = web.small(response, MOST_TOKEN_BYTES).await?;
        let found: Option<Token> = serde_json::from_slice(&body).ok();
        let found = found.and_then(|token| token.token.or(token.access_token));
        let token = found.ok_or_else(|| unsafe_("and then gives no token"))?;
        Ok(bearer(&token)?)
    }
}

/// `username` and `password`, or what `.dockerconfigjson` has for the registry.
fn basic(credentials: &Credentials, registry: &str) -> Option<HeaderValue> {
    if let Some(username) = credentials.get("username") {
        let password = credentials.get("password").unwrap_or_default();
        return encoded(username, password);
    }
    let config = credentials
        .get(".dockerconfigjson")
        .or(credentials.get("config.json"))?;
    let config: DockerConfig = serde_json::from_str(config).ok()?;
    let is_it = |name: &str| {
        let name = name
            .trim_start_matches("https://")
            .trim_start_matches("http://");
        let name = name.split('/').next().unwrap_or_default();
        name == registry || (registry == "registry-1.docker.io" && name.ends_with("docker.io"))
    };
    let (_, entry) = config.auths.into_iter().find(|(name, _)| is_it(name))?;
    match (entry.auth.filter(|auth| !auth.is_empty()), entry.username) {
        (Some(auth), _) => {
            let decoded = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
            let (username, password) = decoded.split_once(':')?;
            encoded(username, password)
        }
        (None, Some(username)) => encoded(&username, &entry.password.unwrap_or_default()),
        (None, None) => None,
    }
}

fn encoded(username: &str, password: &str) -> Option<HeaderValue> {
    authorization(&format!(
        "Basic {}",
        STANDARD.encode(format!("{username}:{password}"))
    ))
    .ok()
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, DockerAuth>,
}

#[derive(Deserialize)]
struct DockerAuth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_read_with_commas_inside_its_quotes() {
        let header =
            r#"Bearer realm="https://a.dev/token",service="r.dev", scope="repository:a:pull,push""#;
        let Some(Challenge::Bearer(parameters)) = Challenge::parse(header) else {
            panic!("{header} is a challenge");
        };
        assert_eq!(parameters["realm"], "https://a.dev/token");
        assert_eq!(parameters["scope"], "repository:a:pull,push");
        assert_eq!(
            Challenge::parse("Basic realm=\"x\""),
            Some(Challenge::Basic)
        );
        assert_eq!(Challenge::parse("Negotiate"), None);
        assert_eq!(Challenge::parse("Bearer service=\"x\""), None);
    }

    #[test]
    fn an_image_pull_secret_serves_the_registry_that_it_names() {
        let auth = STANDARD.encode("anna:pw");
        let config = format!(r#"{{"auths":{{"https://r.dev/v1/":{{"auth":"{auth}"}}}}}}"#);
        let held = Credentials::from([(".dockerconfigjson", config.as_str())]);
        let value = basic(&held, "r.dev").unwrap();
        assert_eq!(value, format!("Basic {auth}").as_str());
        assert_eq!(basic(&held, "other.dev"), None);
    }
}
