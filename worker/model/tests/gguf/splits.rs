//! A model in several files is opened through any of them, or the one at fault is named.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use weir_model::Gguf;

use crate::written::{Value, Written, folder};

const PARTS: u16 = 3;

fn part(number: u16) -> Written {
    let mut file = Written::new();
    file.set("split.no", Value::U16(number))
        .set("split.count", Value::U16(PARTS))
        .set("split.tensors.count", Value::I32(i32::from(PARTS)));
    if number == 0 {
        file.set("general.architecture", Value::text("llama"));
    }
    file.add(&format!("blk.{number}"), &[4], 0, 16);
    file
}

fn name(number: u16) -> String {
    format!("tiny-{:05}-of-{PARTS:05}.gguf", number + 1)
}

/// The parts, of which one was damaged before it was written.
fn written(number: u16, damage: impl FnOnce(&mut Written)) -> (TempDir, PathBuf) {
    let folder = folder();
    for other in (0..PARTS).filter(|other| *other != number) {
        part(other).write(folder.path(), &name(other));
    }
    let mut damaged = part(number);
    damage(&mut damaged);
    let path = damaged.write(folder.path(), &name(number));
    (folder, path)
}

fn refusal(number: u16, damage: impl FnOnce(&mut Written)) -> String {
    let (_folder, path) = written(number, damage);
    let message = Gguf::open(&path).unwrap_err().to_string();
    assert!(
        message.starts_with(&path.display().to_string()),
        "{message}"
    );
    message[path.display().to_string().len()..].to_owned()
}

#[test]
fn any_part_opens_all_of_them() {
    let (folder, _) = written(0, |_| {});
    for number in 0..PARTS {
        let gguf = Gguf::open(&folder.path().join(name(number))).unwrap();
        let names: Vec<&str> = gguf.tensor_names().collect();
        assert_eq!(names, ["blk.0", "blk.1", "blk.2"]);
        assert_eq!(
            gguf.tensor("blk.2").unwrap().bytes(),
            part(2).tensors[0].bytes
        );
        let architecture: &str = gguf.metadata().need("general.architecture").unwrap();
        assert_eq!(architecture, "llama");
        assert_eq!(gguf.files().len(), 3);
    }
}

#[test]
fn every_part_that_is_missing_is_named() {
    let (folder, path) = written(1, |_| {});
    let missing: Vec<PathBuf> = [0, 2]
        .map(|number| folder.path().join(name(number)))
        .to_vec();
    for path in &missing {
        std::fs::remove_file(path).unwrap();
    }
    let error = Gguf::open(&path).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "these parts of a split file do not exist: {}, {}",
            missing[0].display(),
            missing[1].display()
        )
    );
    assert_eq!(error.reason(), "ModelNotFound");
    let none = Gguf::open(Path::new("/nowhere/x-00001-of-00099.gguf")).unwrap_err();
    assert!(none.to_string().ends_with(" and 91 more"), "{none}");
}

#[test]
fn a_part_that_says_another_place_or_count_is_named() {
    for (refusal, expected) in [
        (
            refusal(1, |file| {
                file.set("split.no", Value::U16(2));
            }),
            ": metadata `split.no` is 2, where its name says 1, counted from 0",
        ),
        (
            refusal(2, |file| {
                file.set("split.count", Value::U16(4));
            }),
            ": metadata `split.count` is 4, where its name says that there are 3 parts",
        ),
        (
            refusal(0, |file| {
                file.values.retain(|(key, _)| key != "split.count")
            }),
            ": metadata `split.count` is not there, where its name says that there are 3 parts",
        ),
        (
            refusal(0, |file| {
                file.set("split.tensors.count", Value::I32(4));
            }),
            ": metadata `split.tensors.count` is 4, where the parts have 3 tensors together",
        ),
    ] {
        assert_eq!(refusal, expected);
    }
}

#[test]
fn a_tensor_that_two_parts_have_is_named() {
    let (folder, path) = written(2, |file| {
        file.add("blk.1", &[4], 0, 16);
    });
    assert_eq!(
        Gguf::open(&path).unwrap_err().to_string(),
        format!(
            "{} is not what it should be: {} has the tensor `blk.1` too",
            path.display(),
            folder.path().join(name(1)).display()
        )
    );
}

#[test]
fn a_part_under_another_name_is_refused() {
    let folder = folder();
    let path = part(0).write(folder.path(), "tiny.gguf");
    let message = Gguf::open(&path).unwrap_err().to_string();
    assert!(message.contains("`split.count` is 3, where its name is not that of a part"));
}

#[test]
fn a_count_that_no_model_is_split_into_is_refused() {
    let message = Gguf::open(Path::new("/nowhere/x-00001-of-90000.gguf"))
        .unwrap_err()
        .to_string();
    let why = "its name says 90000 parts, where 1 to 1000 are read";
    assert!(message.ends_with(why), "{message}");
}
