//! One file from a web server, and archives. (Addresses are https; `tls.rs` has what TLS adds.)

use std::io::Write;

use axum::body::Bytes;
use flate2::{Compression, write::GzEncoder};
use weir_sources::{Digest, Options, Origin, SourceError};

use crate::{
    server::{Act, Server},
    stage::{Stage, fails, run, weights},
    tls,
};

async fn served(body: &[u8]) -> (Stage, Server, Options, String) {
    let stage = Stage::new();
    let authority = tls::Authority::new();
    let server = tls::server(&authority).await;
    let options = Options {
        ca_bundle: Some(authority.bundle(&stage)),
        ..stage.options()
    };
    server.file("/models/a.gguf", body);
    let address = format!("https://localhost:{}/models/a.gguf", server.address.port());
    (stage, server, options, address)
}

#[tokio::test]
async fn a_file_is_named_as_in_its_address_and_resumed_by_its_tag() {
    let body = weights(3_000_000);
    let (_stage, server, options, address) = served(&body).await;
    server.acts("/models/a.gguf", &[Act::Cut(10), Act::Cut(2_000_000)]);
    let fetched = run(&address, &options).await.unwrap();
    assert!(fetched.path.ends_with("a.gguf"));
    assert_eq!(std::fs::read(&fetched.path).unwrap(), body);
    let asked = server.asked();
    let last = asked.last().unwrap();
    assert!(last.header("range").is_some());
    assert!(
        last.header("if-range")
            .is_some_and(|tag| tag.starts_with('"'))
    );
}

#[tokio::test]
async fn a_file_that_changes_between_two_pieces_is_not_put_together_from_both() {
    let (_stage, server, options, address) = served(&weights(3_000_000)).await;
    server.acts("/models/a.gguf", &[Act::Cut(10), Act::Cut(2_000_000)]);
    let changing = async {
        while server.asked().len() < 2 {
            tokio::task::yield_now().await;
        }
        server.change("/models/a.gguf", |page| {
            page.body = Bytes::from(vec![7; 3_000_000]);
            page.tag = Some("\"other\"".into());
        });
    };
    let (ended, ()) = tokio::join!(run(&address, &options), changing);
    let error = ended.unwrap_err();
    assert!(matches!(error, SourceError::Changed { .. }), "{error}");
    assert!(!error.is_permanent());
    let fetched = run(&address, &options).await.unwrap();
    assert_eq!(std::fs::read(&fetched.path).unwrap(), vec![7; 3_000_000]);
}

#[tokio::test]
async fn a_digest_that_is_asked_for_decides_and_needs_no_question_the_second_time() {
    let (_stage, server, options, address) = served(b"GGUF").await;
    let right = Options {
        sha256: Some(Digest::of(b"GGUF")),
        ..options.clone()
    };
    run(&address, &right).await.unwrap();
    server.forget();
    assert_eq!(run(&address, &right).await.unwrap().origin, Origin::Cache);
    assert!(server.asked().is_empty());
    let wrong = Options {
        sha256: Some(Digest::of(b"another")),
        ..options
    };
    let error = fails(&address, &wrong).await;
    assert_eq!(error.reason(), "DigestMismatch");
    let expected = Digest::of(b"another").to_string();
    assert!(error.to_string().contains(&expected), "{error}");
}

#[tokio::test]
async fn a_new_file_at_the_same_address_is_downloaded_and_an_old_one_is_not() {
    let (_stage, server, options, address) = served(b"GGUF 1").await;
    let first = run(&address, &options).await.unwrap();
    assert_eq!(run(&address, &options).await.unwrap().origin, Origin::Cache);
    server.file("/models/a.gguf", b"second GGUF");
    let second = run(&address, &options).await.unwrap();
    assert_eq!(second.origin, Origin::Download);
    assert_eq!(std::fs::read(second.path).unwrap(), b"second GGUF");
    assert_eq!(
        std::fs::read(first.path).unwrap(),
        b"GGUF 1",
        "someone may still read it"
    );
}

#[tokio::test]
async fn credentials_are_sent_as_a_token_or_as_name_and_password() {
    for (entries, wanted) in [
        (vec![("token", "t0ken")], "Bearer t0ken"),
        (
            vec![("username", "anna"), ("password", "pw")],
            "Basic YW5uYTpwdw==",
        ),
    ] {
        let (stage, server, options, address) = served(b"GGUF").await;
        server.change("/models/a.gguf", |page| {
            page.wants = Some(wanted.to_owned())
        });
        let options = Options {
            credentials: Some(stage.secret(&entries)),
            ..options
        };
        run(&address, &options).await.unwrap();
    }
}

#[tokio::test]
async fn a_packed_folder_is_unpacked_and_the_model_found_in_it() {
    let (_stage, server, options, _) = served(b"").await;
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, body) in [
        ("tiny/config.json", "{}"),
        ("tiny/model.safetensors", "weights"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(body.len() as u64);
        archive
            .append_data(&mut header, name, body.as_bytes())
            .unwrap();
    }
    let packed = archive.into_inner().unwrap().finish().unwrap();
    server.file("/m.tar.gz", &packed);
    let address = format!("https://localhost:{}/m.tar.gz", server.address.port());
    let options = Options {
        sha256: Some(Digest::of(&packed)),
        ..options
    };
    let fetched = run(&address, &options).await.unwrap();
    assert!(fetched.path.ends_with("tiny"), "{:?}", fetched.path);
    assert_eq!(
        std::fs::read(fetched.path.join("model.safetensors")).unwrap(),
        b"weights"
    );
    let names: Vec<_> = fetched
        .files
        .iter()
        .map(|file| file.name.as_str())
        .collect();
    assert_eq!(names, ["tiny/config.json", "tiny/model.safetensors"]);
}

#[tokio::test]
async fn an_archive_that_leads_out_of_its_folder_leaves_nothing_behind() {
    let (stage, server, options, _) = served(b"").await;
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..9].copy_from_slice(b"../escape");
    header.set_size(1);
    header.set_cksum();
    let mut archive = tar::Builder::new(Vec::new());
    archive.append(&header, b"x".as_slice()).unwrap();
    server.file("/m.tar", &archive.into_inner().unwrap());
    let address = format!("https://localhost:{}/m.tar", server.address.port());
    let error = fails(&address, &options).await;
    assert!(
        error.to_string().contains("leads out of its folder"),
        "{error}"
    );
    let left = stage.files();
    assert!(
        left.iter().all(|name| name.starts_with("locks/")),
        "{left:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_served_is_said_by_its_address() {
    let (_stage, server, options, _) = served(b"").await;
    let port = server.address.port();
    let error = fails(&format!("https://localhost:{port}/models/"), &options).await;
    assert!(
        error.to_string().contains("a folder cannot be listed"),
        "{error}"
    );
    server.file("/m.zip", b"PK");
    let error = fails(&format!("https://localhost:{port}/m.zip"), &options).await;
    assert!(error.to_string().contains("zip is not unpacked"), "{error}");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(
        b"no archive, but long enough to be the block of one"
            .repeat(20)
            .as_slice(),
    )
    .unwrap();
    server.file("/m.tar.gz", &gzip.finish().unwrap());
    let error = fails(&format!("https://localhost:{port}/m.tar.gz"), &options).await;
    assert_eq!(error.reason(), "Unsupported", "{error}");
}
