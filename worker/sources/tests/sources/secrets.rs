//! No credential is shown: not in errors, not in progress, not in logs, not in the cache, whatever goes
//! wrong.

use std::{
    fs, io,
    sync::{Arc, Mutex},
};

use tokio::sync::watch;
use weir_sources::{Options, Progress, fetch};

use crate::{
    server::{Act, Page, Server},
    stage::{LIST, MODEL, Stage, repository, weights_page},
};

const SECRET: &str = "s3cr3t-value";

/// Where log lines go.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// All that a person could see of a fetch that ended as it did, every log line among it.
async fn shown(address: &str, options: &Options) -> String {
    let log = Log::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let listening = tracing::subscriber::set_default(lines);
    let (tx, rx) = watch::channel(Progress::default());
    let ended = fetch(&address.parse().unwrap(), options, &tx).await;
    drop(listening);
    let words = match &ended {
        Ok(fetched) => format!("{fetched:?}"),
        Err(error) => format!("{error} {error:?}"),
    };
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    format!("{words} {:?} {} {logged}", rx.borrow(), *rx.borrow())
}

/// Every byte of the cache, names of files too.
fn kept(stage: &Stage) -> String {
    let read = |name: &String| fs::read(stage.cache().join(name)).unwrap();
    let files = stage.files();
    let all = files
        .iter()
        .map(|name| format!("{name} {}", String::from_utf8_lossy(&read(name))));
    all.collect()
}

#[tokio::test]
async fn a_token_is_shown_nowhere_whatever_the_hub_answers() {
    for status in [200, 401, 403, 404, 418, 429, 500] {
        let (stage, server) = (Stage::new(), Server::start().await);
        repository(&server, b"weights");
        if status != 200 {
            server.acts(LIST, &vec![Act::Status(status, &[]); 1000]);
        }
        let options = Options {
            credentials: Some(stage.secret(&[("token", SECRET)])),
            ..stage.hub(&server)
        };
        let words = shown(MODEL, &options).await;
        assert!(!words.contains(SECRET), "{status}: {words}");
        assert!(!kept(&stage).contains(SECRET), "{status}");
        assert!(
            words.contains("weir_sources") || status < 500,
            "nothing was logged"
        );
        let sent = server.asked()[0].header("authorization").map(str::to_owned);
        assert_eq!(sent, Some(format!("Bearer {SECRET}")));
    }
}

#[tokio::test]
async fn a_signed_address_is_shown_without_its_signature() {
    let stage = Stage::new();
    let words = shown(
        &format!("https://anna:{SECRET}@127.0.0.1:1/a.gguf?X-Amz-Signature={SECRET}"),
        &stage.options(),
    )
    .await;
    assert!(words.contains("https://127.0.0.1:1/a.gguf"), "{words}");
    assert!(!words.contains(SECRET), "{words}");
}

#[tokio::test]
async fn a_redirect_to_a_signed_address_that_breaks_is_shown_without_its_signature() {
    let (stage, server) = (Stage::new(), Server::start().await);
    repository(&server, b"weights");
    let to = format!("http://127.0.0.1:1/blob?sig={SECRET}");
    server.change(&weights_page(), |page| page.redirect = Some(to));
    let words = shown(MODEL, &stage.hub(&server)).await;
    assert!(!words.contains(SECRET), "{words}");
}

#[tokio::test]
async fn what_a_library_says_of_a_failure_is_shown_without_the_token() {
    let (stage, server) = (Stage::new(), Server::start().await);
    repository(&server, b"weights");
    // The only words of a failure that a server can choose are those of where it leads to.
    let token = "127.0.0.9";
    server.change(&weights_page(), |page| {
        page.redirect = Some(format!("http://{token}:1/blob"));
    });
    let options = Options {
        credentials: Some(stage.secret(&[("token", token)])),
        ..stage.hub(&server)
    };
    let words = shown(MODEL, &options).await;
    assert!(words.contains("***:1"), "{words}");
    // The client's own lines for debugging name the host; ours do not.
    let ours = words.lines().filter(|line| !line.contains("hyper_util"));
    let shown: Vec<&str> = ours.filter(|line| line.contains(token)).collect();
    assert!(shown.is_empty(), "{shown:?}");
}

#[tokio::test]
async fn the_keys_of_stores_are_shown_nowhere() {
    let server = Server::start().await;
    let refused = Page {
        body: format!("<Error><Message>{SECRET} is wrong</Message></Error>").into(),
        ..Page::default()
    };
    server.put("/bucket", refused);
    let url = server.url();
    let key = "czNjcjN0LXZhbHVlLXRoYXQtaXMtbG9uZw==";
    for (address, entries) in [
        (
            "s3://bucket/a",
            vec![
                ("aws_access_key_id", "id-of-key"),
                ("aws_secret_access_key", SECRET),
            ],
        ),
        (
            "az://bucket/a",
            vec![
                ("azure_storage_account_name", "acc"),
                ("azure_storage_account_key", key),
            ],
        ),
        (
            "az://bucket/a",
            vec![
                ("azure_storage_account_name", "acc"),
                ("azure_storage_sas_key", "sig=s3cr3t-value"),
            ],
        ),
        (
            "gs://bucket/a",
            vec![(
                "google_service_account_key",
                r#"{"private_key":"s3cr3t-value"}"#,
            )],
        ),
    ] {
        let stage = Stage::new();
        let mut entries = entries;
        entries.push(("endpoint", &url));
        let options = Options {
            credentials: Some(stage.secret(&entries)),
            ..stage.options()
        };
        let words = shown(address, &options).await;
        for secret in [SECRET, key] {
            assert!(!words.contains(secret), "{address}: {words}");
        }
    }
}
