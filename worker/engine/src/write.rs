//! Writes one answer: picks a token from each row of logits and says when it is the last.
//!
//! Tokens that the answer's form forces are known without a step of their own: they are computed
//! together with the token before them, and each has its row and its evidence like any other.

use std::{collections::VecDeque, ops::Range};

use tokio::sync::mpsc::UnboundedSender;

use crate::{
    constraint::{ConstraintError, Mask},
    guide::{Guided, Part},
    random::uniform,
    request::{Begun, End, Marks, Outcome, Produced, Token, Told, Writing},
    row::Row,
};

pub(crate) struct Writer {
    writing: Writing,
    guided: Option<Guided>,
    /// What the tokens that are known and were not sent yet are part of.
    forced: VecDeque<(u32, Part)>,
    /// The first token of the prompt that is to be told and was not.
    untold: usize,
    /// Tokens of the answer that were sent, or produced before.
    written: usize,
    /// Tokens of the answer that may exist at most.
    most: usize,
    tx: UnboundedSender<Outcome>,
}

/// A token that is to be sent.
struct Picked<'a> {
    id: u32,
    part: Part,
    /// Those that were allowed, where not all were.
    mask: Option<&'a Mask>,
    forced: bool,
    over: bool,
}

impl Writer {
    /// `writing` leaves room in the context for at least one more token.
    pub fn new(begun: Begun, tx: UnboundedSender<Outcome>, context_tokens: usize) -> Self {
        let Begun {
            writing,
            guided,
            forced,
        } = begun;
        let (written, most) = (writing.produced.len(), writing.most_tokens(context_tokens));
        let mut forced = VecDeque::from(forced);
        forced.truncate(most - written);
        let untold = match writing.prompt_alternatives {
            // The first follows nothing.
            Some(_) => 1,
            None => writing.prompt.len(),
        };
        Self {
            writing,
            guided,
            forced,
            untold,
            written,
            most,
            tx,
        }
    }

    /// What is known at the beginning.
    pub fn tokens(&self) -> Vec<u32> {
        let forced: Vec<u32> = self.forced.iter().map(|(id, _)| *id).collect();
        [&self.writing.prompt[..], &self.writing.produced, &forced].concat()
    }

    /// How many tokens prompt and answer may have together.
    pub fn longest(&self) -> usize {
        self.writing.prompt.len() + self.most
    }

    pub fn is_cancelled(&self) -> bool {
        self.tx.is_closed()
    }

    /// Which of the positions of a chunk a row of logits is needed for: those from the last token
    /// on that was sent, or told.
    pub fn wanted(&self, positions: &Range<usize>) -> Range<usize> {
        let known = match self.untold < self.writing.prompt.len() {
            true => self.untold,
            false => self.writing.prompt.len() + self.written,
        };
        let last = known.saturating_sub(1);
        last.clamp(positions.start, positions.end)..positions.end
    }

    /// Takes the rows after positions from `first` on; sends the tokens of `tokens` that they speak
    /// of, and picks and sends one more where they reach the end. Gives the tokens that are known
    /// now; nothing where the answer is over, or where nobody listens any more.
    pub fn take(&mut self, tokens: &[u32], first: usize, rows: &[Row<'_>]) -> Option<Vec<u32>> {
        self.tell_prompt(tokens, first, rows)?;
        // Of those before, only the prompt's were asked for.
        let known = self.writing.prompt.len() + self.written;
        for (next, row) in (first + 1..).zip(rows) {
            if next < known {
                continue;
            }
            if next == tokens.len() {
                return self.go_on(tokens, row);
            }
            let (id, part) = self.forced.pop_front()?;
            debug_assert_eq!(id, tokens[next]);
            let picked = Picked {
                id,
                part,
                mask: None,
                forced: true,
                over: false,
            };
            if !self.send(picked, row) {
                return None;
            }
        }
        Some(Vec::new())
    }

    /// Sends the tokens of the prompt that the first of these rows speak of, where they were asked
    /// for. Nothing where nobody listens any more.
    fn tell_prompt(&mut self, tokens: &[u32], first: usize, rows: &[Row<'_>]) -> Option<()> {
        let Some(alternatives) = self.writing.prompt_alternatives else {
            return Some(());
        };
        let prompt = self.writing.prompt.len();
        // What was produced before, or is forced, follows the prompt in `tokens`.
        let told: Vec<Token> = tokens[..prompt]
            .iter()
            .skip(first + 1)
            .zip(rows)
            .map(|(id, row)| Token {
                id: *id,
                evidence: row.evidence(*id),
                marks: Marks::default(),
                alternatives: row.likeliest(alternatives),
            })
            .collect();
        if told.is_empty() {
            return Some(());
        }
        self.untold = first + 1 + told.len();
        self.tx.send(Ok(Told::Prompt(told))).ok()
    }

    fn go_on(&mut self, tokens: &[u32], row: &Row<'_>) -> Option<Vec<u32>> {
        if self.most == 0 {
            // Nobody needs to know where nobody listens.
            let _ = self.tx.send(Ok(Told::Read));
            return None;
        }
        match self.next(tokens, row) {
            Ok(known) => known,
            Err(error) => {
                // Nobody needs to know where nobody listens.
                let _ = self.tx.send(Err(error));
                None
            }
        }
    }

    /// Picks the token after `tokens`, sends it, and gives it with those that it forces.
    fn next(&mut self, tokens: &[u32], row: &Row<'_>) -> Result<Option<Vec<u32>>, ConstraintError> {
        let mask = match &mut self.guided {
            Some(guided) => guided.mask()?,
            None => None,
        };
        let id = self.pick(tokens, row, mask.as_ref());
        let mut picked = Picked {
            id,
            part: Part::Answer,
            mask: mask.as_ref(),
            forced: mask.as_ref().is_some_and(|mask| mask.count() == 1),
            over: false,
        };
        if self.writing.limits.ends.contains(&id) {
            picked.part = Part::Mark;
        } else if let Some(guided) = &mut self.guided {
            let accepted = guided.accept(id)?;
            picked.part = accepted.part;
            picked.over = accepted.over;
            self.forced = accepted.forced.into();
        }
        if !self.send(picked, row) {
            return Ok(None);
        }
        self.forced.truncate(self.most - self.written);
        let forced = self.forced.iter().map(|(id, _)| *id);
        Ok(Some(std::iter::once(id).chain(forced).collect()))
    }

    /// Whether more may come.
    fn send(&mut self, picked: Picked<'_>, row: &Row<'_>) -> bool {
        let Picked { id, part, mask, .. } = picked;
        self.written += 1;
        let ends = picked.over || self.writing.limits.ends.contains(&id);
        let end = if ends {
            Some(End::Stop)
        } else if self.written >= self.most {
            Some(End::Length)
        } else {
            None
        };
        let mut evidence = row.evidence(id);
        evidence.masked_logprob = match mask {
            Some(mask) => Some(row.masked_logprob(id, mask)),
            None => picked.forced.then_some(0.0),
        };
        let token = Token {
            id,
            evidence,
            marks: Marks {
                forced: picked.forced,
                ..Marks::default()
            },
            alternatives: row.likeliest(self.writing.alternatives),
        };
        let produced = Told::Produced(Produced { token, part, end });
        let heard = self.tx.send(Ok(produced)).is_ok();
        heard && end.is_none()
    }

    fn pick(&self, tokens: &[u32], row: &Row<'_>, mask: Option<&Mask>) -> u32 {
        let writing = &self.writing;
        let limits = &writing.limits;
        let banned: &[u32] = if self.written < limits.min_tokens {
            &limits.ends
        } else {
            &[]
        };
        let draw = uniform(writing.seed, writing.choice, self.written as u64);
        if writing.penalties.change_nothing() {
            return writing.sampling.pick(row.logits(), mask, banned, draw);
        }
        let mut logits = row.logits().to_vec();
        writing
            .penalties
            .apply(&mut logits, tokens, writing.prompt.len());
        writing.sampling.pick(&logits, mask, banned, draw)
    }
}
