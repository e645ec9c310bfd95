//! Lines that go to a store as one object.

use serde_json::json;

use super::{Line, Waiting};
use crate::feedback::{Label, MOST_LABELS};
use crate::record::line;

/// Lines in the order in which they came.
#[derive(Default)]
pub(super) struct Batch {
    lines: Vec<Waiting>,
    bytes: usize,
}

impl Batch {
    /// Adds a line. Feedback goes into its record where that is here.
    pub fn add(&mut self, mut waiting: Waiting) {
        self.bytes += waiting.place.bytes;
        if let Line::Feedback { id: of, label, .. } = &waiting.line {
            let labels = self
                .lines
                .iter_mut()
                .find_map(|known| match &mut known.line {
                    Line::Record { id, labels, .. } if id == of => Some(labels),
                    _ => None,
                });
            if let Some(labels) = labels.filter(|labels| labels.len() < MOST_LABELS) {
                labels.push(label.clone());
                waiting.line = Line::Merged;
            }
        }
        self.lines.push(waiting);
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many lines were taken into it.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// All lines, as one text. Of a private ask only a store inside gets what somebody wrote.
    pub fn jsonl(&self, is_inside: bool) -> String {
        let mut text = String::with_capacity(self.bytes);
        for waiting in &self.lines {
            if let Some(line) = waiting.line.json(is_inside) {
                text.push_str(&line);
                text.push('\n');
            }
        }
        text
    }

    /// Says what became of all its lines.
    pub fn ended(mut self, outcome: &'static str) {
        for waiting in &mut self.lines {
            waiting.place.outcome = outcome;
        }
    }
}

impl Line {
    /// Nothing where another line says it.
    fn json(&self, is_inside: bool) -> Option<String> {
        match self {
            Line::Record {
                json,
                labels,
                text,
                is_private,
                ..
            } => {
                let may_have_text = is_inside || !is_private;
                let labels = labels.iter().map(|label| shown(label, may_have_text));
                let labels: Vec<Label> = labels.collect();
                let mut members = vec![("labels", json!(labels).to_string())];
                if let Some(text) = text.as_ref().filter(|_| may_have_text) {
                    members.push(("text", text.json()));
                }
                Some(line(json, &members))
            }
            Line::Feedback {
                id,
                label,
                is_private,
            } => {
                let label = shown(label, is_inside || !is_private);
                Some(json!({ "feedback": { "id": id, "label": label } }).to_string())
            }
            Line::Merged => None,
        }
    }
}

fn shown(label: &Label, may_have_text: bool) -> Label {
    let comment = label.comment.clone().filter(|_| may_have_text);
    Label {
        comment,
        ..label.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use jiff::Timestamp;
    use prometheus_client::metrics::family::Family;
    use serde_json::Value;

    use crate::store::{Counts, Place};
    use crate::text::{self, Text};

    fn waiting(line: Line) -> Waiting {
        let counts = Counts {
            policy: "support".into(),
            family: Family::default(),
        };
        let place = Place {
            bytes: 0,
            waiting: Arc::default(),
            counts,
            outcome: "failed",
        };
        Waiting { line, place }
    }

    fn record(id: &str, is_private: bool) -> Waiting {
        let body = json!({ "messages": [{ "content": "the prompt" }] });
        let room = text::room();
        waiting(Line::Record {
            id: id.into(),
            json: json!({ "id": id }).to_string().into(),
            labels: Vec::new(),
            text: Some(Text::new(room.part(), body.as_object().unwrap(), 1)),
            is_private,
        })
    }

    fn feedback(id: &str) -> Waiting {
        let label = Label {
            time: Timestamp::UNIX_EPOCH,
            verdict: "bad",
            score: None,
            comment: Some("the comment".into()),
        };
        waiting(Line::Feedback {
            id: id.into(),
            label,
            is_private: id == "private",
        })
    }

    fn lines(batch: &Batch, is_inside: bool) -> Vec<Value> {
        let text = batch.jsonl(is_inside);
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.collect()
    }

    #[test]
    fn feedback_goes_into_its_record_or_is_a_line_of_its_own() {
        let mut batch = Batch::default();
        for line in [record("a", false), feedback("a"), feedback("b")] {
            batch.add(line);
        }
        let lines = lines(&batch, false);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["labels"][0]["comment"], "the comment");
        assert_eq!(
            lines[0]["text"]["prompt"]["messages"][0]["content"],
            "the prompt"
        );
        assert_eq!(lines[1]["feedback"]["id"], "b");
    }

    #[test]
    fn nothing_that_was_written_in_a_private_ask_goes_to_a_store_outside() {
        let mut batch = Batch::default();
        batch.add(record("private", true));
        batch.add(feedback("private"));
        let mut alone = Batch::default();
        alone.add(feedback("private"));
        for batch in [batch, alone] {
            let outside = batch.jsonl(false);
            assert!(
                !outside.contains("the prompt") && !outside.contains("the comment"),
                "{outside}"
            );
            assert!(outside.contains("bad"));
            assert!(batch.jsonl(true).contains("the comment"));
        }
    }
}
