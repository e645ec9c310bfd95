//! The way to the model thread: a bounded queue in, one channel out for each piece of work.

use std::{
    sync::{Arc, mpsc},
    thread,
};

use thiserror::Error;
use tokio::sync::{Semaphore, oneshot, watch};
use weir_model::{KvCache, Model, STEP_TOKENS};

use crate::{
    answer::{Answer, Interrupted, Showing},
    constraint::{ConstraintError, Masks},
    guide::{Guided, Part},
    request::{Begun, Embedding, Scores, Scoring, Work, Writing},
    schedule::{Limits, Schedule},
    step::{Step, StepError},
    thread::{ModelThread, Submitted},
};

#[derive(Debug, Clone, Copy)]
pub struct EngineOptions {
    /// Sequences that are computed at the same time: at most as many as a step has tokens.
    pub max_sequences: usize,
    /// Sequences that may wait beside those; more are refused.
    pub max_waiting: usize,
    /// Whether sequences that begin alike share what is computed of that.
    pub prefix_cache: bool,
}

/// What the model thread is busy with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    pub running: u32,
    pub waiting: u32,
    /// Blocks of key-value memory, each of one layer: those that running sequences hold, and all.
    /// What is only cached is not used.
    pub blocks_used: u32,
    pub blocks_total: u32,
    /// Since the start: sequences whose blocks were taken from them before they were done.
    pub preemptions: u64,
    /// Since the start: tokens of sequences that began, and how many of them were found computed.
    pub queried_tokens: u64,
    pub hit_tokens: u64,
}

/// Why work was not taken.
#[derive(Debug, Error)]
pub enum Refused {
    #[error(
        "the prompt has {prompt_tokens} tokens, which leaves no room for an answer in a context \
         of {context_tokens}"
    )]
    TooLong {
        prompt_tokens: usize,
        context_tokens: usize,
    },
    #[error("{max_waiting} requests are waiting already")]
    QueueFull { max_waiting: usize },
    #[error("take up what was produced before")]
    Replay(#[source] Interrupted),
    #[error("go on with the answer's form")]
    Form(#[source] ConstraintError),
    #[error("the model thread has ended")]
    Ended,
}

/// Why the engine did not start.
#[derive(Debug, Error)]
pub enum StartError {
    #[error("start the threads of the model")]
    Thread(#[source] std::io::Error),
}

/// A handle on the model thread, which ends when the last handle is dropped and its work is done.
#[derive(Debug, Clone)]
pub struct Engine {
    inbox: mpsc::Sender<Submitted>,
    masks: Masks,
    places: Arc<Semaphore>,
    load: watch::Receiver<Load>,
    options: EngineOptions,
    context_tokens: usize,
}

/// Where an answer begins, or goes on.
type Start = (Option<Guided>, Vec<Part>, Vec<(u32, Part)>);

/// Resolves when the model thread has ended, with the reason if that was a failure.
pub type Ended = oneshot::Receiver<Result<(), StepError>>;

impl Engine {
    /// Gives `model` and its memory to a thread of their own.
    pub fn start(
        model: Model,
        cache: KvCache,
        mut options: EngineOptions,
    ) -> Result<(Self, Ended), StartError> {
        let (inbox, received) = mpsc::channel();
        options.max_sequences = options.max_sequences.clamp(1, STEP_TOKENS);
        let limits = Limits {
            max_sequences: options.max_sequences,
            step_tokens: STEP_TOKENS,
            prefix_cache: options.prefix_cache,
        };
        let schedule = Schedule::new(limits, cache.layout(), cache.blocks());
        let pool = schedule.pool();
        let (load_tx, load) = watch::channel(Load {
            blocks_total: pool.total(),
            ..Load::default()
        });
        let context_tokens = (model.facts().context_tokens as usize).min(pool.capacity_tokens());
        let step = Step::new(model, cache);
        let masks = Masks::start().map_err(StartError::Thread)?;
        let (ended_tx, ended) = oneshot::channel();
        thread::Builder::new()
            .name("weir-model".to_owned())
            .spawn(move || {
                let thread = ModelThread::new(step, schedule, received, load_tx, context_tokens);
                // Nobody listens where the process is ending anyway.
                let _ = ended_tx.send(thread.run());
            })
            .map_err(StartError::Thread)?;
        let engine = Self {
            inbox,
            masks,
            places: Arc::new(Semaphore::new(options.max_sequences + options.max_waiting)),
            load,
            options,
            context_tokens,
        };
        Ok((engine, ended))
    }

    /// The longest sequence, prompt and answer together.
    pub fn context_tokens(&self) -> usize {
        self.context_tokens
    }

    /// What holds: no more sequences than were asked for.
    pub fn options(&self) -> EngineOptions {
        self.options
    }

    /// Load now and on every change.
    pub fn load(&self) -> watch::Receiver<Load> {
        self.load.clone()
    }

    /// Begins to write an answer. Dropping it cancels the work.
    pub fn write(&self, writing: Writing, showing: Showing) -> Result<Answer, Refused> {
        // A prompt that is only read may fill the context.
        let is_read_only = writing.limits.max_tokens == 0;
        self.check_length(writing.prompt.len() - usize::from(is_read_only))?;
        let (tx, rx) = tokio::sync::mpsc::unbounded_channel();
        let most = writing.most_tokens(self.context_tokens);
        let (begun_tx, begun) = oneshot::channel();
        let (guided, parts, forced) = self.guided(&writing, &showing).map_err(Refused::Form)?;
        let answer = Answer::new(&writing, &parts, showing, most, (rx, begun));
        let (answer, ended) = answer.map_err(Refused::Replay)?;
        if !ended {
            let begun = Begun {
                writing,
                guided,
                forced,
            };
            self.submit(Work::Write(Box::new(begun), tx, begun_tx))?;
        }
        Ok(answer)
    }

    /// The guide of an answer where what was produced before leaves it, what each token of that is
    /// part of, and what must follow.
    fn guided(&self, writing: &Writing, showing: &Showing) -> Result<Start, ConstraintError> {
        if writing.guide.is_idle() {
            let parts = vec![Part::Answer; writing.produced.len()];
            return Ok((None, parts, Vec::new()));
        }
        let tokenizer = showing.tokenizer.clone();
        let produced = writing.produced.as_slice();
        // What ends an answer is no part of its form.
        let ended = produced
            .iter()
            .position(|id| writing.limits.ends.contains(id));
        let within = &produced[..ended.unwrap_or(produced.len())];
        let masks = self.masks.clone();
        let (guided, mut parts, forced) =
            Guided::new(writing.guide.clone(), tokenizer, masks, within)?;
        parts.resize(produced.len(), Part::Mark);
        Ok((Some(guided), parts, forced))
    }

    /// Log-probabilities of several endings of one text. Dropping the future cancels the work.
    pub async fn score(&self, scoring: Scoring) -> Result<Scores, Refused> {
        for sequence in &scoring.sequences {
            self.check_length(sequence.len() - 1)?;
        }
        let (tx, rx) = oneshot::channel();
        self.submit(Work::Score(scoring, tx))?;
        rx.await.map_err(|_| Refused::Ended)
    }

    /// The vector of a text, as the model has left it. Dropping the future cancels the work.
    pub async fn embed(&self, embedding: Embedding) -> Result<Vec<f32>, Refused> {
        self.check_length(embedding.tokens.len() - 1)?;
        let (tx, rx) = oneshot::channel();
        self.submit(Work::Embed(embedding, tx))?;
        rx.await.map_err(|_| Refused::Ended)
    }

    /// Resolves when so many sequences have room in the queue, those before it first. Somebody else
    /// may be there sooner.
    pub async fn when_there_is_room(&self, sequences: usize) {
        let most = self.options.max_sequences + self.options.max_waiting;
        let wanted = u32::try_from(sequences.min(most)).unwrap_or(u32::MAX);
        // Nobody closes it.
        let _ = self.places.acquire_many(wanted).await;
    }

    fn check_length(&self, prompt_tokens: usize) -> Result<(), Refused> {
        if prompt_tokens < self.context_tokens {
            return Ok(());
        }
        Err(Refused::TooLong {
            prompt_tokens,
            context_tokens: self.context_tokens,
        })
    }

    fn submit(&self, work: Work) -> Result<(), Refused> {
        let place = self.places.clone().try_acquire_owned();
        let place = place.map_err(|_| Refused::QueueFull {
            max_waiting: self.options.max_waiting,
        })?;
        self.inbox
            .send(Submitted { work, place })
            .map_err(|_| Refused::Ended)
    }
}
