//! From a prompt to token ids, on a thread where taking long disturbs nobody.

use std::sync::Arc;

use weir_worker_api::{self as api, prompt::Form};

use super::{Serving, aside::Undone, check::check_token};
use crate::refusal::Refusal;

/// A prompt as text, and whether the tokenizer adds its special tokens to it.
pub(super) struct PromptText {
    pub text: String,
    pub add_special: bool,
}

impl Serving {
    /// The tokens of a prompt, which may be none.
    pub async fn tokenize(
        self: &Arc<Self>,
        request: api::TokenizeRequest,
    ) -> Result<Vec<u32>, Refusal> {
        self.admit(&request.model)?;
        let begin_answer = request.add_generation_prompt.unwrap_or(true);
        self.tokens(
            request.prompt.as_ref(),
            begin_answer,
            request.add_special_tokens,
        )
        .await
    }

    /// The tokens of a prompt as the model will see them.
    pub(super) async fn prompt_tokens(
        self: &Arc<Self>,
        prompt: Option<&api::Prompt>,
    ) -> Result<Vec<u32>, Refusal> {
        let ids = self.tokens(prompt, true, None).await?;
        if ids.is_empty() {
            return Err(Refusal::invalid("prompt", "has no tokens"));
        }
        Ok(ids)
    }

    async fn tokens(
        self: &Arc<Self>,
        prompt: Option<&api::Prompt>,
        begin_answer: bool,
        add_special: Option<bool>,
    ) -> Result<Vec<u32>, Refusal> {
        match form(prompt)? {
            Form::Tokens(tokens) => {
                for id in &tokens.ids {
                    check_token("prompt.tokens", *id, self.facts.vocabulary)?;
                }
                Ok(tokens.ids.clone())
            }
            Form::Chat(_) | Form::Text(_) => {
                let prompt = self.prompt_text(prompt, begin_answer).await?;
                let add_special = add_special.unwrap_or(prompt.add_special);
                let serving = self.clone();
                self.aside(move || serving.encode(&prompt.text, add_special))
                    .await
            }
        }
    }

    /// The text of tokens, with special tokens as the vocabulary spells them.
    pub async fn detokenize(
        self: &Arc<Self>,
        model: &str,
        tokens: Vec<u32>,
    ) -> Result<String, Refusal> {
        self.admit(model)?;
        let most = self.engine.context_tokens();
        if tokens.len() > most {
            let why = format!(
                "has {} ids, more than the model's context of {most}",
                tokens.len()
            );
            return Err(Refusal::invalid("tokens", why));
        }
        let serving = self.clone();
        self.aside(move || {
            let tokenizer = &serving.tokenizer;
            let mut text = String::new();
            for run in tokens.chunk_by(|a, b| tokenizer.is_special(*a) == tokenizer.is_special(*b))
            {
                for id in run {
                    check_token("tokens", *id, serving.facts.vocabulary)?;
                }
                if tokenizer.is_special(run[0]) {
                    text.extend(run.iter().filter_map(|id| tokenizer.spelling(*id)));
                } else {
                    let run = tokenizer.decode(run);
                    text.push_str(&run.map_err(|error| {
                        Refusal::invalid("tokens", format!("are refused: {error}"))
                    })?);
                }
            }
            Ok(text)
        })
        .await
    }

    /// Renders a chat, with the beginning of an answer where that is wanted, or takes text as it is.
    pub(super) async fn prompt_text(
        &self,
        prompt: Option<&api::Prompt>,
        begin_answer: bool,
    ) -> Result<PromptText, Refusal> {
        match form(prompt)? {
            Form::Chat(chat) => Ok(PromptText {
                text: self.render(chat, begin_answer).await?,
                // Templates write the special tokens themselves.
                add_special: false,
            }),
            Form::Text(text) => {
                self.may_fit(text)?;
                Ok(PromptText {
                    text: text.clone(),
                    add_special: true,
                })
            }
            Form::Tokens(_) => Err(Refusal::invalid(
                "prompt.tokens",
                "cannot be used here: prompt and option are tokenized together, as text",
            )),
        }
    }

    pub(super) fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, Refusal> {
        self.may_fit(text)?;
        let ids = self.tokenizer.encode(text, add_special);
        ids.map_err(|error| Refusal::invalid("prompt", format!("is refused: {error}")))
    }

    /// Whether the text is worth being tokenized.
    fn may_fit(&self, text: &str) -> Result<(), Refusal> {
        match text.len() > self.most_prompt_bytes {
            true => Err(Refusal::TooLongText {
                bytes: text.len(),
                context_tokens: self.engine.context_tokens(),
            }),
            false => Ok(()),
        }
    }
}

fn form(prompt: Option<&api::Prompt>) -> Result<&Form, Refusal> {
    prompt
        .and_then(|prompt| prompt.form.as_ref())
        .ok_or_else(|| Refusal::invalid("prompt", "is missing"))
}

impl Serving {
    /// Runs work that takes long where that disturbs nobody, when it is its turn.
    pub(super) async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let done = self.reading_prompts.run(work).await;
        done.unwrap_or_else(|undone| {
            Err(match undone {
                Undone::TooLate => self.no_place(),
                Undone::Broken => Refusal::Internal {
                    step: "reading the prompt",
                },
            })
        })
    }
}
