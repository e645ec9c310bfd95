//! Which language a text is in, by the names that policies use for languages.

use whatlang::Lang;

/// As much text as tells a language surely; it takes about 0.1 ms.
const ENOUGH_BYTES: usize = 4096;

/// The ISO 639-1 code of the text's language; nothing where the text is too short, or too mixed, to be
/// sure of one.
pub(crate) fn detect(text: &str) -> Option<&'static str> {
    let enough = &text[..text.floor_char_boundary(ENOUGH_BYTES)];
    let found = whatlang::detect(enough)?;
    found.is_reliable().then(|| code(found.lang()))
}

#[rustfmt::skip]
fn code(language: Lang) -> &'static str {
    match language {
        Lang::Afr => "af", Lang::Aka => "ak", Lang::Amh => "am", Lang::Ara => "ar", Lang::Aze => "az",
        Lang::Bel => "be", Lang::Bul => "bg", Lang::Ben => "bn", Lang::Cat => "ca", Lang::Ces => "cs",
        Lang::Cym => "cy", Lang::Dan => "da", Lang::Deu => "de", Lang::Ell => "el", Lang::Eng => "en",
        Lang::Epo => "eo", Lang::Spa => "es", Lang::Est => "et", Lang::Pes => "fa", Lang::Fin => "fi",
        Lang::Fra => "fr", Lang::Guj => "gu", Lang::Heb => "he", Lang::Hin => "hi", Lang::Hrv => "hr",
        Lang::Hun => "hu", Lang::Hye => "hy", Lang::Ind => "id", Lang::Ita => "it", Lang::Jpn => "ja",
        Lang::Jav => "jv", Lang::Kat => "ka", Lang::Khm => "km", Lang::Kan => "kn", Lang::Kor => "ko",
        Lang::Lat => "la", Lang::Lit => "lt", Lang::Lav => "lv", Lang::Mkd => "mk", Lang::Mal => "ml",
        Lang::Mar => "mr", Lang::Mya => "my", Lang::Nob => "nb", Lang::Nep => "ne", Lang::Nld => "nl",
        Lang::Ori => "or", Lang::Pan => "pa", Lang::Pol => "pl", Lang::Por => "pt", Lang::Ron => "ro",
        Lang::Rus => "ru", Lang::Sin => "si", Lang::Slk => "sk", Lang::Slv => "sl", Lang::Sna => "sn",
        Lang::Srp => "sr", Lang::Swe => "sv", Lang::Tam => "ta", Lang::Tel => "te", Lang::Tha => "th",
        Lang::Tuk => "tk", Lang::Tgl => "tl", Lang::Tur => "tr", Lang::Ukr => "uk", Lang::Urd => "ur",
        Lang::Uzb => "uz", Lang::Vie => "vi", Lang::Yid => "yi", Lang::Cmn => "zh", Lang::Zul => "zu",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_policy::language::LANGUAGES;

    #[test]
    fn what_policies_may_name_is_what_is_recognised() {
        let mut codes: Vec<&str> = Lang::all().iter().copied().map(code).collect();
        codes.sort_unstable();
        assert_eq!(codes, LANGUAGES);
    }

    #[test]
    fn a_text_has_a_language_only_where_that_is_sure() {
        for (text, language) in [
            (
                "My invoice is wrong, please refund me the amount.",
                Some("en"),
            ),
            (
                "Meine Rechnung ist falsch, bitte erstatten Sie mir den Betrag.",
                Some("de"),
            ),
            ("请帮我退款", Some("zh")),
            ("こんにちは", Some("ja")),
            ("merci", None),
            ("printer jam in room 4", None),
            ("12345 67890", None),
            ("", None),
        ] {
            assert_eq!(detect(text), language, "{text}");
        }
        // The bound falls into the middle of a character.
        assert_eq!(detect(&"退款".repeat(1000)), Some("zh"));
    }
}
