//! Phase 1: the API key of a request, and the tenants it belongs to, policy by policy. Nothing
//! else of the request has been read yet.

use http::{HeaderMap, header};
use weir_policy::table::Keys;

use crate::credentials::{Credentials, KeyDigest};
use crate::refusal::Refusal;
use crate::shared::hashed;

/// Who asks.
#[derive(Default)]
pub(crate) struct Identity {
    key: Option<KeyDigest>,
}

/// Whether a key opens a model.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// To everybody, or to this tenant.
    Granted {
        tenant: Option<String>,
    },
    KeyNeeded,
    KeyUnknown,
    /// The key belongs to another policy.
    KeyOfAnother,
}

/// Anthropic's older name for where the key stands.
const X_API_KEY: &str = "x-api-key";
/// Where clients put their keys.
const CREDENTIALS: [&str; 2] = ["authorization", X_API_KEY];

/// Reads the key from `authorization: Bearer`, or from `x-api-key`. Two that differ are refused:
/// whoever put one of them there may not know of the other. So are two of one header: whoever
/// stands before this router may have looked at the other one.
pub(crate) fn identify(headers: &HeaderMap) -> Result<Identity, Refusal> {
    for name in CREDENTIALS {
        if headers.get_all(name).iter().count() > 1 {
            return Err(Refusal::field(name, "the header is there more than once"));
        }
    }
    let bearer = headers.get(header::AUTHORIZATION);
    let bearer = bearer.and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
    });
    let plain = headers.get(X_API_KEY);
    let plain = plain.and_then(|value| value.to_str().ok()).map(str::trim);
    let keys = [bearer, plain].into_iter().flatten();
    let mut keys = keys.filter(|key| !key.is_empty());
    let (first, second) = (keys.next(), keys.next());
    if second.is_some() && first != second {
        let message = "is another key than the one in authorization: send one of them";
        return Err(Refusal::field(X_API_KEY, message));
    }
    Ok(Identity {
        key: first.map(KeyDigest::of),
    })
}

impl Identity {
    /// The tenants that the key belongs to, hashed as in records; `all` are the keys of every policy.
    pub fn tenants<'a>(
        &self,
        all: impl IntoIterator<Item = &'a Keys>,
        credentials: &Credentials,
    ) -> Vec<String> {
        let Some(key) = &self.key else {
            return Vec::new();
        };
        let named = all.into_iter().filter_map(|keys| {
            let tenant = credentials.tenant(&keys.secret, key)?;
            Some(hashed(&keys.of(tenant)))
        });
        named.collect()
    }

    /// Whether one of `needed` is the key; `all` are the keys of every policy.
    pub fn access(&self, needed: &[Keys], all: &[Keys], credentials: &Credentials) -> Access {
        if needed.is_empty() {
            return Access::Granted { tenant: None };
        }
        let Some(key) = &self.key else {
            return Access::KeyNeeded;
        };
        let tenant_of = |keys: &Keys| credentials.tenant(&keys.secret, key);
        match needed
            .iter()
            .find_map(|keys| Some((keys, tenant_of(keys)?)))
        {
            Some((keys, tenant)) => Access::Granted {
                tenant: Some(keys.of(tenant)),
            },
            None if all.iter().any(|keys| tenant_of(keys).is_some()) => Access::KeyOfAnother,
            None => Access::KeyUnknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(headers: &[(&'static str, &'static str)]) -> Result<Option<KeyDigest>, Refusal> {
        let headers = headers.iter();
        let headers = headers.map(|(name, value)| {
            (
                http::HeaderName::from_static(name),
                http::HeaderValue::from_static(value),
            )
        });
        identify(&headers.collect()).map(|identity| identity.key)
    }

    #[test]
    fn a_key_stands_in_either_header_and_two_must_be_the_same() {
        let one = Some(KeyDigest::of("one"));
        assert!(key(&[("authorization", "Bearer one")]).unwrap() == one);
        assert!(key(&[("x-api-key", "one")]).unwrap() == one);
        assert!(key(&[("authorization", "bearer one"), ("x-api-key", "one")]).unwrap() == one);
        assert!(key(&[("authorization", "Basic one")]).unwrap().is_none());
        let both = key(&[("authorization", "Bearer one"), ("x-api-key", "two")]);
        assert!(both.err().unwrap().to_string().starts_with("x-api-key: "));
    }
}
