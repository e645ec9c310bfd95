//! What a provider would charge for what it has answered, in tokens: a test holds it against what its sender
//! thinks it has spent.

use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// All chats and messages since the start whose answer was begun, also where it broke off: of these all that it
/// was to be.
#[derive(Debug, Default)]
pub(crate) struct Bill(Mutex<Charged>);

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Charged {
    answers: u64,
    input_tokens: u64,
    output_tokens: u64,
}

impl Bill {
    pub(crate) fn charge(&self, input_tokens: u64, output_tokens: u64) {
        let mut charged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        charged.answers += 1;
        charged.input_tokens += input_tokens;
        charged.output_tokens += output_tokens;
    }

    pub(crate) fn read(&self) -> Charged {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
