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
        400 | 413 | 422 => Failure::Refused { tier, field: None },
        501 => Failure::Unsupported { tier },
        _ => Failure::Broken { tier },
    }
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
    fn what_an_endpoint_does_not_do_is_no_failure_of_its() {
        let failure = failure("t".into(), StatusCode::NOT_IMPLEMENTED, None, None);
        assert_eq!(failure, Failure::Unsupported { tier: "t".into() });
    }
}
