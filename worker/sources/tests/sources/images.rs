//! Registries that answer as a test says. (`real.rs` has a real one.)

use axum::body::Bytes;
use weir_sources::{Digest, Options};

use crate::{
    server::{Act, Page, Server},
    stage::{Stage, fails, run},
};

const MANIFEST: &str = "/v2/acme/tiny/manifests/v1";

/// An artefact of one GGUF; the path of its blob.
fn artefact(server: &Server, body: &[u8]) -> String {
    let digest = Digest::of(body);
    let manifest = format!(
        r#"{{"layers":[{{"mediaType":"application/vnd.cncf.model.weight.v1.raw",
            "digest":"sha256:{digest}","size":{},
            "annotations":{{"org.cncf.model.filepath":"a.gguf"}}}}]}}"#,
        body.len()
    );
    let page = Page {
        body: manifest.into(),
        ..Page::default()
    };
    server.put(MANIFEST, page);
    let blob = format!("/v2/acme/tiny/blobs/sha256:{digest}");
    server.file(&blob, body);
    blob
}

fn address(server: &Server) -> String {
    format!("oci://{}/acme/tiny:v1", server.address)
}

#[tokio::test]
async fn an_index_is_what_is_pinned_and_its_manifest_what_is_taken() {
    let (stage, server) = (Stage::new(), Server::start().await);
    artefact(&server, b"GGUF");
    let mut page = Page::default();
    server.change(MANIFEST, |found| page = found.clone());
    let below = format!("sha256:{}", Digest::of(&page.body));
    server.put(&format!("/v2/acme/tiny/manifests/{below}"), page);
    let index = format!(r#"{{"manifests":[{{"digest":"{below}","size":1}}]}}"#);
    let digest = format!("sha256:{}", Digest::of(index.as_bytes()));
    let page = Page {
        body: index.into(),
        ..Page::default()
    };
    server.put(MANIFEST, page.clone());
    server.put(&format!("/v2/acme/tiny/manifests/{digest}"), page);
    let fetched = run(&address(&server), &stage.options()).await.unwrap();
    assert_eq!(fetched.revision, digest);
    let elsewhere = Stage::new();
    let pinned = Options {
        pinned: Some(digest),
        ..elsewhere.options()
    };
    assert_eq!(
        run(&address(&server), &pinned).await.unwrap().files,
        fetched.files
    );
}

#[tokio::test]
async fn an_index_that_leads_to_itself_is_left() {
    let (stage, server) = (Stage::new(), Server::start().await);
    for tag in ["v1", "v2"] {
        let page = Page {
            body: r#"{"manifests":[{"digest":"v2","size":1}]}"#.into(),
            ..Page::default()
        };
        server.put(&format!("/v2/acme/tiny/manifests/{tag}"), page);
    }
    let error = fails(&address(&server), &stage.options()).await;
    assert_eq!(error.reason(), "Unsupported", "{error}");
}

#[tokio::test]
async fn a_blob_that_is_not_its_digest_is_refused() {
    let (stage, server) = (Stage::new(), Server::start().await);
    let blob = artefact(&server, b"GGUF");
    server.change(&blob, |page| page.body = Bytes::from_static(b"BUGG"));
    let error = fails(&address(&server), &stage.options()).await;
    assert_eq!(error.reason(), "DigestMismatch");
}

#[tokio::test]
async fn a_manifest_that_is_not_its_digest_is_refused() {
    let (stage, server) = (Stage::new(), Server::start().await);
    artefact(&server, b"GGUF");
    let other = format!("sha256:{}", Digest::of(b"other"));
    server.change(MANIFEST, |page| {
        page.headers.push(("docker-content-digest", other.clone()))
    });
    let error = fails(&address(&server), &stage.options()).await;
    assert!(error.to_string().contains("the manifest of"), "{error}");
    let mut page = Page::default();
    server.change(MANIFEST, |found| page = found.clone());
    page.headers.clear();
    server.put(&format!("/v2/acme/tiny/manifests/{other}"), page);
    let pinned = format!("oci://{}/acme/tiny@{other}", server.address);
    assert_eq!(
        fails(&pinned, &stage.options()).await.reason(),
        "DigestMismatch"
    );
}

#[tokio::test]
async fn a_registry_that_sends_to_a_token_server_gets_its_token_and_the_blobs_host_does_not() {
    let (stage, server, cdn) = (Stage::new(), Server::start().await, Server::start().await);
    let blob = artefact(&server, b"GGUF");
    let challenge = format!(
        r#"Bearer realm="{}/token",service="registry",scope="repository:acme/tiny:pull""#,
        server.url()
    );
    for path in [MANIFEST, &blob] {
        server.change(path, |page| {
            page.wants = Some("Bearer t0ken".into());
            page.challenge = Some(challenge.clone());
        });
    }
    server.change(&blob, |page| {
        page.redirect = Some(format!("{}/blob", cdn.url()))
    });
    cdn.file("/blob", b"GGUF");
    let token = Page {
        body: r#"{"token":"t0ken"}"#.into(),
        wants: Some("Basic YW5uYTpwdw==".into()),
        ..Page::default()
    };
    let asked = "/token?service=registry&scope=repository%3Aacme%2Ftiny%3Apull";
    server.put(asked, token);
    let options = Options {
        credentials: Some(stage.secret(&[("username", "anna"), ("password", "pw")])),
        ..stage.options()
    };
    run(&address(&server), &options).await.unwrap();
    assert_eq!(
        server.asked_for("/token").len(),
        1,
        "a token serves until it is refused"
    );
    assert_eq!(cdn.asked_for("/blob")[0].header("authorization"), None);
}

#[tokio::test]
async fn a_token_that_runs_out_is_asked_for_again() {
    let (stage, server) = (Stage::new(), Server::start().await);
    let blob = artefact(&server, b"GGUF");
    let challenge = format!(r#"Bearer realm="{}/token""#, server.url());
    for (path, token) in [(MANIFEST, "Bearer first"), (&blob, "Bearer second")] {
        server.change(path, |page| {
            page.wants = Some(token.into());
            page.challenge = Some(challenge.clone());
        });
    }
    let page = |token: &str| Page {
        body: format!(r#"{{"access_token":"{token}"}}"#).into(),
        ..Page::default()
    };
    server.put("/token", page("first"));
    let (options, address) = (stage.options(), address(&server));
    let changing = async {
        while server.asked_for("/token").is_empty() {
            tokio::task::yield_now().await;
        }
        server.put("/token", page("second"));
    };
    let (ended, ()) = tokio::join!(run(&address, &options), changing);
    ended.unwrap();
    assert_eq!(server.asked_for("/token").len(), 2);
}

#[tokio::test]
async fn the_host_that_a_blob_is_redirected_to_cannot_ask_for_our_credentials() {
    let (stage, server, cdn) = (Stage::new(), Server::start().await, Server::start().await);
    let blob = artefact(&server, b"GGUF");
    server.change(&blob, |page| {
        page.redirect = Some(format!("{}/blob", cdn.url()))
    });
    let greedy = Page {
        wants: Some("never".into()),
        challenge: Some(format!(r#"Bearer realm="{}/token""#, cdn.url())),
        ..Page::default()
    };
    cdn.put("/blob", greedy);
    let options = Options {
        credentials: Some(stage.secret(&[("username", "anna"), ("password", "pw")])),
        ..stage.options()
    };
    let error = fails(&address(&server), &options).await;
    assert_eq!(error.reason(), "Unauthorized");
    assert!(cdn.asked_for("/token").is_empty());
}

#[tokio::test]
async fn nobody_who_is_wanted_is_told_to_bring_credentials() {
    let (stage, server) = (Stage::new(), Server::start().await);
    artefact(&server, b"GGUF");
    server.change(MANIFEST, |page| {
        page.wants = Some("Basic x".into());
        page.challenge = Some("Basic realm=\"r\"".into());
    });
    let error = fails(&address(&server), &stage.options()).await;
    assert_eq!(error.reason(), "Unauthorized");
    assert!(
        error.to_string().contains("credentialsSecretRef"),
        "{error}"
    );
}

#[tokio::test]
async fn a_blob_is_resumed_and_overload_waited_out() {
    let (stage, server) = (Stage::new(), Server::start().await);
    let body = crate::stage::weights(3_000_000);
    let blob = artefact(&server, &body);
    server.acts(&blob, &[Act::Status(429, &[]), Act::Cut(1_500_000)]);
    let fetched = run(&address(&server), &stage.options()).await.unwrap();
    assert_eq!(std::fs::read(&fetched.path).unwrap(), body);
    assert!(server.asked_for(&blob)[2].header("range").is_some());
    assert!(fetched.revision.starts_with("sha256:"));
}

#[tokio::test]
async fn layers_that_lead_out_of_the_folder_or_come_twice_are_refused() {
    for names in [["../a.gguf", "b.gguf"], ["a.gguf", "a.gguf"]] {
        let (stage, server) = (Stage::new(), Server::start().await);
        let layers = names.map(|name| {
            format!(
                r#"{{"mediaType":"x","digest":"sha256:{}","size":4,
                "annotations":{{"org.opencontainers.image.title":"{name}"}}}}"#,
                Digest::of(b"GGUF")
            )
        });
        let page = Page {
            body: format!(r#"{{"layers":[{}]}}"#, layers.join(",")).into(),
            ..Page::default()
        };
        server.put(MANIFEST, page);
        let error = fails(&address(&server), &stage.options()).await;
        assert_eq!(error.reason(), "Unsupported", "{error}");
    }
}
