//! Writes answers: one event at a time, over all choices as they come.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use futures::{
    StreamExt,
    stream::{BoxStream, iter, once, select_all, unfold},
};
use weir_engine::{Answer, End, Event, Guide, Origin, Refused, Showing, Shown, Writing};
use weir_worker_api::{self as api, generate_event};

use super::{
    Serving,
    call_id::CallIds,
    check::{Checker, Settings},
    gathered::Gathered,
    reader::Read,
    resume::Progress,
};
use crate::{adapters::uses::Use, draining::Cutoff, metrics::Measured, refusal::Refusal};

/// An answer in the making. Dropping it cancels the work.
pub struct Generation {
    events: Read<Result<generate_event::Event, Refusal>>,
    measured: Measured,
    adapter_use: Option<Use>,
    cutoff: Cutoff,
    over: bool,
}

/// What a request became, until it is begun.
struct Queued {
    started: api::Started,
    /// One for each choice.
    answers: Vec<Answer>,
}

impl Serving {
    /// Checks the request and queues its work. What comes back has a place in the queue.
    pub async fn generate(
        self: &Arc<Self>,
        request: api::GenerateRequest,
    ) -> Result<Generation, Refusal> {
        self.queue(request, None).await
    }

    /// The same for an answer of which all is gathered before it is sent.
    pub async fn generate_whole(
        self: &Arc<Self>,
        request: api::GenerateRequest,
        gathered: &Gathered,
    ) -> Result<Generation, Refusal> {
        self.queue(request, Some(gathered)).await
    }

    async fn queue(
        self: &Arc<Self>,
        request: api::GenerateRequest,
        gathered: Option<&Gathered>,
    ) -> Result<Generation, Refusal> {
        let mut measured = self.metrics.begin("generate", operation(&request));
        let model = self.called(&request.model).to_owned();
        match self.begin(request, gathered).await {
            Ok((queued, adapter)) => {
                measured.admitted(&model, queued.answers.len() as u32);
                measured.prompt(queued.started.prompt_ids.len());
                Ok(Generation {
                    events: self.patience.with(queued.events()),
                    measured,
                    adapter_use: adapter.map(|name| self.adapter_uses.begin(name)),
                    cutoff: self.cutoff.clone(),
                    over: false,
                })
            }
            Err(refusal) => {
                measured.refused(&refusal);
                Err(refusal.at_pace(self.metrics.pace()))
            }
        }
    }

    /// What was queued, and the name of the adapter that it is written with.
    async fn begin(
        self: &Arc<Self>,
        request: api::GenerateRequest,
        gathered: Option<&Gathered>,
    ) -> Result<(Queued, Option<Arc<str>>), Refusal> {
        let answering = self.admit(&request.model)?;
        let checker = Checker {
            defaults: &self.defaults,
            facts: &self.facts,
            eos: &self.eos,
        };
        let mut settings = checker.check(&request)?;
        let options = self.engine.options();
        let places = options.max_sequences + options.max_waiting;
        if settings.choices as usize > places {
            let why = format!("is more than run and wait here at once, which is {places}");
            return Err(Refusal::invalid("choices", why));
        }
        let (prompt_ids, seed, progress) = match &request.resume {
            Some(resume) => {
                let progress = self.progress((resume, answering.digest()), settings.choices)?;
                (resume.prompt_ids.clone(), resume.seed, progress)
            }
            None => {
                let prompt_ids = self.prompt_tokens(request.prompt.as_ref()).await?;
                let seed = settings.seed.unwrap_or_else(any_seed);
                let none = vec![Progress::default(); settings.choices as usize];
                (prompt_ids, seed, none)
            }
        };
        let context_left = self
            .engine
            .context_tokens()
            .saturating_sub(prompt_ids.len());
        let guide = self.guide(&request, &prompt_ids).await?;
        let asked = request.limits.as_ref().and_then(|limits| limits.max_tokens);
        let (least, asked) = (settings.limits.min_tokens, asked.map(|most| most as usize));
        let room = gathered
            .map(|gathered| gathered.room_for(prompt_ids.len(), (least, asked), context_left))
            .transpose()?;
        if let Some(room) = room.filter(|room| room.written < context_left && asked.is_none()) {
            settings.limits.max_tokens = room.written;
        }
        let prompt: Arc<[u32]> = prompt_ids.as_slice().into();
        let origin = answering.origin(request.cache_salt);
        let answers = (0_u32..)
            .zip(progress)
            .map(|(choice, progress)| {
                let writing = Writing {
                    produced: progress.produced,
                    seed,
                    choice,
                    // It is the same for every choice.
                    prompt_alternatives: settings.prompt_alternatives.filter(|_| choice == 0),
                    ..writing(&settings, &prompt, &guide, &origin)
                };
                let showing = Showing {
                    tokenizer: self.tokenizer.clone(),
                    stop: settings.stop.clone(),
                    shown_bytes: progress.shown_bytes,
                };
                // If one finds no place, those before it are dropped and give theirs back.
                self.engine.write(writing, showing)
            })
            .collect::<Result<Vec<_>, Refused>>()?;
        // Only what has its place counts: whoever found none asks again.
        if let (Some(gathered), Some(room)) = (gathered, room) {
            gathered.count(room.numbers);
        }
        let started = api::Started {
            prompt_ids,
            seed,
            ..api::Started::default()
        };
        let adapter = answering.adapter.map(|(name, _)| name);
        Ok((Queued { started, answers }, adapter))
    }
}

impl Queued {
    fn events(self) -> BoxStream<'static, Result<generate_event::Event, Refusal>> {
        once(self.begun())
            .flat_map(|Self { started, answers }| {
                let ids = CallIds::of(&started.prompt_ids, started.seed);
                let prompt_tokens = started.prompt_ids.len() as u32;
                let choices = (0_u32..).zip(answers);
                let streams = choices.map(|(choice, answer)| {
                    let told = Told {
                        choice,
                        prompt_tokens,
                        ids,
                    };
                    events(told, answer)
                });
                let streams = select_all(streams.collect::<Vec<_>>());
                iter([Ok(generate_event::Event::Started(started))]).chain(streams)
            })
            .boxed()
    }

    /// Waits until the first choice is begun: the others find what that one computes.
    async fn begun(mut self) -> Self {
        if let Some(first) = self.answers.first_mut() {
            self.started.cached_tokens = first.cached_tokens().await as u32;
        }
        self
    }
}

impl Generation {
    /// The next event; nothing after the last choice has finished, or after an error.
    pub async fn next(&mut self) -> Option<Result<generate_event::Event, Refusal>> {
        if self.over {
            return None;
        }
        let event = tokio::select! {
            event = self.events.next() => event.unwrap_or(Some(Err(Refusal::NotRead))),
            () = self.cutoff.reached() => Some(Err(Refusal::Draining)),
        };
        self.over = !matches!(event, Some(Ok(_)));
        match &event {
            Some(Ok(generate_event::Event::Tokens(tokens))) => {
                self.measured.tokens(tokens.tokens.len());
            }
            Some(Ok(generate_event::Event::Started(started))) => {
                self.measured.started(started.cached_tokens);
                self.adapter_use.iter_mut().for_each(Use::run);
            }
            Some(Ok(_)) => {}
            Some(Err(refusal)) => self.measured.refused(refusal),
            None => self.measured.answered(),
        }
        event
    }
}

/// As the conventions for traces call it.
fn operation(request: &api::GenerateRequest) -> &'static str {
    let form = request
        .prompt
        .as_ref()
        .and_then(|prompt| prompt.form.as_ref());
    match form {
        Some(api::prompt::Form::Text(_) | api::prompt::Form::Tokens(_)) => "text_completion",
        Some(api::prompt::Form::Chat(_)) | None => "chat",
    }
}

/// The first choice with any seed.
fn writing(settings: &Settings, prompt: &Arc<[u32]>, guide: &Guide, origin: &Origin) -> Writing {
    Writing {
        prompt: prompt.clone(),
        produced: Vec::new(),
        sampling: settings.sampling,
        penalties: settings.penalties.clone(),
        seed: 0,
        choice: 0,
        limits: settings.limits.clone(),
        alternatives: settings.alternatives,
        prompt_alternatives: None,
        origin: origin.clone(),
        guide: guide.clone(),
    }
}

/// A seed nobody asked for: hash keys are drawn from the system's randomness.
fn any_seed() -> u64 {
    RandomState::new().hash_one(0_u8)
}

/// What every event of one choice is told with.
#[derive(Debug, Clone, Copy)]
struct Told {
    choice: u32,
    prompt_tokens: u32,
    ids: CallIds,
}

/// The events of one choice, in the contract's words.
fn events(
    told: Told,
    answer: Answer,
) -> BoxStream<'static, Result<generate_event::Event, Refusal>> {
    unfold(answer, move |mut answer| async move {
        let events = match answer.next().await? {
            Ok(event) => told.in_contract(event).into_iter().map(Ok).collect(),
            Err(interrupted) => vec![Err(interrupted.into())],
        };
        Some((iter(events), answer))
    })
    .flatten()
    .boxed()
}

impl Told {
    fn in_contract(&self, event: Event) -> Vec<generate_event::Event> {
        match event {
            Event::Prompt(tokens) => {
                let tokens = tokens.into_iter().map(token).collect();
                vec![generate_event::Event::Prompt(api::PromptTokens { tokens })]
            }
            Event::Tokens { tokens, shown } => {
                let tokens: Vec<api::Token> = tokens.into_iter().map(token).collect();
                let mut events: Vec<api::Tokens> =
                    shown.into_iter().map(|shown| self.shown(shown)).collect();
                match events.first_mut() {
                    Some(first) => first.tokens = tokens,
                    None => events.push(api::Tokens {
                        choice: self.choice,
                        tokens,
                        ..api::Tokens::default()
                    }),
                }
                let events = events.into_iter().map(generate_event::Event::Tokens);
                events.collect()
            }
            Event::Finished {
                end,
                stop,
                completion_tokens,
                called,
            } => {
                let reason = match end {
                    End::Stop if called => api::FinishReason::ToolCalls,
                    End::Stop => api::FinishReason::Stop,
                    End::Length => api::FinishReason::Length,
                };
                vec![generate_event::Event::Finished(api::Finished {
                    choice: self.choice,
                    reason: reason.into(),
                    stop,
                    prompt_tokens: self.prompt_tokens,
                    completion_tokens: completion_tokens as u32,
                })]
            }
        }
    }

    fn shown(&self, shown: Shown) -> api::Tokens {
        let mut tokens = api::Tokens {
            choice: self.choice,
            ..api::Tokens::default()
        };
        match shown {
            Shown::Answer(text) => tokens.text = text,
            Shown::Thinking(text) => {
                tokens.text = text;
                tokens.channel = api::Channel::Reasoning.into();
            }
            Shown::Call(piece) => tokens.tool_calls.push(api::ToolCallPiece {
                index: piece.index,
                id: match &piece.name {
                    Some(_) => self.ids.id(self.choice, piece.index),
                    None => String::new(),
                },
                name: piece.name.unwrap_or_default(),
                arguments: piece.arguments,
            }),
        }
        tokens
    }
}

fn token(token: weir_engine::Token) -> api::Token {
    let alternatives = token.alternatives.into_iter();
    api::Token {
        id: token.id,
        evidence: Some(api::Evidence {
            logprob: token.evidence.logprob,
            margin: token.evidence.margin,
            entropy: token.evidence.entropy,
            masked_logprob: token.evidence.masked_logprob,
            forced: token.marks.forced,
            value: token.marks.value,
            thinking: token.marks.thinking,
        }),
        alternatives: alternatives
            .map(|(id, logprob)| api::Alternative {
                id,
                logprob,
                ..api::Alternative::default()
            })
            .collect(),
        ..api::Token::default()
    }
}
