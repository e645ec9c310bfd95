//! Scores a closed set of answers without writing any of them.

use std::{collections::HashSet, sync::Arc};

use weir_engine::{Scoring, common_prefix};
use weir_worker_api as api;

use super::{Serving, prompt::PromptText};
use crate::{adapters::uses::Use, held::Full, refusal::Refusal};

/// Each option is computed after the shared prompt, so many of them take long.
const MOST_OPTIONS: usize = 256;

impl Serving {
    /// Probabilities of the options after the prompt, the end of the answer included.
    pub async fn choose(
        self: &Arc<Self>,
        request: api::ChooseRequest,
    ) -> Result<api::ChooseResponse, Refusal> {
        let mut measured = self.metrics.begin("choose", "choose");
        let model = self.called(&request.model).to_owned();
        let result = self.score(request).await;
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

    async fn score(
        self: &Arc<Self>,
        request: api::ChooseRequest,
    ) -> Result<api::ChooseResponse, Refusal> {
        let answering = self.admit(&request.model)?;
        check_options(&request.options)?;
        let text = self.prompt_text(request.prompt.as_ref(), true).await?;
        let prompt = self.encoded(&text, "").await?;
        let context_tokens = self.engine.context_tokens();
        if prompt.len() > context_tokens {
            return Err(Refusal::TooLong {
                prompt_tokens: prompt.len(),
                context_tokens,
            });
        }
        let bytes = request.options.len() * size_of_val(&prompt[..]);
        let held = self.choosing.hold(bytes).await;
        let held = held.map_err(|Full { .. }| self.no_place())?;
        let sequences = self.sequences(&text, &request.options).await?;
        // An option can change how the end of the prompt is tokenized: what differs from the
        // prompt alone is scored as part of every option, so that the sums are comparable.
        let from = sequences
            .iter()
            .map(|sequence| common_prefix([&prompt[..], sequence]))
            .min()
            .unwrap_or(0);
        if from == 0 {
            return Err(Refusal::invalid(
                "prompt",
                "has no token before the options",
            ));
        }
        let tokens: Vec<u32> = sequences.iter().map(|s| (s.len() - from) as u32).collect();
        let scoring = Scoring {
            sequences,
            from,
            ends: self.eos.clone(),
            origin: answering.origin(request.cache_salt),
        };
        let adapter = answering.adapter;
        let mut adapter_use = adapter.map(|(name, _)| self.adapter_uses.begin(name));
        adapter_use.iter_mut().for_each(Use::run);
        let scored = self.engine.score(scoring).await?;
        drop(held);
        drop(adapter_use);
        let scores = softmax(&scored.sums)
            .into_iter()
            .zip(scored.sums)
            .zip(tokens);
        Ok(api::ChooseResponse {
            scores: request
                .options
                .into_iter()
                .zip(scores)
                .map(
                    |(option, ((probability, logprob), tokens))| api::OptionScore {
                        option,
                        logprob,
                        probability,
                        tokens,
                    },
                )
                .collect(),
            prompt_tokens: prompt.len() as u32,
            cached_tokens: scored.cached_tokens.min(prompt.len()) as u32,
        })
    }
}

impl Serving {
    /// The tokens of the prompt with each option.
    async fn sequences(
        self: &Arc<Self>,
        prompt: &PromptText,
        options: &[String],
    ) -> Result<Vec<Vec<u32>>, Refusal> {
        let mut sequences = Vec::new();
        // One after the other: each takes its turn among others' prompts, and none does for a client
        // that has left.
        for option in options {
            sequences.push(loop {
                match self.encoded(prompt, option).await {
                    // What is done already is not thrown away.
                    Err(Refusal::Overloaded { .. }) if !sequences.is_empty() => {}
                    encoded => break encoded?,
                }
            });
        }
        Ok(sequences)
    }

    async fn encoded(
        self: &Arc<Self>,
        prompt: &PromptText,
        option: &str,
    ) -> Result<Vec<u32>, Refusal> {
        let text = [&prompt.text, option].concat();
        let (serving, add_special) = (self.clone(), prompt.add_special);
        self.aside(move || serving.encode(&text, add_special)).await
    }
}

fn check_options(options: &[String]) -> Result<(), Refusal> {
    let field = "options";
    if !(2..=MOST_OPTIONS).contains(&options.len()) {
        let why = format!(
            "has {} entries, not from 2 to {MOST_OPTIONS}",
            options.len()
        );
        return Err(Refusal::invalid(field, why));
    }
    if options.iter().any(String::is_empty) {
        return Err(Refusal::invalid(field, "has an empty entry"));
    }
    let different: HashSet<&String> = options.iter().collect();
    if different.len() < options.len() {
        return Err(Refusal::invalid(field, "has the same entry twice"));
    }
    Ok(())
}

fn softmax(sums: &[f64]) -> Vec<f64> {
    let best = sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = sums.iter().map(|sum| (sum - best).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}
