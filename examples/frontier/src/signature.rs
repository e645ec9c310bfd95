//! Marks of origin, so that what comes back is known to have been made here and left as it was.

use std::hash::{DefaultHasher, Hash, Hasher};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What a seal begins with, before what it is for.
const SEALED: &str = "stand-in";

/// The signature of a text that is shown.
pub(crate) fn sign(text: &str) -> String {
    STANDARD.encode(format!("{SEALED}:{:016x}", digest(text)))
}

pub(crate) fn is_signed(text: &str, signature: &str) -> bool {
    signature == sign(text)
}

/// A text that is not to be read by who carries it. (Anybody can, here.)
pub(crate) fn seal(text: &str) -> String {
    STANDARD.encode(format!("{SEALED}:{:016x}:{text}", digest(text)))
}

pub(crate) fn is_sealed(data: &str) -> bool {
    let open = || {
        let bytes = STANDARD.decode(data).ok()?;
        let opened = String::from_utf8(bytes).ok()?;
        let rest = opened.strip_prefix(SEALED)?.strip_prefix(':')?;
        Some(rest.split_once(':')?.1.to_owned())
    };
    open().is_some_and(|text| seal(&text) == data)
}

fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (SEALED, text).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_signed_here_and_left_as_it_was_is_accepted() {
        let signature = sign("a thought");
        assert!(is_signed("a thought", &signature));
        assert!(!is_signed("another", &signature));
        assert!(!is_signed("a thought", "c2lnbmF0dXJl"));
        let sealed = seal("a: thought");
        assert!(is_sealed(&sealed));
        assert!(!is_sealed(&signature) && !is_sealed("") && !is_sealed(&sealed[4..]));
    }
}
