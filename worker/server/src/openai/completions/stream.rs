//! Completions as server-sent events.

use std::{mem, sync::Arc};

use axum::response::Response;
use futures::{
    StreamExt,
    stream::{BoxStream, select_all, unfold},
};
use serde_json::{Value, json};
use weir_worker_api::{generate_event::Event, prompt::Form};

use super::{
    super::{
        error::WireError,
        response::{Envelope, Usage},
        stream::events,
    },
    Choice, Completion, on_this_wire, prompt_text,
};
use crate::{
    intake::Taking,
    refusal::Refusal,
    serving::{Generation, Serving, gathered::Gathered},
};

/// What comes of one of the prompts.
type Arrived = (usize, Result<Event, Refusal>);

/// A response that follows the answers to all prompts, which hold their `room` where they are shown.
/// Dropping it cancels the work.
pub async fn answer(
    serving: Arc<Serving>,
    mut asked: Completion,
    mut room: Taking,
) -> Result<Response, Refusal> {
    if asked.echo {
        room.show(asked.shown_bytes(&serving))?;
    }
    let mut generations = Vec::new();
    for (index, prompt) in asked.prompts.iter().enumerate() {
        let generation = serving.generate(asked.request(prompt)).await?;
        generations.push(following(index, generation));
    }
    let arriving = select_all(generations);
    let (prompts, gathered) = (asked.prompts.len(), asked.gathered());
    let choices = prompts * asked.generate.choices as usize;
    if !asked.echo {
        asked.prompts.clear();
    }
    let writing = Writing {
        envelope: Envelope::new("cmpl", asked.model.clone()),
        choices: (0..choices)
            .map(|_| Choice::new(&serving, asked.scale()))
            .collect(),
        usage: vec![Usage::default(); prompts],
        serving,
        gathered,
        shown: vec![false; prompts],
        room: asked.echo.then_some(room),
        asked,
    };
    let state = Some((writing, arriving));
    Ok(events(unfold(state, |state| async move {
        let (mut writing, mut arriving) = state?;
        match arriving.next().await {
            Some((prompt, event)) => match event.and_then(|event| writing.pieces(prompt, event)) {
                Ok(pieces) => Some((pieces, Some((writing, arriving)))),
                Err(refusal) => {
                    let error = WireError::named(refusal, on_this_wire);
                    Some((vec![error.body()], None))
                }
            },
            None => Some((writing.end(), None)),
        }
    })))
}

fn following(index: usize, generation: Generation) -> BoxStream<'static, Arrived> {
    unfold(generation, move |mut generation| async move {
        let event = generation.next().await?;
        Some(((index, event), generation))
    })
    .boxed()
}

struct Writing {
    serving: Arc<Serving>,
    asked: Completion,
    /// Of which only the prompts count.
    gathered: Gathered,
    /// Whether each prompt has been shown with all that is told of it, and the room for that.
    shown: Vec<bool>,
    room: Option<Taking>,
    envelope: Envelope,
    /// Of all prompts, one after the other.
    choices: Vec<Choice>,
    /// Of each prompt.
    usage: Vec<Usage>,
}

impl Writing {
    /// What an event of the answer to one prompt leads to.
    fn pieces(&mut self, prompt: usize, event: Event) -> Result<Vec<Value>, Refusal> {
        // What was made of the event before is taken.
        if self.shown.iter().all(|is_shown| *is_shown) {
            self.room = None;
        }
        let count = self.asked.generate.choices as usize;
        let own = prompt * count..(prompt + 1) * count;
        match event {
            Event::Started(started) => {
                self.usage[prompt].cached_tokens = started.cached_tokens;
                if self.asked.echo {
                    let text = self.prompt_text(prompt, &started.prompt_ids)?;
                    for choice in &mut self.choices[own.clone()] {
                        choice.begin(&text, started.prompt_ids[0]);
                    }
                }
            }
            Event::Prompt(read) if self.asked.echo => {
                for choice in &mut self.choices[own.clone()] {
                    choice.read(&read.tokens);
                }
            }
            Event::Prompt(_) => {}
            Event::Tokens(tokens) => {
                self.shown[prompt] = true;
                self.usage[prompt].see(&tokens.tokens);
                self.choices[own.start + tokens.choice as usize].grow(&tokens);
            }
            Event::Finished(finished) => {
                self.shown[prompt] = true;
                self.usage[prompt].add(&finished);
                self.choices[own.start + finished.choice as usize].finish(&finished);
            }
        }
        let told = own.filter(|index| !self.choices[*index].is_empty());
        let told: Vec<usize> = told.collect();
        Ok(told.into_iter().map(|index| self.piece(index)).collect())
    }

    /// A prompt, which is shown once with each choice and needed no more.
    fn prompt_text(&mut self, prompt: usize, ids: &[u32]) -> Result<String, Refusal> {
        let form = mem::replace(&mut self.asked.prompts[prompt], Form::Text(String::new()));
        let text = prompt_text(&self.serving, form, ids)?;
        let choices = self.asked.generate.choices as usize;
        self.gathered.echo(text.len(), choices)?;
        Ok(text)
    }

    fn piece(&mut self, index: usize) -> Value {
        let choice = self.choices[index].take(index as u32);
        let mut piece = self.envelope.object("text_completion", vec![json!(choice)]);
        if self.asked.include_usage {
            piece.insert("usage".into(), Value::Null);
        }
        piece.into()
    }

    /// What comes after the last choice has finished.
    fn end(&self) -> Vec<Value> {
        if !self.asked.include_usage {
            return Vec::new();
        }
        let mut last = self.envelope.object("text_completion", Vec::new());
        let mut usage = Usage::default();
        self.usage.iter().for_each(|own| usage.join(*own));
        last.insert("usage".into(), usage.object());
        vec![last.into()]
    }
}
