//! The example's model for real: right about clear tickets, and less sure where it is wrong.

use std::path::Path;

use futures::{StreamExt, stream};
use serde::Deserialize;

use crate::{
    grpc::{read, request},
    harness::{Worker, triage},
};

#[derive(Deserialize)]
struct Ticket {
    ticket: String,
    kind: String,
    truth: String,
}

struct Judged {
    clear: bool,
    right: bool,
    score: f64,
}

/// The chance that a right answer has the higher score of a right and a wrong one.
fn auroc(judged: &[Judged]) -> f64 {
    let of = |right: bool| judged.iter().filter(move |one| one.right == right);
    let mut wins = 0.0;
    for hit in of(true) {
        for miss in of(false) {
            wins += match hit.score.total_cmp(&miss.score) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            };
        }
    }
    wins / (of(true).count() * of(false).count()) as f64
}

async fn judge(worker: &Worker, ticket: Ticket) -> Judged {
    let answer = read(worker, request(&ticket.ticket)).await;
    let sum: f64 = answer.evidence.iter().map(|e| f64::from(e.logprob)).sum();
    Judged {
        clear: ticket.kind == "clear",
        right: answer.text == ticket.truth,
        score: sum.exp(),
    }
}

/// How right the model is about clear tickets and about those that it is sure of, and how well its
/// score tells right from wrong.
struct Figures {
    clear: f64,
    kept: f64,
    auroc: f64,
}

#[allow(clippy::print_stdout, reason = "the figures are for whoever runs it")]
async fn figures(arguments: &[&str]) -> Figures {
    let worker = Worker::start(arguments).await;
    let file = triage().join(Path::new("../heldout.jsonl"));
    let lines = std::fs::read_to_string(file).unwrap();
    let tickets = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let judged: Vec<Judged> = stream::iter(tickets)
        .map(|ticket| judge(&worker, ticket))
        .buffer_unordered(8)
        .collect()
        .await;
    let share = |picked: &dyn Fn(&&Judged) -> bool| {
        let picked: Vec<_> = judged.iter().filter(picked).collect();
        picked.iter().filter(|one| one.right).count() as f64 / picked.len() as f64
    };
    let figures = Figures {
        clear: share(&|one| one.clear),
        kept: share(&|one| one.score > 0.9),
        auroc: auroc(&judged),
    };
    let Figures { clear, kept, auroc } = figures;
    let count = judged.len();
    println!("{arguments:?}: clear {clear:.4}, above 0.9 {kept:.4}, AUROC {auroc:.4}, of {count}");
    figures
}

#[tokio::test]
async fn evidence_tells_right_answers_from_wrong_ones() {
    // The README's figures of this very model, less a hundredth.
    let Figures { clear, kept, auroc } = figures(&[]).await;
    assert!(clear > 0.986, "right about {clear} of the clear tickets");
    assert!(kept > 0.982, "right about {kept} of those it is sure of");
    assert!(auroc > 0.959, "AUROC {auroc}");
}

#[tokio::test]
async fn rounded_weights_answer_nearly_as_well() {
    for (quantization, less) in [("Q8", 0.01), ("Q4", 0.03)] {
        let Figures { clear, kept, auroc } = figures(&["--quantization", quantization]).await;
        assert!(clear > 0.996 - less, "{quantization}: clear {clear}");
        assert!(kept > 0.992 - less, "{quantization}: above 0.9 {kept}");
        assert!(auroc > 0.969 - less, "{quantization}: AUROC {auroc}");
    }
}
