//! How far one answer has come in its form.

use std::sync::mpsc::{Receiver, sync_channel};

use llguidance::{Matcher, toktrie::SimpleVob};

use super::{
    compile::{Constraint, ConstraintError},
    mask::Mask,
    masks::{Done, Job, Masks, compute},
};

pub(crate) struct Matching {
    constraint: Constraint,
    place: Place,
    masks: Masks,
}

/// Where the matcher is.
enum Place {
    Here(Box<Matcher>),
    /// Its mask is being computed.
    Away(Receiver<Done>),
    Lost,
}

impl Matching {
    pub fn new(constraint: Constraint, masks: Masks) -> Self {
        Self {
            place: Place::Here(Box::new(constraint.matcher())),
            constraint,
            masks,
        }
    }

    /// Takes the next token. One that the form does not allow is an error, after which the form is
    /// lost.
    pub fn accept(&mut self, id: u32) -> Result<(), ConstraintError> {
        let accepted = self.matcher()?.consume_token(id);
        accepted.map_err(ConstraintError::broken)
    }

    /// Takes the next token if the form allows it.
    pub fn accepts(&mut self, id: u32) -> Result<bool, ConstraintError> {
        let taken = self.matcher()?.try_consume_tokens(&[id]);
        taken
            .map(|taken| taken == 1)
            .map_err(ConstraintError::broken)
    }

    /// The tokens that must come next, taken.
    pub fn forced(&mut self) -> Result<Vec<u32>, ConstraintError> {
        let matcher = self.matcher()?;
        let forced = matcher.consume_ff_tokens();
        match matcher.get_error() {
            Some(error) => Err(ConstraintError::broken(error)),
            None => Ok(forced),
        }
    }

    /// Whether nothing can follow.
    pub fn is_over(&mut self) -> Result<bool, ConstraintError> {
        Ok(self.matcher()?.is_stopped())
    }

    /// Has the next mask computed beside what the caller does meanwhile.
    pub fn ask(&mut self) {
        let Place::Here(matcher) = std::mem::replace(&mut self.place, Place::Lost) else {
            return;
        };
        let (back, done) = sync_channel(1);
        self.masks.send(Job { matcher, back });
        self.place = Place::Away(done);
    }

    /// The tokens that may come next, those that end an answer among them where it may end.
    pub fn mask(&mut self) -> Result<Mask, ConstraintError> {
        let mask = match self.come_back()? {
            Some(mask) => mask,
            None => compute(self.matcher()?),
        };
        let mut mask = mask.map_err(ConstraintError::broken)?;
        mask.and(self.constraint.known());
        Ok(Mask::new(mask))
    }

    fn matcher(&mut self) -> Result<&mut Matcher, ConstraintError> {
        self.come_back()?;
        match &mut self.place {
            Place::Here(matcher) => Ok(matcher),
            Place::Away(_) | Place::Lost => Err(ConstraintError::Lost),
        }
    }

    /// Waits for the matcher where it is away, and gives the mask that it comes back with.
    fn come_back(&mut self) -> Result<Option<Result<SimpleVob, String>>, ConstraintError> {
        let Place::Away(done) = &self.place else {
            return Ok(None);
        };
        let done = done.recv();
        self.place = Place::Lost;
        let Done { matcher, mask } = done.map_err(|_| ConstraintError::Lost)?;
        self.place = Place::Here(matcher);
        Ok(Some(mask))
    }
}
