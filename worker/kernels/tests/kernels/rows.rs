//! Kernels that work on rows or single numbers.

use weir_kernels::{rms_norm, rotate_halves, silu_times};

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
fn halves_of_a_head_are_rotated_against_each_other() {
    let (head_dim, heads, count) = (6, 3, 4);
    let before = numbers(1, count * heads * head_dim);
    let angles = numbers(2, count * head_dim / 2);
    let (cosines, sines): (Vec<f32>, Vec<f32>) = angles
        .iter()
        .map(|angle| (angle.cos(), angle.sin()))
        .unzip();
    let mut after = before.clone();
    let class = classes()[0];
    rotate_halves(&cpu(class, 2), &mut after, head_dim, (&cosines, &sines));
    for (index, (before, after)) in before
        .chunks_exact(head_dim)
        .zip(after.chunks_exact(head_dim))
        .enumerate()
    {
        let angles = &angles[index / heads * 3..][..3];
        for (pair, angle) in angles.iter().enumerate() {
            let (sine, cosine) = f64::from(*angle).sin_cos();
            let (low, high) = (f64::from(before[pair]), f64::from(before[pair + 3]));
            let expected = [low * cosine - high * sine, high * cosine + low * sine];
            assert_close(&[after[pair], after[pair + 3]], &expected, 1e-6, "rotated");
        }
    }
}

#[test]
fn gates_open_as_silu_says_from_far_below_zero_to_far_above() {
    for count in [1, 16, 17, 9001] {
        let gate: Vec<f32> = numbers(1, count)
            .iter()
            .map(|value| value * 100.0)
            .collect();
        let up = numbers(2, count);
        let expected: Vec<f64> = gate
            .iter()
            .zip(&up)
            .map(|(gate, up)| {
                let gate = f64::from(*gate);
                gate / (1.0 + (-gate).exp()) * f64::from(*up)
            })
            .collect();
        for class in classes() {
            let mut output = gate.clone();
            silu_times(&cpu(class, 2), &mut output, &up);
            assert_close(&output, &expected, 2e-5, &format!("{class} {count}"));

            let mut alone = gate[count - 1..].to_vec();
            silu_times(&cpu(class, 1), &mut alone, &up[count - 1..]);
            assert_eq!(bits(&alone), bits(&output[count - 1..]), "{class} {count}");
        }
    }
}
