//! The events of a provider's stream become pieces of an answer in our words. One file for each
//! wire.

mod chat;
mod chunks;
mod completions;
mod messages;
mod plain;
mod responses;

use serde_json::Value;
use weir_cascade::Token;
use weir_policy::json::has_too_many_values;
use weir_policy::tier::Endpoint;

use super::proof;
use super::witness::{Heard, Witness};
use crate::answer::{Piece, Usage};
use crate::ask::Ask;
use crate::attempt::Finish;
use crate::refusal::Failure;
use crate::wire::Wire;

/// What one event brought.
pub(super) enum Taken {
    Pieces(Vec<Piece>),
    /// Nothing more comes that is part of the answer.
    End,
}

/// An event that cannot be part of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is not what the wire says.
    Garbage,
    /// The provider says that it failed.
    Failed,
    /// The provider says that it has too much to do.
    Overloaded,
}

impl Unreadable {
    /// What it means for the attempt at `tier`.
    pub fn of(self, tier: &str) -> Failure {
        let tier = tier.to_owned();
        match self {
            Unreadable::Garbage | Unreadable::Failed => Failure::Broken { tier },
            Unreadable::Overloaded => Failure::Overloaded {
                tier,
                retry_after: None,
            },
        }
    }
}

/// An answer as far as it has been read.
pub(super) struct Reader {
    voice: Voice,
    /// Of the endpoint's proofs.
    mark: String,
    /// The client speaks the same wire: it gets the events as they are.
    is_native: bool,
    /// Where the answer is judged.
    witness: Option<Witness>,
    /// Of what was read last, for each choice.
    evidence: Vec<(u32, Vec<Token>)>,
}

enum Voice {
    Chunks(chunks::Reader),
    Responses(responses::Reader),
    Messages(messages::Reader),
}

impl Reader {
    /// For an answer on `wire` to `ask`. Events are passed on as they are only where that `may_be`.
    pub fn new(wire: Wire, endpoint: &Endpoint, ask: &Ask, may_be: bool) -> Self {
        let choices = ask.choices.max(1) as usize;
        Self {
            voice: match wire {
                Wire::Chat => Voice::Chunks(chunks::Reader::new(choices, chat::read)),
                Wire::Completions => Voice::Chunks(chunks::Reader::new(choices, completions::read)),
                Wire::Responses => Voice::Responses(responses::Reader::default()),
                Wire::Messages => Voice::Messages(messages::Reader::default()),
                // Vectors come whole, and not as a stream.
                Wire::Embeddings => Voice::Chunks(chunks::Reader::new(0, chat::read)),
            },
            mark: proof::mark(endpoint),
            is_native: may_be && wire == ask.wire,
            witness: None,
            evidence: Vec::new(),
        }
    }

    /// The same, for an answer that is judged.
    pub fn before(self, witness: Option<Witness>) -> Self {
        Self { witness, ..self }
    }

    /// What was said of the tokens since this was asked last.
    pub fn take_evidence(&mut self) -> Vec<(u32, Vec<Token>)> {
        std::mem::take(&mut self.evidence)
    }

    /// Whether it was asked to tell of its tokens and told nothing.
    pub fn was_mute(&self) -> bool {
        self.witness.as_ref().is_some_and(Witness::was_mute)
    }

    /// Takes the data of one event.
    pub fn take(&mut self, data: &[u8]) -> Result<Taken, Unreadable> {
        if data == b"[DONE]" {
            return Ok(Taken::End);
        }
        if let (Voice::Chunks(reader), None) = (&mut self.voice, &self.witness)
            && let Some(plain) = plain::read(data)
            && let Some(taken) = reader.take_plain(plain, self.is_native)
        {
            return taken;
        }
        if has_too_many_values(data) {
            return Err(Unreadable::Garbage);
        }
        let mut event: Value = serde_json::from_slice(data).map_err(|_| Unreadable::Garbage)?;
        // llama-server begins so where it answers several prompts.
        if event.is_null() {
            return Ok(Taken::Pieces(Vec::new()));
        }
        if !event.is_object() {
            return Err(Unreadable::Garbage);
        }
        if let Some(error) = event.get("error").filter(|error| !error.is_null()) {
            return Err(failed(error));
        }
        proof::mark_all(&self.mark, &mut event);
        let heard = match &mut self.witness {
            Some(witness) => witness.hear(&mut event),
            None => Heard::default(),
        };
        let is_native = self.is_native;
        let taken = match &mut self.voice {
            Voice::Chunks(reader) => reader.take(event, is_native),
            Voice::Responses(reader) => reader.take(event, is_native),
            Voice::Messages(reader) => reader.take(event, is_native),
        }?;
        if let (Some(witness), Taken::Pieces(pieces)) = (&mut self.witness, &taken) {
            self.evidence.extend(witness.weigh(pieces, heard));
        }
        Ok(taken)
    }

    /// Whether the provider has said how the answer ended.
    pub fn has_finish(&self) -> bool {
        match &self.voice {
            Voice::Chunks(reader) => reader.stops.has_all(),
            Voice::Responses(reader) => reader.has_finish(),
            Voice::Messages(reader) => reader.has_finish(),
        }
    }

    /// What was said of the tokens so far. Only one wire says something before the end.
    pub fn usage(&self) -> Usage {
        match &self.voice {
            Voice::Messages(reader) => reader.usage(),
            Voice::Chunks(_) | Voice::Responses(_) => Usage::default(),
        }
    }

    /// How the answer ended, if that was said.
    pub fn finish(&mut self) -> Option<Finish> {
        let finish = match &mut self.voice {
            Voice::Chunks(reader) => reader.finish(),
            Voice::Responses(reader) => reader.finish(),
            Voice::Messages(reader) => reader.finish(),
        };
        let is_native = self.is_native;
        finish.map(|finish| Finish {
            native: finish.native.filter(|_| is_native),
            ..finish
        })
    }
}

/// What an error inside a stream means. Its text is not looked at: it may hold anything.
fn failed(error: &Value) -> Unreadable {
    let word = |member: &str| {
        error
            .get(member)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let is_load = |word: &str| {
        matches!(
            word,
            "overloaded_error" | "rate_limit_error" | "rate_limit_exceeded" | "server_overloaded"
        )
    };
    match is_load(word("type")) || is_load(word("code")) {
        true => Unreadable::Overloaded,
        false => Unreadable::Failed,
    }
}

/// A provider that counts more tokens than this for one ask has not counted.
pub(super) const MOST_TOKENS: u64 = 100_000_000;

/// A number of tokens; nothing where it is not there or cannot be one.
fn tokens(usage: &Value, member: &str) -> Option<u64> {
    let count = usage.get(member)?.as_u64();
    count.filter(|count| *count <= MOST_TOKENS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::test_endpoint;
    use crate::decode::decode;
    use serde_json::json;
    use weir_crds::Provider;
    use weir_policy::json::MOST_VALUES;

    fn reader() -> Reader {
        let body =
            json!({ "model": "assistant", "messages": [{ "role": "user", "content": "hi" }] });
        let ask = decode(Wire::Chat, body.to_string().as_bytes()).unwrap();
        Reader::new(Wire::Chat, &test_endpoint(Provider::OpenAI), &ask, true)
    }

    #[test]
    fn what_holds_for_the_whole_answer_reaches_a_client_of_the_same_wire_once_and_when_it_changes()
    {
        let event = |text: &str, fingerprint: &str| {
            let choice = json!({ "index": 0, "delta": { "role": "assistant", "content": text } });
            json!({ "choices": [choice], "system_fingerprint": fingerprint, "obfuscation": "x" })
        };
        let mut reader = reader();
        let mut told = |text, fingerprint| {
            let data = event(text, fingerprint).to_string();
            match reader.take(data.as_bytes()) {
                Ok(Taken::Pieces(pieces)) => pieces[0].native.is_some(),
                _ => panic!("it is a chunk"),
            }
        };
        // The first says nothing yet, and nobody is shown it.
        let chunks = [
            ("", "a"),
            ("one", "a"),
            ("two", "a"),
            ("three", "b"),
            ("four", "b"),
        ];
        let told = chunks.map(|(text, fingerprint)| told(text, fingerprint));
        assert_eq!(told, [false, true, false, true, false]);
    }

    #[test]
    fn an_event_that_would_take_many_times_its_length_as_values_is_not_parsed() {
        let event = |zeros: usize| {
            let zeros = vec!["0"; zeros].join(",");
            format!("{{\"choices\":[],\"x\":[{zeros}]}}").into_bytes()
        };
        assert!(reader().take(&event(1000)).is_ok());
        let refused = reader().take(&event(MOST_VALUES + 1));
        assert_eq!(refused.err(), Some(Unreadable::Garbage));
    }
}
