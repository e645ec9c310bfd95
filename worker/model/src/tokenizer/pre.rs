//! How a text is cut into words before pairs are merged, by the names that GGUF files use.
//!
//! llama.cpp knows a cut by the name that its converter gave it. The expressions here are those of
//! the tokenizers that the names stand for, so that ids are those that models were trained with.

/// What a name stands for.
#[derive(Debug)]
pub(super) struct PreTokenizer {
    names: &'static [&'static str],
    /// Each cuts what the one before it left: matches are words, and so is what lies between.
    pub(super) cuts: &'static [&'static str],
    /// A word that is a token is not merged.
    pub(super) whole_words: bool,
    /// A text begins with the beginning token where a file does not say.
    pub(super) add_bos: bool,
    /// Letters and their marks are composed first. llama.cpp does not.
    pub(super) composed: bool,
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const DIGIT: &str = r"\p{N}";
const THREE_DIGITS: &str = r"[0-9][0-9][0-9]";
const PUNCTUATION: &str = r"[\p{P}\$\+<=>\^~\|]+";
const PUNCTUATION_AND_TICKS: &str = r"[\p{P}\$\+<=>\^~\|`]+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const PLAIN: PreTokenizer = PreTokenizer {
    names: &[],
    cuts: &[GPT2],
    whole_words: false,
    add_bos: false,
    composed: false,
};

const TABLE: [PreTokenizer; 11] = [
    // Llama 3.
    PreTokenizer {
        names: &["llama-bpe", "llama3", "llama-v3"],
        cuts: &[LLAMA3],
        whole_words: true,
        add_bos: true,
        ..PLAIN
    },
    // Phi-4 among others.
    PreTokenizer {
        names: &["dbrx", "smaug-bpe"],
        cuts: &[LLAMA3],
        ..PLAIN
    },
    PreTokenizer {
        names: &["qwen2"],
        cuts: &[QWEN2],
        composed: true,
        ..PLAIN
    },
    PreTokenizer {
        names: &["qwen35"],
        cuts: &[QWEN35],
        ..PLAIN
    },
    // The distillations into Qwen, and StableLM 2.
    PreTokenizer {
        names: &["deepseek-r1-qwen", "stablelm2"],
        cuts: &[QWEN2],
        ..PLAIN
    },
    // Granite 3 is `refact`, SmolLM2 is `smollm`.
    PreTokenizer {
        names: &["refact", "smollm", "starcoder", "command-r"],
        cuts: &[DIGIT, GPT2],
        ..PLAIN
    },
    PreTokenizer {
        names: &["gpt-2", "phi-2", "mpt", "olmo"],
        ..PLAIN
    },
    // What files say that name no cut of their own.
    PreTokenizer {
        names: &["default"],
        cuts: &[PUNCTUATION, GPT2, r"\p{N}+", THREE_DIGITS],
        ..PLAIN
    },
    PreTokenizer {
        names: &["falcon"],
        cuts: &[PUNCTUATION_AND_TICKS, GPT2, THREE_DIGITS],
        ..PLAIN
    },
    // Mistral's since Nemo.
    PreTokenizer {
        names: &["tekken"],
        cuts: &[TEKKEN],
        whole_words: true,
        add_bos: true,
        ..PLAIN
    },
    // Phi-4-mini.
    PreTokenizer {
        names: &["gpt-4o", "llama4"],
        cuts: &[GPT4O],
        ..PLAIN
    },
];

/// What a name stands for; nothing for one that is not known.
pub(super) fn named(name: &str) -> Option<&'static PreTokenizer> {
    TABLE.iter().find(|row| row.names.contains(&name))
}

/// The names, for a refusal.
pub(super) fn names() -> String {
    let names: Vec<&str> = TABLE.iter().flat_map(|row| row.names).copied().collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_name_stands_for_two_cuts() {
        let names: Vec<&str> = TABLE.iter().flat_map(|row| row.names).copied().collect();
        let distinct: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(distinct.len(), names.len());
        assert!(names.iter().all(|name| named(name).is_some()));
        assert!(named("kimi-k2").is_none());
    }
}
