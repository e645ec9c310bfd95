//! Clients that ask at a steady rate whatever becomes of their asks, and look at every word that they get.

use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderValue;
use reqwest::Client;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::judging::{Came, Heard, Wire, judge};
use crate::question::question;

/// Whoever has no answer by then gets none.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks for the model `model` of a router.
#[derive(Clone)]
pub struct Traffic {
    pub client: Client,
    pub url: String,
    pub model: String,
    /// The most that answers may be long.
    pub max_tokens: u32,
    pub per_second: u32,
}

/// Each ask by its number, and what came of it.
#[derive(Debug, Default)]
pub struct Answers(pub BTreeMap<u64, Came>);

impl Traffic {
    /// Asks `numbers`, in this order, a hundredth of a second apart at a hundred a second. Streams and whole answers of both
    /// wires take turns.
    pub async fn run(&self, numbers: impl Iterator<Item = u64>) -> Answers {
        let mut asks = JoinSet::new();
        let began = Instant::now();
        for (count, number) in (0_u32..).zip(numbers) {
            sleep_until(began + count * Duration::from_secs(1) / self.per_second).await;
            let traffic = self.clone();
            asks.spawn(async move { (number, traffic.ask(number).await) });
        }
        Answers(asks.join_all().await.into_iter().collect())
    }

    /// Asks once.
    pub async fn ask(&self, number: u64) -> Came {
        let (wire, is_streamed) = match number % 4 {
            0 => (Wire::Chat, true),
            1 => (Wire::Chat, false),
            2 => (Wire::Messages, true),
            _ => (Wire::Messages, false),
        };
        match timeout(PATIENCE, self.hear(number, wire, is_streamed)).await {
            Ok(Some(heard)) => self.explained(judge(number, wire, &heard)).await,
            Ok(None) => Came::Cut,
            Err(_) => Came::Wrong(format!("ask {number}, {wire:?}: no end")),
        }
    }

    /// With what the router has on record, where a tier failed: a test that fails has to say why.
    async fn explained(&self, mut came: Came) -> Came {
        let (Came::Broken { why, .. }
        | Came::Refused {
            status: 502 | 503,
            why,
            ..
        }) = &mut came
        else {
            return came;
        };
        let record = format!("{}/v1/decisions/{}", self.url, why.id);
        if let Ok(record) = self.client.get(record).send().await {
            why.record = record.text().await.unwrap_or_default();
        }
        came
    }

    async fn hear(&self, number: u64, wire: Wire, is_streamed: bool) -> Option<Heard> {
        let path = match wire {
            Wire::Chat => "chat/completions",
            Wire::Messages => "messages",
        };
        let body = json!({
            "model": self.model, "max_tokens": self.max_tokens, "stream": is_streamed,
            "messages": [{ "role": "user", "content": question(number) }],
        });
        let request = self.client.post(format!("{}/v1/{path}", self.url));
        let mut response = request.body(body.to_string()).send().await.ok()?;
        let text = |name: &str| {
            let value = response.headers().get(name).map(HeaderValue::to_str);
            value.and_then(Result::ok).unwrap_or_default().to_owned()
        };
        let status = response.status().as_u16();
        let mut heard = Heard {
            status,
            id: text("x-weir-decision"),
            tier: text("x-weir-tier"),
            is_unsure: text("x-weir-unsure") == "true",
            retry_after: text("retry-after").parse().ok(),
            is_streamed: is_streamed && status == 200,
            body: String::new(),
            is_cut: false,
        };
        let mut bytes = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(_) => {
                    heard.is_cut = true;
                    break;
                }
            }
        }
        heard.body = String::from_utf8_lossy(&bytes).into_owned();
        Some(heard)
    }
}

impl Answers {
    /// Fails where anything came of an ask that must not.
    #[track_caller]
    pub fn check(&self, is_right: impl Fn(&Came) -> bool, seed: u64) {
        let wrong = self.0.iter().filter(|(_, came)| !is_right(came));
        let wrong: Vec<String> = wrong
            .map(|(number, came)| format!("{number}: {came:?}"))
            .collect();
        assert!(
            wrong.is_empty(),
            "seed {seed}: {} of {} asks: {}",
            wrong.len(),
            self.0.len(),
            wrong[..wrong.len().min(5)].join("\n")
        );
    }

    pub fn count(&self, is_such: impl Fn(&Came) -> bool) -> usize {
        self.0.values().filter(|came| is_such(came)).count()
    }
}
