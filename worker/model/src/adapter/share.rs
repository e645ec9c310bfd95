//! Which rows of a batch have which adapter.

use weir_kernels::Share;

use super::{Adapter, Projection};
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

    /// The outputs of a batch, of those adapters that add to the head.
    pub(crate) fn outputs(batch: &Batch<'a>) -> Self {
        let mut adapted = Self::default();
        for (row, output) in (0..).zip(batch.outputs) {
            let before = |start: usize| start <= *output as usize;
            let starts = batch
                .sequences
                .partition_point(|sequence| before(sequence.start));
            let adapter = batch.sequences[..starts].iter().rev().find(|of| of.len > 0);
            if let Some(adapter) = adapter.and_then(|sequence| sequence.adapter)
                && adapter.head().is_some()
            {
                adapted.rows_of(adapter).push(row);
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
                delta.map(super::Delta::low_rank)
            }),
        });
        shares
            .filter(|share| share.adds.iter().any(Option::is_some))
            .collect()
    }

    /// What is added to the head.
    pub(crate) fn to_head(&self) -> Vec<Share<'_, 1>> {
        let shares = self.shares.iter().map(|share| Share {
            rows: &share.rows,
            adds: [share.adapter.head().map(super::Delta::low_rank)],
        });
        shares.collect()
    }
}
