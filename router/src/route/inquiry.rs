//! What a route may ask replicas for: how many tokens a prompt has, which label fits it.
//!
//! Both are bounded in time, and dropping them cancels the work. Neither waits for a replica to come.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status};
use tracing::Span;
use weir_policy::rules::Classifier;
use weir_policy::tier::{Tier, model_name};
use weir_process::traces;
use weir_worker_api as api;
use weir_worker_api::worker_client::WorkerClient;

use crate::ask::Ask;
use crate::attempt::{prompt, said};
use crate::load::Doing;
use crate::replicas::Lease;
use crate::shared::Shared;

/// A worker tokenizes megabytes in less; one that is too busy for that is not waited for.
const LONGEST_COUNT: Duration = Duration::from_millis(500);
/// A model made for it reads a page in a tenth of this on a processor. Later than that, asking costs
/// more than a wrong first tier.
const LONGEST_CHOICE: Duration = Duration::from_secs(2);

/// Why nobody answered.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unanswered {
    #[error("an endpoint counts no tokens")]
    Endpoint,
    #[error("no ready replica")]
    NoReplica,
    #[error("no answer within its time")]
    Late,
    /// The code is one of a closed set; the message of a worker is for its own log.
    #[error("the replica answered {0:?}")]
    Refused(api::ErrorCode),
    #[error("the replica answered with other labels")]
    Odd,
}

/// One ask, and until when there is time for it.
pub(super) struct Inquiry<'a> {
    pub shared: &'a Shared,
    pub ask: &'a Ask,
    /// Hashed.
    pub tenant: String,
    pub until: Instant,
}

impl Inquiry<'_> {
    /// How many tokens the prompt has for the model of `tier`.
    pub async fn tokens(&self, tier: &Tier) -> Result<u64, Unanswered> {
        let deployment = tier.deployment().ok_or(Unanswered::Endpoint)?;
        let (mut client, _lease) = self.replica(deployment)?;
        let request = traced(api::TokenizeRequest {
            model: model_name(deployment, tier.adapter()),
            prompt: Some(prompt(self.ask)),
            ..api::TokenizeRequest::default()
        });
        let answer = self.within(LONGEST_COUNT, client.tokenize(request)).await?;
        Ok(answer.ids.len() as u64)
    }

    /// The place of the label that fits the conversation best, and its probability.
    pub async fn label(&self, classifier: &Classifier) -> Result<(usize, f64), Unanswered> {
        let deployment = &classifier.deployment;
        let (mut client, _lease) = self.replica(deployment)?;
        let _running = self.shared.book.count(deployment, Doing::Running);
        let labels = classifier.labels.iter().map(|label| label.label.clone());
        let request = traced(api::ChooseRequest {
            model: deployment.clone(),
            prompt: Some(said(self.ask)),
            options: labels.collect(),
            cache_salt: self.tenant.clone(),
        });
        let answer = self.within(LONGEST_CHOICE, client.choose(request)).await?;
        best(&answer.scores, classifier).ok_or(Unanswered::Odd)
    }

    fn replica(
        &self,
        deployment: &str,
    ) -> Result<(WorkerClient<tonic::transport::Channel>, Lease), Unanswered> {
        let view = self.shared.view.borrow().clone();
        let replicas = view.replicas_of(deployment);
        let addresses: Vec<_> = replicas.iter().map(|(address, _)| *address).collect();
        let lease = self.shared.pool.pick(&addresses, &BTreeSet::new());
        let lease = lease.ok_or(Unanswered::NoReplica)?;
        let client = WorkerClient::new(lease.channel.clone())
            .max_decoding_message_size(api::MAX_MESSAGE_BYTES)
            .max_encoding_message_size(api::MAX_MESSAGE_BYTES);
        Ok((client, lease))
    }

    async fn within<T>(
        &self,
        longest: Duration,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Unanswered> {
        let until = self.until.min(Instant::now() + longest);
        match timeout_at(until, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => {
                tracing::debug!(code = ?status.code(), message = status.message(), "replica failed");
                Err(Unanswered::Refused(api::detail_of(&status).code()))
            }
            Err(_) => Err(Unanswered::Late),
        }
    }
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
