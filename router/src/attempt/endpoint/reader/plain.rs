//! The chunk that most of a chat is made of: some text of one choice, and nothing that is not known here. It is
//! read without building all its values, which takes several times as long.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

/// What such a chunk says.
pub(super) struct Plain<'a> {
    pub choice: u32,
    pub text: Cow<'a, str>,
    /// Why the choice ends with it.
    pub stop: Option<Cow<'a, str>>,
    pub steady: Steady<'a>,
}

/// What OpenAI says in every chunk of the whole answer, by which model it is and how it is served.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Steady<'a> {
    pub service_tier: Option<Cow<'a, str>>,
    pub system_fingerprint: Option<Cow<'a, str>>,
}

impl Steady<'_> {
    /// Of an event that was read with all care.
    pub fn of(event: &Value) -> Steady<'static> {
        let word = |member: &str| {
            let word = event.get(member)?.as_str()?;
            Some(Cow::Owned(word.to_owned()))
        };
        Steady {
            service_tier: word("service_tier"),
            system_fingerprint: word("system_fingerprint"),
        }
    }
}

/// Every member is named, so that whatever else a server says is read with all care.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "they say nothing that is passed on")]
struct Chunk<'a> {
    id: Option<IgnoredAny>,
    object: Option<IgnoredAny>,
    created: Option<IgnoredAny>,
    model: Option<IgnoredAny>,
    #[serde(borrow)]
    choices: [Choice<'a>; 1],
    usage: Option<()>,
    /// Noise that hides how long its tokens are.
    obfuscation: Option<IgnoredAny>,
    #[serde(borrow)]
    service_tier: Option<Text<'a>>,
    #[serde(borrow)]
    system_fingerprint: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "they say nothing that is passed on")]
struct Choice<'a> {
    index: u32,
    #[serde(borrow)]
    delta: Delta<'a>,
    logprobs: Option<()>,
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "they say nothing that is passed on")]
struct Delta<'a> {
    role: Option<IgnoredAny>,
    #[serde(borrow)]
    content: Option<Text<'a>>,
    refusal: Option<()>,
}

/// As it stands in the chunk, where nothing in it is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Nothing where `data` is any other event.
pub(super) fn read(data: &[u8]) -> Option<Plain<'_>> {
    let chunk: Chunk<'_> = serde_json::from_slice(data).ok()?;
    let [choice] = chunk.choices;
    Some(Plain {
        choice: choice.index,
        text: choice
            .delta
            .content
            .map_or(Cow::Borrowed(""), |text| text.0),
        stop: choice.finish_reason.map(|word| word.0),
        steady: Steady {
            service_tier: chunk.service_tier.map(|word| word.0),
            system_fingerprint: chunk.system_fingerprint.map(|word| word.0),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_one_choice_is_plain_with_or_without_an_end() {
        let chunk = r#"{"id":"1","object":"chat.completion.chunk","created":7,"model":"m","choices":[
            {"index":2,"delta":{"role":"assistant","content":"a\n\"b\""},"logprobs":null,"finish_reason":"length"}],"usage":null}"#;
        let plain = read(chunk.as_bytes()).unwrap();
        let stop = plain.stop.as_deref();
        assert_eq!(
            (plain.choice, &*plain.text, stop),
            (2, "a\n\"b\"", Some("length"))
        );
        let least = r#"{"choices":[{"index":0,"delta":{}}]}"#;
        assert_eq!(read(least.as_bytes()).unwrap().text, "");
    }

    #[test]
    fn whatever_says_more_is_not() {
        for chunk in [
            r#"{"choices":[],"usage":{"prompt_tokens":1}}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"a"}}],"usage":{"prompt_tokens":1}}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"a"}}],"citations":[]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"a"}}],"error":null}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"a","tool_calls":[]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"a"},"logprobs":{"content":[]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"a","content":"b"}}]}"#,
            r#"{"choices":[{"index":-1,"delta":{"content":"a"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"a"}},{"index":1,"delta":{}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":7}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"a"}}]} x"#,
            "null",
        ] {
            assert!(read(chunk.as_bytes()).is_none(), "{chunk}");
        }
        assert!(read(b"{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\xff\"}}]}").is_none());
    }
}
