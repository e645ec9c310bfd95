//! What a file holds is read as what it is.

use weir_model::Gguf;
use weir_model::gguf::TensorType;

use crate::written::{Value, Written, folder};

fn every_type() -> Written {
    let mut file = Written::new();
    file.set("a.u8", Value::U8(200))
        .set("a.i8", Value::I8(-3))
        .set("a.u16", Value::U16(60_000))
        .set("a.i16", Value::I16(-300))
        .set("a.u32", Value::U32(u32::MAX))
        .set("a.i32", Value::I32(-70_000))
        .set("a.f32", Value::F32(0.5))
        .set("a.bool", Value::Bool(1))
        .set("a.text", Value::text("größe"))
        .set("a.u64", Value::U64(u64::MAX))
        .set("a.i64", Value::I64(-1))
        .set("a.f64", Value::F64(1e300))
        .set("a.texts", Value::texts(&["x", "", "漢"]))
        .set(
            "a.scores",
            Value::Array(vec![Value::F32(-1.0), Value::F32(2.0)]),
        )
        .set(
            "a.switches",
            Value::Array(vec![Value::Bool(0), Value::Bool(1)]),
        )
        .set("a.none", Value::Empty(5))
        .set(
            "a.nested",
            Value::Array(vec![
                Value::Array(vec![Value::U8(1)]),
                Value::texts(&["deep"]),
            ]),
        );
    file
}

#[test]
fn every_type_of_value_is_read() {
    let folder = folder();
    for version in [2, 3] {
        let mut file = every_type();
        file.version = version;
        let gguf = Gguf::open(&file.write(folder.path(), "m.gguf")).unwrap();
        let metadata = gguf.metadata();
        assert_eq!(metadata.need::<u32>("a.u8").unwrap(), 200);
        assert_eq!(metadata.need::<i32>("a.i8").unwrap(), -3);
        assert_eq!(metadata.need::<u16>("a.u16").unwrap(), 60_000);
        assert_eq!(metadata.need::<i32>("a.i16").unwrap(), -300);
        assert_eq!(metadata.need::<u32>("a.u32").unwrap(), u32::MAX);
        assert_eq!(metadata.need::<i32>("a.i32").unwrap(), -70_000);
        assert_eq!(metadata.need::<f32>("a.f32").unwrap(), 0.5);
        assert!(metadata.need::<bool>("a.bool").unwrap());
        assert_eq!(metadata.need::<&str>("a.text").unwrap(), "größe");
        assert_eq!(metadata.need::<u64>("a.u64").unwrap(), u64::MAX);
        assert_eq!(metadata.need::<i32>("a.i64").unwrap(), -1);
        assert_eq!(metadata.need::<f64>("a.f64").unwrap(), 1e300);
        let texts: Vec<&str> = metadata.need("a.texts").unwrap();
        assert_eq!(texts, ["x", "", "漢"]);
        assert_eq!(metadata.need::<Vec<f32>>("a.scores").unwrap(), [-1.0, 2.0]);
        let switches: Vec<bool> = metadata.need("a.switches").unwrap();
        assert_eq!(switches, [false, true]);
        assert!(metadata.need::<Vec<i32>>("a.none").unwrap().is_empty());
        assert!(metadata.contains("a.nested"));
        assert_eq!(metadata.get::<u32>("a.other").unwrap(), None);
    }
}

#[test]
fn values_are_had_as_they_are_written_for_a_digest() {
    let folder = folder();
    let mut file = Written::new();
    file.set("b.two", Value::U16(0x201))
        .set("a.one", Value::U8(1))
        .set("b.list", Value::Array(vec![Value::U8(3), Value::U8(4)]))
        .set("c", Value::U8(5));
    let gguf = Gguf::open(&file.write(folder.path(), "m.gguf")).unwrap();
    let written: Vec<(&str, &[u8])> = gguf.metadata().written("b.").collect();
    let list = [0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 4];
    assert_eq!(written, [("b.list", &list[..]), ("b.two", &[1, 2])]);
}

#[test]
fn a_value_of_another_type_is_refused_by_key_and_value() {
    let folder = folder();
    let path = every_type().write(folder.path(), "m.gguf");
    let gguf = Gguf::open(&path).unwrap();
    let metadata = gguf.metadata();
    for (error, expected) in [
        (
            metadata.need::<u32>("a.i8").unwrap_err(),
            "`a.i8` is -3, where a whole number of 32 bits is expected",
        ),
        (
            metadata.need::<u32>("a.text").unwrap_err(),
            "`a.text` is \"größe\", where a whole number of 32 bits is expected",
        ),
        (
            metadata.need::<&str>("a.f32").unwrap_err(),
            "`a.f32` is 0.5, where a text in UTF-8 is expected",
        ),
        (
            metadata.need::<f32>("a.f64").unwrap_err(),
            "where a finite number with a fraction is expected",
        ),
        (
            metadata.need::<Vec<u32>>("a.texts").unwrap_err(),
            "`a.texts` is an array of 3 text, where a list of whole numbers of 32 bits is expected",
        ),
        (
            metadata.need::<bool>("a.nested").unwrap_err(),
            "`a.nested` is an array of 2 array, where true or false is expected",
        ),
    ] {
        let message = error.to_string();
        assert!(
            message.starts_with(&path.display().to_string()),
            "{message}"
        );
        assert!(message.ends_with(expected), "{message}");
        assert_eq!(error.reason(), "Unsupported");
    }
    assert_eq!(
        metadata.need::<u32>("a.other").unwrap_err().to_string(),
        format!("{} has no metadata `a.other`", path.display())
    );
}

#[test]
fn a_tensor_has_rows_before_columns_and_the_bytes_of_its_blocks() {
    let folder = folder();
    let mut file = Written::new();
    file.add("plain", &[3, 2], 0, 24)
        .add("quants", &[64, 3, 2], 2, 64 / 32 * 18 * 6)
        .add("norm", &[5], 30, 10);
    let gguf = Gguf::open(&file.write(folder.path(), "m.gguf")).unwrap();
    let names: Vec<&str> = gguf.tensor_names().collect();
    assert_eq!(names, ["norm", "plain", "quants"]);
    let plain = gguf.tensor("plain").unwrap();
    assert_eq!(
        (plain.shape.as_slice(), plain.kind),
        (&[2, 3][..], TensorType::F32)
    );
    assert_eq!(plain.bytes(), file.tensors[0].bytes);
    let quants = gguf.tensor("quants").unwrap();
    assert_eq!(quants.shape, [2, 3, 64]);
    assert_eq!((quants.rows(), quants.columns()), (6, 64));
    assert_eq!(quants.row(5), &file.tensors[1].bytes[5 * 36..]);
    let norm = gguf.tensor("norm").unwrap();
    assert_eq!((norm.rows(), norm.bytes().len()), (1, 10));
    assert_eq!(gguf.shape("quants"), Some(&[2, 3, 64][..]));
    assert!(!gguf.contains("bias"));
}

#[test]
fn every_served_type_takes_what_its_blocks_take() {
    let folder = folder();
    // The sizes of llama.cpp's block structures.
    let types = [
        (0, "F32", 1, 4),
        (1, "F16", 1, 2),
        (30, "BF16", 1, 2),
        (2, "Q4_0", 32, 18),
        (3, "Q4_1", 32, 20),
        (6, "Q5_0", 32, 22),
        (7, "Q5_1", 32, 24),
        (8, "Q8_0", 32, 34),
        (12, "Q4_K", 256, 144),
        (13, "Q5_K", 256, 176),
        (14, "Q6_K", 256, 210),
    ];
    let mut file = Written::new();
    for (number, name, block, bytes) in types {
        file.add(name, &[2 * block, 3], number, bytes as usize * 6);
    }
    let gguf = Gguf::open(&file.write(folder.path(), "m.gguf")).unwrap();
    for (_, name, block, bytes) in types {
        let tensor = gguf.tensor(name).unwrap();
        assert_eq!(tensor.kind.name(), name);
        assert_eq!(tensor.kind.block(), block as usize);
        assert_eq!(tensor.bytes().len(), bytes as usize * 6);
    }
}

#[test]
fn tensors_lie_on_the_boundaries_that_a_file_says() {
    let folder = folder();
    let mut file = Written::new();
    file.alignment = 64;
    file.set("general.alignment", Value::U32(64))
        .add("one", &[1], 0, 4)
        .add("two", &[2], 0, 8);
    let gguf = Gguf::open(&file.write(folder.path(), "m.gguf")).unwrap();
    let two = gguf.tensor("two").unwrap();
    assert_eq!(two.bytes(), file.tensors[1].bytes);
    assert_eq!(two.mapped().1.start % 64, 0);
}

#[test]
fn a_type_that_is_not_served_is_refused_when_its_tensor_is_taken() {
    let folder = folder();
    let mut file = Written::new();
    file.add("experts", &[32, 2], 39, 34)
        .add("head", &[256], 10, 84)
        .add("later", &[7], 99, 1)
        .add("norm", &[4], 0, 16);
    let path = file.write(folder.path(), "m.gguf");
    let gguf = Gguf::open(&path).unwrap();
    for (tensor, stored) in [
        ("experts", "MXFP4"),
        ("head", "Q2_K"),
        ("later", "type 99, which has no name here"),
    ] {
        let error = gguf.tensor(tensor).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "{}: tensor `{tensor}` is stored as {stored}; F32, F16, BF16, Q4_0, Q4_1, Q5_0, \
                 Q5_1, Q8_0, Q4_K, Q5_K and Q6_K are supported",
                path.display()
            )
        );
        assert_eq!(error.reason(), "Unsupported");
    }
    assert_eq!(gguf.tensor("norm").unwrap().bytes(), file.tensors[3].bytes);
    let error = gguf.tensor("bias").unwrap_err();
    assert_eq!(error.to_string(), "the weights have no tensor `bias`");
}

#[test]
fn a_file_that_shrinks_while_it_is_mapped_is_refused() {
    let folder = folder();
    let mut file = Written::new();
    file.add("norm", &[4], 0, 16);
    let path = file.write(folder.path(), "m.gguf");
    let length = file.bytes().len() as u64;
    let gguf = Gguf::open(&path).unwrap();
    let shrinking = std::fs::File::options().write(true).open(&path).unwrap();
    shrinking.set_len(length - 1).unwrap();
    let message = gguf.tensor("norm").unwrap_err().to_string();
    let why = format!(
        "it has {} bytes, where it had {length} when it was opened",
        length - 1
    );
    assert!(message.ends_with(&why), "{message}");
}
