//! Who waits, who is refused, and that nobody who left holds anything.

use weir_engine::{EngineOptions, Event, Interrupted, Refused};

use crate::harness::{Harness, PATIENCE};

fn one_at_a_time(max_waiting: usize) -> Harness {
    Harness::with(EngineOptions {
        max_sequences: 1,
        max_waiting,
        prefix_cache: true,
    })
}

#[tokio::test]
async fn a_dropped_answer_frees_its_blocks_and_the_next_is_served() {
    let harness = one_at_a_time(4);
    let mut rambling = harness.begin(harness.ramble("hello", 1, 450)).unwrap();
    let _ = rambling.next().await.unwrap().unwrap();
    harness
        .until(|load| load.running == 1 && load.blocks_used > 0)
        .await;
    let waiting = harness.begin(harness.ramble("hello", 2, 450)).unwrap();
    harness.until(|load| load.waiting == 1).await;
    drop(waiting);
    harness.until(|load| load.waiting == 0).await;
    drop(rambling);
    harness.until_idle().await;
    assert!(
        !harness
            .write(harness.ask("Where is my parcel?"))
            .await
            .text
            .is_empty()
    );
}

#[tokio::test]
async fn a_full_queue_refuses_and_takes_again_when_there_is_room() {
    let harness = one_at_a_time(2);
    let ramble = || harness.begin(harness.ramble("hello", 1, 450));
    let taken = [ramble().unwrap(), ramble().unwrap(), ramble().unwrap()];
    assert!(matches!(
        ramble().unwrap_err(),
        Refused::QueueFull { max_waiting: 2 }
    ));
    harness
        .until(|load| load.running == 1 && load.waiting == 2)
        .await;
    drop(taken);
    harness.until_idle().await;
    drop(ramble().unwrap());
}

#[tokio::test]
async fn everyone_in_the_queue_is_answered_in_turn() {
    let harness = one_at_a_time(16);
    let answers: Vec<_> = (0..10)
        .map(|_| harness.begin(harness.ask("Where is my parcel?")).unwrap())
        .collect();
    let mut texts = Vec::new();
    for answer in answers {
        texts.push(crate::harness::finish(answer).await.text);
    }
    assert_eq!(texts.len(), 10);
    assert!(
        texts
            .iter()
            .all(|text| *text == texts[0] && !text.is_empty())
    );
}

#[tokio::test]
async fn a_step_that_cannot_be_computed_ends_the_model_thread_and_its_answers() {
    let harness = Harness::new();
    let mut other = harness.begin(harness.ramble("hello", 1, 450)).unwrap();
    let mut broken = harness.ask("hello");
    broken.prompt = [u32::MAX].into();
    let mut broken = harness.begin(broken).unwrap();
    let (again, showing) = (harness.ask("hello"), harness.show(&[]));
    let ended = tokio::time::timeout(PATIENCE, harness.ended).await.unwrap();
    assert!(ended.unwrap().is_err(), "the reason is told");
    assert!(matches!(broken.next().await, Some(Err(Interrupted::Ended))));
    while let Some(Ok(event)) = other.next().await {
        assert!(matches!(event, Event::Tokens { .. }), "it did not finish");
    }
    let refused = harness.engine.write(again, showing);
    assert!(matches!(refused, Err(Refused::Ended)));
}

#[tokio::test]
async fn the_model_thread_ends_with_its_last_handle() {
    let Harness { engine, ended, .. } = Harness::new();
    drop(engine);
    let result = tokio::time::timeout(PATIENCE, ended).await.unwrap();
    result.expect("the thread did not panic").unwrap();
}

#[tokio::test]
async fn memory_for_less_than_one_context_shrinks_the_context() {
    let options = EngineOptions {
        max_sequences: 2,
        max_waiting: 4,
        prefix_cache: true,
    };
    let harness = Harness::with_blocks(options, |context_blocks| context_blocks / 4);
    let context_tokens = harness.engine.context_tokens();
    assert!(context_tokens < 512);
    // Without a limit an answer may take all there is.
    let mut endless = harness.ramble("hello", 1, usize::MAX);
    let prompt = endless.prompt.len();
    let written = harness.write(endless.clone()).await;
    assert_eq!(prompt + written.tokens.len(), context_tokens);
    endless.prompt = vec![endless.prompt[0]; context_tokens].into();
    assert!(matches!(
        harness.begin(endless).unwrap_err(),
        Refused::TooLong { .. }
    ));
}
