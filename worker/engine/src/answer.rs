//! An answer as its reader sees it: tokens as they come, and the text that is safe to show.
//!
//! Runs in the reader's task: the model thread never sees text. Resuming replays what was produced
//! before, so that what follows is the same as if it had been written here from the start.

use std::collections::VecDeque;

use thiserror::Error;
use tokio::sync::{mpsc::UnboundedReceiver, oneshot};
use weir_model::{Detokenizer, TokenizeError, Tokenizer};

use crate::{
    request::{End, Produced, Token, Writing},
    stop::{Matched, StopMatcher},
};

/// How tokens become text.
#[derive(Debug, Clone)]
pub struct Showing {
    pub tokenizer: Tokenizer,
    pub stop: Vec<String>,
    /// How much of the text was shown before; only with tokens produced before.
    pub shown_bytes: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Tokens that exist now, and text that is safe to show now. Either may be empty, and they need
    /// not belong together.
    Tokens { tokens: Vec<Token>, text: String },
    /// Always last.
    Finished {
        end: End,
        /// The stop string that ended the answer, if one did.
        stop: Option<String>,
        /// Tokens of the whole answer, those produced before included.
        completion_tokens: usize,
    },
}

/// Why an answer broke off.
#[derive(Debug, Error)]
pub enum Interrupted {
    #[error("the model thread has ended")]
    Ended,
    #[error("turn tokens into text")]
    Text(#[source] TokenizeError),
}

#[derive(Debug)]
pub struct Answer {
    source: UnboundedReceiver<Produced>,
    /// Until it is known how many tokens were found computed.
    begun: Option<oneshot::Receiver<usize>>,
    cached_tokens: usize,
    prompt_tokens: usize,
    detokenizer: Detokenizer,
    stop: StopMatcher,
    completion_tokens: usize,
    /// Text of the answer that was shown before and must not be shown again.
    to_skip: usize,
    ready: VecDeque<Event>,
    finished: bool,
}

impl Answer {
    /// Says also whether what was produced before is the whole answer already.
    pub(crate) fn new(
        writing: &Writing,
        showing: Showing,
        most_tokens: usize,
        (source, begun): (UnboundedReceiver<Produced>, oneshot::Receiver<usize>),
    ) -> Result<(Self, bool), Interrupted> {
        let mut answer = Self {
            source,
            begun: Some(begun),
            cached_tokens: 0,
            prompt_tokens: writing.prompt.len(),
            detokenizer: showing.tokenizer.detokenizer(),
            stop: StopMatcher::new(showing.stop),
            completion_tokens: 0,
            to_skip: showing.shown_bytes,
            ready: VecDeque::new(),
            finished: false,
        };
        let mut replayed = String::new();
        for id in &writing.produced {
            let end = if writing.limits.ends.contains(id) {
                Some(End::Stop)
            } else if answer.completion_tokens + 1 >= most_tokens {
                Some(End::Length)
            } else {
                None
            };
            replayed.push_str(&answer.advance(*id, end)?);
            if answer.finished {
                break;
            }
        }
        if !replayed.is_empty() {
            answer.ready.push_front(Event::Tokens {
                tokens: Vec::new(),
                text: replayed,
            });
        }
        let finished = answer.finished;
        Ok((answer, finished))
    }

    /// How many tokens of the prompt were found computed, which is known once the answer is begun.
    /// None where it never was.
    ///
    /// Cancelling it loses nothing.
    pub async fn cached_tokens(&mut self) -> usize {
        if let Some(begun) = &mut self.begun {
            let cached_tokens = begun.await.unwrap_or(0);
            // Of an answer that is taken up, what was produced before may have been there too.
            self.cached_tokens = cached_tokens.min(self.prompt_tokens);
            self.begun = None;
        }
        self.cached_tokens
    }

    /// The next event; nothing after [`Event::Finished`] or after a failure.
    ///
    /// Cancelling it loses nothing.
    pub async fn next(&mut self) -> Option<Result<Event, Interrupted>> {
        if let Some(event) = self.ready.pop_front() {
            return Some(Ok(event));
        }
        if self.finished {
            return None;
        }
        let Some(Produced { token, end }) = self.source.recv().await else {
            self.finished = true;
            return Some(Err(Interrupted::Ended));
        };
        let text = self.advance(token.id, end);
        self.finished |= text.is_err();
        if self.finished {
            // From here on nobody needs what the model thread may still be writing.
            self.source.close();
        }
        Some(text.map(|text| Event::Tokens {
            tokens: vec![token],
            text,
        }))
    }

    /// Counts one token: gives what text may be shown, and queues the finish if it was the last.
    fn advance(&mut self, id: u32, end: Option<End>) -> Result<String, Interrupted> {
        self.completion_tokens += 1;
        // The text of a token that ends the answer is not part of the answer.
        let mut piece = match end {
            Some(End::Stop) => String::new(),
            Some(End::Length) | None => self.detokenizer.push(id).map_err(Interrupted::Text)?,
        };
        if end.is_some() {
            piece.push_str(&self.detokenizer.finish().map_err(Interrupted::Text)?);
        }
        let mut stop = None;
        let mut text = match self.stop.push(&piece) {
            Matched::Open(text) => text,
            Matched::Ended { text, stop: found } => {
                stop = Some(found);
                text
            }
        };
        let end = if stop.is_some() { Some(End::Stop) } else { end };
        if let Some(end) = end {
            text.push_str(&self.stop.finish());
            self.finished = true;
            self.ready.push_back(Event::Finished {
                end,
                stop,
                completion_tokens: self.completion_tokens,
            });
        }
        Ok(self.not_shown_before(text))
    }

    fn not_shown_before(&mut self, mut text: String) -> String {
        let skipped = text.floor_char_boundary(self.to_skip);
        self.to_skip -= skipped;
        text.split_off(skipped)
    }
}
