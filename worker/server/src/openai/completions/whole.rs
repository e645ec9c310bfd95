//! Completions as one object, when all of them are there.

use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt, TryStreamExt, stream::iter};
use weir_worker_api::{self as api, generate_event::Event};

use super::{
    super::{
        prompts::most_tokens,
        response::{Envelope, Usage, Whole},
    },
    Completion, MAX_TOKENS,
    choice::{Choice, Told},
    prompt_text,
};
use crate::{
    intake::Taking,
    refusal::Refusal,
    serving::{Generation, Serving, gathered::Gathered},
};

/// The whole answer as one object: the choices of the first prompt, then those of the second.
pub async fn answer(
    serving: &Arc<Serving>,
    asked: Completion,
    room: Taking,
) -> Result<Whole<Told>, Refusal> {
    // What cannot be computed now does not crowd the queue.
    let sequences = serving.engine.options().max_sequences;
    let at_once = (sequences / asked.generate.choices as usize).max(1);
    let gathered = asked.gathered();
    all_fit(serving, &asked, &gathered).await?;
    let room = Mutex::new(Some(room));
    let queued = || {
        if asked.prompts.len() == 1 {
            let mut room = room.lock().unwrap_or_else(PoisonError::into_inner);
            *room = None;
        }
    };
    let answers =
        (0..asked.prompts.len()).map(|index| one(serving, (&asked, &gathered), index, &queued));
    let answers: Vec<(Vec<Choice>, Usage)> = iter(answers).buffered(at_once).try_collect().await?;
    let mut usage = Usage::default();
    let mut choices = Vec::new();
    for (more, used) in answers {
        usage.join(used);
        choices.extend(more);
    }
    let choices = choices.into_iter().enumerate();
    let choices = choices.map(|(index, choice)| choice.object(index as u32));
    Ok(Whole {
        head: Envelope::new("cmpl", asked.model.clone()).head("text_completion"),
        choices: choices.collect(),
        usage: usage.object(),
        prompt_logprobs: None,
    })
}

/// The answers to the prompt of that index.
async fn one(
    serving: &Arc<Serving>,
    (asked, gathered): (&Completion, &Gathered),
    index: usize,
    queued: &(impl Fn() + Sync),
) -> Result<(Vec<Choice>, Usage), Refusal> {
    let prompt = &asked.prompts[index];
    let first_try = serving.generate_whole(asked.request(prompt), gathered);
    let mut generation = match first_try.await {
        // What is computed already is not thrown away: only the first is refused.
        Err(Refusal::Overloaded { .. }) if index > 0 => {
            in_its_turn(serving, || asked.request(prompt), gathered).await?
        }
        generation => generation?,
    };
    queued();
    let mut usage = Usage::default();
    let mut choices: Vec<Choice> = (0..asked.generate.choices)
        .map(|_| Choice::new(serving, asked.scale()))
        .collect();
    while let Some(event) = generation.next().await {
        match event? {
            Event::Started(started) => {
                usage.cached_tokens = started.cached_tokens;
                if asked.echo {
                    let text = prompt_text(serving, prompt.clone(), &started.prompt_ids)?;
                    gathered.echo(text.len(), choices.len())?;
                    for choice in &mut choices {
                        choice.begin(&text, started.prompt_ids[0]);
                    }
                }
            }
            Event::Prompt(prompt) if asked.echo => {
                for choice in &mut choices {
                    choice.read(&prompt.tokens);
                }
            }
            Event::Prompt(_) => {}
            Event::Tokens(tokens) => {
                usage.see(&tokens.tokens);
                choices[tokens.choice as usize].grow(&tokens);
            }
            Event::Finished(finished) => {
                usage.add(&finished);
                choices[finished.choice as usize].finish(&finished);
            }
        }
    }
    Ok((choices, usage))
}

/// Waits for as long as it takes: whoever asks can leave.
async fn in_its_turn(
    serving: &Arc<Serving>,
    request: impl Fn() -> api::GenerateRequest,
    gathered: &Gathered,
) -> Result<Generation, Refusal> {
    loop {
        let request = request();
        let choices = request.choices as usize;
        serving.engine.when_there_is_room(choices).await;
        match serving.generate_whole(request, gathered).await {
            Err(Refusal::Overloaded { .. }) => {}
            generation => return generation,
        }
    }
}

/// Refuses what would turn out to be too much when most of it is computed: log-probabilities of all
/// prompts together.
async fn all_fit(
    serving: &Arc<Serving>,
    asked: &Completion,
    gathered: &Gathered,
) -> Result<(), Refusal> {
    let each = asked.generate.limits.as_ref();
    let each = each
        .and_then(|limits| limits.max_tokens)
        .unwrap_or(MAX_TOKENS) as usize;
    let context = serving.engine.context_tokens();
    let written = |read: usize| each.min(context.saturating_sub(read));
    // One more may begin a prompt.
    let most = asked.prompts.iter().map(|prompt| most_tokens(prompt) + 1);
    let most_written = asked.prompts.len().saturating_mul(each);
    if gathered.numbers(most.sum(), most_written).is_ok() {
        return Ok(());
    }
    let (mut all_read, mut all_written) = (0, 0);
    for prompt in &asked.prompts {
        let request = api::TokenizeRequest {
            model: asked.model.clone(),
            prompt: asked.request(prompt).prompt,
            ..api::TokenizeRequest::default()
        };
        let read = serving.tokenize(request).await?.len();
        all_read += read;
        all_written += written(read);
        gathered.numbers(all_read, all_written)?;
    }
    Ok(())
}
