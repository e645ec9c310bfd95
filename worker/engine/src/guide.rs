//! What an answer is made of: thinking, text, calls of tools; and which of it must have a form.
//!
//! The same tokens always lead to the same place, so an answer that is taken up elsewhere is guided
//! on as if it had been begun there.

use weir_model::Tokenizer;

use crate::{
    call_reader::Written,
    constraint::{Constraint, ConstraintError, Mask, Masks, Matching},
    thinking::{Left, Thinking, is_blank},
};

/// How to guide one answer. The default lets the model write what it will.
#[derive(Debug, Clone, Default)]
pub struct Guide {
    pub thinking: Option<Thinking>,
    /// What the text of the answer must look like.
    pub form: Option<Constraint>,
    pub calls: Option<Calls>,
}

impl Guide {
    /// Whether there is nothing to guide.
    pub(crate) fn is_idle(&self) -> bool {
        self.thinking.is_none() && self.form.is_none() && self.calls.is_none()
    }
}

/// Tools that the model may call.
#[derive(Debug, Clone)]
pub struct Calls {
    /// What calls look like, from the token or bracket on that begins them.
    pub form: Constraint,
    pub begin: Begin,
    pub written: Written,
    /// The answer is calls and nothing else.
    pub required: bool,
}

/// How a model begins to call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// With this token, at any place of the answer.
    Token(u32),
    /// With a bracket, where the answer begins.
    Bracket,
}

/// What a token is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Thinking,
    Answer,
    Call,
    /// It parts the others and has no text.
    Mark,
}

/// One answer on its way.
pub(crate) struct Guided {
    guide: Guide,
    phase: Phase,
    bound: Option<Bound>,
    tokenizer: Tokenizer,
    masks: Masks,
}

/// An answer on its way, what each token that was produced before is part of, and what must follow.
pub(crate) type Guidance = (Guided, Vec<Part>, Vec<(u32, Part)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The model may begin to think.
    Undecided,
    Thinking,
    /// The answer has not begun.
    Ahead,
    Within,
}

/// The form that the answer is held to now.
struct Bound {
    matching: Matching,
    part: Part,
    /// Only an end may follow.
    over: bool,
}

/// What a token led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub part: Part,
    /// What must follow, with what it is part of.
    pub forced: Vec<(u32, Part)>,
    /// Nothing can follow, not even an ending token.
    pub over: bool,
}

impl Guided {
    /// Guided over the tokens `produced` before: says what each of them is part of, and what must
    /// follow.
    pub fn new(
        guide: Guide,
        tokenizer: Tokenizer,
        masks: Masks,
        produced: &[u32],
    ) -> Result<Guidance, ConstraintError> {
        let phase = match guide.thinking.map(|thinking| thinking.left) {
            Some(Left::Undecided) => Phase::Undecided,
            Some(Left::Open) => Phase::Thinking,
            Some(Left::Closed) | None => Phase::Ahead,
        };
        let mut guided = Self {
            guide,
            phase,
            bound: None,
            tokenizer,
            masks,
        };
        if phase != Phase::Thinking {
            guided.bind();
        }
        let mut parts = Vec::with_capacity(produced.len());
        for id in produced {
            parts.push(guided.step(*id)?);
        }
        let forced = guided.force()?;
        Ok((guided, parts, forced))
    }

    /// Takes the next token, and those that it forces; then has the next mask computed.
    pub fn accept(&mut self, id: u32) -> Result<Accepted, ConstraintError> {
        if let Some(bound) = &self.bound
            && bound.over
        {
            // An end that the request does not take for one.
            return Ok(Accepted {
                part: Part::Mark,
                forced: Vec::new(),
                over: true,
            });
        }
        let part = self.step(id)?;
        let forced = self.force()?;
        let over = self.bound.as_ref().is_some_and(|bound| bound.over);
        Ok(Accepted {
            part,
            forced,
            over: over && self.tokenizer.ends().is_empty(),
        })
    }

    /// The tokens that may come next, where not all may.
    pub fn mask(&mut self) -> Result<Option<Mask>, ConstraintError> {
        let also = self.also();
        let Some(bound) = &mut self.bound else {
            return Ok(None);
        };
        let mut mask = bound.matching.mask()?;
        also.into_iter().for_each(|id| mask.allow(id));
        if mask.count() == 0 {
            return Err(ConstraintError::Stuck);
        }
        Ok(Some(mask))
    }

    /// What an answer that is not held to its form yet is held to now.
    fn bind(&mut self) {
        let calls = self.guide.calls.as_ref();
        let required = calls.filter(|calls| calls.required);
        let (form, part) = match (required, &self.guide.form) {
            (Some(calls), _) => (calls.form.clone(), Part::Call),
            (None, Some(form)) => (form.clone(), Part::Answer),
            (None, None) => return,
        };
        self.bind_to(form, part);
    }

    fn bind_to(&mut self, form: Constraint, part: Part) {
        self.bound = Some(Bound {
            matching: Matching::new(form, self.masks.clone()),
            part,
            over: false,
        });
    }

    /// Tokens that lead elsewhere than the form that the answer would be held to.
    fn also(&self) -> Vec<u32> {
        let think = self
            .guide
            .thinking
            .filter(|_| self.phase == Phase::Undecided)
            .map(|thinking| thinking.open);
        let call = self
            .begin_token()
            .filter(|_| matches!(self.phase, Phase::Undecided | Phase::Ahead));
        think.into_iter().chain(call).collect()
    }

    /// The token with which the model may begin to call.
    fn begin_token(&self) -> Option<u32> {
        match self.guide.calls.as_ref()? {
            Calls {
                begin: Begin::Token(id),
                required: false,
                ..
            } => Some(*id),
            _ => None,
        }
    }

    fn step(&mut self, id: u32) -> Result<Part, ConstraintError> {
        let thinking = self.guide.thinking;
        match self.phase {
            Phase::Undecided if thinking.is_some_and(|thinking| thinking.open == id) => {
                self.phase = Phase::Thinking;
                self.bound = None;
                Ok(Part::Mark)
            }
            Phase::Thinking if thinking.is_some_and(|thinking| thinking.close == id) => {
                self.phase = Phase::Ahead;
                self.bind();
                Ok(Part::Mark)
            }
            Phase::Thinking => Ok(Part::Thinking),
            Phase::Undecided | Phase::Ahead | Phase::Within => self.answer(id),
        }
    }

    fn answer(&mut self, id: u32) -> Result<Part, ConstraintError> {
        let ahead = self.phase != Phase::Within;
        let calling = self.bound.as_ref().is_some_and(|b| b.part == Part::Call);
        let free = self.bound.is_none();
        if self.begin_token() == Some(id) && !calling && (ahead || free) {
            return self.call(id);
        }
        if let Some(bound) = &mut self.bound {
            self.phase = Phase::Within;
            bound.take(id)?;
            return Ok(bound.part);
        }
        if ahead && !is_blank(&self.tokenizer, id) {
            self.phase = Phase::Within;
            return self.bracket(id);
        }
        Ok(Part::Answer)
    }

    /// The token that begins calls.
    fn call(&mut self, id: u32) -> Result<Part, ConstraintError> {
        if let Some(calls) = &self.guide.calls {
            self.phase = Phase::Within;
            self.bind_to(calls.form.clone(), Part::Call);
        }
        if let Some(bound) = &mut self.bound {
            bound.take(id)?;
        }
        Ok(Part::Mark)
    }

    /// The first token of an answer that is held to nothing: a call, if it begins as one.
    fn bracket(&mut self, id: u32) -> Result<Part, ConstraintError> {
        let begins = self
            .guide
            .calls
            .as_ref()
            .filter(|calls| calls.begin == Begin::Bracket);
        let Some(calls) = begins else {
            return Ok(Part::Answer);
        };
        let mut matching = Matching::new(calls.form.clone(), self.masks.clone());
        if !matching.accepts(id)? {
            return Ok(Part::Answer);
        }
        let over = matching.is_over()?;
        self.bound = Some(Bound {
            matching,
            part: Part::Call,
            over,
        });
        Ok(Part::Call)
    }

    /// Takes what must follow, if no other way is open; then has the next mask computed.
    fn force(&mut self) -> Result<Vec<(u32, Part)>, ConstraintError> {
        let open = !self.also().is_empty();
        let Some(bound) = &mut self.bound else {
            return Ok(Vec::new());
        };
        let mut forced = Vec::new();
        if !open && !bound.over {
            forced = bound.matching.forced()?;
            bound.over = bound.matching.is_over()?;
            if !forced.is_empty() {
                self.phase = Phase::Within;
            }
        }
        bound.matching.ask();
        let part = bound.part;
        Ok(forced.into_iter().map(|id| (id, part)).collect())
    }
}

impl Bound {
    fn take(&mut self, id: u32) -> Result<(), ConstraintError> {
        self.matching.accept(id)?;
        self.over = self.matching.is_over()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
