//! Servers that are wrong about what they send.

use axum::body::Bytes;

use crate::{
    server::{Act, Server},
    stage::{MODEL, Stage, fails, list, repository, resolve, run, weights, weights_page},
};

#[tokio::test]
async fn weights_that_are_not_those_of_the_list_are_refused_and_not_kept() {
    let (stage, server) = (Stage::new(), Server::start().await);
    repository(&server, b"weights");
    server.change(&weights_page(), |page| {
        page.body = Bytes::from_static(b"w3ights")
    });
    let error = fails(MODEL, &stage.hub(&server)).await;
    assert_eq!(error.reason(), "DigestMismatch");
    assert!(error.to_string().contains("model.safetensors"), "{error}");
    assert!(error.is_permanent());
    let left = stage.files();
    assert!(
        !left.iter().any(|name| name.contains("model.safetensors")),
        "{left:?}"
    );
    assert!(
        !left.iter().any(|name| name.starts_with("content/")),
        "{left:?}"
    );
}

#[tokio::test]
async fn a_length_that_is_not_that_of_the_list_is_refused() {
    for body in ["{ }", "{"] {
        let (stage, server) = (Stage::new(), Server::start().await);
        repository(&server, b"weights");
        server.change(&resolve("config.json"), |page| {
            page.body = Bytes::from_static(body.as_bytes())
        });
        let error = fails(MODEL, &stage.hub(&server)).await;
        assert_eq!(error.reason(), "DigestMismatch", "{error}");
        assert!(error.to_string().contains("2 were promised"), "{error}");
    }
}

#[tokio::test]
async fn a_body_that_goes_on_after_its_end_is_refused() {
    let (stage, server) = (Stage::new(), Server::start().await);
    repository(&server, b"weights");
    server.acts(&resolve("config.json"), &[Act::TooLong(1000)]);
    let error = fails(MODEL, &stage.hub(&server)).await;
    assert!(
        error
            .to_string()
            .contains("config.json has 1002 bytes or more"),
        "{error}"
    );
}

#[tokio::test]
async fn bytes_that_were_not_asked_for_are_refused() {
    let (stage, server) = (Stage::new(), Server::start().await);
    repository(&server, &weights(3_000_000));
    server.acts(&weights_page(), &[Act::Cut(2_000_000), Act::OtherRange]);
    let error = fails(MODEL, &stage.hub(&server)).await;
    assert!(error.to_string().contains("were asked for"), "{error}");
}

#[tokio::test]
async fn a_beginning_that_was_damaged_on_the_disk_is_not_trusted_twice() {
    let (stage, server) = (Stage::new(), Server::start().await);
    let body = weights(3_000_000);
    repository(&server, &body);
    let options = stage.hub(&server);
    let mut impatient = options.clone();
    impatient.patience.total = std::time::Duration::ZERO;
    server.acts(&weights_page(), &[Act::Cut(2_500_000)]);
    fails(MODEL, &impatient).await;
    let partial = stage
        .files()
        .into_iter()
        .find(|name| name.ends_with(".partial"))
        .unwrap();
    let partial = stage.cache().join(partial);
    let length = std::fs::metadata(&partial).unwrap().len() as usize;
    assert!(length > 0);
    std::fs::write(&partial, vec![0; length]).unwrap();
    let fetched = run(MODEL, &options).await.unwrap();
    assert_eq!(
        std::fs::read(fetched.path.join("model.safetensors")).unwrap(),
        body
    );
}

#[tokio::test]
async fn names_that_lead_out_of_the_folder_are_refused_before_anything_is_downloaded() {
    for name in [
        "../config.json",
        "/etc/config.json",
        "a/../../b.json",
        "a\\\\b.json",
    ] {
        let (stage, server) = (Stage::new(), Server::start().await);
        list(&server, &[format!(r#"{{"rfilename":"{name}","size":2}}"#)]);
        let error = fails(MODEL, &stage.hub(&server)).await;
        assert_eq!(error.reason(), "Unsupported", "{name}: {error}");
        assert_eq!(server.asked().len(), 1, "{name}");
    }
}

#[tokio::test]
async fn lists_without_end_are_not_read_to_their_end() {
    let (stage, server) = (Stage::new(), Server::start().await);
    let many: Vec<String> = (0..10_001)
        .map(|n| format!(r#"{{"rfilename":"{n}.gguf"}}"#))
        .collect();
    list(&server, &many);
    let error = fails(MODEL, &stage.hub(&server)).await;
    assert!(
        error.to_string().contains("more than 10000 files"),
        "{error}"
    );
    list(
        &server,
        &[format!(r#"{{"rfilename":"{}"}}"#, "a".repeat(17 << 20))],
    );
    let error = fails(MODEL, &stage.hub(&server)).await;
    assert!(error.to_string().contains("lists more than"), "{error}");
}

#[tokio::test]
async fn a_list_that_is_none_is_said_to_be_none() {
    let (stage, server) = (Stage::new(), Server::start().await);
    server.file(crate::stage::LIST, b"<html>sign in</html>");
    let error = fails(MODEL, &stage.hub(&server)).await;
    assert_eq!(error.reason(), "Unsupported");
    assert!(error.to_string().contains("not as the hub's"), "{error}");
}
