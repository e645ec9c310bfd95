//! Where a client stands with the limits of its policy: headers that say so, in the words of both wires.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;

use super::meter::Whose;
use crate::refusal::Family;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    Asks,
    Tokens,
}

impl Measure {
    /// In metrics and for people.
    pub fn word(self) -> &'static str {
        match self {
            Measure::Asks => "asks",
            Measure::Tokens => "tokens",
        }
    }

    /// As both wires have it.
    pub fn on_wire(self) -> &'static str {
        match self {
            Measure::Asks => "requests",
            Measure::Tokens => "tokens",
        }
    }
}

/// One limit, over all routers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub measure: Measure,
    pub whose: Whose,
    pub limit: u64,
    pub remaining: u64,
    /// Until all of it is there again.
    pub reset: Duration,
}

/// Writes `standings` into the headers of an answer that is given at `now`.
pub(crate) fn tell(
    standings: &[Standing],
    family: Family,
    now: Timestamp,
    headers: &mut HeaderMap,
) {
    for standing in standings {
        let what = standing.measure.on_wire();
        let name = |part: &str| match family {
            Family::OpenAI => format!("x-ratelimit-{part}-{what}"),
            Family::Anthropic => format!("anthropic-ratelimit-{what}-{part}"),
        };
        let reset = match family {
            Family::OpenAI => span(standing.reset),
            Family::Anthropic => time(now, standing.reset),
        };
        for (part, value) in [
            ("limit", standing.limit.to_string()),
            ("remaining", standing.remaining.to_string()),
            ("reset", reset),
        ] {
            let name = HeaderName::from_bytes(name(part).as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&value)) {
                headers.insert(name, value);
            }
        }
    }
}

/// As OpenAI writes it: `6m0s`, `1.5s`, `20ms`. Never shorter than it is.
fn span(span: Duration) -> String {
    let millis = span.as_nanos().div_ceil(1_000_000);
    let (minutes, seconds, millis) = (millis / 60_000, millis % 60_000 / 1000, millis % 1000);
    let fraction = format!(".{millis:03}");
    let fraction = fraction.trim_end_matches(['0', '.']);
    match (minutes, seconds) {
        (0, 0) => format!("{millis}ms"),
        (0, seconds) => format!("{seconds}{fraction}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}{fraction}s"),
    }
}

/// As Anthropic writes it: RFC 3339, in whole seconds.
fn time(now: Timestamp, after: Duration) -> String {
    let seconds = i64::try_from(after.as_millis().div_ceil(1000)).unwrap_or(i64::MAX);
    let then = Timestamp::from_second(now.as_second().saturating_add(seconds));
    then.unwrap_or(Timestamp::MAX).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(family: Family) -> Vec<(String, String)> {
        let standing = Standing {
            measure: Measure::Asks,
            whose: Whose::Policy,
            limit: 600,
            remaining: 599,
            reset: Duration::from_millis(100),
        };
        let tokens = Standing {
            measure: Measure::Tokens,
            limit: 1000,
            remaining: 0,
            reset: Duration::from_secs(61),
            ..standing
        };
        let mut headers = HeaderMap::new();
        let now = "2026-11-22T10:00:00Z".parse().unwrap();
        tell(&[standing, tokens], family, now, &mut headers);
        let headers = headers.iter();
        let headers =
            headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        headers.collect()
    }

    fn owned(pairs: [(&str, &str); 6]) -> Vec<(String, String)> {
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        pairs.to_vec()
    }

    #[test]
    fn each_wire_is_told_in_its_own_words() {
        let openai = [
            ("x-ratelimit-limit-requests", "600"),
            ("x-ratelimit-remaining-requests", "599"),
            ("x-ratelimit-reset-requests", "100ms"),
            ("x-ratelimit-limit-tokens", "1000"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "1m1s"),
        ];
        assert_eq!(told(Family::OpenAI), owned(openai));
        let anthropic = [
            ("anthropic-ratelimit-requests-limit", "600"),
            ("anthropic-ratelimit-requests-remaining", "599"),
            ("anthropic-ratelimit-requests-reset", "2026-11-22T10:00:01Z"),
            ("anthropic-ratelimit-tokens-limit", "1000"),
            ("anthropic-ratelimit-tokens-remaining", "0"),
            ("anthropic-ratelimit-tokens-reset", "2026-11-22T10:01:01Z"),
        ];
        assert_eq!(told(Family::Anthropic), owned(anthropic));
    }

    #[test]
    fn a_span_is_written_as_openai_does_and_never_shorter_than_it_is() {
        for (micros, text) in [
            (0, "0ms"),
            (1, "1ms"),
            (999_001, "1s"),
            (1_500_000, "1.5s"),
            (60_000_000, "1m0s"),
            (90_010_000, "1m30.01s"),
        ] {
            assert_eq!(span(Duration::from_micros(micros)), text);
        }
    }
}
