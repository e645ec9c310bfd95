//! Damage, small piece by small piece: to an answer's JSON, and to its bytes. Pure.

use std::io::Write;
use std::time::Duration;

use axum::body::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::delivery::Step;
use crate::fault::Wrong;

/// Takes out every reason for an end, wherever it stands.
pub(crate) fn without_finish(data: &mut Value) {
    each_entry(data, &mut |name, value| {
        if matches!(name, "finish_reason" | "stop_reason" | "status") {
            *value = Value::Null;
        }
    });
}

/// Makes every count of usage wrong.
pub(crate) fn with_usage(data: &mut Value, wrong: Wrong) {
    each_entry(data, &mut |name, value| {
        if name != "usage" || value.is_null() {
            return;
        }
        match wrong {
            Wrong::Missing => *value = Value::Null,
            Wrong::Negative => each_number(value, &json!(-7)),
            Wrong::Huge => each_number(value, &json!(u64::MAX)),
            Wrong::Text => each_number(value, &json!("many")),
        }
    });
}

/// Makes its line as long as this, by an entry that nobody knows.
pub(crate) fn pad(data: &mut Value, bytes: usize) {
    let Value::Object(entries) = data else { return };
    entries.insert("padding".to_owned(), "".into());
    let length = Value::from(entries.clone()).to_string().len();
    let padding = "x".repeat(bytes.saturating_sub(length));
    entries.insert("padding".to_owned(), padding.into());
}

fn each_entry(data: &mut Value, change: &mut impl FnMut(&str, &mut Value)) {
    match data {
        Value::Object(entries) => {
            for (name, value) in entries.iter_mut() {
                change(name, value);
                each_entry(value, change);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| each_entry(item, change)),
        _ => {}
    }
}

fn each_number(data: &mut Value, other: &Value) {
    match data {
        Value::Number(_) => *data = other.clone(),
        Value::Object(entries) => entries
            .values_mut()
            .for_each(|value| each_number(value, other)),
        _ => {}
    }
}

/// Bytes that are no text, always the same.
pub(crate) fn garbage(bytes: usize) -> Bytes {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    let mut garbage: Vec<u8> = (0..bytes).map(|_| next()).collect();
    if let Some(first) = garbage.first_mut() {
        // No text begins so.
        *first = 0xff;
    }
    garbage.into()
}

/// Text that means nothing.
pub(crate) fn junk(bytes: usize) -> Bytes {
    vec![b'z'; bytes].into()
}

/// Every byte by itself, with a pause before it.
pub(crate) fn drip(steps: Vec<Step>, pause: Duration) -> Vec<Step> {
    cut(steps, Step::Pause(pause), |_| true)
}

/// Cuts after the first byte of every character of several, and between the two of a line end.
pub(crate) fn split(steps: Vec<Step>) -> Vec<Step> {
    let is_inside = |pair: [u8; 2]| pair == *b"\r\n" || (pair[0] >= 0xc0 && pair[1] >= 0x80);
    cut(steps, Step::Flush, is_inside)
}

fn cut(steps: Vec<Step>, between: Step, is_cut: impl Fn([u8; 2]) -> bool) -> Vec<Step> {
    let mut all = Vec::new();
    for step in steps {
        let Step::Send(bytes) = step else {
            all.push(step);
            continue;
        };
        let mut from = 0;
        for at in 1..=bytes.len() {
            if at == bytes.len() || is_cut([bytes[at - 1], bytes[at]]) {
                all.push(between.clone());
                all.push(Step::Send(bytes.slice(from..at)));
                from = at;
            }
        }
    }
    all.push(Step::Flush);
    all
}

/// As gzip, every step readable when it is there.
pub(crate) fn compress(steps: Vec<Step>) -> Vec<Step> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let fits = "writing to memory cannot fail";
    let mut all: Vec<Step> = steps
        .into_iter()
        .map(|step| match step {
            Step::Send(bytes) => {
                encoder.write_all(&bytes).expect(fits);
                encoder.flush().expect(fits);
                Step::Send(std::mem::take(encoder.get_mut()).into())
            }
            other => other,
        })
        .collect();
    all.push(Step::Send(encoder.finish().expect(fits).into()));
    all.push(Step::Flush);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(steps: &[Step]) -> Vec<&[u8]> {
        let sent = steps.iter().filter_map(|step| match step {
            Step::Send(bytes) => Some(&bytes[..]),
            _ => None,
        });
        sent.collect()
    }

    #[test]
    fn characters_and_line_ends_are_cut_in_two() {
        let text = "aü\r\n€b";
        let steps = split(vec![Step::Send(text.into())]);
        let cut = bytes(&steps);
        assert_eq!(cut, [&b"a\xc3"[..], b"\xbc\r", b"\n\xe2", b"\x82\xacb"]);
        assert_eq!(cut.concat(), text.as_bytes());
    }

    #[test]
    fn a_drip_is_byte_by_byte() {
        let steps = drip(vec![Step::Send("abc".into())], Duration::ZERO);
        assert_eq!(bytes(&steps), [b"a", b"b", b"c"]);
    }

    #[test]
    fn garbage_is_never_text_and_as_long_as_asked() {
        for length in [1, 2, 512] {
            let garbage = garbage(length);
            assert_eq!(garbage.len(), length);
            assert!(std::str::from_utf8(&garbage).is_err());
        }
    }

    #[test]
    fn a_padded_line_is_as_long_as_asked() {
        let mut data = json!({"a": "b"});
        pad(&mut data, 1000);
        assert_eq!(data.to_string().len(), 1000);
        assert_eq!(data["a"], "b");
    }

    #[test]
    fn usage_is_wrong_wherever_it_stands_and_nothing_else_is() {
        let event = json!({"index": 3, "message": {"usage": {"a": 1, "b": {"c": 2}}}});
        let wrong = |how| {
            let mut event = event.clone();
            with_usage(&mut event, how);
            assert_eq!(event["index"], 3);
            event["message"]["usage"].clone()
        };
        assert_eq!(wrong(Wrong::Negative), json!({"a": -7, "b": {"c": -7}}));
        assert_eq!(wrong(Wrong::Huge)["a"], u64::MAX);
        assert_eq!(wrong(Wrong::Text)["b"]["c"], "many");
        assert_eq!(wrong(Wrong::Missing), Value::Null);
    }

    #[test]
    fn no_reason_for_an_end_is_left() {
        let mut data =
            json!({"choices": [{"finish_reason": "stop"}], "delta": {"stop_reason": "end_turn"}});
        without_finish(&mut data);
        assert_eq!(
            data,
            json!({"choices": [{"finish_reason": null}], "delta": {"stop_reason": null}})
        );
    }
}
