//! The forward pass: one for every family, over packed tokens of any number of sequences.

use weir_kernels::attention::{Partials, Query, Scores, attend};
use weir_kernels::packed::{QuantizedRows, matmul_packed_many};
use weir_kernels::{
    Cpu, Finish, LowRankScratch, NarrowedRows, Share, add_low_rank, finish_rows, gelu_tanh_times,
    matmul_many, rms_norm, rotate_first_halves, silu_times,
};

use crate::adapter::{Adapted, HeadDeltas, Projection};
use crate::batch::{Batch, Logits};
use crate::groups::{Group, Groups};
use crate::kv::KvCache;
use crate::layers::{Attention, FeedForward, Layer, Linear};
use crate::rope::Angles;
use crate::spec::{Activation, DecoderSpec, LayerSpec};
use crate::weight::Weight;

/// Weights in their places.
#[derive(Debug)]
pub(crate) struct Decoder {
    pub(crate) spec: DecoderSpec,
    pub(crate) embedding: Weight,
    pub(crate) layers: Vec<Layer>,
    pub(crate) norm: Vec<f32>,
    /// None where the embedding is the head.
    pub(crate) head: Option<Weight>,
    /// Of each rope.
    pub(crate) frequencies: Vec<Vec<f32>>,
}

/// Activations, one row per token; the memory is kept from pass to pass.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Of each rope.
    angles: Vec<Angles>,
    /// The residual stream.
    stream: Vec<f32>,
    normed: Vec<f32>,
    rounded: Rounded,
    /// What a layer adds to the stream.
    added: Vec<f32>,
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    attended: Vec<f32>,
    partials: Partials,
    gate: Vec<f32>,
    up: Vec<f32>,
    head_deltas: HeadDeltas,
}

/// Rows as some weights want them.
#[derive(Debug, Default)]
struct Rounded {
    /// To eight bits, for weights that are packed.
    quantized: QuantizedRows,
    /// To bf16, for weights that are.
    narrowed: NarrowedRows,
    /// One adapter's together.
    adapted: LowRankScratch,
}

/// One pass: what is the same for all its layers.
struct Pass<'a> {
    cpu: &'a Cpu,
    spec: &'a DecoderSpec,
    rows: Groups<&'a [Query<'a>]>,
    slots: Groups<&'a [u32]>,
    adapted: Adapted<'a>,
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
        let rows = Groups::each(|group| queries(batch, group));
        let pass = Pass {
            cpu,
            spec: &self.spec,
            rows: Groups::each(|group| &rows.of(group)[..]),
            slots: batch.slots,
            adapted: Adapted::tokens(batch),
        };
        self.turn(batch.positions, &mut scratch.angles);
        self.embed(batch.tokens, &mut scratch.stream);
        for (index, layer) in self.layers.iter().enumerate() {
            pass.attention(&layer.attention, (index, cache), scratch);
            pass.join(layer.attention.norm_after.as_deref(), scratch);
            pass.feed_forward((index, &layer.feed_forward), scratch);
            pass.join(layer.feed_forward.norm_after.as_deref(), scratch);
        }
        scratch.head_deltas.set(batch);
        self.head(cpu, batch.outputs, scratch, logits);
    }

    /// The angles of the batch's positions, for each rope.
    fn turn(&self, positions: &[u32], angles: &mut Vec<Angles>) {
        angles.resize_with(self.spec.ropes.len(), Angles::default);
        let ropes = self.spec.ropes.iter().zip(&self.frequencies);
        for (angles, (rope, frequencies)) in angles.iter_mut().zip(ropes) {
            angles.set(positions, frequencies, rope.magnitude());
        }
    }

    fn embed(&self, tokens: &[u32], stream: &mut Vec<f32>) {
        stream.resize(tokens.len() * self.spec.hidden, 0.0);
        for (&token, row) in tokens.iter().zip(stream.chunks_exact_mut(self.spec.hidden)) {
            self.embedding.copy_row(token as usize, row);
        }
        scale(stream, self.spec.multipliers.embedding);
    }

    /// The logits of tokens of the last pass.
    pub(crate) fn head(
        &self,
        cpu: &Cpu,
        outputs: &[u32],
        scratch: &mut Scratch,
        logits: &mut Logits,
    ) {
        let mut states = std::mem::take(&mut scratch.normed);
        self.states(cpu, outputs, scratch, &mut states);
        scratch.normed = states;
        let Scratch {
            normed,
            rounded,
            head_deltas,
            ..
        } = scratch;
        logits.vocabulary = self.spec.vocabulary;
        let head = self.head.as_ref().unwrap_or(&self.embedding);
        multiply(cpu, (normed, rounded), [(head, &mut logits.values)]);
        let rows = head_deltas.rows(outputs);
        if !rows.is_empty() {
            let shares = rows.iter().map(|(rows, delta)| Share {
                rows,
                adds: [Some(delta.low_rank())],
            });
            let shares: Vec<Share<'_, 1>> = shares.collect();
            let (input, output) = ((&normed[..], self.spec.hidden), [&mut logits.values[..]]);
            add_low_rank(cpu, input, &shares, output, &mut rounded.adapted);
        }
        let finish = Finish {
            divisor: self.spec.multipliers.logit_divisor,
            cap: self.spec.logit_cap,
        };
        let rows = (&mut logits.values[..], logits.vocabulary);
        finish_rows(cpu, rows, finish, &mut logits.summaries);
    }
}

impl Decoder {
    /// What the last layer has left of tokens of the last pass, normed.
    pub(crate) fn states(
        &self,
        cpu: &Cpu,
        outputs: &[u32],
        scratch: &mut Scratch,
        states: &mut Vec<f32>,
    ) {
        let hidden = self.spec.hidden;
        let Scratch {
            stream,
            added: last,
            ..
        } = scratch;
        last.clear();
        for &output in outputs {
            last.extend_from_slice(&stream[output as usize * hidden..][..hidden]);
        }
        states.resize(last.len(), 0.0);
        rms_norm(cpu, last, &self.norm, self.spec.norm.epsilon, states);
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
        let Scratch {
            normed,
            rounded,
            queries,
            keys,
            values,
            ..
        } = scratch;
        let inputs = [
            (Projection::Query, &weights.query, queries),
            (Projection::Key, &weights.key, keys),
            (Projection::Value, &weights.value, values),
        ];
        self.project(layer, (normed, rounded), inputs);
        if let Some([query, key]) = &weights.head_norms {
            self.norm_rows(query, &mut scratch.queries, &mut scratch.normed);
            self.norm_rows(key, &mut scratch.keys, &mut scratch.normed);
        }
        let group = spec.layers[layer].group();
        let LayerSpec { window, rope } = spec.layers[layer];
        if let Some(rope) = rope {
            let angles = &scratch.angles[rope];
            let angles = (&angles.cosines[..], &angles.sines[..]);
            let dims = (spec.head_dim, spec.ropes[rope].dim);
            rotate_first_halves(cpu, &mut scratch.queries, dims, angles);
            rotate_first_halves(cpu, &mut scratch.keys, dims, angles);
        }
        cache.store(layer, self.slots.of(group), &scratch.keys, &scratch.values);
        scratch.attended.resize(scratch.queries.len(), 0.0);
        let scores = Scores {
            scale: spec.attention.scale,
            soft_cap: spec.attention.cap,
            window,
        };
        attend(
            cpu,
            (&scratch.queries, scores),
            self.rows.of(group),
            cache.layer(layer),
            (&mut scratch.attended, &mut scratch.partials),
        );
        let input = (&scratch.attended[..], &mut scratch.rounded);
        let output = (Projection::Output, &weights.output, &mut scratch.added);
        self.project(layer, input, [output]);
    }

    /// From the stream to `added`.
    fn feed_forward(&self, (layer, weights): (usize, &FeedForward), scratch: &mut Scratch) {
        self.normalise(&weights.norm, scratch);
        let Scratch {
            normed,
            rounded,
            gate,
            up,
            ..
        } = scratch;
        let inputs = [
            (Projection::Gate, &weights.gate, gate),
            (Projection::Up, &weights.up, up),
        ];
        self.project(layer, (normed, rounded), inputs);
        match self.spec.activation {
            Activation::Silu => silu_times(self.cpu, &mut scratch.gate, &scratch.up),
            Activation::GeluTanh => gelu_tanh_times(self.cpu, &mut scratch.gate, &scratch.up),
        }
        let input = (&scratch.gate[..], &mut scratch.rounded);
        let output = (Projection::Down, &weights.down, &mut scratch.added);
        self.project(layer, input, [output]);
    }

    /// Adds what a layer computed to the stream.
    fn join(&self, norm: Option<&[f32]>, scratch: &mut Scratch) {
        if let Some(norm) = norm {
            self.norm_rows(norm, &mut scratch.added, &mut scratch.normed);
        }
        scale(&mut scratch.added, self.spec.multipliers.residual);
        add(&mut scratch.stream, &scratch.added);
    }

    /// Norms rows in place, each as long as the weight; `spare` is overwritten.
    fn norm_rows(&self, weight: &[f32], rows: &mut Vec<f32>, spare: &mut Vec<f32>) {
        spare.resize(rows.len(), 0.0);
        rms_norm(self.cpu, rows, weight, self.spec.norm.epsilon, spare);
        std::mem::swap(rows, spare);
    }

    fn normalise(&self, weight: &[f32], scratch: &mut Scratch) {
        scratch.normed.resize(scratch.stream.len(), 0.0);
        let epsilon = self.spec.norm.epsilon;
        rms_norm(
            self.cpu,
            &scratch.stream,
            weight,
            epsilon,
            &mut scratch.normed,
        );
    }

    /// The same rows through several projections of a layer, and what adapters add.
    fn project<const N: usize>(
        &self,
        layer: usize,
        (input, rounded): (&[f32], &mut Rounded),
        to: [(Projection, &Linear, &mut Vec<f32>); N],
    ) {
        let projections = to.each_ref().map(|(projection, ..)| *projection);
        let biases = to.each_ref().map(|(_, linear, _)| linear.bias.as_deref());
        let to = to.map(|(_, linear, output)| (&linear.weight, output));
        let columns = to.each_ref().map(|(weight, _)| weight.columns());
        let mut outputs = multiply(self.cpu, (input, rounded), to);
        for (bias, output) in biases.into_iter().zip(&mut outputs) {
            if let Some(bias) = bias {
                for row in output.chunks_exact_mut(bias.len()) {
                    add(row, bias);
                }
            }
        }
        if self.adapted.is_empty() {
            return;
        }
        let shares = self.adapted.to(layer, projections);
        if !shares.is_empty() {
            let outputs = outputs.map(|output| &mut output[..]);
            let input = (input, columns[0]);
            add_low_rank(self.cpu, input, &shares, outputs, &mut rounded.adapted);
        }
    }
}

/// The products of the same rows with several weights. Rows are rounded once for all that want
/// it; `rounded` is where.
fn multiply<'a, const N: usize>(
    cpu: &Cpu,
    (input, rounded): (&[f32], &mut Rounded),
    to: [(&Weight, &'a mut Vec<f32>); N],
) -> [&'a mut Vec<f32>; N] {
    let (mut packed, mut plain) = (Vec::with_capacity(N), Vec::with_capacity(N));
    let mut columns = 0;
    let mut outputs = to.map(|(weight, output)| {
        columns = weight.columns();
        output.resize(input.len() / columns * weight.outputs(), 0.0);
        (weight, output)
    });
    for (weight, output) in &mut outputs {
        match weight {
            Weight::Plain(tensor) => plain.push((tensor.matrix(), &mut output[..])),
            Weight::Packed(weight) => packed.push((weight.view(), &mut output[..])),
        }
    }
    matmul_many(cpu, (input, &mut rounded.narrowed), &mut plain);
    if !packed.is_empty() {
        rounded.quantized.set(cpu, input, columns);
        matmul_packed_many(cpu, &rounded.quantized, &mut packed);
    }
    drop((packed, plain));
    outputs.map(|(_, output)| output)
}

/// Each token, and the blocks of its sequence in a group.
fn queries<'a>(batch: &Batch<'a>, group: Group) -> Vec<Query<'a>> {
    let tables = batch
        .sequences
        .iter()
        .flat_map(|sequence| std::iter::repeat_n(*sequence.block_tables.of(group), sequence.len));
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

fn scale(values: &mut [f32], by: f32) {
    if by != 1.0 {
        values.iter_mut().for_each(|value| *value *= by);
    }
}

fn add(to: &mut [f32], what: &[f32]) {
    for (to, what) in to.iter_mut().zip(what) {
        *to += what;
    }
}
