//! A tiny model of every family computes what Hugging Face's implementation computes of it, and
//! each switch of the spec is needed for that.
//!
//! The references are made by `fixtures/families.py`; logits there spread by 2 to 5.

mod adapters;
mod fixture;
mod paged;
mod seeded;
mod switches;
mod vectors;

use self::fixture::Fixture;
use self::paged::{Paged, Sequence};
use crate::groups::Group;
use crate::tensor::Plain;
use crate::{KernelClass, KeyValueType, LoadOptions};

/// Two orders of summation of the same f32 numbers.
const TOLERANCE: f32 = 1e-4;

#[test]
fn every_family_gives_the_logits_and_the_greedy_tokens_of_hugging_face() {
    let mut wrong = Vec::new();
    for fixture in Fixture::all() {
        let mut model = fixture.model(Plain::F32, |_| {});
        let apart = fixture.distance(&mut model);
        println!("{}: logits differ by up to {apart:.1e}", fixture.name);
        if apart > TOLERANCE {
            wrong.push(format!("{}: logits differ by {apart}", fixture.name));
        } else if fixture.greedy(&mut model, None) != fixture.reference.greedy {
            wrong.push(format!("{}: greedy tokens differ", fixture.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The blocks of one sequence come to hold what others gave back, spoiled in between.
#[test]
fn windows_slide_over_sequences_in_chunks_side_by_side_and_change_no_bit() {
    let mut windowed = 0;
    let kinds = [KeyValueType::Auto, KeyValueType::Fp8];
    for (fixture, kind) in Fixture::all()
        .iter()
        .flat_map(|fixture| kinds.map(|kind| (fixture, kind)))
    {
        let mut model = fixture.model_keeping(kind, KernelClass::detect());
        windowed += usize::from(model.block_layout(16).has(Group::Windowed));
        let whole = [&fixture.reference.prompt[..], &fixture.reference.greedy].concat();
        let parts = [&whole[..], &whole[5..], &whole[20..61], &whole[3..20]];
        let alone = parts.map(|tokens| {
            let mut paged = Paged::new(&model, 1, tokens.len(), tokens.len());
            paged.step(&mut model, &mut [(&mut Sequence::default(), tokens)])
        });
        let mut paged = Paged::new(&model, parts.len(), whole.len(), 9);
        let mut sequences: [(Sequence, usize); 4] = Default::default();
        let mut together: [Vec<Vec<f32>>; 4] = Default::default();
        for round in 0.. {
            let lens: Vec<usize> = (0..4)
                .map(|index| {
                    (parts[index].len() - sequences[index].1).min((round + 3 * index) % 10)
                })
                .collect();
            let mut next: Vec<(&mut Sequence, &[u32])> = Vec::new();
            for (index, (sequence, done)) in sequences.iter_mut().enumerate() {
                next.push((sequence, &parts[index][*done..][..lens[index]]));
                *done += lens[index];
            }
            let mut rows = paged.step(&mut model, &mut next).into_iter();
            for (rows_of, len) in together.iter_mut().zip(lens) {
                rows_of.extend(rows.by_ref().take(len));
            }
            if (0..4).all(|index| sequences[index].1 == parts[index].len()) {
                break;
            }
        }
        assert!(alone == together, "{}: the logits differ", fixture.name);
    }
    assert!(windowed >= 16, "{windowed} models have a window");
}

/// A number in bf16 is off by a 512th of itself at most, one in eight bits by a 16th: 32 times that.
#[test]
fn keys_and_values_in_eight_bits_bring_their_own_rounding_and_no_more() {
    let mut wrong = Vec::new();
    for class in KernelClass::ALL {
        if !class.is_available() {
            println!("{class} is not to be had on this processor");
            continue;
        }
        for fixture in Fixture::all() {
            let [sixteen, eight] = [KeyValueType::Bf16, KeyValueType::Fp8].map(|kind| {
                let mut model = fixture.model_keeping(kind, class);
                fixture.usual_distance(&mut model)
            });
            let (name, times) = (&fixture.name, eight / sixteen);
            println!("{name}, {class}: {eight:.1e} in eight bits, {times:.0} times that in bf16");
            if times > 32.0 {
                wrong.push(format!("{name}, {class}: {eight} where bf16 has {sixteen}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Our arithmetic is f32 on weights as they are stored, but for inputs on some processors; theirs
/// rounds every intermediate result.
#[test]
fn bf16_weights_bring_no_more_error_than_hugging_faces_own_arithmetic_in_bf16() {
    let mut wrong = Vec::new();
    for class in KernelClass::ALL {
        if !class.is_available() {
            println!("{class} is not to be had on this processor");
            continue;
        }
        for fixture in Fixture::all() {
            let mut model = fixture.model_on(class, Plain::Bf16);
            let ours = fixture.distance_bf16(&mut model);
            let (name, theirs) = (&fixture.name, fixture.reference.bf16_error);
            println!("{name}, {class}: in bf16 ours differs by {ours:.1e}, theirs by {theirs:.1e}");
            if ours > 1.5 * theirs {
                wrong.push(format!("{name}, {class}: {ours} where theirs has {theirs}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_switch_of_the_spec_changes_the_logits_of_some_family() {
    let fixtures = Fixture::all();
    for (switch, turn_off) in switches::SWITCHES {
        let found = fixtures.iter().find(|fixture| {
            let mut is_changed = false;
            let mut model = fixture.model(Plain::F32, |spec| {
                switches::every_field_is_known(spec);
                let before = spec.clone();
                turn_off(spec);
                is_changed = *spec != before;
            });
            is_changed && fixture.distance(&mut model) > 50.0 * TOLERANCE
        });
        assert!(found.is_some(), "no family needs {switch}");
    }
}

#[test]
fn the_factors_of_a_long_context_are_chosen_by_what_is_served() {
    let fixture = Fixture::named("phi3-short");
    let mut model = fixture.model(Plain::F32, |_| {});
    assert!(fixture.distance(&mut model) < TOLERANCE);
    let options = LoadOptions {
        context_tokens: Some(97),
        ..LoadOptions::default()
    };
    let mut longer = fixture.model_for(Plain::F32, &options, |_| {});
    assert!(fixture.distance(&mut longer) > 50.0 * TOLERANCE);
}
