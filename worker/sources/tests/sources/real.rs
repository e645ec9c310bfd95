//! Against servers that others wrote: an S3 server that checks every signature, and the registry that
//! container tools speak to, which wants a password.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use object_store::{ObjectStoreExt, aws::AmazonS3Builder, path::Path};
use reqwest::{Client, header::LOCATION};
use weir_sources::{Digest, Options, Origin};

use crate::{
    programs::{PASSWORD, Program, USER, start},
    stage::{Stage, fails, run, weights},
};

fn with(stage: &Stage, entries: &[(&str, &str)]) -> Options {
    Options {
        credentials: Some(stage.secret(entries)),
        ..stage.options()
    }
}

#[tokio::test]
async fn a_model_comes_from_an_s3_server_that_checks_signatures() {
    let (stage, server) = (Stage::new(), start(&["s3"]));
    let endpoint = format!("http://{}", server.address);
    let store = AmazonS3Builder::new()
        .with_endpoint(&endpoint)
        .with_allow_http(true)
        .with_bucket_name("models")
        .with_access_key_id(USER)
        .with_secret_access_key(PASSWORD)
        .build()
        .unwrap();
    let body = weights(3_000_000);
    for (name, body) in [
        ("config.json", b"{}".to_vec()),
        ("model.safetensors", body.clone()),
    ] {
        let path = Path::from(format!("team/tiny model/{name}"));
        store.put(&path, body.into()).await.unwrap();
    }
    let secret = |key| {
        [
            ("aws_access_key_id", USER),
            ("aws_secret_access_key", key),
            ("endpoint", endpoint.as_str()),
        ]
    };
    // The address of a source has no blanks; the folder above it is one.
    let wrong = with(&stage, &secret("another-password"));
    assert_eq!(
        fails("s3://models/team", &wrong).await.reason(),
        "Unauthorized"
    );
    let right = with(&stage, &secret(PASSWORD));
    let error = fails("s3://models/team", &right).await;
    assert!(
        error.to_string().contains("tiny model/config.json"),
        "{error}"
    );
    for name in ["config.json", "model.safetensors"] {
        let (from, to) = (
            format!("team/tiny model/{name}"),
            format!("team/tiny/{name}"),
        );
        store
            .copy(&Path::from(from), &Path::from(to))
            .await
            .unwrap();
    }
    let fetched = run("s3://models/team/tiny", &right).await.unwrap();
    assert_eq!(
        std::fs::read(fetched.path.join("model.safetensors")).unwrap(),
        body
    );
    assert_eq!(
        run("s3://models/team/tiny", &right).await.unwrap().origin,
        Origin::Cache
    );
    assert_eq!(
        fails("s3://models/none", &right).await.reason(),
        "ModelNotFound"
    );
}

/// Puts a blob into the registry; its descriptor.
async fn push(client: &Client, server: &Program, kind: &str, body: Vec<u8>, name: &str) -> String {
    let base = format!("http://{}", server.address);
    let begin = client.post(format!("{base}/v2/acme/tiny/blobs/uploads/"));
    let begun = begin.basic_auth(USER, Some(PASSWORD)).send().await.unwrap();
    let to = begun.headers()[LOCATION].to_str().unwrap().to_owned();
    let (digest, bytes) = (Digest::of(&body), body.len());
    let put = client
        .put(format!("{to}&digest=sha256:{digest}"))
        .body(body);
    let put = put.header("content-type", "application/octet-stream");
    let put = put.basic_auth(USER, Some(PASSWORD)).send().await.unwrap();
    assert!(put.status().is_success(), "{}", put.text().await.unwrap());
    let names = match name {
        "" => String::new(),
        name => format!(r#","annotations":{{"org.opencontainers.image.title":"{name}"}}"#),
    };
    format!(r#"{{"mediaType":"{kind}","digest":"sha256:{digest}","size":{bytes}{names}}}"#)
}

async fn tag(client: &Client, server: &Program, tag: &str, config: &str, layers: &[String]) {
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{config},"layers":[{}]}}"#,
        layers.join(",")
    );
    let url = format!("http://{}/v2/acme/tiny/manifests/{tag}", server.address);
    let put = client.put(url).header("content-type", kind).body(manifest);
    let put = put.basic_auth(USER, Some(PASSWORD)).send().await.unwrap();
    assert!(put.status().is_success(), "{}", put.text().await.unwrap());
}

#[tokio::test]
async fn a_model_comes_from_a_registry_as_files_and_as_an_archive() {
    let stage = Stage::new();
    let folder = stage.folder.path().to_str().unwrap().to_owned();
    let server = start(&["registry", &folder]);
    let client = Client::builder().no_proxy().build().unwrap();
    let push =
        |kind: &'static str, body, name: &'static str| push(&client, &server, kind, body, name);
    let empty = push("application/vnd.oci.empty.v1+json", b"{}".to_vec(), "").await;
    let (tar, body) = ("application/vnd.oci.image.layer.v1.tar", weights(3_000_000));
    let config = push(tar, b"{\"a\":1}".to_vec(), "config.json").await;
    let weights = push(tar, body.clone(), "model.safetensors").await;
    tag(&client, &server, "files", &empty, &[config, weights]).await;
    let kitops = "application/vnd.kitops.modelkit.model.v1.tar+gzip";
    tag(
        &client,
        &server,
        "packed",
        &empty,
        &[push(kitops, packed(&body), "").await],
    )
    .await;

    let source = |rest: &str| format!("oci://{}/acme/tiny{rest}", server.address);
    let error = fails(&source(":files"), &stage.options()).await;
    assert_eq!(error.reason(), "Unauthorized");
    let config = format!(
        r#"{{"auths":{{"{}":{{"username":"{USER}","password":"{PASSWORD}"}}}}}}"#,
        server.address
    );
    let options = with(&stage, &[(".dockerconfigjson", &config)]);
    let files = run(&source(":files"), &options).await.unwrap();
    assert_eq!(
        std::fs::read(files.path.join("model.safetensors")).unwrap(),
        body
    );
    let archive = run(&source(":packed"), &options).await.unwrap();
    assert!(archive.path.ends_with("tiny"), "{:?}", archive.path);
    assert_eq!(
        std::fs::read(archive.path.join("model.safetensors")).unwrap(),
        body
    );
    let pinned = source(&format!("@{}", files.revision));
    assert_eq!(
        run(&pinned, &options).await.unwrap().revision,
        files.revision
    );
    assert_eq!(
        fails(&source(":none"), &options).await.reason(),
        "ModelNotFound"
    );
    let later = Options {
        pinned: Some(archive.revision.clone()),
        ..options.clone()
    };
    assert_eq!(
        run(&source(":packed"), &later).await.unwrap().path,
        archive.path
    );
    drop(server);
    assert_eq!(run(&pinned, &options).await.unwrap().origin, Origin::Cache);
}

fn packed(weights: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, body) in [
        ("tiny/config.json", b"{}".as_slice()),
        ("tiny/model.safetensors", weights),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(body.len() as u64);
        archive.append_data(&mut header, name, body).unwrap();
    }
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&archive.into_inner().unwrap()).unwrap();
    gzip.finish().unwrap()
}
