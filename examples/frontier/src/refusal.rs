//! A request that is not answered, in our own words; each wire has its own shape for it.

use std::time::Duration;

use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::Value;

/// Whose account every request is on.
pub(crate) const ORGANIZATION: &str = "org-standin";

/// How many of a key's first and last characters are told.
const TOLD_OF_KEY: usize = 4;

#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    /// The request's field that is at fault.
    pub(crate) field: Option<String>,
    /// OpenAI's name for what is wrong, where the status does not tell it.
    pub(crate) code: Option<&'static str>,
    /// What Anthropic's SDK acts on.
    pub(crate) details: Option<Box<Value>>,
    pub(crate) retry_after: Option<Duration>,
    /// Where to go instead.
    pub(crate) location: Option<Box<HeaderValue>>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            field: None,
            code: None,
            details: None,
            retry_after: None,
            location: None,
        }
    }

    /// Status 400 because of a field.
    pub(crate) fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: Some(field.into()),
            ..Self::new(StatusCode::BAD_REQUEST, message)
        }
    }

    /// Status 400: the field's name, and what is wrong with it.
    pub(crate) fn of(field: impl Into<String>, wrong: &str) -> Self {
        let field = field.into();
        let message = format!("{field}: {wrong}");
        Self::field(field, message)
    }

    pub(crate) fn with_code(self, code: &'static str) -> Self {
        Self {
            code: Some(code),
            ..self
        }
    }

    pub(crate) fn with_details(self, details: Value) -> Self {
        Self {
            details: Some(Box::new(details)),
            ..self
        }
    }

    /// When to come again, in both spellings that SDKs read, or where to go.
    pub(crate) fn say_when(&self, response: &mut Response) {
        let headers = response.headers_mut();
        if let Some(location) = &self.location {
            headers.insert(header::LOCATION, HeaderValue::clone(location));
        }
        if let Some(after) = self.retry_after {
            let seconds = after.as_millis().div_ceil(1000);
            let millis = HeaderName::from_static("retry-after-ms");
            for (name, number) in [(header::RETRY_AFTER, seconds), (millis, after.as_millis())] {
                let value =
                    HeaderValue::from_str(&number.to_string()).expect("digits are a header value");
                headers.insert(name, value);
            }
        }
    }
}

/// The request's key as it came, from either header.
pub(crate) fn key_of(headers: &HeaderMap) -> Option<&str> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    text(header::AUTHORIZATION.as_str())
        .and_then(|value| value.strip_prefix("Bearer "))
        .or(text("x-api-key"))
}

/// Parts of the request's key, as providers quote it in their errors: `sk-r...abcd`.
pub(crate) fn key_told(headers: &HeaderMap) -> String {
    let Some(key) = key_of(headers) else {
        return "none".to_owned();
    };
    let count = key.chars().count();
    let told = TOLD_OF_KEY.min(count / 3);
    let first: String = key.chars().take(told).collect();
    let last: String = key.chars().skip(count - told).collect();
    format!("{first}...{last}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_key_both_ends_are_told_and_never_all() {
        let told = |key: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-api-key", key.parse().unwrap());
            key_told(&headers)
        };
        assert_eq!(told("sk-real-1234-abcd"), "sk-r...abcd");
        assert_eq!(told("secret"), "se...et");
        assert_eq!(told("k"), "...");
        assert_eq!(key_told(&HeaderMap::new()), "none");
    }
}
