//! What is in the cache is used, and when nobody is asked.

use std::fs;

use weir_sources::{Digest, Options, Origin, Roots};

use crate::{
    server::{Act, Page, Server},
    stage::{COMMIT, LIST, MODEL, Stage, fails, repository, run},
};

#[tokio::test]
async fn a_branch_is_asked_for_again_and_its_files_are_not() {
    let (stage, server) = (Stage::new(), Server::start().await);
    repository(&server, b"weights");
    run(MODEL, &stage.hub(&server)).await.unwrap();
    server.forget();
    let again = run(MODEL, &stage.hub(&server)).await.unwrap();
    assert_eq!(again.origin, Origin::Cache);
    let asked: Vec<_> = server.asked().into_iter().map(|asked| asked.path).collect();
    assert_eq!(asked, [LIST]);
}

#[tokio::test]
async fn a_commit_needs_no_request_when_it_is_there() {
    let (stage, server) = (Stage::new(), Server::start().await);
    repository(&server, b"weights");
    let pinned = Options {
        revision: Some(COMMIT.into()),
        ..stage.hub(&server)
    };
    let first = run(MODEL, &pinned).await.unwrap();
    drop(server);
    let again = run(MODEL, &pinned).await.unwrap();
    assert_eq!(again.origin, Origin::Cache);
    assert_eq!((again.path, again.files), (first.path, first.files));
}

#[tokio::test]
async fn what_a_branch_meant_is_the_same_entry_when_it_is_pinned() {
    let (stage, server) = (Stage::new(), Server::start().await);
    repository(&server, b"weights");
    let first = run(MODEL, &stage.hub(&server)).await.unwrap();
    server.forget();
    let pinned = Options {
        pinned: Some(first.revision),
        ..stage.hub(&server)
    };
    assert_eq!(run(MODEL, &pinned).await.unwrap().path, first.path);
    assert!(server.asked().is_empty());
    // On a node with nothing in its cache, the commit is asked for and not the branch.
    let (elsewhere, main) = (Stage::new(), server.asked_for(LIST).len());
    let pinned = Options {
        cache: elsewhere.cache(),
        ..pinned
    };
    let fetched = run(MODEL, &pinned).await.unwrap();
    assert_eq!(
        (fetched.origin, fetched.revision.as_str()),
        (Origin::Download, COMMIT)
    );
    assert_eq!(server.asked_for(LIST).len(), main);
}

#[tokio::test]
async fn a_hub_that_gives_another_commit_than_the_pinned_one_is_refused() {
    let (stage, server) = (Stage::new(), Server::start().await);
    repository(&server, b"weights");
    let other = COMMIT.replace('5', "6");
    let mut page = Page::default();
    server.change(LIST, |found| page = found.clone());
    server.put(&format!("/api/models/acme/tiny/revision/{other}"), page);
    let pinned = Options {
        pinned: Some(other.clone()),
        ..stage.hub(&server)
    };
    let error = fails(MODEL, &pinned).await;
    assert_eq!(error.reason(), "DigestMismatch");
    assert!(
        error.to_string().contains(&format!("{other} is pinned")),
        "{error}"
    );
}

#[test]
fn a_fetch_may_move_between_threads() {
    fn moves<T: Send>(_: T) {}
    let (source, stage) = (MODEL.parse().unwrap(), Stage::new());
    let (tx, _rx) = tokio::sync::watch::channel(weir_sources::Progress::default());
    moves(weir_sources::fetch(&source, &stage.options(), &tx));
}

#[tokio::test]
async fn offline_means_what_was_resolved_last_and_no_request() {
    let (stage, server) = (Stage::new(), Server::start().await);
    let offline = Options {
        offline: true,
        ..stage.hub(&server)
    };
    let error = fails(MODEL, &offline).await;
    assert_eq!(error.reason(), "ModelNotFound");
    assert!(error.to_string().contains("not in the cache"), "{error}");
    repository(&server, b"weights");
    run(MODEL, &stage.hub(&server)).await.unwrap();
    server.forget();
    let found = run(MODEL, &offline).await.unwrap();
    assert_eq!(
        (found.origin, found.revision.as_str()),
        (Origin::CacheUnasked, COMMIT)
    );
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_hub_that_is_down_keeps_nobody_from_what_is_in_the_cache() {
    let (stage, server) = (Stage::new(), Server::start().await);
    repository(&server, b"weights");
    let options = stage.hub(&server);
    run(MODEL, &options).await.unwrap();
    server.acts(LIST, &vec![Act::Status(503, &[]); 10_000]);
    assert_eq!(
        run(MODEL, &options).await.unwrap().origin,
        Origin::CacheUnasked
    );
}

#[tokio::test]
async fn a_model_that_was_taken_away_is_not_served_from_the_cache() {
    let (stage, server) = (Stage::new(), Server::start().await);
    repository(&server, b"weights");
    run(MODEL, &stage.hub(&server)).await.unwrap();
    server.acts(LIST, &[Act::Status(404, &[])]);
    assert_eq!(
        fails(MODEL, &stage.hub(&server)).await.reason(),
        "ModelNotFound"
    );
}

#[tokio::test]
async fn a_branch_that_moved_is_downloaded_beside_what_was_there() {
    let (stage, server) = (Stage::new(), Server::start().await);
    repository(&server, b"weights");
    let first = run(MODEL, &stage.hub(&server)).await.unwrap();
    let moved = COMMIT.replace('5', "6");
    let body = format!(r#"{{"sha":"{moved}","siblings":[{{"rfilename":"a.gguf","size":4}}]}}"#);
    let page = Page {
        body: body.into(),
        ..Page::default()
    };
    server.put(LIST, page);
    server.file(&format!("/acme/tiny/resolve/{moved}/a.gguf"), b"GGUF");
    let second = run(MODEL, &stage.hub(&server)).await.unwrap();
    assert_eq!(second.revision, moved);
    assert_ne!(first.path, second.path);
    assert!(first.path.join("model.safetensors").exists());
}

#[tokio::test]
async fn an_entry_that_lost_a_file_is_filled_again() {
    let (stage, server) = (Stage::new(), Server::start().await);
    repository(&server, b"weights");
    let first = run(MODEL, &stage.hub(&server)).await.unwrap();
    fs::remove_file(first.path.join("config.json")).unwrap();
    let second = run(MODEL, &stage.hub(&server)).await.unwrap();
    assert_eq!(second.origin, Origin::Download);
    assert!(second.path.join("config.json").exists());
}

#[tokio::test]
async fn what_lies_on_this_machine_is_taken_where_it_is() {
    let stage = Stage::new();
    let root = stage.folder.path().join("root");
    fs::create_dir_all(root.join("models/a")).unwrap();
    fs::write(root.join("models/a/b.gguf"), b"GGUF").unwrap();
    let options = Options {
        roots: Roots {
            files: root.clone(),
            volumes: root.join("models"),
        },
        ..stage.options()
    };
    for address in ["file:///models/a", "pvc://a"] {
        let found = run(address, &options).await.unwrap();
        assert_eq!(
            (found.path, found.origin),
            (root.join("models/a"), Origin::Local)
        );
    }
    let error = fails("file:///models/c", &options).await;
    assert_eq!(error.reason(), "ModelNotFound");
    let digest = |bytes: &[u8]| Options {
        sha256: Some(Digest::of(bytes)),
        ..options.clone()
    };
    run("file:///models/a/b.gguf", &digest(b"GGUF"))
        .await
        .unwrap();
    let error = fails("file:///models/a/b.gguf", &digest(b"other")).await;
    assert_eq!(error.reason(), "DigestMismatch");
    assert!(stage.files().is_empty());
}
