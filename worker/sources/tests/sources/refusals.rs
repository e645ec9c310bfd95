//! What is refused before a body is read: redirects that lead astray, and models without room.

use crate::{
    server::{Act, Page, Server},
    stage::{LIST, MODEL, Stage, fails, list, repository, resolve, weights_page},
};

#[tokio::test]
async fn redirects_without_end_are_left() {
    let (stage, server) = (Stage::new(), Server::start().await);
    let page = Page {
        redirect: Some(LIST.to_owned()),
        ..Page::default()
    };
    server.put(LIST, page);
    let error = fails(MODEL, &stage.hub(&server)).await;
    assert!(
        error.to_string().contains("redirects more than 8 times"),
        "{error}"
    );
    assert!(error.is_permanent());
    assert_eq!(server.asked().len(), 9);
}

#[tokio::test]
async fn a_redirect_to_what_is_not_the_web_is_refused() {
    for to in ["file:///etc/passwd", "ftp://h/x", "http://"] {
        let (stage, server) = (Stage::new(), Server::start().await);
        repository(&server, b"weights");
        server.change(&weights_page(), |page| page.redirect = Some(to.to_owned()));
        let error = fails(MODEL, &stage.hub(&server)).await;
        assert_eq!(error.reason(), "Unsupported", "{to}: {error}");
    }
}

#[tokio::test]
async fn a_body_packed_on_the_way_is_refused() {
    let (stage, server) = (Stage::new(), Server::start().await);
    repository(&server, b"weights");
    server.acts(&weights_page(), &[Act::With("content-encoding", "gzip")]);
    let error = fails(MODEL, &stage.hub(&server)).await;
    assert!(error.to_string().contains("unasked"), "{error}");
}

#[tokio::test]
async fn a_model_that_no_disk_holds_is_refused_before_it_is_begun_with_both_numbers() {
    let (stage, server) = (Stage::new(), Server::start().await);
    let exabyte = 1u64 << 60;
    list(
        &server,
        &[format!(r#"{{"rfilename":"a.gguf","size":{exabyte}}}"#)],
    );
    server.file(&resolve("a.gguf"), b"GGUF");
    let error = fails(MODEL, &stage.hub(&server)).await;
    assert_eq!(error.reason(), "DiskFull");
    assert!(
        error
            .to_string()
            .starts_with(&format!("{exabyte} more bytes")),
        "{error}"
    );
    assert!(error.to_string().contains("are free"), "{error}");
    assert!(server.asked_for(&resolve("a.gguf")).is_empty());
}

#[tokio::test]
async fn a_repository_without_weights_that_we_read_says_what_it_holds() {
    let (stage, server) = (Stage::new(), Server::start().await);
    let names = ["config.json", "pytorch_model.bin"];
    list(
        &server,
        &names.map(|name| format!(r#"{{"rfilename":"{name}"}}"#)),
    );
    let error = fails(MODEL, &stage.hub(&server)).await;
    assert_eq!(error.reason(), "Unsupported");
    assert!(error.to_string().contains("pytorch_model.bin"), "{error}");
}

#[tokio::test]
async fn settings_that_nobody_honours_are_refused() {
    let stage = Stage::new();
    let mut options = stage.options();
    options.revision = Some("v1".into());
    for address in [
        "https://h.dev/a.gguf",
        "s3://b/a.gguf",
        "file:///models/a",
        "pvc://c/a",
    ] {
        let error = fails(address, &options).await;
        assert_eq!(error.reason(), "Unsupported", "{address}: {error}");
        assert!(error.to_string().contains("model.revision"), "{error}");
    }
}
