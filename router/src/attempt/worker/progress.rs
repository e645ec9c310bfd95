//! How far a replica has come with one prompt: what another one of its kind needs to go on.

use std::collections::BTreeMap;

use weir_worker_api as api;

use crate::replicas::Kind;

/// Nothing, until the replica has begun.
#[derive(Debug, Default)]
pub(super) struct Progress {
    prompt_ids: Vec<u32>,
    seed: u64,
    /// Of each choice.
    written: BTreeMap<u32, Written>,
}

#[derive(Clone, Debug, Default)]
struct Written {
    ids: Vec<u32>,
    /// Of everything that was sent to be shown.
    bytes: u64,
}

impl Progress {
    pub fn begin(&mut self, started: &api::Started) {
        self.prompt_ids.clone_from(&started.prompt_ids);
        self.seed = started.seed;
    }

    pub fn has_begun(&self) -> bool {
        !self.prompt_ids.is_empty()
    }

    /// Takes down what has come.
    pub fn write(&mut self, tokens: &api::Tokens) {
        let written = self.written.entry(tokens.choice).or_default();
        written
            .ids
            .extend(tokens.tokens.iter().map(|token| token.id));
        let calls = tokens.tool_calls.iter();
        let of_calls: usize = calls
            .map(|call| call.name.len() + call.arguments.len())
            .sum();
        written.bytes += (tokens.text.len() + of_calls) as u64;
    }

    /// The request as it goes to a replica of that kind, to go on or to begin.
    pub fn resumed(
        &self,
        mut request: api::GenerateRequest,
        kind: &Kind,
        adapter: Option<&str>,
    ) -> api::GenerateRequest {
        if !self.has_begun() {
            return request;
        }
        let adapter = adapter.and_then(|name| kind.adapters.get(name));
        let choices = self
            .written
            .iter()
            .map(|(choice, written)| api::ChoiceProgress {
                choice: *choice,
                produced: written.ids.clone(),
                sent_text_bytes: written.bytes,
            });
        request.resume = Some(api::Resume {
            model_digest: kind.model_digest.clone(),
            adapter_digest: adapter.cloned().unwrap_or_default(),
            tokenizer_digest: kind.tokenizer_digest.clone(),
            kernel_class: kind.kernel_class.clone(),
            prompt_ids: self.prompt_ids.clone(),
            seed: self.seed,
            choices: choices.collect(),
        });
        // The prompt's own are there by now.
        request.prompt_logprobs = None;
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(choice: u32, ids: &[u32], text: &str) -> api::Tokens {
        let tokens = ids.iter().map(|id| api::Token {
            id: *id,
            ..api::Token::default()
        });
        api::Tokens {
            choice,
            tokens: tokens.collect(),
            text: text.to_owned(),
            ..api::Tokens::default()
        }
    }

    #[test]
    fn another_replica_is_told_what_was_written_and_how_much_of_it_was_sent() {
        let kind = Kind {
            model_digest: "m".into(),
            adapters: [("a".into(), "d".into())].into(),
            ..Kind::default()
        };
        let request = || api::GenerateRequest {
            prompt_logprobs: Some(1),
            ..api::GenerateRequest::default()
        };
        let mut progress = Progress::default();
        assert_eq!(progress.resumed(request(), &kind, None), request());
        progress.begin(&api::Started {
            prompt_ids: vec![7, 8],
            seed: 3,
            ..api::Started::default()
        });
        progress.write(&tokens(1, &[1, 2], "bil"));
        progress.write(&tokens(0, &[5], ""));
        let mut call = tokens(1, &[3], "");
        call.tool_calls = vec![api::ToolCallPiece {
            id: "c1".into(),
            name: "find".into(),
            arguments: "{}".into(),
            ..api::ToolCallPiece::default()
        }];
        progress.write(&call);
        let resumed = progress.resumed(request(), &kind, Some("a"));
        assert_eq!(resumed.prompt_logprobs, None);
        let resume = resumed.resume.unwrap();
        assert_eq!((resume.prompt_ids, resume.seed), (vec![7, 8], 3));
        assert_eq!(
            (resume.model_digest, resume.adapter_digest),
            ("m".into(), "d".into())
        );
        let choices = resume.choices.into_iter();
        let choices: Vec<_> = choices
            .map(|choice| (choice.choice, choice.produced, choice.sent_text_bytes))
            .collect();
        assert_eq!(choices, [(0, vec![5], 0), (1, vec![1, 2, 3], 9)]);
    }
}
