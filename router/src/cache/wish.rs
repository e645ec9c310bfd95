//! What a request says of caches in its header `cache-control`. Pure.

use std::time::Duration;

use http::{HeaderMap, header};

/// What may be done for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// An answer that is no older may be given; nothing where a new one is wanted.
    pub most_age: Option<Duration>,
    /// Its answer may be kept.
    pub may_keep: bool,
}

impl Wish {
    /// Anything, unless the headers say less: `no-store` wants nothing of it, `no-cache` a new answer, `max-age`
    /// one that is not older. What is not understood says nothing.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut wish = Self {
            most_age: Some(Duration::MAX),
            may_keep: true,
        };
        let values = headers.get_all(header::CACHE_CONTROL).iter();
        let values = values.filter_map(|value| value.to_str().ok());
        let directives = values.flat_map(|value| value.split(',')).map(str::trim);
        for directive in directives {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            match (name.to_ascii_lowercase().as_str(), value.parse()) {
                ("no-store", _) => (wish.most_age, wish.may_keep) = (None, false),
                ("no-cache", _) | ("max-age", Ok(0)) => wish.most_age = None,
                ("max-age", Ok(seconds)) => {
                    let most = Duration::from_secs(seconds);
                    wish.most_age = wish.most_age.map(|age| age.min(most));
                }
                _ => {}
            }
        }
        wish
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(text: &str) -> (Option<u64>, bool) {
        let headers = [(header::CACHE_CONTROL, text.parse().unwrap())];
        let wish = Wish::of(&headers.into_iter().collect());
        (wish.most_age.map(|age| age.as_secs()), wish.may_keep)
    }

    #[test]
    fn a_request_says_whether_it_takes_an_old_answer_and_whether_its_own_may_be_kept() {
        for (text, expected) in [
            ("", (Some(u64::MAX), true)),
            ("no-cache", (None, true)),
            ("No-Store", (None, false)),
            ("max-age=0", (None, true)),
            ("max-age=30, no-transform", (Some(30), true)),
            ("max-age=60, max-age=30", (Some(30), true)),
            ("max-age=soon", (Some(u64::MAX), true)),
            ("max-age=30, no-store", (None, false)),
        ] {
            assert_eq!(wish(text), expected, "{text}");
        }
    }
}
