//! Which tokens the next step computes, and who gives up blocks for them.

use std::ops::Range;

use super::{BatchPlan, Chunk, Schedule, Waiting};

impl Schedule {
    /// The next step, whose tokens have blocks from now on.
    ///
    /// Where there is no room for a single token of a sequence, those that began after it are
    /// preempted, the last first. One that nobody began after waits for room.
    pub fn plan(&mut self) -> BatchPlan {
        let counts = self.share_out();
        let mut plan = BatchPlan::default();
        let mut index = 0;
        // Who is preempted began after the one at `index`, and has no chunk yet.
        while index < self.running.len() {
            let positions = self.make_room(index, counts[index]);
            if !positions.is_empty() {
                let sequence = &mut self.running[index];
                self.pool.cover(&mut sequence.blocks, &positions);
                plan.chunks.push(Chunk {
                    sequence: sequence.id,
                    positions,
                });
            }
            index += 1;
        }
        plan
    }

    /// How many tokens of the step each running sequence may have: one for each that writes, so that
    /// all of them move on, and the others for whoever has more to compute, first begun first.
    fn share_out(&self) -> Vec<usize> {
        let writing = self.running.iter().filter(|running| running.writes());
        let mut room = self.limits.step_tokens - writing.count();
        let counts = self.running.iter().map(|running| {
            let own = usize::from(running.writes());
            let more = (running.left() - own).min(room);
            room -= more;
            own + more
        });
        counts.collect()
    }

    /// The next tokens of a sequence, at most `count`, for which there is room now.
    fn make_room(&mut self, index: usize, count: usize) -> Range<usize> {
        loop {
            let sequence = &mut self.running[index];
            let start = sequence.computed;
            let wanted = start..start + count;
            let room = match count {
                0 => 0,
                _ => self.pool.room(&mut sequence.blocks, &wanted),
            };
            if room > 0 || count == 0 || index + 1 == self.running.len() {
                debug_assert!(
                    room > 0 || count == 0 || index > 0,
                    "one sequence alone has room"
                );
                return start..start + room;
            }
            self.preempt_last();
        }
    }

    /// Takes the blocks of the sequence that began last. It computes again what is known of it, or
    /// finds that where nobody used the blocks meanwhile.
    fn preempt_last(&mut self) {
        let Some(last) = self.running.pop() else {
            return;
        };
        self.preempted.push_front(Waiting {
            id: last.id,
            tenant: last.tenant,
            known: last.known,
            // What was computed has been used.
            needed: last.needed.max(last.computed),
            extent: last.blocks.extent(),
            chain: last.chain,
        });
        self.pool.give_back(last.blocks);
        self.counts.preemptions += 1;
    }
}
