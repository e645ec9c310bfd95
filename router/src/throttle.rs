//! What an endpoint says of when it may be asked again, in the head of any answer. Pure: the time is
//! an argument.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

/// What is said to take longer is asked for again then: a limit that has been raised meanwhile is
/// found, and nobody can be silenced for good by one header.
const LONGEST: Duration = Duration::from_secs(300);

/// How much is left of a limit, and when there is more.
const LIMITS: [(&str, &str); 7] = [
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    (
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
    ),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    (
        "anthropic-ratelimit-requests-remaining",
        "anthropic-ratelimit-requests-reset",
    ),
    (
        "anthropic-ratelimit-tokens-remaining",
        "anthropic-ratelimit-tokens-reset",
    ),
    (
        "anthropic-ratelimit-input-tokens-remaining",
        "anthropic-ratelimit-input-tokens-reset",
    ),
    (
        "anthropic-ratelimit-output-tokens-remaining",
        "anthropic-ratelimit-output-tokens-reset",
    ),
];

/// How long the endpoint wants to be left alone from `now` on. Of limits those count of which
/// nothing is left; the longest of all.
pub(crate) fn wait(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let of_limits = LIMITS.into_iter().filter_map(|(remaining, reset)| {
        let is_used_up = text(headers, remaining)?.parse::<f64>().ok()? <= 0.0;
        is_used_up.then(|| until(text(headers, reset)?, now))?
    });
    // Elsewhere it speaks of redirects and of maintenance to come.
    let is_refused = matches!(status.as_u16(), 429 | 503 | 529);
    let of_all = of_limits.chain(is_refused.then(|| retry_after(headers, now)).flatten());
    let longest = of_all.max()?;
    (!longest.is_zero()).then_some(longest.min(LONGEST))
}

/// `retry-after-ms`, or else `retry-after` in seconds or as a date.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let millis = text(headers, "retry-after-ms").and_then(|text| text.parse::<f64>().ok());
    if let Some(millis) = millis {
        return seconds(millis / 1000.0);
    }
    let text = text(headers, header::RETRY_AFTER.as_str())?;
    match text.parse::<f64>() {
        Ok(number) => seconds(number),
        Err(_) => {
            let date = DateTimeParser::new().parse_timestamp(text).ok()?;
            Some(from(now, date))
        }
    }
}

/// When a limit is full again: a time (`2026-11-22T10:00:00Z`), a span (`6m0s`, `20ms`), seconds, or
/// seconds since the epoch.
fn until(text: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(number) = text.parse::<f64>() {
        // Nobody means a span of thirty years.
        return match number > 1e9 {
            true => Some(from(now, Timestamp::from_second(number as i64).ok()?)),
            false => seconds(number),
        };
    }
    match text.parse::<Timestamp>() {
        Ok(time) => Some(from(now, time)),
        Err(_) => span(text),
    }
}

/// `1h2m3.5s`, `250ms`.
fn span(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let letters = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let unit = match unit {
            "d" => 86_400.0,
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "ns" => 0.0,
            _ => return None,
        };
        sum = sum.saturating_add(seconds(number.parse::<f64>().ok()? * unit)?);
        rest = after;
    }
    Some(sum)
}

fn from(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or_default()
}

fn seconds(number: f64) -> Option<Duration> {
    let bounded = number.clamp(0.0, LONGEST.as_secs_f64());
    Duration::try_from_secs_f64(bounded).ok()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(status: u16, headers: &[(&'static str, &str)]) -> Option<Duration> {
        let now = "2026-11-22T10:00:00Z".parse().unwrap();
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let status = StatusCode::from_u16(status).unwrap();
        wait(status, &headers.collect(), now)
    }

    fn millis(status: u16, headers: &[(&'static str, &str)]) -> Option<u128> {
        waits(status, headers).map(|wait| wait.as_millis())
    }

    #[test]
    fn a_refusal_says_when_to_come_again() {
        assert_eq!(millis(429, &[("retry-after", "7")]), Some(7000));
        assert_eq!(millis(503, &[("retry-after", " 7 ")]), Some(7000));
        assert_eq!(millis(529, &[("retry-after", "1.5")]), Some(1500));
        let both = [("retry-after", "7"), ("retry-after-ms", "6250")];
        assert_eq!(millis(429, &both), Some(6250));
        let date = [("retry-after", "Sun, 22 Nov 2026 10:00:30 GMT")];
        assert_eq!(millis(429, &date), Some(30_000));
    }

    #[test]
    fn a_limit_of_which_nothing_is_left_is_waited_for_whatever_the_answer_was() {
        let openai = |remaining, reset| {
            [
                ("x-ratelimit-remaining-requests", remaining),
                ("x-ratelimit-reset-requests", reset),
            ]
        };
        assert_eq!(millis(200, &openai("0", "6s")), Some(6000));
        assert_eq!(millis(200, &openai("0", "1m2.5s")), Some(62_500));
        assert_eq!(millis(200, &openai("0", "20ms")), Some(20));
        assert_eq!(millis(200, &openai("1", "6s")), None);
        let anthropic = [
            ("anthropic-ratelimit-input-tokens-remaining", "0"),
            (
                "anthropic-ratelimit-input-tokens-reset",
                "2026-11-22T10:00:08Z",
            ),
            ("retry-after", "2"),
        ];
        assert_eq!(millis(200, &anthropic), Some(8000));
        assert_eq!(millis(429, &anthropic), Some(8000), "the longer of both");
        let plain = |reset| [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", reset)];
        assert_eq!(millis(200, &plain("9")), Some(9000));
        assert_eq!(millis(200, &plain("1795341609")), Some(9000));
    }

    #[test]
    fn nobody_is_silenced_for_good_and_nonsense_says_nothing() {
        for endless in ["86400", "1e300", "inf", "Sun, 22 Nov 2099 10:00:30 GMT"] {
            let wait = waits(429, &[("retry-after", endless)]);
            assert_eq!(wait, Some(LONGEST), "{endless}");
        }
        for nothing in [
            "",
            "soon",
            "-5",
            "NaN",
            "0",
            "Sun, 22 Nov 2020 10:00:30 GMT",
        ] {
            let wait = waits(429, &[("retry-after", nothing)]);
            assert_eq!(wait, None, "{nothing}");
        }
        for nothing in ["", "soon", "5parsecs", "5", "m", "1795341000"] {
            let headers = [
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", nothing),
            ];
            let expected = (nothing == "5").then_some(5000);
            assert_eq!(millis(200, &headers), expected, "{nothing}");
        }
        assert_eq!(waits(301, &[("retry-after", "5")]), None);
    }

    #[test]
    fn a_clock_that_has_stepped_makes_no_wait_longer_than_the_step_or_the_longest() {
        let told: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let reset = (told + Duration::from_secs(20)).to_string();
        for hours in [-24, -1, 0, 1, 24] {
            let now = told + jiff::SignedDuration::from_hours(hours);
            let mut headers = HeaderMap::new();
            headers.insert("anthropic-ratelimit-tokens-remaining", "0".parse().unwrap());
            headers.insert("anthropic-ratelimit-tokens-reset", reset.parse().unwrap());
            let waits = wait(StatusCode::OK, &headers, now);
            // In the past it is over.
            let expected = match hours {
                0 => Some(Duration::from_secs(20)),
                1.. => None,
                _ => Some(LONGEST),
            };
            assert_eq!(waits, expected, "{hours}");
        }
    }
}
