//! What is written, and where it ends.

use futures::future::join_all;
use weir_engine::{End, Penalties, Refused, Sampling};

use crate::harness::Harness;

const CLEAR: &str = "Hello, I was charged twice for my subscription this month. Please help!";

#[tokio::test]
async fn a_clear_ticket_is_answered_and_the_ending_has_evidence_too() {
    let harness = Harness::new();
    let written = harness.write(harness.ask(CLEAR)).await;
    assert_eq!(written.text, "billing");
    assert_eq!(written.end, End::Stop);
    assert_eq!(written.completion_tokens, written.tokens.len());
    let last = written.tokens.last().unwrap();
    assert!(harness.tokenizer.ends().contains(&last.id));
    for token in &written.tokens {
        let evidence = token.evidence;
        assert!(evidence.logprob <= 0.0 && evidence.margin >= 0.0 && evidence.entropy >= 0.0);
    }
}

#[tokio::test]
async fn the_same_seed_writes_the_same_and_another_one_something_else() {
    let harness = Harness::new();
    let first = harness.write(harness.ramble(CLEAR, 7, 40)).await;
    assert_eq!(first, harness.write(harness.ramble(CLEAR, 7, 40)).await);
    assert_ne!(
        first.ids(),
        harness.write(harness.ramble(CLEAR, 8, 40)).await.ids()
    );
    let mut other_choice = harness.ramble(CLEAR, 7, 40);
    other_choice.choice = 1;
    assert_ne!(first.ids(), harness.write(other_choice).await.ids());
}

#[tokio::test]
async fn a_sequence_is_the_same_alone_and_in_a_batch() {
    let harness = Harness::new();
    let tickets = [
        CLEAR,
        "Where is my parcel?",
        "x",
        "How many legs does a spider have?",
    ];
    let ramble = |seed: u64| {
        // Prompts of many lengths, so that reading and writing meet in one step.
        let ticket = tickets[seed as usize % 4].repeat(1 + seed as usize % 5);
        harness.ramble(&ticket, seed, 30 + seed as usize)
    };
    let together = join_all((0..12).map(|seed| harness.write(ramble(seed)))).await;
    for (seed, written) in (0..).zip(together) {
        assert_eq!(written, harness.write(ramble(seed)).await, "seed {seed}");
    }
}

#[tokio::test]
async fn an_answer_ends_at_its_limit_and_at_the_end_of_the_context() {
    let harness = Harness::new();
    let short = harness.write(harness.ramble(CLEAR, 1, 3)).await;
    assert_eq!((short.end, short.tokens.len()), (End::Length, 3));
    let writing = harness.ramble(CLEAR, 1, usize::MAX);
    let room = harness.engine.context_tokens() - writing.prompt.len();
    let long = harness.write(writing).await;
    assert_eq!((long.end, long.tokens.len()), (End::Length, room));
}

#[tokio::test]
async fn a_prompt_that_leaves_no_room_is_refused_with_both_numbers() {
    let harness = Harness::new();
    let mut writing = harness.ask(CLEAR);
    writing.prompt = vec![5; 512].into();
    let refused = harness.begin(writing.clone()).unwrap_err();
    assert!(matches!(
        refused,
        Refused::TooLong {
            prompt_tokens: 512,
            context_tokens: 512
        }
    ));
    writing.prompt = vec![5; 511].into();
    assert_eq!(harness.write(writing).await.completion_tokens, 1);
}

#[tokio::test]
async fn a_stop_string_across_tokens_cuts_the_text_and_not_the_ids() {
    let harness = Harness::new();
    let whole = harness.write(harness.ramble(CLEAR, 3, 60)).await;
    let characters: Vec<char> = whole.text.chars().collect();
    for start in (5..characters.len() - 8).step_by(7) {
        let stop: String = characters[start..start + 6].iter().collect();
        let showing = harness.show(&[&stop]);
        let answer = harness.engine.write(harness.ramble(CLEAR, 3, 60), showing);
        let written = crate::harness::finish(answer.unwrap()).await;
        assert_eq!(written.stop.as_deref(), Some(stop.as_str()));
        assert_eq!(written.end, End::Stop);
        let at = whole.text.find(&stop).unwrap();
        assert_eq!(written.text, whole.text[..at]);
        assert_eq!(written.ids(), whole.ids()[..written.tokens.len()]);
    }
    harness.until_idle().await;
}

#[tokio::test]
async fn limits_and_penalties_have_their_effect() {
    let harness = Harness::new();
    let plain = harness.write(harness.ask(CLEAR)).await;
    let mut longer = harness.ask(CLEAR);
    longer.limits.min_tokens = plain.tokens.len() + 3;
    longer.limits.max_tokens = plain.tokens.len() + 20;
    let longer = harness.write(longer).await;
    assert!(longer.tokens.len() >= plain.tokens.len() + 3);
    let mut forbidden = harness.ask(CLEAR);
    forbidden.penalties = Penalties {
        bias: [(plain.tokens[0].id, -100.0)].into(),
        ..Penalties::default()
    };
    let forbidden = harness.write(forbidden).await;
    assert_ne!(forbidden.tokens[0].id, plain.tokens[0].id);
    assert_eq!(
        forbidden.tokens[0].evidence.margin, plain.tokens[0].evidence.margin,
        "evidence is of the model's own logits"
    );
}

#[tokio::test]
async fn alternatives_begin_with_the_likeliest_and_hold_the_greedy_token() {
    let harness = Harness::new();
    let mut writing = harness.ask(CLEAR);
    writing.alternatives = 5;
    let written = harness.write(writing).await;
    for token in &written.tokens {
        assert_eq!(token.alternatives.len(), 5);
        assert_eq!(token.alternatives[0].0, token.id);
        assert!((token.alternatives[0].1 - token.evidence.logprob).abs() < 1e-5);
        let margin = token.alternatives[0].1 - token.alternatives[1].1;
        assert!((margin - token.evidence.margin).abs() < 1e-4);
    }
}

#[tokio::test]
async fn temperature_near_zero_is_greedy() {
    let harness = Harness::new();
    let mut writing = harness.ask(CLEAR);
    writing.sampling = Sampling {
        temperature: 1e-4,
        ..Sampling::default()
    };
    assert_eq!(harness.write(writing).await.text, "billing");
}
