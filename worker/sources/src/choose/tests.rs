//! Repositories as they are published, and what is taken of them.

use super::*;

fn list(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn chosen(names: &[&str], asked: Option<&str>) -> Choice {
    choose(&list(names), asked).unwrap()
}

#[test]
fn a_folder_gives_its_weights_and_what_is_read_beside_them() {
    let choice = chosen(
        &[
            ".gitattributes",
            "LICENSE",
            "README.md",
            "chat_template.jinja",
            "config.json",
            "merges.txt",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
            "onnx/model.onnx",
            "original/params.json",
            "pytorch_model.bin",
            "tokenizer.json",
            "tokenizer.model",
            "consolidated.safetensors",
        ],
        None,
    );
    assert_eq!(
        choice.names,
        [
            "chat_template.jinja",
            "config.json",
            "merges.txt",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
            "tokenizer.json",
            "tokenizer.model",
        ]
    );
    assert_eq!(choice.load, Load::Folder(String::new()));
}

#[test]
fn weights_that_lie_there_twice_are_taken_once() {
    let choice = chosen(
        &[
            "config.json",
            "model.safetensors",
            "model.fp16.safetensors",
            "consolidated.safetensors",
        ],
        None,
    );
    assert_eq!(choice.names, ["config.json", "model.safetensors"]);
}

#[test]
fn an_adapter_is_a_folder_too() {
    let choice = chosen(
        &[
            "adapter_config.json",
            "adapter_model.safetensors",
            "README.md",
        ],
        None,
    );
    assert_eq!(
        choice.names,
        ["adapter_config.json", "adapter_model.safetensors"]
    );
}

#[test]
fn how_an_embedding_model_pools_is_taken_along() {
    let choice = chosen(
        &["1_Pooling/config.json", "config.json", "model.safetensors"],
        None,
    );
    assert_eq!(choice.names.len(), 3);
}

#[test]
fn a_folder_of_a_repository_stands_for_itself() {
    let names = [
        "config.json",
        "model.safetensors",
        "v2/config.json",
        "v2/model.safetensors",
    ];
    let choice = chosen(&names, Some("v2"));
    assert_eq!(choice.names, ["v2/config.json", "v2/model.safetensors"]);
    assert_eq!(choice.load, Load::Folder("v2".to_owned()));
}

#[test]
fn a_file_is_taken_alone() {
    let choice = chosen(
        &["config.json", "q4/a.gguf", "q4/b.gguf"],
        Some("q4/a.gguf"),
    );
    assert_eq!(choice.names, ["q4/a.gguf"]);
    assert_eq!(choice.load, Load::File("q4/a.gguf".to_owned()));
}

#[test]
fn a_gguf_in_parts_is_taken_whole_whichever_part_is_named() {
    let names = ["a-00001-of-00002.gguf", "a-00002-of-00002.gguf", "b.gguf"];
    let choice = chosen(&names, Some("a-00002-of-00002.gguf"));
    assert_eq!(choice.names, names[..2]);
    assert_eq!(choice.load, Load::File("a-00001-of-00002.gguf".to_owned()));
}

#[test]
fn a_part_that_is_not_there_is_named() {
    let names = list(&["a-00001-of-00003.gguf", "a-00003-of-00003.gguf"]);
    let missing = Unclear::Parts(list(&["a-00002-of-00003.gguf"]));
    assert_eq!(
        choose(&names, Some("a-00001-of-00003.gguf")),
        Err(missing.clone())
    );
    assert_eq!(choose(&names, None), Err(missing));
}

#[test]
fn a_repository_of_one_gguf_needs_no_name_of_a_file() {
    let choice = chosen(&["README.md", "mmproj-f16.gguf", "model-q4.gguf"], None);
    assert_eq!(choice.names, ["model-q4.gguf"]);
}

#[test]
fn several_gguf_and_nothing_else_are_choices_each_once() {
    let names = [
        "b.gguf",
        "a-00001-of-00002.gguf",
        "a-00002-of-00002.gguf",
        "README.md",
    ];
    assert_eq!(
        choose(&list(&names), None),
        Err(Unclear::Several(list(&["a-00001-of-00002.gguf", "b.gguf"])))
    );
}

#[test]
fn what_is_there_is_said_where_nothing_can_be_read() {
    let names = list(&["config.json", "pytorch_model.bin"]);
    let nothing = Unclear::Nothing(list(&["pytorch_model.bin"]));
    assert_eq!(choose(&names, None), Err(nothing));
    let missing = Unclear::Missing {
        asked: "x.gguf".into(),
        found: names.clone(),
    };
    assert_eq!(choose(&names, Some("x.gguf")), Err(missing));
}

#[test]
fn a_message_does_not_list_thousands() {
    let names: Vec<String> = (0..5000).map(|n| format!("{n}.gguf")).collect();
    let Err(Unclear::Several(choices)) = choose(&names, None) else {
        panic!("five thousand models are no choice");
    };
    assert_eq!(choices.len(), 21);
    assert_eq!(choices[20], "and 4980 more");
}

#[test]
fn an_archive_is_looked_into_below_the_folders_that_hold_all_of_it() {
    let names = list(&["models/tiny/config.json", "models/tiny/a/b.json"]);
    assert_eq!(below_single_folders(&names), Some("models/tiny".to_owned()));
    assert_eq!(below_single_folders(&list(&["a/x", "b/x"])), None);
    assert_eq!(below_single_folders(&list(&["x", "b/x"])), None);
    assert_eq!(below_single_folders(&[]), None);
}
