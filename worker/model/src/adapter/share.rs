//! Which rows of a batch have which adapter.

use std::ops::Range;
use std::sync::Arc;

use weir_kernels::Share;

use super::{Adapter, Delta, Projection};
use crate::batch::Batch;

/// The rows of each adapter, in order of the first.
#[derive(Debug, Default)]
pub(crate) struct Adapted<'a> {
    shares: Vec<Rows<'a>>,
}

#[derive(Debug)]
struct Rows<'a> {
    adapter: &'a Adapter,
    rows: Vec<u32>,
}

impl<'a> Adapted<'a> {
    /// The tokens of a batch.
    pub(crate) fn tokens(batch: &Batch<'a>) -> Self {
        let mut adapted = Self::default();
        for sequence in batch.sequences {
            let tokens = sequence.start as u32..(sequence.start + sequence.len) as u32;
            if let Some(adapter) = sequence.adapter {
                adapted.rows_of(adapter).extend(tokens);
            }
        }
        adapted
    }

    fn rows_of(&mut self, adapter: &'a Adapter) -> &mut Vec<u32> {
        let mut found = self.shares.iter();
        let found = found.position(|share| std::ptr::eq(share.adapter, adapter));
        let at = found.unwrap_or(self.shares.len());
        if found.is_none() {
            self.shares.push(Rows {
                adapter,
                rows: Vec::new(),
            });
        }
        &mut self.shares[at].rows
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }

    /// What is added to several products of a layer that have the same input.
    pub(crate) fn to<const N: usize>(
        &self,
        layer: usize,
        projections: [Projection; N],
    ) -> Vec<Share<'_, N>> {
        let shares = self.shares.iter().map(|share| Share {
            rows: &share.rows,
            adds: projections.map(|projection| {
                let delta = share.adapter.delta(layer, projection);
                delta.map(Delta::low_rank)
            }),
        });
        shares
            .filter(|share| share.adds.iter().any(Option::is_some))
            .collect()
    }
}

/// What adapters add to the head over the tokens of the last pass. It is kept with the pass: logits
/// may be asked for when the batch is gone.
#[derive(Debug, Default)]
pub(crate) struct HeadDeltas(Vec<(Range<u32>, Arc<Delta>)>);

impl HeadDeltas {
    pub(crate) fn set(&mut self, batch: &Batch<'_>) {
        self.0.clear();
        self.0.extend(batch.sequences.iter().filter_map(|sequence| {
            let delta = sequence.adapter?.head()?.clone();
            let tokens = sequence.start as u32..(sequence.start + sequence.len) as u32;
            Some((tokens, delta))
        }));
    }

    /// The rows of these outputs that each adds to, in order of the first sequence that has it.
    pub(crate) fn rows(&self, outputs: &[u32]) -> Vec<(Vec<u32>, &Delta)> {
        let mut found: Vec<(Vec<u32>, &Arc<Delta>)> = Vec::new();
        for (row, output) in (0..).zip(outputs) {
            let delta = self.0.iter().find(|(tokens, _)| tokens.contains(output));
            let Some((_, delta)) = delta else { continue };
            match found
                .iter_mut()
                .find(|(_, other)| Arc::ptr_eq(other, delta))
            {
                Some((rows, _)) => rows.push(row),
                None => found.push((vec![row], delta)),
            }
        }
        let found = found.into_iter();
        found.map(|(rows, delta)| (rows, &**delta)).collect()
    }
}
