//! The forward pass: one for every family, over packed tokens of any number of sequences.

use weir_kernels::attention::{Query, Scores, attend};
use weir_kernels::{Cpu, matmul, rms_norm, rotate_halves, silu_times};

use crate::batch::{Batch, Logits};
use crate::kv::KvCache;
use crate::layers::{Attention, FeedForward, Layer, Linear};
use crate::rope::Angles;
use crate::spec::DecoderSpec;
use crate::weights::Tensor;

/// Weights in their places.
#[derive(Debug)]
pub(crate) struct Decoder {
    pub(crate) spec: DecoderSpec,
    pub(crate) embedding: Tensor,
    pub(crate) layers: Vec<Layer>,
    pub(crate) norm: Vec<f32>,
    /// None where the embedding is the head.
    pub(crate) head: Option<Tensor>,
    pub(crate) frequencies: Vec<f32>,
}

/// Activations, one row per token; the memory is kept from pass to pass.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    angles: Angles,
    /// The residual stream.
    stream: Vec<f32>,
    normed: Vec<f32>,
    /// What a layer adds to the stream.
    added: Vec<f32>,
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    attended: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
}

/// One pass: what is the same for all its layers.
struct Pass<'a> {
    cpu: &'a Cpu,
    spec: &'a DecoderSpec,
    rows: &'a [Query<'a>],
    slots: &'a [u32],
}

impl Decoder {
    /// The batch has been checked against the model and the cache.
    pub(crate) fn forward(
        &self,
        cpu: &Cpu,
        (batch, cache): (&Batch<'_>, &mut KvCache),
        scratch: &mut Scratch,
        logits: &mut Logits,
    ) {
        let rows = queries(batch);
        let pass = Pass {
            cpu,
            spec: &self.spec,
            rows: &rows,
            slots: batch.slots,
        };
        scratch.angles.set(batch.positions, &self.frequencies);
        self.embed(batch.tokens, &mut scratch.stream);
        for (index, layer) in self.layers.iter().enumerate() {
            pass.attention(&layer.attention, (index, cache), scratch);
            add(&mut scratch.stream, &scratch.added);
            pass.feed_forward(&layer.feed_forward, scratch);
            add(&mut scratch.stream, &scratch.added);
        }
        self.head(cpu, batch.outputs, scratch, logits);
    }

    fn embed(&self, tokens: &[u32], stream: &mut Vec<f32>) {
        let embedding = self.embedding.matrix();
        stream.resize(tokens.len() * self.spec.hidden, 0.0);
        for (&token, row) in tokens.iter().zip(stream.chunks_exact_mut(self.spec.hidden)) {
            embedding.copy_row(token as usize, row);
        }
    }

    fn head(&self, cpu: &Cpu, outputs: &[u32], scratch: &mut Scratch, logits: &mut Logits) {
        let hidden = self.spec.hidden;
        let Scratch {
            stream,
            normed,
            added: last,
            ..
        } = scratch;
        last.clear();
        for &output in outputs {
            last.extend_from_slice(&stream[output as usize * hidden..][..hidden]);
        }
        normed.resize(last.len(), 0.0);
        rms_norm(cpu, last, &self.norm, self.spec.norm_epsilon, normed);
        logits.vocabulary = self.spec.vocabulary;
        logits
            .values
            .resize(outputs.len() * self.spec.vocabulary, 0.0);
        let head = self.head.as_ref().unwrap_or(&self.embedding);
        matmul(cpu, normed, head.matrix(), &mut logits.values);
    }
}

impl Pass<'_> {
    /// From the stream to `added`, by way of the cache.
    fn attention(
        &self,
        weights: &Attention,
        (layer, cache): (usize, &mut KvCache),
        scratch: &mut Scratch,
    ) {
        let Self { cpu, spec, .. } = *self;
        self.normalise(&weights.norm, scratch);
        self.project(&weights.query, &scratch.normed, &mut scratch.queries);
        self.project(&weights.key, &scratch.normed, &mut scratch.keys);
        self.project(&weights.value, &scratch.normed, &mut scratch.values);
        let angles = (&scratch.angles.cosines[..], &scratch.angles.sines[..]);
        rotate_halves(cpu, &mut scratch.queries, spec.head_dim, angles);
        rotate_halves(cpu, &mut scratch.keys, spec.head_dim, angles);
        cache.store(layer, self.slots, &scratch.keys, &scratch.values);
        scratch.attended.resize(scratch.queries.len(), 0.0);
        attend(
            cpu,
            (&scratch.queries, Scores::scaled(spec.attention_scale())),
            self.rows,
            cache.layer(layer),
            &mut scratch.attended,
        );
        self.project(&weights.output, &scratch.attended, &mut scratch.added);
    }

    /// From the stream to `added`.
    fn feed_forward(&self, weights: &FeedForward, scratch: &mut Scratch) {
        self.normalise(&weights.norm, scratch);
        self.project(&weights.gate, &scratch.normed, &mut scratch.gate);
        self.project(&weights.up, &scratch.normed, &mut scratch.up);
        silu_times(self.cpu, &mut scratch.gate, &scratch.up);
        self.project(&weights.down, &scratch.gate, &mut scratch.added);
    }

    fn normalise(&self, weight: &[f32], scratch: &mut Scratch) {
        scratch.normed.resize(scratch.stream.len(), 0.0);
        let epsilon = self.spec.norm_epsilon;
        rms_norm(
            self.cpu,
            &scratch.stream,
            weight,
            epsilon,
            &mut scratch.normed,
        );
    }

    fn project(&self, linear: &Linear, input: &[f32], output: &mut Vec<f32>) {
        let weight = linear.weight.matrix();
        output.resize(self.rows.len() * weight.rows(), 0.0);
        matmul(self.cpu, input, weight, output);
        if let Some(bias) = &linear.bias {
            for row in output.chunks_exact_mut(bias.len()) {
                add(row, bias);
            }
        }
    }
}

/// Each token, and the blocks of its sequence.
fn queries<'a>(batch: &Batch<'a>) -> Vec<Query<'a>> {
    let tables = batch
        .sequences
        .iter()
        .flat_map(|sequence| std::iter::repeat_n(sequence.block_table, sequence.len));
    batch
        .positions
        .iter()
        .zip(tables)
        .map(|(&position, block_table)| Query {
            position: position as usize,
            block_table,
        })
        .collect()
}

fn add(to: &mut [f32], what: &[f32]) {
    for (to, what) in to.iter_mut().zip(what) {
        *to += what;
    }
}
