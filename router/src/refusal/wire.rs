//! What the providers' wires call each refusal.

use http::StatusCode;
use serde_json::{Value, json};

use super::{Failure, Refusal};
use crate::wire::Wire;

/// Whose words a client understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    OpenAI,
    Anthropic,
}

impl From<Wire> for Family {
    fn from(wire: Wire) -> Self {
        match wire.is_anthropic() {
            true => Family::Anthropic,
            false => Family::OpenAI,
        }
    }
}

/// Anthropic's own: more is asked than can be done now.
const OVERLOADED: u16 = 529;
/// OpenAI's own, as type and as code: whoever pays has to do something.
const INSUFFICIENT_QUOTA: &str = "insufficient_quota";

impl Refusal {
    pub fn status_on(&self, family: Family) -> StatusCode {
        let status = self.status();
        match family {
            // A limit of the client's own is no overload.
            _ if matches!(self, Refusal::Limited { .. }) => status,
            Family::Anthropic if matches!(self, Refusal::BudgetExhausted { .. }) => {
                StatusCode::PAYMENT_REQUIRED
            }
            Family::Anthropic if status == StatusCode::TOO_MANY_REQUESTS => {
                StatusCode::from_u16(OVERLOADED).unwrap_or(status)
            }
            _ => status,
        }
    }

    /// The body of an error.
    pub fn body_on(&self, family: Family) -> Value {
        match family {
            Family::OpenAI => json!({ "error": self.openai() }),
            Family::Anthropic => json!({ "type": "error", "error": self.anthropic() }),
        }
    }

    /// The object that OpenAI's wires name `error`.
    pub fn openai(&self) -> Value {
        let kind = match (self, self.status()) {
            (Refusal::Limited { measure, .. }, _) => measure.on_wire(),
            (Refusal::BudgetExhausted { .. }, _) => INSUFFICIENT_QUOTA,
            (_, StatusCode::TOO_MANY_REQUESTS) => "rate_limit_error",
            (_, status) if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        let mut error = json!({
            "message": self.to_string(),
            "type": kind,
            "param": self.param(),
            "code": self.code(),
        });
        self.tell_attempts(&mut error);
        error
    }

    fn anthropic(&self) -> Value {
        let status = self.status_on(Family::Anthropic);
        let kind = match status.as_u16() {
            401 => "authentication_error",
            402 => "billing_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            504 => "timeout_error",
            OVERLOADED => "overloaded_error",
            500.. => "api_error",
            _ => "invalid_request_error",
        };
        let mut error = json!({ "type": kind, "message": self.to_string() });
        if *self == Refusal::NoThreads {
            // On this word SDKs send the conversation whole, and never a thread again.
            error["details"] = json!({ "error_code": "thread_unsupported_request" });
        }
        self.tell_attempts(&mut error);
        error
    }

    fn tell_attempts(&self, error: &mut Value) {
        if let Refusal::Failed { attempts, .. } | Refusal::AllUnsure { attempts } = self {
            let attempts = attempts.iter();
            let attempts =
                attempts.map(|(tier, outcome)| json!({ "tier": tier, "outcome": outcome }));
            error["attempts"] = attempts.collect();
        }
    }

    fn param(&self) -> Option<&str> {
        match self {
            Refusal::Field { field, .. } | Refusal::NoTierFor { field } => Some(field),
            Refusal::UnknownModel { .. } => Some("model"),
            Refusal::PinNotAllowed => Some("x-weir-tier"),
            Refusal::Failed { last, .. } => match last {
                Failure::Refused { field, .. } => field.as_deref(),
                Failure::CannotRedact { field, .. } => Some(field),
                Failure::TooLong { .. } => Some("messages"),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn code(&self) -> Option<&'static str> {
        match self {
            Refusal::NoSuchPath { .. } => Some("unknown_url"),
            Refusal::UnknownModel { .. } => Some("model_not_found"),
            Refusal::UnknownDecision => Some("decision_not_found"),
            Refusal::KeyNeeded { .. } | Refusal::KeyMissing | Refusal::KeyUnknown => {
                Some("invalid_api_key")
            }
            Refusal::KeyOfAnother { .. } => Some("model_not_allowed"),
            Refusal::PrivateWithoutTier => Some("egress_denied"),
            Refusal::PinNotAllowed => Some("pin_not_allowed"),
            Refusal::Rejected { .. } => Some("rejected_by_rule"),
            Refusal::TooManyAsks { .. }
            | Refusal::TooManyOfOne { .. }
            | Refusal::Limited { .. }
            | Refusal::BodiesTooLarge { .. }
            | Refusal::BodiesOfOne { .. }
            | Refusal::BudgetInHand { .. }
            | Refusal::AnswersTooLarge { .. } => Some("rate_limit_exceeded"),
            Refusal::BudgetExhausted { .. } => Some(INSUFFICIENT_QUOTA),
            Refusal::NoTierFor { .. } => Some("unsupported_parameter"),
            Refusal::AllUnsure { .. } => Some("all_unsure"),
            Refusal::InHand => Some("idempotency_key_in_use"),
            Refusal::Ending => Some("router_ending"),
            Refusal::Failed { last, .. } => match last {
                Failure::TooLong { .. } => Some("context_length_exceeded"),
                last => Some(last.word()),
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::limits::{Measure, Whose};

    #[test]
    fn overload_has_anthropics_own_status_on_its_wire() {
        let refusal = Refusal::TooManyAsks { limit: 1 };
        assert_eq!(refusal.status_on(Family::OpenAI).as_u16(), 429);
        assert_eq!(refusal.status_on(Family::Anthropic).as_u16(), 529);
        let body = refusal.body_on(Family::Anthropic);
        assert_eq!(body["type"], "error");
        assert_eq!(body["error"]["type"], "overloaded_error");
    }

    #[test]
    fn a_limit_is_no_overload_and_openai_says_of_what() {
        let refusal = Refusal::Limited {
            measure: Measure::Tokens,
            whose: Whose::Tenant,
            limit: 100,
            wait: Duration::from_micros(1500),
        };
        for family in [Family::OpenAI, Family::Anthropic] {
            assert_eq!(refusal.status_on(family).as_u16(), 429);
        }
        let error = refusal.openai();
        assert_eq!(
            (&error["type"], &error["code"]),
            (&json!("tokens"), &json!("rate_limit_exceeded"))
        );
        assert_eq!(refusal.anthropic()["type"], "rate_limit_error");
        assert_eq!(
            refusal.to_string(),
            "the limit of 100 tokens a minute for one tenant of this model is reached"
        );
        assert_eq!(
            (refusal.retry_after_seconds(), refusal.retry_after_millis()),
            (Some(1), Some(2))
        );
    }

    #[test]
    fn a_budget_that_calls_in_flight_hold_is_overload_and_worth_another_try() {
        let period = weir_crds::Period::Hour;
        let refusal = Refusal::BudgetInHand { period };
        assert_eq!(refusal.status_on(Family::OpenAI).as_u16(), 429);
        assert_eq!(refusal.status_on(Family::Anthropic).as_u16(), 529);
        let body = refusal.body_on(Family::OpenAI);
        assert_eq!(body["error"]["code"], "rate_limit_exceeded");
        let body = refusal.body_on(Family::Anthropic);
        assert_eq!(body["error"]["type"], "overloaded_error");
        assert!(refusal.should_retry(false));
        assert_eq!(refusal.retry_after_seconds(), Some(5));
    }

    #[test]
    fn an_exhausted_budget_is_told_as_each_provider_tells_it_and_not_tried_again() {
        let period = weir_crds::Period::Month;
        let refusal = Refusal::BudgetExhausted { period };
        assert_eq!(refusal.status_on(Family::OpenAI).as_u16(), 429);
        assert_eq!(refusal.status_on(Family::Anthropic).as_u16(), 402);
        let body = refusal.body_on(Family::OpenAI);
        assert_eq!(body["error"]["type"], "insufficient_quota");
        assert_eq!(body["error"]["code"], "insufficient_quota");
        let message = &body["error"]["message"];
        assert_eq!(message, "the policy's budget for this month is exhausted");
        let body = refusal.body_on(Family::Anthropic);
        assert_eq!(body["error"]["type"], "billing_error");
        assert!(!refusal.should_retry(false));
        assert_eq!(refusal.retry_after_seconds(), None);
    }
}
