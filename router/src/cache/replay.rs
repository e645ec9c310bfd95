//! An answer that is told once more.

use tokio::sync::mpsc;
use weir_crds::Money;

use super::Answer;
use crate::answer::{Begin, End, Event, Stop};
use crate::attempt::send;
use crate::decision::{Decision, Outcome};

/// Tells `answer` as fast as it is read, piece by piece as it was told first. It costs nothing; the usage is
/// that of the answer. Ends early where nobody listens.
pub(crate) async fn replay(answer: &Answer, decision: &Decision, out: &mpsc::Sender<Event>) {
    let Begin { tier, .. } = &answer.begin;
    let begin = Begin {
        attempts: format!("{tier};cached"),
        ..answer.begin.clone()
    };
    {
        let mut state = decision.state();
        state.dropped.clone_from(&begin.dropped);
        state.first_byte.get_or_insert(decision.began.elapsed());
    }
    let pieces = answer.pieces.iter().cloned().map(Event::Piece);
    for event in std::iter::once(Event::Begin(begin)).chain(pieces) {
        decision.hear(&event);
        if send(out, event).await.is_err() {
            return;
        }
    }
    {
        let mut state = decision.state();
        state.outcome = Outcome::Cached;
        state.finish = answer.end.stops.iter().map(Stop::word).collect();
    }
    let end = End {
        cost: Money::default(),
        ..answer.end.clone()
    };
    // Who has read everything but the end is told nothing more.
    let _ = send(out, Event::End(end)).await;
}
