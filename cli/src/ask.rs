//! One question to the router over the OpenAI wire, as any client would put it.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

/// What came back, with what the router says about it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) tier: String,
    /// How sure the router was of the answering tier, where it judges that tier.
    pub(crate) score: Option<String>,
    /// Every tier that was tried, with what became of it.
    pub(crate) attempts: Option<String>,
    /// In USD.
    pub(crate) cost: Option<String>,
    pub(crate) took: Duration,
}

/// Asks `model` at `base_url` (which ends in `/v1`) and waits for the whole answer.
pub(crate) async fn ask(
    client: &reqwest::Client,
    base_url: &str,
    model: &str,
    question: &str,
) -> anyhow::Result<Answer> {
    let began = Instant::now();
    let response = client
        .post(format!("{base_url}/chat/completions"))
        .json(&json!({
            "model": model,
            "messages": [{ "role": "user", "content": question }],
            "max_completion_tokens": 16,
            "temperature": 0,
        }))
        .send()
        .await
        .context("ask the router")?;
    let header = |name| {
        let value = response.headers().get(name)?;
        Some(value.to_str().ok()?.to_owned())
    };
    let (status, tier) = (response.status(), header("x-weir-tier"));
    let (score, attempts) = (header("x-weir-score"), header("x-weir-attempts"));
    let cost = header("x-weir-cost");
    let body: Value = response.json().await.context("read the answer")?;
    if !status.is_success() {
        let message = body["error"]["message"].as_str().unwrap_or("no message");
        bail!("{status}: {message}");
    }
    let text = body["choices"][0]["message"]["content"].as_str();
    Ok(Answer {
        text: text.unwrap_or_default().trim().to_owned(),
        tier: tier.unwrap_or_else(|| "unknown".into()),
        score,
        attempts,
        cost,
        took: began.elapsed(),
    })
}
