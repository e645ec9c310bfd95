//! Takes up answers that another replica began, if the tokens would be the same here.

use weir_worker_api as api;

use super::{Serving, check::check_token};
use crate::refusal::Refusal;

/// What one choice had when the replica before was lost.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Progress {
    pub produced: Vec<u32>,
    pub shown_bytes: usize,
}

impl Serving {
    /// The progress of every choice, in order; a choice that the resume leaves out has none.
    pub(super) fn progress(
        &self,
        (resume, adapter_digest): (&api::Resume, &str),
        choices: u32,
    ) -> Result<Vec<Progress>, Refusal> {
        self.same_replica_kind(resume, adapter_digest)?;
        for id in &resume.prompt_ids {
            check_token("resume.prompt_ids", *id, self.facts.vocabulary)?;
        }
        if resume.prompt_ids.is_empty() {
            return Err(Refusal::invalid("resume.prompt_ids", "is empty"));
        }
        let mut progress = vec![None; choices as usize];
        for begun in &resume.choices {
            let field = "resume.choices";
            let Some(place) = progress.get_mut(begun.choice as usize) else {
                let why = format!("has choice {}, but {choices} were asked for", begun.choice);
                return Err(Refusal::invalid(field, why));
            };
            for id in &begun.produced {
                check_token(field, *id, self.facts.vocabulary)?;
            }
            let taken = place.replace(Progress {
                produced: begun.produced.clone(),
                shown_bytes: begun.sent_text_bytes as usize,
            });
            if taken.is_some() {
                let why = format!("has choice {} twice", begun.choice);
                return Err(Refusal::invalid(field, why));
            }
        }
        Ok(progress
            .into_iter()
            .map(Option::unwrap_or_default)
            .collect())
    }

    /// Tokens are only the same with the same model, adapter, tokenizer and kernels.
    fn same_replica_kind(&self, resume: &api::Resume, adapter_digest: &str) -> Result<(), Refusal> {
        let adapter_digest = adapter_digest.to_owned();
        let kernel_class = self.facts.kernel_class.to_string();
        let pairs = [
            (
                "resume.model_digest",
                &resume.model_digest,
                &self.facts.digest,
            ),
            (
                "resume.adapter_digest",
                &resume.adapter_digest,
                &adapter_digest,
            ),
            (
                "resume.tokenizer_digest",
                &resume.tokenizer_digest,
                &self.facts.tokenizer_digest,
            ),
            ("resume.kernel_class", &resume.kernel_class, &kernel_class),
        ];
        match pairs.into_iter().find(|(_, asked, own)| asked != own) {
            None => Ok(()),
            Some((field, asked, own)) => Err(Refusal::Mismatch {
                field,
                asked: asked.clone(),
                own: own.clone(),
            }),
        }
    }
}
