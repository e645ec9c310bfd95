//! Kernels that work on rows or single numbers.

use weir_kernels::{Cpu, gelu_tanh_times, rms_norm, rotate_first_halves, silu_times};

use crate::numbers::{assert_close, bits, classes, cpu, numbers};

#[test]
fn rows_are_divided_by_their_root_mean_square() {
    for width in [1, 15, 16, 44, 200] {
        let (input, weight) = (numbers(1, 5 * width), numbers(2, width));
        let expected: Vec<f64> = input
            .chunks_exact(width)
            .flat_map(|row| {
                let squares: f64 = row.iter().map(|value| f64::from(*value).powi(2)).sum();
                let scale = (squares / width as f64 + 1e-5).sqrt().recip();
                let scaled = row.iter().zip(&weight);
                scaled.map(move |(value, weight)| f64::from(*value) * scale * f64::from(*weight))
            })
            .collect();
        for class in classes() {
            let mut output = vec![0.0; input.len()];
            rms_norm(&cpu(class, 2), &input, &weight, 1e-5, &mut output);
            assert_close(&output, &expected, 1e-6, &format!("{class} {width}"));

            let mut alone = vec![0.0; width];
            rms_norm(
                &cpu(class, 1),
                &input[width..2 * width],
                &weight,
                1e-5,
                &mut alone,
            );
            assert_eq!(bits(&alone), bits(&output[width..2 * width]));
        }
    }
}

#[test]
fn halves_of_a_head_or_of_its_first_dimensions_are_rotated_against_each_other() {
    let (heads, count) = (3, 4);
    for (head_dim, rotary_dim) in [(6, 6), (10, 6), (9, 2)] {
        let half = rotary_dim / 2;
        let before = numbers(1, count * heads * head_dim);
        let angles = numbers(2, count * half);
        let (cosines, sines): (Vec<f32>, Vec<f32>) = angles
            .iter()
            .map(|angle| (angle.cos(), angle.sin()))
            .unzip();
        let expected: Vec<f64> = before
            .chunks_exact(head_dim)
            .enumerate()
            .flat_map(|(index, head)| {
                let mut head: Vec<f64> = head.iter().map(|value| f64::from(*value)).collect();
                let angles = &angles[index / heads * half..][..half];
                for (pair, angle) in angles.iter().enumerate() {
                    let (sine, cosine) = f64::from(*angle).sin_cos();
                    let (low, high) = (head[pair], head[pair + half]);
                    head[pair] = low * cosine - high * sine;
                    head[pair + half] = high * cosine + low * sine;
                }
                head
            })
            .collect();
        for class in classes() {
            let mut after = before.clone();
            let angles = (&cosines[..], &sines[..]);
            rotate_first_halves(&cpu(class, 2), &mut after, (head_dim, rotary_dim), angles);
            assert_close(&after, &expected, 1e-6, &format!("{head_dim} {rotary_dim}"));
        }
    }
}

fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

fn gelu_tanh(x: f64) -> f64 {
    let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
    0.5 * x * (1.0 + u.tanh())
}

#[test]
fn gates_open_as_their_activation_says_from_far_below_zero_to_far_above() {
    type Gated = fn(&Cpu, &mut [f32], &[f32]);
    type Activation = fn(f64) -> f64;
    let activations: [(Gated, Activation); 2] = [(silu_times, silu), (gelu_tanh_times, gelu_tanh)];
    for ((gated, activation), count, spread) in [1, 16, 17, 9001].into_iter().flat_map(|count| {
        let activations = activations.into_iter();
        activations.flat_map(move |one| [1.0, 100.0].map(|spread| (one, count, spread)))
    }) {
        let gate: Vec<f32> = numbers(1, count)
            .iter()
            .map(|value| value * spread)
            .collect();
        let up = numbers(2, count);
        let expected: Vec<f64> = gate
            .iter()
            .zip(&up)
            .map(|(gate, up)| activation(f64::from(*gate)) * f64::from(*up))
            .collect();
        for class in classes() {
            let mut output = gate.clone();
            gated(&cpu(class, 2), &mut output, &up);
            let what = format!("{class} {count} {spread}");
            assert_close(&output, &expected, 5e-7 * f64::from(spread), &what);

            let mut alone = gate[count - 1..].to_vec();
            gated(&cpu(class, 1), &mut alone, &up[count - 1..]);
            assert_eq!(bits(&alone), bits(&output[count - 1..]), "{what}");
        }
    }
}
