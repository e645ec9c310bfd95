//! Headers of answers, read.

use std::time::Duration;

use reqwest::header::{ETAG, HeaderMap, LAST_MODIFIED};

/// What tells one content from another: a tag, or else a date.
pub(crate) fn tag(headers: &HeaderMap) -> Option<String> {
    text(headers, ETAG.as_str()).or_else(|| text(headers, LAST_MODIFIED.as_str()))
}

pub(crate) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.trim().to_owned())
}

/// `bytes 5-9/10` begins at 5 and is of 10.
pub(super) fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let total: Option<u64> = match total.trim() {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    (first <= last && total.is_none_or(|total| last < total)).then_some((first, total))
}

/// `Retry-After` in seconds. As a date it is rare, and the clocks of two machines are not worth it.
pub(super) fn seconds(value: &str) -> Option<Duration> {
    value.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_contradicts_itself_is_none() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        for wrong in [
            "",
            "bytes */10",
            "bytes 9-5/10",
            "bytes 5-10/10",
            "lines 1-2/3",
            "bytes a-b/c",
        ] {
            assert_eq!(content_range(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_seconds_are_waited_for() {
        assert_eq!(seconds("7"), Some(Duration::from_secs(7)));
        assert_eq!(seconds("Sat, 21 Nov 2026 12:00:00 GMT"), None);
        assert_eq!(seconds("-1"), None);
    }
}
