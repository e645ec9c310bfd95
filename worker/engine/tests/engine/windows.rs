//! A model with windows in as little memory as it may need: blocks change hands all the time.

use weir_engine::{Origin, Scoring};

use crate::harness::{Harness, finish};

/// Ids that follow from a seed.
fn ids(seed: u32, count: u32) -> Vec<u32> {
    (0..count)
        .map(|at| 3 + (at * at * 31 + at * 97 + seed * 1009) % 1500)
        .collect()
}

#[tokio::test]
async fn answers_side_by_side_are_those_that_are_written_alone() {
    let together = Harness::windowed(24, 5, 2);
    let alone = Harness::windowed(24, 1, 1);
    let writing = |seed: u32| {
        let mut writing = together.ramble("hello", u64::from(seed), 120 + 40 * seed as usize);
        // Longer and shorter than a window and than a step.
        writing.prompt = ids(seed, [10, 300, 40, 170, 260][seed as usize]).into();
        writing
    };
    let begun: Vec<_> = (0..5)
        .map(|seed| together.begin(writing(seed)).unwrap())
        .collect();
    for (seed, answer) in begun.into_iter().enumerate() {
        let expected = alone.write(writing(seed as u32)).await;
        assert_eq!(finish(answer).await, expected, "answer {seed}");
    }
    together.until_idle().await;
}

#[tokio::test]
async fn a_window_that_a_score_goes_back_to_is_still_there() {
    let harness = Harness::windowed(24, 4, 1);
    let prompt = ids(9, 150);
    let score = |sequences| {
        harness.engine.score(Scoring {
            sequences,
            from: prompt.len(),
            ends: [2].into(),
            origin: Origin::default(),
        })
    };
    // The first is so long that its own window has passed the prompt's by far.
    let sequences: Vec<Vec<u32>> = [(1, 330), (2, 3), (3, 90)]
        .map(|(seed, count)| [prompt.clone(), ids(seed, count)].concat())
        .to_vec();
    let other = harness.begin(harness.ramble("hello", 1, 100)).unwrap();
    let together = score(sequences.clone()).await.unwrap().sums;
    for (sequence, together) in sequences.into_iter().zip(together) {
        // Alone it never goes back.
        let alone = score(vec![sequence]).await.unwrap().sums[0];
        assert!((alone - together).abs() < 1e-9, "{alone} {together}");
    }
    finish(other).await;
    harness.until_idle().await;
}
