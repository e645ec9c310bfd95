//! Why an ask gets no answer, in our words; `wire` has what each provider calls it.
//!
//! Nothing here quotes what a provider said: its error texts can hold keys and names of
//! organisations.

mod wire;

use std::fmt::Write;
use std::time::Duration;

use http::StatusCode;
use weir_crds::Period;
use weir_policy::budget::period::word;

use crate::limits::{Measure, Whose};
use crate::money::Short;
pub(crate) use wire::Family;

/// Nobody who is told to come back comes back at once.
const LEAST_RETRY_AFTER: Duration = Duration::from_secs(1);
/// SDKs refuse to wait longer than this for a retry.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(120);

/// About as long as a small model takes to start where its files are at hand.
const UNTOLD_START: Duration = Duration::from_secs(5);
/// Most answers are written within this: some call in flight is over, and gives back what it did not need.
const CALL_IN_FLIGHT: Duration = Duration::from_secs(5);

/// One reason, with everything a reader needs to act on it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("there is nothing at {method} {path}")]
    NoSuchPath { method: String, path: String },
    #[error("no response is stored here: whoever asked for it has it")]
    NothingStored,
    #[error("thread: nobody keeps threads here: send the whole conversation")]
    NoThreads,
    #[error(
        "no decision of that id is known here: a router knows the last ones that it made itself, and tells \
         them to whoever asked"
    )]
    UnknownDecision,
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    #[error("the body is longer than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the body has more than {limit} JSON values")]
    TooManyValues { limit: usize },
    #[error("the bodies of the asks in hand take as much memory as they may: {limit} bytes")]
    BodiesTooLarge { limit: usize },
    #[error(
        "the bodies of whoever asks would take more memory than they may while others need the router too: {bytes} bytes"
    )]
    BodiesOfOne { bytes: usize },
    #[error("the body did not arrive within {0:?}")]
    BodyTooSlow(Duration),
    #[error("the body broke off")]
    BodyBroken,
    #[error("{field}: {message}")]
    Field { field: String, message: String },
    #[error("the model {model:?} needs an API key: send it as `Authorization: Bearer <key>`")]
    KeyNeeded { model: String },
    #[error("every model needs an API key here: send it as `Authorization: Bearer <key>`")]
    KeyMissing,
    #[error("the API key is not known here")]
    KeyUnknown,
    #[error("the API key does not belong to the model {model:?}")]
    KeyOfAnother { model: String },
    #[error("there is no model {model:?}{}", known_models(.known))]
    UnknownModel { model: String, known: Vec<String> },
    #[error("no tier of the model can serve the field {field}")]
    NoTierFor { field: String },
    #[error("no tier inside the cluster may take this ask, and it must not leave the cluster")]
    PrivateWithoutTier,
    #[error("the header x-weir-tier is only for those whom the policy allows to choose a tier")]
    PinNotAllowed,
    #[error("{}", .message.as_deref().unwrap_or("the policy does not take this ask"))]
    Rejected {
        rule: String,
        message: Option<String>,
    },
    #[error("the router has as many asks in hand as it may: {limit}")]
    TooManyAsks { limit: usize },
    #[error(
        "whoever asks has as many asks in hand as it may while others need the router too: {in_hand}"
    )]
    TooManyOfOne { in_hand: usize },
    #[error("the limit of {limit} {} a minute for {} is reached", .measure.word(), .whose.of())]
    Limited {
        measure: Measure,
        whose: Whose,
        limit: u64,
        wait: Duration,
    },
    #[error("the policy's budget for this {} is exhausted", word(*.period))]
    BudgetExhausted { period: Period },
    #[error(
        "what is left of the policy's budget for this {} is put aside for calls in flight",
        word(*.period)
    )]
    BudgetInHand { period: Period },
    #[error("{}{}", .last, history(.attempts))]
    Failed {
        last: Failure,
        attempts: Vec<(String, String)>,
    },
    #[error("every tier was unsure of its answer{}", history(.attempts))]
    AllUnsure { attempts: Vec<(String, String)> },
    #[error("the answer is longer than {limit} bytes: {instead}")]
    AnswerTooLarge { limit: usize, instead: &'static str },
    #[error("the answers in hand take as much memory as they may: {limit} bytes")]
    AnswersTooLarge { limit: usize },
    #[error("idempotency-key: the request that was sent with it first is still in hand")]
    InHand,
    #[error("the router ends, and nothing more of the answer comes: ask again")]
    Ending,
    #[error("a defect of the router ended this ask")]
    Defect,
}

/// Why an attempt on a tier came to nothing.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("deployment {deployment:?} has no ready replica")]
    NoReplica {
        deployment: String,
        /// What is known of the start of one.
        retry_after: Option<Duration>,
    },
    #[error("the credential of tier {tier:?} is missing")]
    NoCredential { tier: String },
    #[error("the CA bundle of tier {tier:?} is missing or cannot be read")]
    NoBundle { tier: String },
    #[error("tier {tier:?} could not be reached")]
    Connect { tier: String },
    #[error("the endpoint of tier {tier:?} has an address that may not be dialled")]
    AddressRefused { tier: String },
    #[error("tier {tier:?} is overloaded")]
    Overloaded {
        tier: String,
        retry_after: Option<Duration>,
    },
    #[error("tier {tier:?} is down and is not asked for now")]
    CircuitOpen { tier: String, retry_after: Duration },
    #[error("tier {tier:?} broke off its answer")]
    Lost { tier: String },
    /// It hands back what it has in hand, because it goes.
    #[error("tier {tier:?} broke off its answer")]
    Leaving { tier: String },
    #[error("tier {tier:?} fell silent")]
    Silent { tier: String },
    #[error("tier {tier:?} refused its credential")]
    CredentialRefused { tier: String },
    #[error("tier {tier:?} does not know its model or its path")]
    NotFound { tier: String },
    #[error("tier {tier:?} refused the request{}", of_field(.field))]
    Refused { tier: String, field: Option<String> },
    #[error("the prompt is longer than the context of tier {tier:?}")]
    TooLong { tier: String },
    #[error("tier {tier:?} does not serve this kind of request")]
    Unsupported { tier: String },
    #[error("tier {tier:?} failed")]
    Broken { tier: String },
    #[error(
        "private values cannot be taken out of {field}, so the ask does not go to tier {tier:?}"
    )]
    CannotRedact { tier: String, field: String },
    #[error("tier {tier:?} did not answer within its time")]
    TooSlow { tier: String },
    #[error("the policy's budget has too little left for tier {tier:?}")]
    OverBudget { tier: String, short: Short },
}

impl Failure {
    /// The word for it in records and histories: one of a closed set.
    pub fn word(&self) -> &'static str {
        match self {
            Failure::NoReplica { .. } => "no_replica",
            Failure::NoCredential { .. } => "no_credential",
            Failure::NoBundle { .. } => "no_ca_bundle",
            Failure::Connect { .. } => "connect",
            Failure::AddressRefused { .. } => "address_refused",
            Failure::Overloaded { .. } => "overloaded",
            Failure::CircuitOpen { .. } => "circuit_open",
            Failure::Lost { .. } | Failure::Leaving { .. } => "lost",
            Failure::Silent { .. } => "silent",
            Failure::CredentialRefused { .. } => "credential_refused",
            Failure::NotFound { .. } => "not_found",
            Failure::Refused { .. } => "refused",
            Failure::TooLong { .. } => "too_long",
            Failure::Unsupported { .. } => "unsupported",
            Failure::Broken { .. } => "broken",
            Failure::CannotRedact { .. } => "cannot_redact",
            Failure::TooSlow { .. } => "too_slow",
            Failure::OverBudget { .. } => "budget",
        }
    }

    /// Whether the request itself is what the tier does not take.
    pub fn is_of_request(&self) -> bool {
        matches!(
            self,
            Failure::Refused { .. } | Failure::TooLong { .. } | Failure::Unsupported { .. }
        )
    }

    fn status(&self) -> StatusCode {
        match self {
            Failure::NoReplica { .. }
            | Failure::NoCredential { .. }
            | Failure::NoBundle { .. }
            | Failure::CircuitOpen { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Failure::Overloaded { .. } | Failure::OverBudget { .. } => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Failure::Refused { .. } | Failure::TooLong { .. } | Failure::Unsupported { .. } => {
                StatusCode::BAD_REQUEST
            }
            Failure::Silent { .. } | Failure::TooSlow { .. } => StatusCode::GATEWAY_TIMEOUT,
            Failure::CannotRedact { .. } => StatusCode::FORBIDDEN,
            Failure::Connect { .. }
            | Failure::AddressRefused { .. }
            | Failure::Lost { .. }
            | Failure::Leaving { .. }
            | Failure::CredentialRefused { .. }
            | Failure::NotFound { .. }
            | Failure::Broken { .. } => StatusCode::BAD_GATEWAY,
        }
    }
}

impl Refusal {
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Field {
            field: field.into(),
            message: message.into(),
        }
    }

    pub fn status(&self) -> StatusCode {
        match self {
            Refusal::NoSuchPath { .. }
            | Refusal::NothingStored
            | Refusal::UnknownDecision
            | Refusal::UnknownModel { .. } => StatusCode::NOT_FOUND,
            Refusal::NotJson(_)
            | Refusal::NoThreads
            | Refusal::Field { .. }
            | Refusal::BodyBroken
            | Refusal::NoTierFor { .. } => StatusCode::BAD_REQUEST,
            Refusal::TooLarge { .. } | Refusal::TooManyValues { .. } => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Refusal::BodyTooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Refusal::KeyNeeded { .. } | Refusal::KeyMissing | Refusal::KeyUnknown => {
                StatusCode::UNAUTHORIZED
            }
            Refusal::KeyOfAnother { .. }
            | Refusal::PrivateWithoutTier
            | Refusal::PinNotAllowed
            | Refusal::Rejected { .. } => StatusCode::FORBIDDEN,
            Refusal::TooManyAsks { .. }
            | Refusal::TooManyOfOne { .. }
            | Refusal::Limited { .. }
            | Refusal::BodiesTooLarge { .. }
            | Refusal::BodiesOfOne { .. }
            | Refusal::AnswersTooLarge { .. }
            | Refusal::BudgetInHand { .. }
            | Refusal::BudgetExhausted { .. } => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Failed { last, .. } => last.status(),
            Refusal::AllUnsure { .. } | Refusal::AnswerTooLarge { .. } => StatusCode::BAD_GATEWAY,
            Refusal::InHand => StatusCode::CONFLICT,
            Refusal::Ending => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Defect => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether the last tier did not take the request itself, which its client may mend.
    pub fn is_of_request(&self) -> bool {
        matches!(self, Refusal::Failed { last, .. } if last.is_of_request())
    }

    /// When to come back, where that helps: whole seconds, at most two minutes.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        let seconds = self.retry_after()?.as_secs_f64().ceil();
        Some((seconds as u64).max(1))
    }

    /// The same in milliseconds, for those who come back as soon as they may.
    pub fn retry_after_millis(&self) -> Option<u64> {
        let millis = self.retry_after()?.as_nanos().div_ceil(1_000_000);
        u64::try_from(millis).ok().map(|millis| millis.max(1))
    }

    fn retry_after(&self) -> Option<Duration> {
        let wait = match self {
            // How a bucket fills is known exactly.
            Refusal::Limited { wait, .. } => return Some((*wait).min(LONGEST_RETRY_AFTER)),
            Refusal::TooManyAsks { .. }
            | Refusal::TooManyOfOne { .. }
            | Refusal::BodiesTooLarge { .. }
            | Refusal::BodiesOfOne { .. }
            | Refusal::AnswersTooLarge { .. }
            | Refusal::InHand
            | Refusal::Ending => Duration::from_secs(1),
            Refusal::BudgetInHand { .. } => CALL_IN_FLIGHT,
            Refusal::Failed { last, .. } => match last {
                Failure::Overloaded { retry_after, .. } => {
                    retry_after.unwrap_or(Duration::from_secs(1))
                }
                Failure::CircuitOpen { retry_after, .. } => *retry_after,
                Failure::NoReplica { retry_after, .. } => retry_after.unwrap_or(UNTOLD_START),
                _ => return None,
            },
            _ => return None,
        };
        Some(wait.clamp(LEAST_RETRY_AFTER, LONGEST_RETRY_AFTER))
    }

    /// Whether the same request may succeed later without anybody changing anything, for the
    /// SDK's own retries. Money spent on a failure is not spent again.
    pub fn should_retry(&self, money_was_spent: bool) -> bool {
        let retriable = match self {
            Refusal::TooManyAsks { .. }
            | Refusal::TooManyOfOne { .. }
            | Refusal::Limited { .. }
            | Refusal::BodiesTooLarge { .. }
            | Refusal::BodiesOfOne { .. }
            | Refusal::AnswersTooLarge { .. }
            | Refusal::BudgetInHand { .. }
            | Refusal::BodyTooSlow(_)
            | Refusal::InHand
            | Refusal::Ending
            | Refusal::Defect => true,
            Refusal::Failed { last, .. } => !matches!(
                last,
                Failure::NoCredential { .. }
                    | Failure::NoBundle { .. }
                    | Failure::AddressRefused { .. }
                    | Failure::CredentialRefused { .. }
                    | Failure::NotFound { .. }
                    | Failure::Refused { .. }
                    | Failure::TooLong { .. }
                    | Failure::Unsupported { .. }
                    | Failure::CannotRedact { .. }
                    | Failure::OverBudget { .. }
            ),
            _ => false,
        };
        retriable && !money_was_spent
    }
}

fn known_models(known: &[String]) -> String {
    match known {
        [] => String::new(),
        known => format!("; there are: {}", known.join(", ")),
    }
}

fn history(attempts: &[(String, String)]) -> String {
    let mut text = String::new();
    for (index, (tier, outcome)) in attempts.iter().enumerate() {
        let lead = if index == 0 { " (attempts: " } else { ", " };
        write!(text, "{lead}{tier} {outcome}").expect("writing to a string cannot fail");
    }
    if !text.is_empty() {
        text.push(')');
    }
    text
}

fn of_field(field: &Option<String>) -> String {
    field
        .as_ref()
        .map(|field| format!(" because of {field}"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overloaded(seconds: u64) -> Refusal {
        Refusal::Failed {
            last: Failure::Overloaded {
                tier: "frontier".into(),
                retry_after: Some(Duration::from_secs(seconds)),
            },
            attempts: vec![("frontier".into(), "overloaded".into())],
        }
    }

    #[test]
    fn a_retry_is_never_asked_for_later_than_an_sdk_would_wait() {
        assert_eq!(overloaded(3600).retry_after_seconds(), Some(120));
        assert_eq!(overloaded(0).retry_after_seconds(), Some(1));
    }

    #[test]
    fn a_failure_after_money_was_spent_is_not_worth_a_retry() {
        assert!(overloaded(1).should_retry(false));
        assert!(!overloaded(1).should_retry(true));
    }

    #[test]
    fn a_failure_carries_the_history_of_its_attempts() {
        let body = overloaded(1).body_on(Family::OpenAI);
        assert_eq!(body["error"]["type"], "rate_limit_error");
        assert_eq!(body["error"]["attempts"][0]["outcome"], "overloaded");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(
            message.ends_with("(attempts: frontier overloaded)"),
            "{message}"
        );
    }

    #[test]
    fn an_unknown_model_is_answered_with_those_that_exist() {
        let refusal = Refusal::UnknownModel {
            model: "gpt".into(),
            known: vec!["support-assistant".into(), "triage".into()],
        };
        assert_eq!(refusal.status(), StatusCode::NOT_FOUND);
        assert_eq!(
            refusal.to_string(),
            "there is no model \"gpt\"; there are: support-assistant, triage"
        );
    }
}
