//! Turns texts into vectors.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt, stream::iter};
use tokio::time::sleep;
use weir_engine::{Embedding, Origin, Refused};
use weir_worker_api as api;

use super::Serving;
use crate::{adapters::uses::Use, refusal::Refusal};

/// As on the OpenAI wire.
const MOST_INPUTS: usize = 2048;
/// Of all vectors together: what is answered lies in memory as a whole.
const MOST_NUMBERS: usize = 4 << 20;

/// For those who read prompts, before one that found no place there is tried again.
const BREATH: Duration = Duration::from_millis(100);

impl Serving {
    /// One vector for each input, of length one.
    pub async fn embed(
        self: &Arc<Self>,
        request: api::EmbedRequest,
    ) -> Result<api::EmbedResponse, Refusal> {
        let mut measured = self.metrics.begin("embed", "embeddings");
        let model = self.called(&request.model).to_owned();
        let result = self.vectors(request).await;
        match &result {
            Ok(response) => {
                measured.admitted(&model, 1);
                measured.prompt(response.prompt_tokens as usize);
                measured.answered();
            }
            Err(refusal) => measured.refused(refusal),
        }
        result.map_err(|refusal| refusal.at_pace(self.metrics.pace()))
    }

    async fn vectors(
        self: &Arc<Self>,
        request: api::EmbedRequest,
    ) -> Result<api::EmbedResponse, Refusal> {
        let answering = self.admit(&request.model)?;
        let dimensions = self.dimensions(&request)?;
        let origin = answering.origin(request.cache_salt);
        let adapter = answering.adapter;
        let mut adapter_use = adapter.map(|(name, _)| self.adapter_uses.begin(name));
        adapter_use.iter_mut().for_each(Use::run);
        // A step computes as many of them as it has room for; the others do not crowd the queue.
        let at_once = self.engine.options().max_sequences;
        let inputs = request.inputs.into_iter().enumerate();
        let made = inputs.map(|(index, input)| self.vector(index, input, origin.clone()));
        let made: Vec<(Vec<f32>, usize)> = iter(made).buffered(at_once).try_collect().await?;
        let prompt_tokens = made.iter().map(|(_, tokens)| *tokens as u32).sum();
        let vectors = made.into_iter().map(|(vector, _)| api::Vector {
            values: of_length_one(vector, dimensions),
        });
        Ok(api::EmbedResponse {
            vectors: vectors.collect(),
            prompt_tokens,
        })
    }

    /// How many numbers of each vector are wanted.
    fn dimensions(&self, request: &api::EmbedRequest) -> Result<usize, Refusal> {
        let count = request.inputs.len();
        if !(1..=MOST_INPUTS).contains(&count) {
            let why = format!("has {count} entries, not from 1 to {MOST_INPUTS}");
            return Err(Refusal::invalid("inputs", why));
        }
        let all = self.facts.hidden;
        let asked = request.dimensions.unwrap_or(all);
        if !(1..=all).contains(&asked) {
            let why = format!("is {asked}, not from 1 to {all}");
            return Err(Refusal::invalid("dimensions", why));
        }
        if count * asked as usize > MOST_NUMBERS {
            let why = format!("ask for more than {MOST_NUMBERS} numbers in one answer");
            return Err(Refusal::invalid("inputs", why));
        }
        Ok(asked as usize)
    }

    async fn vector(
        self: &Arc<Self>,
        index: usize,
        input: api::Prompt,
        origin: Origin,
    ) -> Result<(Vec<f32>, usize), Refusal> {
        let field = |field: &str| match field {
            "prompt" => format!("inputs[{index}]"),
            other => other.replace("prompt.", &format!("inputs[{index}].")),
        };
        let tokens = loop {
            match self.prompt_tokens(Some(&input)).await {
                // What is computed already is not thrown away: only the first is refused.
                Err(Refusal::Overloaded { .. }) if index > 0 => sleep(BREATH).await,
                tokens => break tokens.map_err(|refusal| refusal.with_field_named(field))?,
            }
        };
        let count = tokens.len();
        let embedding = Embedding {
            tokens,
            pooling: self.pooling,
            origin,
        };
        loop {
            match self.engine.embed(embedding.clone()).await {
                Err(Refused::QueueFull { .. }) if index > 0 => {
                    self.engine.when_there_is_room(1).await;
                }
                made => return Ok((made?, count)),
            }
        }
    }
}

/// The beginning of a vector, brought to length one.
fn of_length_one(mut vector: Vec<f32>, dimensions: usize) -> Vec<f32> {
    vector.truncate(dimensions);
    let squares = vector.iter().map(|value| f64::from(*value).powi(2));
    let length = squares.sum::<f64>().sqrt();
    if length > 0.0 {
        for value in &mut vector {
            *value = (f64::from(*value) / length) as f32;
        }
    }
    vector
}

#[cfg(test)]
mod tests {
    use super::of_length_one;

    #[test]
    fn what_is_left_of_a_vector_has_length_one() {
        assert_eq!(of_length_one(vec![3.0, 4.0, 12.0], 2), [0.6, 0.8]);
        assert_eq!(of_length_one(vec![0.0, 0.0], 2), [0.0, 0.0]);
    }
}
