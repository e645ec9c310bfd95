//! Conditions as `metav1.Condition` has them: the time changes with the status and only then.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::runtime::events::{Event, EventType};
use weir_crds::{conditions, reasons};
use weir_policy::validate::Problem;

/// The API server refuses a longer message.
const LONGEST_MESSAGE: usize = 32_768;

/// The conditions of one object as they come to be in this pass.
#[derive(Clone, Debug)]
pub struct Conditions<'a> {
    before: &'a [Condition],
    generation: i64,
    now: Timestamp,
    set: Vec<Condition>,
}

impl<'a> Conditions<'a> {
    /// Starts from what the object says now; `generation` is the one that was looked at.
    pub fn new(before: &'a [Condition], generation: i64, now: Timestamp) -> Self {
        Self {
            before,
            generation,
            now,
            set: Vec::new(),
        }
    }

    /// Says `type_` is true or false, and why. The last word on a type counts.
    pub fn set(&mut self, type_: &str, holds: bool, reason: &str, message: impl Into<String>) {
        let status = if holds { "True" } else { "False" };
        let since = self
            .before
            .iter()
            .find(|before| before.type_ == type_ && before.status == status)
            .map_or(Time(self.now), |before| before.last_transition_time.clone());
        let mut message = message.into();
        if message.len() > LONGEST_MESSAGE {
            message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
        }
        self.set.retain(|condition| condition.type_ != type_);
        self.set.push(Condition {
            type_: type_.into(),
            status: status.into(),
            reason: reason.into(),
            message,
            observed_generation: Some(self.generation),
            last_transition_time: since,
        });
    }

    /// [`Self::set`], of a verdict.
    pub fn say(&mut self, type_: &str, (holds, reason, message): &Verdict) {
        self.set(type_, *holds, reason, message.clone());
    }

    /// What was set, in the order it was set in. What was not set is gone.
    pub fn finish(self) -> Vec<Condition> {
        self.set
    }
}

/// What was said of `type_` when this very `generation` was looked at.
pub fn said<'a>(
    before: &'a [Condition],
    type_: &str,
    generation: Option<i64>,
) -> Option<&'a Condition> {
    before
        .iter()
        .find(|before| before.type_ == type_ && before.observed_generation == generation)
}

/// Whether a condition holds, why, and in more words.
pub type Verdict = (bool, &'static str, String);

/// A spec that cannot be served: all its problems; the reason is the first one's.
pub fn refused(problems: &[Problem]) -> Verdict {
    let messages: Vec<&str> = problems
        .iter()
        .map(|problem| problem.message.as_str())
        .collect();
    let reason = problems
        .first()
        .map_or(reasons::INVALID, |problem| problem.reason);
    (false, reason, messages.join("; "))
}

/// Reasons for not being ready that nobody has to act on.
const USUAL: [&str; 6] = [
    reasons::STARTING,
    reasons::PROGRESSING,
    reasons::ROLLING_OUT,
    reasons::DOWNLOADING,
    reasons::LOADING,
    reasons::ROUTER_UNAVAILABLE,
];

/// What a person should hear about, once: whenever the reason of `Ready` changes, and where a canary has failed that
/// `Ready` does not tell of, because what the spec asks for serves all the same.
pub fn event(before: &[Condition], after: &[Condition]) -> Option<Event> {
    let said = |type_: &str| {
        let of_type = |all: &[Condition]| all.iter().find(|of| of.type_ == type_).cloned();
        let now = of_type(after)?;
        let is_old = of_type(before).is_some_and(|before| before.reason == now.reason);
        (!is_old).then_some(now)
    };
    let failed = || said(conditions::CANARY_HEALTHY).filter(|canary| canary.status == "False");
    let now = said(conditions::READY).or_else(failed)?;
    Some(Event {
        type_: if now.status == "True" || USUAL.contains(&now.reason.as_str()) {
            EventType::Normal
        } else {
            EventType::Warning
        },
        reason: now.reason,
        note: Some(short(now.message)),
        action: "Reconcile".into(),
        secondary: None,
    })
}

/// An Event's note may have 1024 bytes.
fn short(mut note: String) -> String {
    if note.len() > 1024 {
        note.truncate(note.floor_char_boundary(1024));
    }
    note
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ready(before: &[Condition], holds: bool, reason: &str, second: i64) -> Vec<Condition> {
        let mut conditions = Conditions::new(before, 1, at(second));
        conditions.set(conditions::READY, holds, reason, "");
        conditions.finish()
    }

    #[test]
    fn the_time_of_a_condition_changes_with_its_status_and_not_with_its_reason() {
        let first = ready(&[], false, "Starting", 1);
        let second = ready(&first, false, "CrashLoop", 2);
        assert_eq!(second[0].last_transition_time, Time(at(1)));
        let third = ready(&second, true, "Serving", 3);
        assert_eq!(third[0].last_transition_time, Time(at(3)));
    }

    #[test]
    fn a_condition_that_is_not_set_again_is_gone() {
        let before = ready(&[], true, "Serving", 1);
        assert!(Conditions::new(&before, 1, at(2)).finish().is_empty());
    }

    #[test]
    fn an_event_is_told_once_for_a_reason() {
        let before = ready(&[], false, "CrashLoop", 1);
        let told = event(&[], &before).unwrap();
        assert_eq!(told.type_, EventType::Warning);
        assert_eq!(told.reason, "CrashLoop");
        assert!(event(&before, &ready(&before, false, "CrashLoop", 2)).is_none());
    }

    #[test]
    fn a_message_is_cut_where_a_letter_ends() {
        let mut conditions = Conditions::new(&[], 1, at(0));
        conditions.set("Ready", true, "Serving", "ö".repeat(LONGEST_MESSAGE));
        assert_eq!(conditions.finish()[0].message.len(), LONGEST_MESSAGE);
    }
    #[test]
    fn a_canary_that_fails_behind_a_ready_that_holds_is_told_of_once() {
        let with_canary = |before: &[Condition], holds: bool, reason: &str| {
            let mut conditions = Conditions::new(before, 1, at(1));
            conditions.set(conditions::READY, true, "Serving", "");
            conditions.set(conditions::CANARY_HEALTHY, holds, reason, "both numbers");
            conditions.finish()
        };
        let runs = with_canary(&ready(&[], true, "Serving", 1), true, "RollingOut");
        assert!(event(&ready(&[], true, "Serving", 1), &runs).is_none());
        let failed = with_canary(&runs, false, "CanaryFailed");
        let told = event(&runs, &failed).unwrap();
        assert_eq!(
            (told.type_, told.reason.as_str()),
            (EventType::Warning, "CanaryFailed")
        );
        assert_eq!(told.note.as_deref(), Some("both numbers"));
        assert!(event(&failed, &with_canary(&failed, false, "CanaryFailed")).is_none());
    }
}
