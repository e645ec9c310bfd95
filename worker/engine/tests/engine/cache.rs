//! What is computed once is found again, and says so.

use weir_engine::{EngineOptions, Origin};

use crate::harness::{Harness, Written, finish};

const TICKET: &str = "Hello, I was charged twice for my subscription this month. Please help me \
                      with this, I have written three times and nobody has answered yet!";

/// An answer with how many tokens of its prompt were found.
async fn asked(harness: &Harness, tenant: &str, ticket: &str) -> (usize, Written) {
    let mut writing = harness.ramble(ticket, 3, 30);
    writing.origin = Origin {
        tenant: tenant.into(),
        ..Origin::default()
    };
    let mut answer = harness.begin(writing).unwrap();
    (answer.cached_tokens().await, finish(answer).await)
}

#[tokio::test]
async fn a_prompt_is_found_by_its_tenant_and_answered_with_the_same_tokens() {
    let harness = Harness::new();
    let prompt = harness.encode(&harness.chat(TICKET)).len();
    let (cached, first) = asked(&harness, "one", TICKET).await;
    assert_eq!(cached, 0);
    let (cached, again) = asked(&harness, "one", TICKET).await;
    assert_eq!(cached, (prompt - 1) / 16 * 16);
    assert!(cached > 0);
    let (cached, other) = asked(&harness, "two", TICKET).await;
    assert_eq!(cached, 0, "another tenant's prompt");
    assert_eq!((&again, &other), (&first, &first));
    let load = *harness.engine.load().borrow();
    let found = (prompt - 1) / 16 * 16;
    assert_eq!(load.queried_tokens, 3 * prompt as u64);
    assert_eq!(load.hit_tokens, found as u64);
    harness.until_idle().await;
}

#[tokio::test]
async fn the_choices_of_one_request_share_its_prompt() {
    let harness = Harness::new();
    let writing = |choice| {
        let mut writing = harness.ramble(TICKET, 3, 20);
        writing.choice = choice;
        writing
    };
    let prompt = writing(0).prompt.len();
    let answers: Vec<_> = (0..4)
        .map(|choice| harness.begin(writing(choice)).unwrap())
        .collect();
    let mut cached = Vec::new();
    for mut answer in answers {
        cached.push(answer.cached_tokens().await);
        finish(answer).await;
    }
    let found = (prompt - 1) / 16 * 16;
    assert_eq!(cached, [0, found, found, found]);
}

#[tokio::test]
async fn without_a_cache_nothing_is_found() {
    let harness = Harness::with(EngineOptions {
        max_sequences: 8,
        max_waiting: 64,
        prefix_cache: false,
    });
    for _ in 0..2 {
        assert_eq!(asked(&harness, "one", TICKET).await.0, 0);
    }
}

#[tokio::test]
async fn answers_that_give_way_to_each_other_are_those_that_are_written_alone() {
    let options = EngineOptions {
        max_sequences: 6,
        max_waiting: 64,
        prefix_cache: true,
    };
    // One context for six that would fill half of it each.
    let together = Harness::with_blocks(options, |context_blocks| context_blocks);
    let alone = Harness::new();
    let begun: Vec<_> = (0..6)
        .map(|seed| together.begin(together.ramble(TICKET, seed, 220)).unwrap())
        .collect();
    for (seed, answer) in (0..).zip(begun) {
        let expected = alone.write(alone.ramble(TICKET, seed, 220)).await;
        assert_eq!(finish(answer).await, expected, "answer {seed}");
    }
    assert!(together.engine.load().borrow().preemptions > 0);
    together.until_idle().await;
}
