//! An answer as its reader sees it: tokens as they come, and what is safe to show.
//!
//! Runs in the reader's task: the model thread never sees text. Resuming replays what was produced
//! before, so that what follows is the same as if it had been written here from the start.

use std::collections::VecDeque;

use thiserror::Error;
use tokio::sync::{mpsc::UnboundedReceiver, oneshot};
use weir_model::{TokenizeError, Tokenizer};

use crate::{
    constraint::ConstraintError,
    guide::Part,
    request::{End, Outcome, Produced, Token, Told, Writing},
    screen::{Screen, Shown},
};

/// How tokens become text.
#[derive(Debug, Clone)]
pub struct Showing {
    pub tokenizer: Tokenizer,
    pub stop: Vec<String>,
    /// How much was shown before, of thinking, text and calls together; only with tokens produced
    /// before.
    pub shown_bytes: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Tokens of the prompt from its second on, where they were asked for, before any other.
    Prompt(Vec<Token>),
    /// Tokens that exist now, and what is safe to show now. Either may be empty, and they need not
    /// belong together.
    Tokens {
        tokens: Vec<Token>,
        shown: Vec<Shown>,
    },
    /// Always last.
    Finished {
        end: End,
        /// The stop string that ended the answer, if one did.
        stop: Option<String>,
        /// Tokens of the whole answer, those produced before included.
        completion_tokens: usize,
        /// The answer calls a tool.
        called: bool,
    },
}

/// Why an answer broke off.
#[derive(Debug, Error)]
pub enum Interrupted {
    #[error("the model thread has ended")]
    Ended,
    #[error("turn tokens into text")]
    Text(#[source] TokenizeError),
    #[error("hold the answer to its form")]
    Form(#[source] ConstraintError),
}

#[derive(Debug)]
pub struct Answer {
    source: UnboundedReceiver<Outcome>,
    /// Until it is known how many tokens were found computed.
    begun: Option<oneshot::Receiver<usize>>,
    cached_tokens: usize,
    prompt_tokens: usize,
    screen: Screen,
    completion_tokens: usize,
    ready: VecDeque<Event>,
    finished: bool,
}

impl Answer {
    /// Says also whether what was produced before, with what each token of it is part of, is the
    /// whole answer already.
    pub(crate) fn new(
        writing: &Writing,
        parts: &[Part],
        showing: Showing,
        most_tokens: usize,
        (source, begun): (UnboundedReceiver<Outcome>, oneshot::Receiver<usize>),
    ) -> Result<(Self, bool), Interrupted> {
        let json = writing.guide.form.as_ref().is_some_and(|f| f.is_json());
        let calls = writing.guide.calls.as_ref();
        let written = calls.map(|calls| calls.written.clone()).unwrap_or_default();
        let Showing {
            tokenizer,
            stop,
            shown_bytes,
        } = showing;
        let mut answer = Self {
            source,
            begun: Some(begun),
            cached_tokens: 0,
            prompt_tokens: writing.prompt.len(),
            screen: Screen::new(&tokenizer, stop, json, shown_bytes).calling(written),
            completion_tokens: 0,
            ready: VecDeque::new(),
            finished: false,
        };
        let mut replayed = Vec::new();
        for (id, part) in writing.produced.iter().zip(parts) {
            let (end, part) = if writing.limits.ends.contains(id) {
                (Some(End::Stop), Part::Mark)
            } else if answer.completion_tokens + 1 >= most_tokens {
                (Some(End::Length), *part)
            } else {
                (None, *part)
            };
            replayed.extend(answer.advance(*id, part, end)?.0);
            if answer.finished {
                break;
            }
        }
        if !replayed.is_empty() {
            answer.ready.push_front(Event::Tokens {
                tokens: Vec::new(),
                shown: replayed,
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
        let event = match self.source.recv().await {
            Some(Ok(Told::Produced(produced))) => self.take(produced),
            Some(Ok(Told::Prompt(tokens))) => Ok(Event::Prompt(tokens)),
            Some(Ok(Told::Read)) => Ok(self.read()),
            Some(Err(error)) => Err(Interrupted::Form(error)),
            None => Err(Interrupted::Ended),
        };
        self.finished |= event.is_err();
        if self.finished {
            // From here on nobody needs what the model thread may still be writing.
            self.source.close();
        }
        Some(event)
    }

    fn take(&mut self, produced: Produced) -> Result<Event, Interrupted> {
        let Produced {
            mut token,
            part,
            end,
        } = produced;
        let (shown, value) = self.advance(token.id, part, end)?;
        token.marks.value = value;
        token.marks.thinking = part == Part::Thinking;
        Ok(Event::Tokens {
            tokens: vec![token],
            shown,
        })
    }

    /// The end of an answer without a token.
    fn read(&mut self) -> Event {
        self.finished = true;
        Event::Finished {
            end: End::Length,
            stop: None,
            completion_tokens: self.completion_tokens,
            called: false,
        }
    }

    /// Counts one token: gives what may be shown and whether the token is a value, and queues the
    /// finish if it was the last.
    fn advance(
        &mut self,
        id: u32,
        part: Part,
        end: Option<End>,
    ) -> Result<(Vec<Shown>, bool), Interrupted> {
        self.completion_tokens += 1;
        let turned = self.screen.push(id, part, end.is_some());
        let turned = turned.map_err(Interrupted::Text)?;
        let end = if turned.stop.is_some() {
            Some(End::Stop)
        } else {
            end
        };
        if let Some(end) = end {
            self.finished = true;
            self.ready.push_back(Event::Finished {
                end,
                stop: turned.stop,
                completion_tokens: self.completion_tokens,
                called: self.screen.has_called(),
            });
        }
        Ok((turned.shown, turned.value))
    }
}
