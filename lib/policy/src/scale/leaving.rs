//! Which replica goes first when fewer are wanted: the one with least to lose.

use serde::{Deserialize, Serialize};

use crate::load::WorkerLoad;

/// A replica that may go, as far as is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    pub name: String,
    pub is_ready: bool,
    /// Sequences that it has in hand, running or waiting; nothing where it has not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequences: Option<u32>,
    /// Blocks of prompts that it remembers and no sequence holds.
    #[serde(default)]
    pub remembered_blocks: u32,
    /// How long it has been ready, or has been there without being so.
    pub age_ms: u64,
}

impl Candidate {
    /// By what it said last.
    pub fn of(name: String, is_ready: bool, load: Option<&WorkerLoad>, age_ms: u64) -> Self {
        // Blocks that no sequence holds are not told: what was found remembered of late stands for them.
        let remembered = load.map_or(0, |load| load.hit_tokens);
        Self {
            name,
            is_ready,
            sequences: load.map(|load| load.running.saturating_add(load.waiting)),
            remembered_blocks: u32::try_from(remembered).unwrap_or(u32::MAX),
            age_ms,
        }
    }
}

/// The names of `candidates`, who is to go first before all others.
///
/// One that is not ready serves nobody new, so it goes before any that is. Then fewest sequences: they are drained, and
/// each of them is waited for. Then least remembered, which others would have to compute again; then youngest. Of one
/// that is ready and has not said what it does, the most is feared.
pub fn least_to_lose(candidates: &[Candidate]) -> Vec<&str> {
    let mut order: Vec<&Candidate> = candidates.iter().collect();
    order.sort_by_key(|candidate| {
        let unknown = if candidate.is_ready { u32::MAX } else { 0 };
        (
            candidate.is_ready,
            candidate.sequences.unwrap_or(unknown),
            candidate.remembered_blocks,
            candidate.age_ms,
            &candidate.name,
        )
    });
    order.iter().map(|candidate| &*candidate.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(name: &str, sequences: u32, remembered_blocks: u32, age_ms: u64) -> Candidate {
        Candidate {
            name: name.into(),
            is_ready: true,
            sequences: Some(sequences),
            remembered_blocks,
            age_ms,
        }
    }

    #[test]
    fn the_replica_with_least_to_lose_goes_first() {
        let candidates = [
            ready("busy", 9, 0, 1),
            ready("remembers", 0, 500, 1),
            ready("old", 0, 10, 9000),
            ready("young", 0, 10, 100),
            Candidate {
                is_ready: false,
                sequences: Some(3),
                ..ready("starting", 0, 0, 5)
            },
            Candidate {
                sequences: None,
                ..ready("silent", 0, 0, 1)
            },
            Candidate {
                is_ready: false,
                sequences: None,
                ..ready("unheard", 0, 0, 1)
            },
        ];
        let expected = [
            "unheard",
            "starting",
            "young",
            "old",
            "remembers",
            "busy",
            "silent",
        ];
        assert_eq!(least_to_lose(&candidates), expected);
    }

    #[test]
    fn the_order_depends_on_no_order() {
        let mut candidates = [
            ready("a", 1, 1, 1),
            ready("b", 1, 1, 1),
            ready("c", 0, 9, 1),
        ];
        let order = least_to_lose(&candidates).join(" ");
        candidates.reverse();
        assert_eq!(least_to_lose(&candidates).join(" "), order);
    }
}
