//! States of tokens, from which vectors of texts are made, against Hugging Face's implementation.

use std::path::Path;

use serde::Deserialize;

use super::fixture::Fixture;
use super::paged::{Paged, Sequence};
use crate::KernelClass;
use crate::tensor::Plain;

/// What `fixtures/embeddings.py` has made.
#[derive(Deserialize)]
struct Golden {
    family: String,
    #[serde(rename = "Last")]
    last: Vec<f32>,
    #[serde(rename = "Mean")]
    mean: Vec<f32>,
}

fn of_length_one(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    vector.iter().map(|value| value / length).collect()
}

#[test]
fn states_make_the_vectors_that_hugging_faces_make() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vectors.json");
    let golden: Vec<Golden> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(golden.len(), 3);
    for expected in golden {
        let fixture = Fixture::named(&expected.family);
        let prompt = &fixture.reference.prompt[..];
        let mut model = fixture.model_on(KernelClass::Portable, Plain::F32);
        let mut paged = Paged::new(&model, 1, prompt.len(), prompt.len());
        paged.step(&mut model, &mut [(&mut Sequence::default(), prompt)]);
        let all: Vec<u32> = (0..prompt.len() as u32).collect();
        let mut states = Vec::new();
        model.states(&all, &mut states);
        let hidden = model.facts().hidden as usize;
        let mut sum = vec![0.0; hidden];
        for state in states.chunks_exact(hidden) {
            sum.iter_mut()
                .zip(state)
                .for_each(|(sum, value)| *sum += value);
        }
        let mut last = Vec::new();
        model.states(&all[all.len() - 1..], &mut last);
        assert_eq!(
            last,
            states[states.len() - hidden..],
            "states do not depend on which are wanted"
        );
        for (name, found, expected) in [("last", last, expected.last), ("mean", sum, expected.mean)]
        {
            let found = of_length_one(&found);
            let apart = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
            let apart = apart.fold(0.0, f32::max);
            assert!(apart < 1e-5, "{}, {name}: {apart}", fixture.name);
        }
    }
}
