//! What any replica of a deployment may be asked in passing: how many tokens a prompt has, which label
//! fits it.
//!
//! Both are bounded in time, and dropping them cancels the work. Neither waits for a replica to come; one
//! that leaves or knows nothing is passed over for another.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use tracing::Span;
use weir_policy::rules::Classifier;
use weir_policy::tier::{Tier, model_name};
use weir_process::traces;
use weir_worker_api as api;
use weir_worker_api::worker_client::WorkerClient;

use crate::ask::Ask;
use crate::attempt::{is_replicas_failure, prompts, said};
use crate::balance::Wish;
use crate::load::{Doing, Ending};
use crate::replicas::Wanted;
use crate::shared::Shared;

/// A model made for it reads a page in a tenth of this on a processor. Later than that, asking costs
/// more than a wrong first tier.
const LONGEST_CHOICE: Duration = Duration::from_secs(2);
/// A deployment of which so many replicas leave at once is not waited for.
const MOST_TRIES: usize = 3;
/// Of a longer list the length is estimated.
const MOST_PROMPTS: usize = 16;

/// Why nobody answered.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unanswered {
    #[error("an endpoint counts no tokens")]
    Endpoint,
    #[error("so many prompts are not counted")]
    ManyPrompts,
    #[error("no ready replica")]
    NoReplica,
    #[error("the deployment's server is not ours, and answers only asks")]
    Foreign,
    #[error("no answer within its time")]
    Late,
    /// The code is one of a closed set; the message of a worker is for its own log.
    #[error("the replica answered {0:?}")]
    Refused(api::ErrorCode),
    #[error("the replica answered with other labels")]
    Odd,
}

/// One ask, and until when there is time for it.
pub(crate) struct Inquiry<'a> {
    pub shared: &'a Shared,
    pub ask: &'a Ask,
    /// Hashed.
    pub tenant: String,
    /// Which replica is asked where nothing else says so.
    pub draws: [u64; 2],
    pub until: Instant,
}

impl Inquiry<'_> {
    /// How many tokens the prompt has for the model of `tier`, or all prompts together.
    pub async fn tokens(&self, tier: &Tier) -> Result<u64, Unanswered> {
        let deployment = tier.deployment().ok_or(Unanswered::Endpoint)?;
        if self.ask.prompts().len() > MOST_PROMPTS {
            return Err(Unanswered::ManyPrompts);
        }
        let mut tokens = 0;
        for prompt in prompts(self.ask) {
            let request = api::TokenizeRequest {
                model: model_name(deployment, tier.adapter()),
                prompt: Some(prompt),
                ..api::TokenizeRequest::default()
            };
            let of = (deployment, self.until);
            let asked = self.any_of(of, Counts::No, |mut client| {
                let request = traced(request.clone());
                async move { client.tokenize(request).await }
            });
            tokens += asked.await?.ids.len() as u64;
        }
        Ok(tokens)
    }

    /// The place of the label that fits the conversation best, and its probability.
    pub async fn label(&self, classifier: &Classifier) -> Result<(usize, f64), Unanswered> {
        let deployment = &classifier.deployment;
        let labels = classifier.labels.iter().map(|label| label.label.clone());
        let request = api::ChooseRequest {
            model: deployment.clone(),
            prompt: Some(said(self.ask)),
            options: labels.collect(),
            cache_salt: self.tenant.clone(),
        };
        let until = self.until.min(Instant::now() + LONGEST_CHOICE);
        let asked = self.any_of((deployment, until), Counts::Yes, |mut client| {
            let running = self.shared.book.count(deployment, Doing::Running);
            let request = traced(request.clone());
            async move {
                let _running = running;
                client.choose(request).await
            }
        });
        let answer = asked.await?;
        best(&answer.scores, classifier).ok_or(Unanswered::Odd)
    }

    /// Counts one question to a replica of this deployment and revision, as an attempt there would be.
    fn count<T>(&self, of: (&str, &str), answered: &Result<Result<T, Status>, Elapsed>) {
        let has_failed = match answered {
            Ok(Ok(_)) => false,
            Ok(Err(status)) if !is_replicas_failure(status) => return,
            Ok(Err(_)) | Err(_) => true,
        };
        let ending = Ending {
            has_failed,
            ..Ending::default()
        };
        self.shared.book.ended(of, &ending);
    }

    /// A classifier reads each conversation from its beginning, as whoever answers it does.
    fn wish(&self) -> Wish {
        Wish {
            beginning: self.ask.beginning(),
            draws: self.draws,
        }
    }

    /// The answer of the first of a few replicas that has one.
    async fn any_of<T, F>(
        &self,
        (deployment, until): (&str, Instant),
        counts: Counts,
        call: impl Fn(WorkerClient<Channel>) -> F,
    ) -> Result<T, Unanswered>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let view = self.shared.view.borrow().clone();
        let wish = self.wish();
        let replicas = view.replicas_of(deployment, wish.place());
        let addresses = replicas.iter().map(|(address, _)| *address);
        let (foreign, addresses): (Vec<_>, Vec<_>) =
            addresses.partition(|address| view.foreign.contains(address));
        let wanted = Wanted {
            wish,
            adapter: None,
            sequences: 1,
        };
        let tries = addresses.len().min(MOST_TRIES);
        let mut tried = BTreeSet::new();
        let mut last = match foreign.is_empty() {
            true => Unanswered::NoReplica,
            false => Unanswered::Foreign,
        };
        while tried.len() < tries
            && let Some(lease) = self.shared.pool.pick(&addresses, &tried, wanted)
        {
            tried.insert(lease.address);
            let client = WorkerClient::new(lease.channel.clone())
                .max_decoding_message_size(api::MAX_MESSAGE_BYTES)
                .max_encoding_message_size(api::MAX_MESSAGE_BYTES);
            // A node that vanished says nothing: where another may answer, half of the time is its own.
            let now = Instant::now();
            let left = until.saturating_duration_since(now);
            let own = if tried.len() < tries { left / 2 } else { left };
            let answered = timeout_at(now + own, call(client)).await;
            if counts == Counts::Yes {
                let mut of = replicas.iter();
                let of = of.find(|(address, _)| *address == lease.address);
                let revision = of.map_or("", |(_, revision)| *revision);
                self.count((deployment, revision), &answered);
            }
            last = match answered {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => {
                    tracing::debug!(code = ?status.code(), message = status.message(), "replica failed");
                    let refused = Unanswered::Refused(api::detail_of(&status).code());
                    if !is_of_the_replica(&status) {
                        return Err(refused);
                    }
                    refused
                }
                Err(_) => Unanswered::Late,
            };
        }
        Err(last)
    }
}

/// Whether what is asked is work that says something of the revision that does it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counts {
    Yes,
    No,
}

/// Whether another replica may answer what this one did not. Every status that a worker of ours writes has
/// a detail: one without is of a connection that ended.
fn is_of_the_replica(status: &Status) -> bool {
    status.details().is_empty() || api::detail_of(status).retry_elsewhere
}

fn traced<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    traces::inject(&Span::current(), request.metadata_mut().as_mut());
    request
}

/// The first of the best, if the scores are those of the labels.
fn best(scores: &[api::OptionScore], classifier: &Classifier) -> Option<(usize, f64)> {
    let options = scores.iter().map(|score| &score.option);
    let labels = classifier.labels.iter().map(|label| &label.label);
    if !options.eq(labels) || scores.iter().any(|score| !score.probability.is_finite()) {
        return None;
    }
    let probabilities = scores.iter().map(|score| score.probability).enumerate();
    probabilities.reduce(|best, next| if next.1 > best.1 { next } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_policy::rules::Label;

    #[test]
    fn the_best_label_wins_and_scores_of_other_labels_or_without_a_number_are_none() {
        let label = |label: &str, start| Label {
            label: label.to_owned(),
            start,
        };
        let classifier = Classifier {
            deployment: "router".into(),
            labels: vec![label("easy", 0), label("hard", 1)],
        };
        let best = |scores: &[(&str, f64)]| {
            let scores = scores.iter().map(|(option, probability)| api::OptionScore {
                option: (*option).to_owned(),
                probability: *probability,
                ..api::OptionScore::default()
            });
            best(&scores.collect::<Vec<_>>(), &classifier)
        };
        assert_eq!(best(&[("easy", 0.4), ("hard", 0.6)]), Some((1, 0.6)));
        assert_eq!(best(&[("easy", 0.5), ("hard", 0.5)]), Some((0, 0.5)));
        assert_eq!(best(&[("hard", 0.4), ("easy", 0.6)]), None);
        assert_eq!(best(&[("easy", 0.4)]), None);
        assert_eq!(best(&[("easy", f64::NAN), ("hard", 0.6)]), None);
    }
}
