//! How a load went: what was done, and how long each part of it took.

use std::time::{Duration, Instant};

use crate::packed_cache::Unfit;

/// Beside what [`ModelFacts`](crate::ModelFacts) say, which do not depend on how they came about.
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    pub phases: LoadPhases,
    /// How many weights were packed.
    pub packed: usize,
    /// How many were used as an earlier start had packed them.
    pub mapped: usize,
    /// Whether the digest was that of an earlier start, over files that have not changed since.
    pub digest_was_noted: bool,
    /// Why weights that an earlier start had packed were not used.
    pub unfit: Option<Unfit>,
}

/// How long the parts of a load took, in the order in which they begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadPhases {
    /// Config, tokenizer's digest, and the headers of the weights' files.
    pub open: Duration,
    /// On a thread of its own while weights are packed, unless the packed ones are looked for by it.
    pub digest: Duration,
    /// Mapping what an earlier start packed, and reading it once to see that it is whole.
    pub map: Duration,
    pub pack: Duration,
    /// Looking at every number that is used where its file is mapped.
    pub check: Duration,
    /// Norms and biases.
    pub vectors: Duration,
    /// From the first to the last, which is less than their sum where two ran side by side.
    pub all: Duration,
}

impl LoadPhases {
    pub fn each(&self) -> [(&'static str, Duration); 7] {
        [
            ("open", self.open),
            ("digest", self.digest),
            ("map", self.map),
            ("pack", self.pack),
            ("check", self.check),
            ("vectors", self.vectors),
            ("all", self.all),
        ]
    }
}

/// Runs from when it was started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn add_to(self, phase: &mut Duration) {
        *phase += self.0.elapsed();
    }
}
