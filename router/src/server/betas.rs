//! Which of Anthropic's betas a client may ask for.

use http::HeaderMap;

/// Names the betas of a request.
pub(super) const HEADER: &str = "anthropic-beta";

/// What changes only how a model thinks, answers and counts. Not here: what keeps files,
/// containers, memories or threads with the provider, or has it call third parties.
const ALLOWED: [&str; 22] = [
    "cache-diagnosis",
    "compact",
    "computer-use",
    "context-1m",
    "context-management",
    "dev-full-thinking",
    "extended-cache-ttl",
    "fast-mode",
    "inline-tools",
    "interleaved-thinking",
    "mid-conversation-output-config",
    "mid-conversation-system-clear-at",
    "mid-conversation-tool-changes",
    "model-context-window-exceeded",
    "output-128k",
    "output-300k",
    "pdfs",
    "prompt-caching",
    "structured-outputs",
    "task-budgets",
    "token-counting",
    "token-efficient-tools",
];

/// The betas of a request that are passed on, each with its date: `compact-2026-01-12`.
pub(super) fn allowed(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(HEADER).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    let betas = values.flat_map(|value| value.split(',')).map(str::trim);
    let betas = betas.filter(|beta| name(beta).is_some_and(|name| ALLOWED.contains(&name)));
    betas.map(str::to_owned).collect()
}

/// A beta without its date; nothing where it has none.
fn name(beta: &str) -> Option<&str> {
    const DATE: usize = "-2026-01-12".len();
    let (name, date) = beta.split_at_checked(beta.len().checked_sub(DATE)?)?;
    let is_date = date
        .bytes()
        .all(|byte| byte == b'-' || byte.is_ascii_digit());
    is_date.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn what_keeps_things_with_the_provider_is_not_passed_on() {
        let mut headers = HeaderMap::new();
        for value in [
            "compact-2026-01-12, files-api-2025-04-14",
            "interleaved-thinking-2025-05-14,mcp-client-2025-11-20,x,compact",
        ] {
            headers.append("anthropic-beta", HeaderValue::from_static(value));
        }
        let expected = ["compact-2026-01-12", "interleaved-thinking-2025-05-14"];
        assert_eq!(allowed(&headers), expected);
    }
}
