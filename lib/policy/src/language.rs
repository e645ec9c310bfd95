//! The languages that a text can be told to be in, by the names that policies use.

/// Their ISO 639-1 codes, in alphabetical order. Routers recognise these and no others, so that a rule
/// on another could never match.
pub const LANGUAGES: [&str; 70] = [
    "af", "ak", "am", "ar", "az", "be", "bg", "bn", "ca", "cs", "cy", "da", "de", "el", "en", "eo",
    "es", "et", "fa", "fi", "fr", "gu", "he", "hi", "hr", "hu", "hy", "id", "it", "ja", "jv", "ka",
    "km", "kn", "ko", "la", "lt", "lv", "mk", "ml", "mr", "my", "nb", "ne", "nl", "or", "pa", "pl",
    "pt", "ro", "ru", "si", "sk", "sl", "sn", "sr", "sv", "ta", "te", "th", "tk", "tl", "tr", "uk",
    "ur", "uz", "vi", "yi", "zh", "zu",
];

/// Whether routers recognise the language of this code.
pub fn is_recognised(code: &str) -> bool {
    LANGUAGES.binary_search(&code).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_there_once_and_can_be_found() {
        assert!(LANGUAGES.is_sorted_by(|a, b| a < b));
        assert!(LANGUAGES.iter().all(|code| is_recognised(code)));
        assert!(!is_recognised("DE") && !is_recognised("deu") && !is_recognised("xx"));
    }
}
