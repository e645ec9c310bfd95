//! Repositories: what is taken, what is asked, and where a token goes.

use weir_sources::{Digest, Options, Origin};

use crate::{
    server::{Act, Page, Server},
    stage::{
        COMMIT, LIST, MODEL, Stage, fails, list, repository, resolve, run, weights, weights_page,
    },
};

#[tokio::test]
async fn a_repository_becomes_a_folder_with_what_a_model_needs() {
    let (stage, server) = (Stage::new(), Server::start().await);
    let body = weights(3_000_000);
    repository(&server, &body);
    let fetched = run(MODEL, &stage.hub(&server)).await.unwrap();
    assert_eq!(fetched.revision, COMMIT);
    assert_eq!(fetched.origin, Origin::Download);
    assert_eq!(
        std::fs::read(fetched.path.join("model.safetensors")).unwrap(),
        body
    );
    assert_eq!(
        std::fs::read(fetched.path.join("config.json")).unwrap(),
        b"{}"
    );
    let named: Vec<_> = fetched
        .files
        .iter()
        .map(|file| file.name.as_str())
        .collect();
    assert_eq!(named, ["config.json", "model.safetensors"]);
    assert_eq!(fetched.files[1].sha256, Digest::of(&body));
    assert!(server.asked_for(&resolve("pytorch_model.bin")).is_empty());
}

#[tokio::test]
async fn one_gguf_of_many_is_taken_when_it_is_named() {
    let (stage, server) = (Stage::new(), Server::start().await);
    let siblings = ["a.gguf", "q4/b.gguf"].map(|name| format!(r#"{{"rfilename":"{name}"}}"#));
    list(&server, &siblings);
    server.file(&resolve("q4/b.gguf"), b"GGUF");
    let error = fails(MODEL, &stage.hub(&server)).await;
    assert_eq!(error.reason(), "AmbiguousSource");
    assert!(error.to_string().contains("a.gguf, q4/b.gguf"), "{error}");
    let fetched = run("hf://acme/tiny/q4/b.gguf", &stage.hub(&server))
        .await
        .unwrap();
    assert!(fetched.path.ends_with("q4/b.gguf"));
    assert_eq!(std::fs::read(fetched.path).unwrap(), b"GGUF");
}

#[tokio::test]
async fn a_token_goes_to_the_hub_and_not_where_the_hub_redirects_to() {
    let (stage, server, cdn) = (Stage::new(), Server::start().await, Server::start().await);
    repository(&server, b"weights");
    let wanted = Some("Bearer hf_secret".to_owned());
    server.change(LIST, |page| page.wants = wanted.clone());
    server.change(&resolve("config.json"), |page| page.wants = wanted.clone());
    server.change(&weights_page(), |page| {
        page.wants = wanted.clone();
        page.redirect = Some(format!("{}/blob", cdn.url()));
    });
    cdn.file("/blob", b"weights");
    let options = Options {
        credentials: Some(stage.secret(&[("token", "hf_secret\n")])),
        ..stage.hub(&server)
    };
    run(MODEL, &options).await.unwrap();
    let asked = cdn.asked_for("/blob");
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("authorization"), None);
}

#[tokio::test]
async fn a_mirror_stands_in_for_the_hub_when_the_secret_names_one() {
    let (stage, server) = (Stage::new(), Server::start().await);
    repository(&server, b"weights");
    let mirrored = format!("{}/mirror/", server.url());
    for path in [LIST.to_owned(), resolve("config.json"), weights_page()] {
        let mut page = Page::default();
        server.change(&path, |found| page = std::mem::take(found));
        server.put(&format!("/mirror{path}"), page);
    }
    let options = Options {
        credentials: Some(stage.secret(&[("endpoint", &mirrored)])),
        ..stage.options()
    };
    run(MODEL, &options).await.unwrap();
}

#[tokio::test]
async fn a_revision_is_asked_for_as_one_name_even_with_a_slash() {
    let (stage, server) = (Stage::new(), Server::start().await);
    repository(&server, b"weights");
    let mut page = Page::default();
    server.change(LIST, |found| page = found.clone());
    server.put("/api/models/acme/tiny/revision/refs%2Fpr%2F1", page);
    let options = Options {
        revision: Some("refs/pr/1".into()),
        ..stage.hub(&server)
    };
    assert_eq!(run(MODEL, &options).await.unwrap().revision, COMMIT);
}

#[tokio::test]
async fn what_the_hub_refuses_is_said_with_what_to_do() {
    for (code, status, reason, words) in [
        ("RepoNotFound", 401, "Unauthorized", "or it is private"),
        ("GatedRepo", 403, "Unauthorized", "accept its terms"),
        ("RevisionNotFound", 404, "ModelNotFound", "no revision main"),
        ("", 404, "ModelNotFound", "404"),
    ] {
        let (stage, server) = (Stage::new(), Server::start().await);
        let page = Page {
            acts: [Act::Status(status, &[])].into(),
            headers: vec![("x-error-code", code.to_owned())],
            ..Page::default()
        };
        server.put(LIST, page);
        let error = fails(MODEL, &stage.hub(&server)).await;
        assert_eq!(error.reason(), reason, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.is_permanent());
        assert_eq!(server.asked().len(), 1, "it was asked again");
    }
}

#[tokio::test]
async fn a_token_that_may_not_see_a_repository_is_told_that_there_may_be_none() {
    let (stage, server) = (Stage::new(), Server::start().await);
    let act = Act::Status(404, &[("x-error-code", "RepoNotFound")]);
    let page = Page {
        acts: [act].into(),
        ..Page::default()
    };
    server.put(LIST, page);
    let options = Options {
        credentials: Some(stage.secret(&[("token", "hf_secret")])),
        ..stage.hub(&server)
    };
    let error = fails(MODEL, &options).await;
    assert!(
        error.to_string().contains("the token may not see it"),
        "{error}"
    );
}

#[tokio::test]
async fn a_file_that_is_not_there_is_answered_with_those_that_are() {
    let (stage, server) = (Stage::new(), Server::start().await);
    repository(&server, b"weights");
    let error = fails("hf://acme/tiny/q4.gguf", &stage.hub(&server)).await;
    assert_eq!(error.reason(), "ModelNotFound");
    assert!(
        error.to_string().contains("no q4.gguf among config.json"),
        "{error}"
    );
}
