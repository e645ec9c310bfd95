//! Phase 1: the API key of a request, and the tenants it belongs to, policy by policy. Nothing
//! else of the request has been read yet.

use http::{HeaderMap, header};
use weir_policy::table::Keys;

use crate::credentials::{Credentials, KeyDigest};
use crate::refusal::Refusal;

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

/// Where clients put their keys.
const CREDENTIALS: [&str; 2] = ["authorization", "x-api-key"];

/// Reads the key from `authorization: Bearer`. Two of one header are refused: whoever stands before
/// this router may have looked at the other one.
pub(crate) fn identify(headers: &HeaderMap) -> Result<Identity, Refusal> {
    for name in CREDENTIALS {
        if headers.get_all(name).iter().count() > 1 {
            return Err(Refusal::field(name, "the header is there more than once"));
        }
    }
    let value = headers.get(header::AUTHORIZATION);
    let value = value.and_then(|value| value.to_str().ok());
    let key = value.and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
    });
    Ok(Identity {
        key: key.filter(|key| !key.is_empty()).map(KeyDigest::of),
    })
}

impl Identity {
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
                tenant: Some(format!("{}/{tenant}", keys.policy)),
            },
            None if all.iter().any(|keys| tenant_of(keys).is_some()) => Access::KeyOfAnother,
            None => Access::KeyUnknown,
        }
    }
}
