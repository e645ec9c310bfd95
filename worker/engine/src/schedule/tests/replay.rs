//! The same calls give the same plans.

use proptest::prelude::*;

use super::{
    random::{Run, World, world},
    *,
};
use crate::schedule::admission::Begun;

/// What a schedule was asked, and what it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Call {
    Add {
        id: SequenceId,
        tenant: Tenant,
        seed: Key,
        tokens: Vec<u32>,
        needed: usize,
        extent: Extent,
    },
    Admit(Vec<Begun>),
    Plan(BatchPlan),
    Computed(Chunk),
    Extend(SequenceId, u32),
    Branch(SequenceId, usize),
    Remove(SequenceId),
}

/// A schedule, and all that it was asked.
pub struct Record {
    pub schedule: Schedule,
    calls: Vec<Call>,
}

impl Record {
    pub fn new(world: &World) -> Self {
        Self {
            schedule: Schedule::new(world.limits, world.layout, world.blocks),
            calls: Vec::new(),
        }
    }

    pub fn add(&mut self, arrival: Arrival<'_>) {
        self.calls.push(Call::Add {
            id: arrival.id,
            tenant: arrival.tenant,
            seed: arrival.seed,
            tokens: arrival.tokens.to_vec(),
            needed: arrival.needed,
            extent: arrival.extent,
        });
        self.schedule.add(arrival);
    }

    pub fn admit(&mut self) {
        let begun = self.schedule.admit();
        self.calls.push(Call::Admit(begun));
    }

    pub fn plan(&mut self) -> BatchPlan {
        let plan = self.schedule.plan();
        self.calls.push(Call::Plan(plan.clone()));
        plan
    }

    pub fn computed(&mut self, chunk: &Chunk) {
        self.schedule.computed(chunk);
        self.calls.push(Call::Computed(chunk.clone()));
    }

    pub fn extend(&mut self, id: SequenceId, token: u32) {
        self.schedule.extend(id, token);
        self.calls.push(Call::Extend(id, token));
    }

    pub fn branch(&mut self, id: SequenceId, known: usize) {
        self.schedule.branch(id, known);
        self.calls.push(Call::Branch(id, known));
    }

    pub fn remove(&mut self, id: SequenceId) {
        self.schedule.remove(id);
        self.calls.push(Call::Remove(id));
    }

    /// Asks a new schedule the same.
    fn replay(calls: &[Call], world: &World) -> Vec<Call> {
        let mut again = Self::new(world);
        for call in calls {
            match call {
                Call::Add {
                    id,
                    tenant,
                    seed,
                    tokens,
                    needed,
                    extent,
                } => again.add(Arrival {
                    id: *id,
                    tenant: *tenant,
                    seed: *seed,
                    tokens,
                    needed: *needed,
                    extent: *extent,
                }),
                Call::Admit(_) => again.admit(),
                Call::Plan(_) => drop(again.plan()),
                Call::Computed(chunk) => again.computed(chunk),
                Call::Extend(id, token) => again.extend(*id, *token),
                Call::Branch(id, known) => again.branch(*id, *known),
                Call::Remove(id) => again.remove(*id),
            }
        }
        again.calls
    }
}

proptest! {
    #[test]
    fn what_was_recorded_gives_the_same_plans_again(world in world()) {
        let record = Run::new(&world).all().record;
        prop_assert_eq!(&Record::replay(&record.calls, &world), &record.calls);
    }
}
