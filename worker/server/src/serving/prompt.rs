//! From a prompt to token ids, on a thread where taking long disturbs nobody.

use std::sync::Arc;

use tokio::task::spawn_blocking;
use weir_worker_api::{self as api, prompt::Form};

use super::{Serving, check::check_token};
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
        self.tokens(request).await
    }

    /// The tokens of a prompt as the model will see them.
    pub(super) async fn prompt_tokens(
        self: &Arc<Self>,
        prompt: Option<api::Prompt>,
    ) -> Result<Vec<u32>, Refusal> {
        let request = api::TokenizeRequest {
            prompt,
            ..api::TokenizeRequest::default()
        };
        let ids = self.tokens(request).await?;
        if ids.is_empty() {
            return Err(Refusal::invalid("prompt", "has no tokens"));
        }
        Ok(ids)
    }

    async fn tokens(self: &Arc<Self>, request: api::TokenizeRequest) -> Result<Vec<u32>, Refusal> {
        let begin_answer = request.add_generation_prompt.unwrap_or(true);
        match form(request.prompt.as_ref())? {
            Form::Tokens(tokens) => {
                for id in &tokens.ids {
                    check_token("prompt.tokens", *id, self.facts.vocabulary)?;
                }
                Ok(tokens.ids.clone())
            }
            Form::Chat(_) | Form::Text(_) => {
                let prompt = self.prompt_text(request.prompt.as_ref(), begin_answer);
                let prompt = prompt.await?;
                let add_special = request.add_special_tokens.unwrap_or(prompt.add_special);
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
            Form::Text(text) => Ok(PromptText {
                text: text.clone(),
                add_special: true,
            }),
            Form::Tokens(_) => Err(Refusal::invalid(
                "prompt.tokens",
                "cannot be used here: prompt and option are tokenized together, as text",
            )),
        }
    }

    pub(super) fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, Refusal> {
        if text.len() > self.most_prompt_bytes {
            return Err(Refusal::TooLongText {
                bytes: text.len(),
                context_tokens: self.engine.context_tokens(),
            });
        }
        let ids = self.tokenizer.encode(text, add_special);
        ids.map_err(|error| Refusal::invalid("prompt", format!("is refused: {error}")))
    }
}

fn form(prompt: Option<&api::Prompt>) -> Result<&Form, Refusal> {
    prompt
        .and_then(|prompt| prompt.form.as_ref())
        .ok_or_else(|| Refusal::invalid("prompt", "is missing"))
}

impl Serving {
    /// Runs work that takes long on a thread of its own, when it is its turn. A panic there ends
    /// this request alone.
    pub(super) async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let broken = || Refusal::Internal {
            step: "reading the prompt",
        };
        let turn = self.reading_prompts.clone().acquire_owned().await;
        let turn = turn.map_err(|_| broken())?;
        let joined = spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        joined.await.map_err(|_| broken())?
    }
}
