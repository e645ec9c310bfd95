//! Random schedules on a small model: whatever happens around it, a sequence gets the tokens that it
//! gets alone.
//!
//! Sequences come and go between steps, share beginnings within and across tenants and adapters, are
//! held to forms that force some of their tokens, and have so little memory that blocks are taken
//! from them. `WEIR_TESTS_SCHEDULES=n` tries that
//! many schedules for each kernel class instead of a hundred.

mod adapters;
mod forms;
mod gemma;

use std::{
    num::NonZeroUsize,
    sync::{Arc, mpsc},
};

use tokio::sync::{Semaphore, mpsc as channel, oneshot, watch};
use weir_model::{
    BLOCK_TOKENS, BlockLayout, Extent, Groups, KernelClass, KeyValueType, KvCache, Pooling,
    STEP_TOKENS,
};

use super::*;
use crate::{
    Embedding, Guide, Penalties, Sampling, Scores, Scoring, Writing, WritingLimits,
    random::uniform,
    request::{self, Begun, Told},
    schedule::Limits,
};

/// The longest sequence of these tests.
const LONGEST: usize = 208;

/// Numbers that follow from a seed.
struct Dice {
    seed: u64,
    thrown: u64,
}

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.thrown += 1;
        (uniform(self.seed, 0, self.thrown) * end as f64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// One request, and when it comes and goes.
#[derive(Clone)]
struct Story {
    what: What,
    arrives: usize,
    leaves: Option<usize>,
}

#[derive(Clone)]
enum What {
    Write(Box<Writing>),
    Score(Scoring),
    Embed(Embedding),
}

/// What came of one.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    written: Vec<Told>,
    scores: Option<Vec<f64>>,
    vector: Option<Vec<f32>>,
}

fn tokens(dice: &mut Dice) -> Vec<u32> {
    // Two beginnings of a few blocks, each taken up to any place behind the first.
    let (beginning, shared) = (dice.below(2) as u32, 16 + dice.below(48) as u32);
    let own = 1 + dice.below(20) as u32;
    let salt = dice.below(64) as u32;
    let shared = (0..shared).map(|at| (at * at * 7 + at * 3 + beginning * 11) % 62 + 2);
    shared
        .chain((0..own).map(|at| (at * salt) % 62 + 2))
        .collect()
}

fn origin(dice: &mut Dice, kept: KeyValueType) -> Origin {
    Origin {
        tenant: ["", "", "", "one"][dice.below(4)].into(),
        adapter: match dice.below(5) {
            0 => Some(adapters::of(0, kept)),
            1 => Some(adapters::of(1, kept)),
            _ => None,
        },
    }
}

fn what(dice: &mut Dice, kept: KeyValueType) -> What {
    let prompt = tokens(dice);
    let origin = origin(dice, kept);
    let ends: Arc<[u32]> = match dice.one_in(3) {
        true => Arc::new([1]),
        false => Arc::new([]),
    };
    if dice.one_in(6) {
        return What::Embed(Embedding {
            tokens: prompt,
            pooling: Pooling::ALL[dice.below(2)],
            origin,
        });
    }
    if dice.one_in(5) {
        let endings = 1 + dice.below(3);
        let sequences = (0..endings).map(|_| [prompt.clone(), tokens(dice)].concat());
        return What::Score(Scoring {
            sequences: sequences.collect(),
            from: 1 + dice.below(prompt.len()),
            ends,
            origin,
        });
    }
    let temperature = [0.0, 1.5][dice.below(2)];
    let is_read = dice.one_in(6);
    let is_only_read = is_read && dice.one_in(3);
    let produced = if is_only_read { 0 } else { dice.below(8) };
    let max_tokens = if is_only_read { 0 } else { 30 + dice.below(90) };
    let mut writing = Writing {
        prompt: prompt.into(),
        produced: tokens(dice)[..].iter().copied().take(produced).collect(),
        sampling: Sampling {
            temperature,
            ..Sampling::default()
        },
        penalties: Penalties::default(),
        seed: 7,
        choice: dice.below(2) as u32,
        limits: WritingLimits {
            max_tokens,
            min_tokens: 0,
            ends,
        },
        alternatives: 0,
        prompt_alternatives: is_read.then_some(2),
        origin,
        guide: Guide::default(),
    };
    if !is_only_read && dice.one_in(2) {
        forms::hold(&mut writing, dice);
    }
    What::Write(Box::new(writing))
}

/// Another answer to the prompt of a story, where that is one that is written.
fn choice(of: &Story) -> Story {
    let mut story = of.clone();
    if let What::Write(writing) = &mut story.what {
        writing.choice += 1;
    }
    story
}

fn story(dice: &mut Dice, kept: KeyValueType) -> Story {
    Story {
        what: what(dice, kept),
        arrives: dice.below(12),
        leaves: dice.one_in(6).then(|| 1 + dice.below(60)),
    }
}

/// A model thread without a thread.
fn thread(
    (class, kept): (KernelClass, KeyValueType),
    threads: usize,
    limits: Limits,
    more: Groups<usize>,
) -> (ModelThread, mpsc::Sender<Submitted>) {
    let model = gemma::load((class, kept), NonZeroUsize::new(threads).unwrap());
    let layout = model.block_layout(BLOCK_TOKENS);
    let least = least(layout, limits.step_tokens);
    let blocks = Groups::each(|group| least.of(group) + more.of(group));
    let cache = KvCache::new(&model, blocks, BLOCK_TOKENS).unwrap();
    let schedule = Schedule::new(limits, layout, blocks);
    let context_tokens = schedule.pool().capacity_tokens().min(LONGEST);
    assert_eq!(context_tokens, LONGEST);
    let (inbox, received) = mpsc::channel();
    let (load, _) = watch::channel(Load::default());
    let thread = ModelThread::new(
        Step::new(model, cache),
        schedule,
        received,
        load,
        context_tokens,
    );
    (thread, inbox)
}

/// What one sequence may need.
fn least(layout: BlockLayout, step_tokens: usize) -> Groups<usize> {
    let extent = Extent {
        longest: LONGEST,
        back_to: Some(0),
    };
    layout.most(extent, step_tokens)
}

/// The way back of one request.
enum Heard {
    Write(channel::UnboundedReceiver<request::Outcome>, Vec<Told>),
    Score(oneshot::Receiver<Scores>, Option<Vec<f64>>),
    Embed(oneshot::Receiver<Vec<f32>>, Option<Vec<f32>>),
}

impl Heard {
    fn listen(&mut self) {
        match self {
            Self::Write(rx, written) => {
                while let Ok(produced) = rx.try_recv() {
                    match produced.unwrap() {
                        // How many come at once is a matter of the steps.
                        Told::Prompt(tokens) => {
                            let each = tokens.into_iter().map(|token| Told::Prompt(vec![token]));
                            written.extend(each);
                        }
                        told => written.push(told),
                    }
                }
            }
            Self::Score(rx, scores) => {
                if let Ok(told) = rx.try_recv() {
                    *scores = Some(told.sums);
                }
            }
            Self::Embed(rx, vector) => {
                if let Ok(told) = rx.try_recv() {
                    *vector = Some(told);
                }
            }
        }
    }

    fn outcome(self) -> Outcome {
        match self {
            Self::Write(_, written) => Outcome {
                written,
                ..Outcome::default()
            },
            Self::Score(_, scores) => Outcome {
                scores,
                ..Outcome::default()
            },
            Self::Embed(_, vector) => Outcome {
                vector,
                ..Outcome::default()
            },
        }
    }
}

fn submit(inbox: &mpsc::Sender<Submitted>, places: &Arc<Semaphore>, what: What) -> Heard {
    let (work, heard) = match what {
        What::Write(writing) => {
            let (tx, rx) = channel::unbounded_channel();
            let (guided, forced) = forms::guided(&writing);
            let begun = Begun {
                writing: *writing,
                guided,
                forced,
            };
            let work = Work::Write(Box::new(begun), tx, oneshot::channel().0);
            (work, Heard::Write(rx, Vec::new()))
        }
        What::Score(scoring) => {
            let (tx, rx) = oneshot::channel();
            (Work::Score(scoring, tx), Heard::Score(rx, None))
        }
        What::Embed(embedding) => {
            let (tx, rx) = oneshot::channel();
            (Work::Embed(embedding, tx), Heard::Embed(rx, None))
        }
    };
    let place = places.clone().try_acquire_owned().unwrap();
    inbox.send(Submitted { work, place }).unwrap();
    heard
}

/// Tells the stories, each of which hears all that it would hear before it leaves.
fn tell(
    thread: &mut ModelThread,
    inbox: &mpsc::Sender<Submitted>,
    stories: &[Story],
) -> Vec<Outcome> {
    let places = Arc::new(Semaphore::new(stories.len()));
    let mut hearing: Vec<Option<Heard>> = stories.iter().map(|_| None).collect();
    let mut outcomes: Vec<Outcome> = stories.iter().map(|_| Outcome::default()).collect();
    let last = stories.iter().map(|story| story.arrives).max().unwrap();
    for time in 0.. {
        for (index, story) in stories.iter().enumerate() {
            if story.arrives == time {
                hearing[index] = Some(submit(inbox, &places, story.what.clone()));
            }
            if story
                .leaves
                .is_some_and(|after| story.arrives + after == time)
                && let Some(heard) = hearing[index].take()
            {
                outcomes[index] = heard.outcome();
            }
        }
        if time > last && thread.sequences.is_empty() {
            break;
        }
        assert!(time < 3000, "somebody waits for ever");
        // With nothing to do it would wait, and nobody would come.
        if !thread.sequences.is_empty() || stories.iter().any(|story| story.arrives == time) {
            assert!(thread.receive());
            thread.turn().unwrap();
        }
        hearing.iter_mut().flatten().for_each(Heard::listen);
    }
    for (outcome, heard) in outcomes.iter_mut().zip(hearing) {
        if let Some(heard) = heard {
            *outcome = heard.outcome();
        }
    }
    assert_eq!(thread.schedule.pool().used(), 0);
    outcomes
}

/// Whether one that left has heard the beginning of what it hears alone, and one that stayed all.
fn agree(story: &Story, together: &Outcome, alone: &Outcome) -> bool {
    match story.leaves {
        None => together == alone,
        Some(_) => {
            alone.written.starts_with(&together.written)
                && (together.scores.is_none() || together.scores == alone.scores)
                && (together.vector.is_none() || together.vector == alone.vector)
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "a switch of the test, not of a program"
)]
fn schedules() -> u64 {
    let asked = std::env::var("WEIR_TESTS_SCHEDULES").ok();
    asked.map_or(100, |count| count.parse().unwrap())
}

fn try_schedules(class: KernelClass) {
    let alone_limits = Limits {
        max_sequences: 1,
        step_tokens: STEP_TOKENS,
        prefix_cache: false,
    };
    // Every third schedule keeps keys and values in eight bits.
    let kinds = [KeyValueType::Auto, KeyValueType::Auto, KeyValueType::Fp8];
    let mut all_alone = kinds.map(|kept| thread((class, kept), 1, alone_limits, Groups::both(0)));
    let mut happened = crate::schedule::Counts::default();
    for seed in 0..schedules() {
        let mut dice = Dice { seed, thrown: 0 };
        let kept = kinds[seed as usize % kinds.len()];
        let (alone, alone_inbox) = &mut all_alone[seed as usize % kinds.len()];
        let count = 4 + dice.below(9);
        let mut stories: Vec<Story> = Vec::new();
        while stories.len() < count {
            stories.push(match stories.last() {
                Some(last) if dice.one_in(4) => choice(last),
                _ => story(&mut dice, kept),
            });
        }
        let limits = Limits {
            max_sequences: 1 + dice.below(8),
            step_tokens: [8, 24, STEP_TOKENS][dice.below(3)],
            prefix_cache: !dice.one_in(5),
        };
        let more = Groups {
            global: dice.below(6),
            windowed: dice.below(40),
        };
        let (mut together, inbox) = thread((class, kept), 1 + dice.below(3), limits, more);
        let outcomes = tell(&mut together, &inbox, &stories);
        for (index, (story, outcome)) in stories.iter().zip(outcomes).enumerate() {
            let only = Story {
                arrives: 0,
                leaves: None,
                ..story.clone()
            };
            let expected = &tell(alone, alone_inbox, &[only])[0];
            assert!(
                agree(story, &outcome, expected),
                "{class}, schedule {seed}, sequence {index}: {outcome:?}, and alone {expected:?}"
            );
        }
        let counts = together.schedule.counts();
        happened.preemptions += counts.preemptions;
        happened.hit_tokens += counts.hit_tokens;
    }
    // Enough of what is to be tried happened.
    assert!(2 * happened.preemptions >= schedules(), "{happened:?}");
    assert!(happened.hit_tokens >= 16 * schedules(), "{happened:?}");
}

#[test]
fn sequences_get_the_tokens_that_they_get_alone_with_portable_kernels() {
    try_schedules(KernelClass::Portable);
}

#[test]
fn sequences_get_the_tokens_that_they_get_alone_with_every_other_kernel_class() {
    let others = KernelClass::ALL.into_iter();
    let others = others.filter(|class| *class != KernelClass::Portable && class.is_available());
    others.for_each(try_schedules);
}
