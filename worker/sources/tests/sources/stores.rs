//! Object stores that answer as a test says: lists in their own words, and trouble. (`real.rs` has an
//! S3 server that checks signatures; nothing here does.)

use axum::body::Bytes;
use weir_sources::{Options, SourceError};

use crate::{
    server::{Act, Page, Server},
    stage::{Stage, fails, run, weights},
};

const S3_LIST: &str = "/models";
const WEIGHTS: &str = "/models/tiny/model.safetensors";

fn contents(entries: &[(&str, usize)]) -> String {
    let one = |(key, size): &(&str, usize)| {
        format!(
            "<Contents><Key>{key}</Key><Size>{size}</Size><ETag>\"t\"</ETag>\
             <LastModified>2026-11-21T12:00:00.000Z</LastModified></Contents>"
        )
    };
    let all: String = entries.iter().map(one).collect();
    format!("<ListBucketResult><IsTruncated>false</IsTruncated>{all}</ListBucketResult>")
}

/// A bucket with a model in a folder; S3 and Google Cloud Storage list it in the same words.
async fn bucket(body: &[u8]) -> (Stage, Server) {
    let (stage, server) = (Stage::new(), Server::start().await);
    let list = contents(&[
        ("tiny/config.json", 2),
        ("tiny/model.safetensors", body.len()),
        ("tiny/optimizer.bin", 9),
    ]);
    let page = Page {
        body: list.into(),
        ..Page::default()
    };
    // Google's library puts a slash behind the bucket.
    server.put("/models/", page.clone());
    server.put(S3_LIST, page);
    for (path, body) in [
        ("/models/tiny/config.json", b"{}".as_slice()),
        (WEIGHTS, body),
    ] {
        let page = Page {
            body: Bytes::copy_from_slice(body),
            tag: Some("\"t\"".into()),
            headers: vec![("last-modified", "Sat, 21 Nov 2026 12:00:00 GMT".into())],
            ..Page::default()
        };
        server.put(path, page);
    }
    (stage, server)
}

fn s3(stage: &Stage, server: &Server) -> Options {
    let url = server.url();
    let entries = [
        ("aws_access_key_id", "id"),
        ("aws_secret_access_key", "key"),
        ("region", "us-east-1"),
        ("endpoint", url.as_str()),
    ];
    Options {
        credentials: Some(stage.secret(&entries)),
        ..stage.options()
    }
}

#[tokio::test]
async fn a_folder_of_a_bucket_is_listed_and_its_files_are_resumed() {
    let body = weights(3_000_000);
    let (stage, server) = bucket(&body).await;
    server.acts(WEIGHTS, &[Act::Cut(1_500_000), Act::Status(503, &[])]);
    let fetched = run("s3://models/tiny", &s3(&stage, &server)).await.unwrap();
    assert_eq!(
        std::fs::read(fetched.path.join("model.safetensors")).unwrap(),
        body
    );
    assert_eq!(fetched.files.len(), 2);
    assert!(fetched.revision.starts_with("content:"));
    let asked = server.asked_for(WEIGHTS);
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[2].header("if-match"), Some("\"t\""));
    assert!(asked[2].header("range").is_some());
    assert!(
        asked[0]
            .header("authorization")
            .unwrap()
            .starts_with("AWS4-HMAC-SHA256")
    );
}

#[tokio::test]
async fn google_cloud_storage_is_asked_with_a_bearer_token() {
    let (stage, server) = bucket(b"weights").await;
    let options = Options {
        credentials: Some(stage.secret(&[
            ("google_bearer_token", "t0ken"),
            ("endpoint", &server.url()),
        ])),
        ..stage.options()
    };
    let fetched = run("gs://models/tiny", &options).await.unwrap();
    assert_eq!(
        std::fs::read(fetched.path.join("config.json")).unwrap(),
        b"{}"
    );
    assert_eq!(
        server.asked_for(WEIGHTS)[0].header("authorization"),
        Some("Bearer t0ken")
    );
}

#[tokio::test]
async fn azure_is_asked_with_a_shared_key() {
    let (stage, server) = bucket(b"weights").await;
    let blob = |name: &str, bytes: usize| {
        format!(
            "<Blob><Name>{name}</Name><Properties>\
             <Last-Modified>Sat, 21 Nov 2026 12:00:00 GMT</Last-Modified>\
             <Content-Length>{bytes}</Content-Length><Content-Type>x</Content-Type>\
             <Etag>\"t\"</Etag></Properties></Blob>"
        )
    };
    let blobs = [
        blob("tiny/config.json", 2),
        blob("tiny/model.safetensors", 7),
    ]
    .concat();
    let page = Page {
        body: format!("<EnumerationResults><Blobs>{blobs}</Blobs></EnumerationResults>").into(),
        ..Page::default()
    };
    server.put(S3_LIST, page);
    let options = Options {
        credentials: Some(stage.secret(&[
            ("azure_storage_account_name", "acme"),
            ("azure_storage_account_key", "a2V5"),
            ("endpoint", &server.url()),
        ])),
        ..stage.options()
    };
    let fetched = run("az://models/tiny", &options).await.unwrap();
    assert_eq!(
        std::fs::read(fetched.path.join("model.safetensors")).unwrap(),
        b"weights"
    );
    let sent = server.asked_for(WEIGHTS)[0]
        .header("authorization")
        .unwrap()
        .to_owned();
    assert!(sent.starts_with("SharedKey acme:"), "{sent}");
}

#[tokio::test]
async fn an_object_that_is_replaced_while_it_comes_is_not_put_together_from_both() {
    let (stage, server) = bucket(&weights(3_000_000)).await;
    server.acts(WEIGHTS, &[Act::Cut(1_500_000), Act::Status(412, &[])]);
    let error = fails("s3://models/tiny", &s3(&stage, &server)).await;
    assert!(matches!(error, SourceError::Changed { .. }), "{error}");
}

#[tokio::test]
async fn objects_that_were_replaced_are_not_those_that_were_pinned() {
    let (stage, server) = bucket(b"weights").await;
    let first = run("s3://models/tiny", &s3(&stage, &server)).await.unwrap();
    let elsewhere = Stage::new();
    let pinned = Options {
        pinned: Some(first.revision),
        cache: elsewhere.cache(),
        ..s3(&stage, &server)
    };
    run("s3://models/tiny", &pinned).await.unwrap();
    server.change(S3_LIST, |page| {
        page.body = contents(&[("tiny/config.json", 2), ("tiny/model.safetensors", 8)]).into();
    });
    let another = Stage::new();
    let pinned = Options {
        cache: another.cache(),
        ..pinned
    };
    let error = fails("s3://models/tiny", &pinned).await;
    assert!(matches!(error, SourceError::Moved { .. }), "{error}");
}

#[tokio::test]
async fn what_a_store_refuses_is_said_with_what_to_do() {
    let region: &[(&str, &str)] = &[("x-amz-bucket-region", "eu-north-1")];
    for (status, headers, reason, words) in [
        (401, &[][..], "Unauthorized", "credentialsSecretRef"),
        (403, &[], "Unauthorized", "credentialsSecretRef"),
        (404, &[], "ModelNotFound", "no object of that name"),
        (301, region, "Unsupported", "the bucket is in eu-north-1"),
        (400, &[], "Unsupported", "400"),
    ] {
        let (stage, server) = bucket(b"weights").await;
        server.acts(S3_LIST, &[Act::Status(status, headers)]);
        let ended = run("s3://models/tiny", &s3(&stage, &server)).await;
        let Err(error) = ended else {
            panic!("{status} was taken for an answer: {:?}", server.asked());
        };
        assert_eq!(error.reason(), reason, "{status}: {error}");
        assert!(error.to_string().contains(words), "{status}: {error}");
        assert!(error.is_permanent(), "{status}");
    }
}

#[tokio::test]
async fn a_path_that_names_nothing_is_not_found() {
    let (stage, server) = bucket(b"weights").await;
    let page = Page {
        body: contents(&[]).into(),
        ..Page::default()
    };
    server.put(S3_LIST, page);
    for address in ["s3://models/none", "s3://models/none.gguf"] {
        let error = fails(address, &s3(&stage, &server)).await;
        assert_eq!(error.reason(), "ModelNotFound", "{address}: {error}");
    }
}

#[tokio::test]
async fn a_gguf_in_parts_is_taken_from_beside_the_part_that_is_named() {
    let (stage, server) = bucket(b"weights").await;
    let parts = ["tiny/a-00001-of-00002.gguf", "tiny/a-00002-of-00002.gguf"];
    let page = Page {
        body: contents(&parts.map(|part| (part, 4))).into(),
        ..Page::default()
    };
    server.put(S3_LIST, page);
    for part in parts {
        let page = Page {
            body: Bytes::from_static(b"GGUF"),
            tag: Some("\"t\"".into()),
            headers: vec![("last-modified", "Sat, 21 Nov 2026 12:00:00 GMT".into())],
            ..Page::default()
        };
        server.put(&format!("/models/{part}"), page);
    }
    let address = format!("s3://models/{}", parts[0]);
    let fetched = run(&address, &s3(&stage, &server)).await.unwrap();
    assert_eq!(fetched.files.len(), 2);
    assert!(fetched.path.ends_with("a-00001-of-00002.gguf"));
}

#[tokio::test]
async fn the_identity_of_a_pod_is_taken_where_nothing_is_mounted() {
    let (stage, server) = bucket(b"weights").await;
    let ambient = [
        ("AWS_ACCESS_KEY_ID", "ambient-id"),
        ("AWS_SECRET_ACCESS_KEY", "key"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", &server.url()),
    ];
    let options = Options {
        ambient: ambient
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..stage.options()
    };
    run("s3://models/tiny", &options).await.unwrap();
    let sent = server.asked_for(WEIGHTS)[0]
        .header("authorization")
        .unwrap()
        .to_owned();
    assert!(sent.contains("Credential=ambient-id/"), "{sent}");
}

#[tokio::test]
async fn a_machine_without_an_identity_is_told_to_mount_one() {
    let (stage, server) = bucket(b"weights").await;
    let options = Options {
        credentials: Some(stage.secret(&[
            ("endpoint", &server.url()),
            // Nobody is there.
            ("aws_metadata_endpoint", "http://127.0.0.1:1"),
        ])),
        ..stage.options()
    };
    let error = fails("s3://models/tiny", &options).await;
    assert_eq!(error.reason(), "Unauthorized", "{error}");
    assert!(error.to_string().contains("aws_skip_signature"), "{error}");
}
