//! The limits that every answer's headers tell of. Nothing is held to them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// What a client is told of its limits, as `POST /control/limits` sets it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    requests: u64,
    remaining_requests: u64,
    reset_requests_ms: u64,
    tokens: u64,
    remaining_tokens: u64,
    reset_tokens_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests: 10_000,
            remaining_requests: 9_999,
            reset_requests_ms: 6,
            tokens: 2_000_000,
            remaining_tokens: 1_999_000,
            reset_tokens_ms: 30,
        }
    }
}

/// The limits that are told now.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<Limits>);

impl Told {
    pub(crate) fn set(&self, limits: Limits) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    pub(crate) fn get(&self) -> Limits {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Limits {
    /// OpenAI's headers: a reset is a duration, as in `6ms` and `1m0s`.
    pub(crate) fn openai(&self, headers: &mut HeaderMap) {
        let all = [
            ("x-ratelimit-limit-requests", self.requests.to_string()),
            (
                "x-ratelimit-remaining-requests",
                self.remaining_requests.to_string(),
            ),
            (
                "x-ratelimit-reset-requests",
                duration(self.reset_requests_ms),
            ),
            ("x-ratelimit-limit-tokens", self.tokens.to_string()),
            (
                "x-ratelimit-remaining-tokens",
                self.remaining_tokens.to_string(),
            ),
            ("x-ratelimit-reset-tokens", duration(self.reset_tokens_ms)),
        ];
        for (name, value) in all {
            insert(headers, name, &value);
        }
    }

    /// Anthropic's headers: a reset is a time. Input and output share the tokens.
    pub(crate) fn anthropic(&self, now: Timestamp, headers: &mut HeaderMap) {
        let requests = (
            self.requests,
            self.remaining_requests,
            self.reset_requests_ms,
        );
        let tokens = (self.tokens, self.remaining_tokens, self.reset_tokens_ms);
        let all = [
            ("requests", requests),
            ("tokens", tokens),
            ("input-tokens", tokens),
            ("output-tokens", tokens),
        ];
        for (what, (limit, remaining, reset)) in all {
            let reset = SignedDuration::from_millis(i64::try_from(reset).unwrap_or(i64::MAX));
            let at = now.saturating_add(reset).unwrap_or(now);
            let values = [
                ("limit", limit.to_string()),
                ("remaining", remaining.to_string()),
                ("reset", at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
            ];
            for (part, value) in values {
                insert(
                    headers,
                    &format!("anthropic-ratelimit-{what}-{part}"),
                    &value,
                );
            }
        }
    }
}

fn insert(headers: &mut HeaderMap, name: &str, value: &str) {
    let fits = "letters, digits and punctuation fit a header";
    headers.insert(
        HeaderName::from_bytes(name.as_bytes()).expect(fits),
        HeaderValue::from_str(value).expect(fits),
    );
}

/// As Go writes it.
fn duration(ms: u64) -> String {
    match Duration::from_millis(ms) {
        short if short < Duration::from_secs(1) => format!("{ms}ms"),
        long if long < Duration::from_secs(60) => format!("{}s", long.as_secs_f64()),
        long => format!("{}m{}s", long.as_secs() / 60, long.as_secs() % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_is_a_duration_here_and_a_time_there() {
        let limits = Limits {
            reset_requests_ms: 90_000,
            ..Limits::default()
        };
        let mut headers = HeaderMap::new();
        limits.openai(&mut headers);
        limits.anthropic(Timestamp::UNIX_EPOCH, &mut headers);
        assert_eq!(headers["x-ratelimit-reset-requests"], "1m30s");
        assert_eq!(headers["x-ratelimit-reset-tokens"], "30ms");
        let reset = &headers["anthropic-ratelimit-requests-reset"];
        assert_eq!(reset, "1970-01-01T00:01:30Z");
        assert_eq!(headers["anthropic-ratelimit-input-tokens-limit"], "2000000");
    }
}
