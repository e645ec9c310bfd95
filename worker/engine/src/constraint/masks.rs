//! Computes masks beside the forward pass, on a thread of its own.
//!
//! A matcher travels there and comes back with its mask, so that it is only ever in one place.

use std::{io, sync::mpsc, thread};

use llguidance::{Matcher, toktrie::SimpleVob};

/// Grammars nest, and the library walks into them.
const STACK_BYTES: usize = 16 << 20;

/// The way to the thread, which ends with the last of them.
#[derive(Debug, Clone)]
pub(crate) struct Masks(mpsc::Sender<Job>);

pub(super) struct Job {
    pub matcher: Box<Matcher>,
    pub back: mpsc::SyncSender<Done>,
}

pub(super) struct Done {
    pub matcher: Box<Matcher>,
    pub mask: Result<SimpleVob, String>,
}

impl Masks {
    pub fn start() -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        thread::Builder::new()
            .name("weir-masks".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                for Job { mut matcher, back } in inbox {
                    let mask = compute(&mut matcher);
                    // Nobody waits where the sequence was cancelled.
                    let _ = back.send(Done { matcher, mask });
                }
            })?;
        Ok(Self(jobs))
    }

    pub(super) fn send(&self, job: Job) {
        // It ends after the last sender: a failure would show where the mask is waited for.
        let _ = self.0.send(job);
    }
}

pub(super) fn compute(matcher: &mut Matcher) -> Result<SimpleVob, String> {
    matcher
        .compute_mask_or_eos()
        .map_err(|error| error.to_string())
}
