//! Addresses as messages, logs and the cache show them: without user, password and query.

use reqwest::Url;
use weir_crds::Source;

/// `source` without what may be a credential.
pub(crate) fn shown(source: &Source) -> String {
    let Source::Https { url } = source else {
        return source.to_string();
    };
    let Ok(mut url) = Url::parse(url) else {
        return "https://(not an address)".to_owned();
    };
    // Both fail for addresses that cannot have them.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// The same of an address as somebody wrote it.
pub fn shown_text(source: &str) -> String {
    let parsed = source.parse::<Source>();
    parsed.map_or_else(|_| "(not an address)".to_owned(), |source| shown(&source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_and_passwords_are_not_shown() {
        let source = "https://anna:pw@h.dev/a.gguf?X-Amz-Signature=abc#x"
            .parse()
            .unwrap();
        assert_eq!(shown(&source), "https://h.dev/a.gguf");
        let source = "hf://a/b".parse().unwrap();
        assert_eq!(shown(&source), "hf://a/b");
        assert_eq!(shown_text("https://h.dev/a?sig=abc"), "https://h.dev/a");
        assert_eq!(shown_text("sig=abc"), "(not an address)");
    }
}
