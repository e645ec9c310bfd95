//! An answer that is taken up elsewhere goes on as if it had never been interrupted.

use crate::harness::{Harness, Written, finish};

/// Takes `whole` up after its first `cut` tokens, of which `shown` bytes of text were shown.
async fn resumed(harness: &Harness, whole: &Written, cut: usize, shown: usize) -> Written {
    let mut writing = harness.ramble("Where is my parcel?", 5, 50);
    writing.produced = whole.ids()[..cut].to_vec();
    let mut showing = harness.show(&["never said"]);
    showing.shown_bytes = shown;
    finish(harness.engine.write(writing, showing).unwrap()).await
}

#[tokio::test]
async fn an_answer_resumed_anywhere_goes_on_with_the_same_tokens_and_text() {
    let (first, second) = (Harness::new(), Harness::new());
    let whole = first
        .write(first.ramble("Where is my parcel?", 5, 50))
        .await;
    for cut in [0, 1, 2, 7, 16, 17, 33, 49] {
        // What a reader of the first replica had been shown by then.
        let mut before = first.ramble("Where is my parcel?", 5, 50);
        before.limits.max_tokens = cut.max(1);
        let shown = if cut == 0 {
            0
        } else {
            first.write(before).await.text.len()
        };
        let shown = whole.text.floor_char_boundary(shown);
        let rest = resumed(&second, &whole, cut, shown).await;
        assert_eq!(rest.tokens, whole.tokens[cut..], "cut at {cut}");
        assert_eq!(rest.text, whole.text[shown..], "cut at {cut}");
        assert_eq!((rest.end, rest.completion_tokens), (whole.end, 50));
    }
}

#[tokio::test]
async fn text_that_was_held_when_the_replica_was_lost_is_shown_by_the_next() {
    let harness = Harness::new();
    let whole = harness
        .write(harness.ramble("Where is my parcel?", 5, 50))
        .await;
    let rest = resumed(&harness, &whole, 20, 3).await;
    assert_eq!(rest.text, whole.text[whole.text.floor_char_boundary(3)..]);
}

#[tokio::test]
async fn an_answer_that_was_complete_is_only_finished_again() {
    let harness = Harness::new();
    let whole = harness.write(harness.ask("Where is my parcel?")).await;
    let mut writing = harness.ask("Where is my parcel?");
    writing.produced = whole.ids();
    let mut showing = harness.show(&[]);
    showing.shown_bytes = whole.text.len();
    let again = finish(harness.engine.write(writing, showing).unwrap()).await;
    assert!(again.tokens.is_empty() && again.text.is_empty());
    assert_eq!(
        (again.end, again.completion_tokens),
        (whole.end, whole.completion_tokens)
    );
}
