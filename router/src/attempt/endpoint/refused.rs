//! What it means that an endpoint answers with an error. Of the error itself only known words are looked
//! for, and nothing of it goes on: it may hold anything.

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use crate::refusal::Failure;

/// The codes and types of a prompt that is too long: OpenAI's, llama-server's.
const TOO_LONG: [&str; 2] = ["context_length_exceeded", "exceed_context_size_error"];
/// What those say who have no code for it, in small letters: vLLM and LiteLLM, Anthropic.
const SAID_OF_TOO_LONG: [&str; 4] = [
    "maximum context length",
    "contextwindowexceedederror",
    "prompt is too long",
    "exceed context limit",
];

/// What a request is refused for that asks for log-probabilities where there are none.
const LOGPROBS: &str = "logprobs";

/// Why `tier`, which answered with `status` and this body, failed.
pub(super) fn failure(
    tier: String,
    status: StatusCode,
    said: Option<&Value>,
    retry_after: Option<Duration>,
) -> Failure {
    match status.as_u16() {
        401 | 403 => Failure::CredentialRefused { tier },
        429 | 503 | 529 => Failure::Overloaded { tier, retry_after },
        408 | 504 => Failure::TooSlow { tier },
        400 | 413 if said.is_some_and(is_too_long) => Failure::TooLong { tier },
        // The client has no part in either.
        404 | 405 => Failure::NotFound { tier },
        400 | 413 | 422 => {
            let field = said.filter(|said| names_logprobs(said));
            let field = field.map(|_| LOGPROBS.to_owned());
            Failure::Refused { tier, field }
        }
        501 => Failure::Unsupported { tier },
        _ => Failure::Broken { tier },
    }
}

/// Whether a request was refused for the log-probabilities that it asked for.
pub(super) fn is_of_logprobs(failure: &Failure) -> bool {
    matches!(failure, Failure::Refused { field: Some(field), .. } if field == LOGPROBS)
}

/// Whether an error is about log-probabilities, as its `param` or its message says: OpenAI's reasoning
/// models, vLLM and LiteLLM name the field in one of them.
fn names_logprobs(said: &Value) -> bool {
    let error = said.get("error").unwrap_or(said);
    let names = |text: &str| text.to_lowercase().contains(LOGPROBS);
    let members = ["param", "message", "detail"];
    let mut texts = members.iter().filter_map(|member| error[member].as_str());
    texts.any(names)
}

/// Whether an error is that the prompt does not fit into the context.
fn is_too_long(said: &Value) -> bool {
    let error = said.get("error").unwrap_or(said);
    let text = |member: &str| error[member].as_str().unwrap_or_default();
    let words = [text("code"), text("type")];
    let message = text("message").to_lowercase();
    TOO_LONG.iter().any(|word| words.contains(word))
        || SAID_OF_TOO_LONG.iter().any(|said| message.contains(said))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_prompt_that_is_too_long_is_known_by_what_each_server_says() {
        let too_long = |said: Value| is_too_long(&said);
        for said in [
            json!({ "error": { "code": "context_length_exceeded", "type": "invalid_request_error" } }),
            json!({ "error": { "code": 400, "type": "exceed_context_size_error", "n_ctx": 512 } }),
            json!({ "error": { "code": "400", "message": "litellm.ContextWindowExceededError: x" } }),
            json!({ "object": "error", "message": "This model's maximum context length is 512 tokens." }),
            json!({ "type": "error", "error": { "message": "prompt is too long: 9 tokens > 8 maximum" } }),
        ] {
            assert!(too_long(said.clone()), "{said}");
        }
        for said in [
            json!({ "error": { "code": "invalid_value", "message": "stop is too long" } }),
            json!({ "error": "maximum" }),
            json!([]),
        ] {
            assert!(!too_long(said.clone()), "{said}");
        }
    }

    #[test]
    fn a_request_that_is_refused_for_its_logprobs_is_known_by_where_it_says_so() {
        let refused = |said: Value| failure("t".into(), StatusCode::BAD_REQUEST, Some(&said), None);
        for said in [
            json!({ "error": { "param": "logprobs", "message": "Unsupported parameter" } }),
            json!({ "error": { "message": "You are not allowed to request logprobs from this model" } }),
            json!({ "detail": "top_logprobs is not permitted" }),
        ] {
            assert!(is_of_logprobs(&refused(said.clone())), "{said}");
        }
        let other = refused(json!({ "error": { "param": "stop", "message": "is too long" } }));
        assert_eq!(
            other,
            Failure::Refused {
                tier: "t".into(),
                field: None
            }
        );
    }

    #[test]
    fn what_an_endpoint_does_not_do_is_no_failure_of_its() {
        let failure = failure("t".into(), StatusCode::NOT_IMPLEMENTED, None, None);
        assert_eq!(failure, Failure::Unsupported { tier: "t".into() });
    }
}
