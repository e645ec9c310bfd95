//! A file that is not what it should be is refused, and the refusal names what is in the way.

use std::path::Path;

use weir_model::Gguf;

use crate::written::{Tensor, Value, Written, folder};

fn sound() -> Written {
    let mut file = Written::new();
    file.set("general.architecture", Value::text("llama"))
        .set("llama.block_count", Value::U32(1))
        .add("one", &[32, 2], 8, 68)
        .add("two", &[4], 0, 16);
    file
}

/// The refusal of a sound file that was damaged before it was written.
fn refusal(damage: impl FnOnce(&mut Written)) -> String {
    let folder = folder();
    let mut file = sound();
    damage(&mut file);
    let path = file.write(folder.path(), "m.gguf");
    let error = Gguf::open(&path).unwrap_err();
    let message = error.to_string();
    assert_eq!(error.reason(), "Unsupported");
    let named = format!("{} is not what it should be: ", path.display());
    message.strip_prefix(&named).unwrap_or(&message).to_owned()
}

#[test]
fn a_file_that_is_not_there_is_not_found() {
    let error = Gguf::open(Path::new("/nowhere/m.gguf")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the model has no GGUF file: /nowhere/m.gguf does not exist"
    );
    assert_eq!(error.reason(), "ModelNotFound");
}

#[test]
fn a_file_of_another_kind_or_version_is_named() {
    for (refusal, expected) in [
        (
            refusal(|file| file.magic = *b"GGML"),
            "it begins with [47, 47, 4d, 4c], where a GGUF file has \"GGUF\"",
        ),
        (
            refusal(|file| file.version = 1),
            "its version is 1, where 2 and 3 are read",
        ),
        (
            refusal(|file| file.version = 3_u32.swap_bytes()),
            "it is written for big-endian machines",
        ),
    ] {
        assert_eq!(refusal, expected);
    }
}

#[test]
fn counts_that_no_file_holds_are_refused() {
    for (refusal, expected) in [
        (
            refusal(|file| file.tensor_count = Some(u64::MAX)),
            "the number of tensors is 18446744073709551615 at 16, where ",
        ),
        (
            refusal(|file| file.key_count = Some(1 << 40)),
            "the number of keys is 1099511627776 at 24, where ",
        ),
    ] {
        assert!(refusal.starts_with(expected), "{refusal}");
    }
}

#[test]
fn more_tensors_and_keys_than_any_model_has_are_refused() {
    let folder = folder();
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(200_000_u64.to_le_bytes());
    bytes.extend(0_u64.to_le_bytes());
    bytes.resize(8 << 20, 0);
    let path = folder.path().join("m.gguf");
    std::fs::write(&path, bytes).unwrap();
    let message = Gguf::open(&path).unwrap_err().to_string();
    let why = "it has 200000 tensors and 0 keys, where 131072 and 65536 are read";
    assert!(message.ends_with(why), "{message}");
}

#[test]
fn a_header_that_does_not_end_is_refused() {
    let folder = folder();
    let mut file = sound();
    file.set("a", Value::text(""));
    let mut bytes = file.bytes();
    // The length of the last value, two hundred megabytes of a sparse file.
    let at = bytes
        .windows(9)
        .position(|window| window == b"a\x08\0\0\0\0\0\0\0");
    let at = at.unwrap() + 5;
    bytes[at..at + 8].copy_from_slice(&(200_u64 << 20).to_le_bytes());
    let path = folder.path().join("m.gguf");
    std::fs::write(&path, bytes).unwrap();
    let growing = std::fs::File::options().write(true).open(&path).unwrap();
    growing.set_len(300 << 20).unwrap();
    let message = Gguf::open(&path).unwrap_err().to_string();
    assert!(
        message.contains("`a`: the length of a text is 209715200 at "),
        "{message}"
    );
    assert!(
        message.ends_with("follow in the 134217728 that a header may take"),
        "{message}"
    );
}

#[test]
fn values_that_are_not_there_or_of_no_type_are_refused() {
    let mut deep = Value::Array(vec![Value::U8(1)]);
    for _ in 0..4 {
        deep = Value::Array(vec![deep]);
    }
    assert_eq!(
        refusal(|file| {
            file.set("a.deep", deep);
        }),
        "`a.deep`: arrays are nested more than 4 deep"
    );
    assert_eq!(
        refusal(|file| {
            file.set("a.odd", Value::Empty(13));
        }),
        "`a.odd`: a value has type 13, where 0 to 12 are types"
    );
}

#[test]
fn names_that_are_there_twice_are_refused() {
    assert_eq!(
        refusal(|file| file
            .values
            .push(("llama.block_count".to_owned(), Value::U8(1)))),
        "it has the key `llama.block_count` twice"
    );
    assert_eq!(
        refusal(|file| {
            file.add("one", &[4], 0, 16);
        }),
        "it has the tensor `one` twice"
    );
}

#[test]
fn names_that_are_no_names_are_refused() {
    for (refusal, expected) in [
        (
            refusal(|file| file.values.push((String::new(), Value::U8(1)))),
            "the name of a key takes 0 bytes, where 1 to 1024 are expected",
        ),
        (
            refusal(|file| {
                file.add(&"x".repeat(257), &[4], 0, 16);
            }),
            "the name of a tensor takes 257 bytes, where 1 to 256 are expected",
        ),
    ] {
        assert_eq!(refusal, expected);
    }
    let folder = folder();
    let mut bytes = sound().bytes();
    let at = bytes
        .windows(5)
        .position(|window| window == b"block")
        .unwrap();
    bytes[at] = 0xff;
    let path = folder.path().join("m.gguf");
    std::fs::write(&path, bytes).unwrap();
    let message = Gguf::open(&path).unwrap_err().to_string();
    assert!(
        message.ends_with("the name of a key is not UTF-8"),
        "{message}"
    );
}

#[test]
fn an_alignment_that_is_none_is_refused() {
    for (value, found) in [
        (Value::U32(0), "0"),
        (Value::U32(48), "48"),
        (Value::U32(1 << 20), "1048576"),
        (Value::text("32"), "\"32\""),
    ] {
        let refusal = refusal(|file| {
            file.set("general.alignment", value);
        });
        let why = "where a power of two from 8 to 65536 is expected";
        assert_eq!(refusal, format!("`general.alignment` is {found}, {why}"));
    }
}

#[test]
fn tensors_that_lie_where_they_cannot_are_refused() {
    let at = |offset: u64| move |file: &mut Written| file.tensors[1].offset = Some(offset);
    assert_eq!(
        refusal(at(40)),
        "tensor `two` lies at 40, which is no multiple of the alignment 32"
    );
    assert_eq!(refusal(at(64)), "tensors `one` and `two` overlap");
    assert_eq!(refusal(at(0)), "tensors `one` and `two` overlap");
    for offset in [1 << 20, 1 << 62, u64::MAX - 31] {
        let refusal = refusal(at(offset));
        let expected = format!("tensor `two` takes 16 bytes at {offset} after the header of ");
        assert!(refusal.starts_with(&expected), "{refusal}");
    }
}

#[test]
fn shapes_that_cannot_be_are_refused() {
    let shaped = |dimensions: &'static [u64], kind: u32| {
        refusal(move |file| {
            file.tensors.push(Tensor {
                name: "odd".to_owned(),
                dimensions: dimensions.to_vec(),
                kind,
                offset: None,
                bytes: vec![0; 4096],
            });
        })
    };
    let huge = "which no memory holds";
    for (refusal, expected) in [
        (
            shaped(&[], 0),
            "tensor `odd` has 0 dimensions, where 1 to 4 are expected".to_owned(),
        ),
        (
            shaped(&[1, 1, 1, 1, 1], 0),
            "tensor `odd` has 5 dimensions, where 1 to 4 are expected".to_owned(),
        ),
        (
            shaped(&[4, 0], 0),
            "tensor `odd` has dimensions [4, 0], where none may be 0".to_owned(),
        ),
        (
            shaped(&[48, 2], 2),
            "tensor `odd` has rows of 48 numbers, where Q4_0 stores 32 together".to_owned(),
        ),
        (
            shaped(&[896, 2], 12),
            "tensor `odd` has rows of 896 numbers, where Q4_K stores 256 together".to_owned(),
        ),
        (
            shaped(&[1 << 40, 1 << 40], 0),
            format!("tensor `odd` has dimensions [1099511627776, 1099511627776], {huge}"),
        ),
        (
            shaped(&[1 << 62], 0),
            format!("tensor `odd` has dimensions [4611686018427387904], {huge}"),
        ),
    ] {
        assert_eq!(refusal, expected);
    }
}

#[test]
fn a_file_that_ends_early_is_refused_wherever_it_ends() {
    let folder = folder();
    let bytes = sound().bytes();
    let path = folder.path().join("m.gguf");
    for length in 0..bytes.len() {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let message = Gguf::open(&path).unwrap_err().to_string();
        assert!(message.contains("m.gguf"), "{length}: {message}");
    }
    std::fs::write(&path, &bytes).unwrap();
    Gguf::open(&path).unwrap();
}
