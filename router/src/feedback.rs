//! A verdict on an earlier answer, as a client gives it at `/v1/feedback`, checked.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::refusal::Refusal;

/// The most verdicts on one answer.
pub(crate) const MOST_LABELS: usize = 8;
const LONGEST_COMMENT: usize = 4096;
/// What the wires put before an ask's name to make the answer's id of it.
const PREFIXES: [&str; 4] = ["chatcmpl-", "cmpl-", "resp_", "msg_"];
const LONGEST_ID: usize = 64;

/// What somebody thinks of an answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Label {
    pub time: Timestamp,
    /// `good` or `bad`.
    pub verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Only where the policy keeps text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl Label {
    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.comment.as_ref().map_or(0, String::len)
    }
}

/// A label, and the ask it is for.
#[derive(Debug, PartialEq)]
pub(crate) struct Feedback {
    /// The decision's.
    pub id: String,
    pub label: Label,
}

/// Reads the body of a request that came at `time`.
pub(crate) fn read(mut body: Map<String, Value>, time: Timestamp) -> Result<Feedback, Refusal> {
    let mut taken = |field: &str| body.remove(field).filter(|value| !value.is_null());
    let id = match taken("id") {
        Some(Value::String(id)) if (1..=LONGEST_ID).contains(&id.len()) => decision(&id).to_owned(),
        _ => {
            let message = "must be the id of an answer or of a decision";
            return Err(Refusal::field("id", message));
        }
    };
    let verdict = match taken("verdict").as_ref().and_then(Value::as_str) {
        Some("good") => "good",
        Some("bad") => "bad",
        _ => return Err(Refusal::field("verdict", "must be \"good\" or \"bad\"")),
    };
    let score = match taken("score") {
        None => None,
        Some(score) => match score.as_f64().filter(|score| (0.0..=1.0).contains(score)) {
            Some(score) => Some(score),
            None => return Err(Refusal::field("score", "must be a number from 0 to 1")),
        },
    };
    let comment = match taken("comment") {
        None => None,
        Some(Value::String(comment)) if comment.len() <= LONGEST_COMMENT => Some(comment),
        Some(_) => {
            let message = format!("must be a text of at most {LONGEST_COMMENT} bytes");
            return Err(Refusal::field("comment", message));
        }
    };
    if let Some(field) = body.keys().next() {
        let field = crate::record::clipped(field, LONGEST_ID);
        let message = "is no field of feedback: there are id, verdict, score and comment";
        return Err(Refusal::field(field, message));
    }
    let label = Label {
        time,
        verdict,
        score,
        comment,
    };
    Ok(Feedback { id, label })
}

/// The decision's id in the id of an answer.
fn decision(id: &str) -> &str {
    let mut prefixes = PREFIXES.iter();
    let stripped = prefixes.find_map(|prefix| id.strip_prefix(prefix));
    stripped.unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(body: Value) -> Result<Feedback, Refusal> {
        read(body.as_object().unwrap().clone(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_verdict_is_for_a_decision_by_its_own_id_or_that_of_the_answer() {
        for id in ["a1", "chatcmpl-a1", "cmpl-a1", "resp_a1", "msg_a1"] {
            let feedback = of(json!({ "id": id, "verdict": "good", "score": 1 })).unwrap();
            assert_eq!(feedback.id, "a1");
            assert_eq!(
                (feedback.label.verdict, feedback.label.score),
                ("good", Some(1.0))
            );
        }
    }

    #[test]
    fn what_is_wrong_with_it_is_named() {
        let body = |field: &str, value: Value| {
            let mut body = json!({ "id": "a", "verdict": "bad", "score": 0.5, "comment": "no" });
            body[field] = value;
            body
        };
        assert!(of(body("comment", Value::Null)).is_ok());
        for (field, value) in [
            ("id", json!("")),
            ("id", json!(7)),
            ("verdict", json!("ugly")),
            ("verdict", Value::Null),
            ("score", json!(1.1)),
            ("score", json!("1")),
            ("comment", json!("x".repeat(4097))),
            ("stars", json!(5)),
        ] {
            let refusal = of(body(field, value)).unwrap_err();
            assert!(
                refusal.to_string().starts_with(&format!("{field}: ")),
                "{refusal}"
            );
        }
    }
}
