//! One bucket of S3, or of a server that speaks as it does, reached by the dialler's rules: every address
//! is checked each time it is dialled, redirects are not followed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStoreExt, RetryConfig};
use reqwest::{Client, Url};
use weir_policy::records::{Store, is_service};

use crate::credentials::StoreKeys;
use crate::dial::{Dialler, Reach, Refused};

const CONNECT: Duration = Duration::from_secs(5);

/// Why an object was not written. Nothing of what the store said is in it but its status.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error("the endpoint in the Secret is no address that begins with https:// or http://")]
    Endpoint,
    #[error("the endpoint in the Secret is plain http outside the cluster")]
    Plain,
    #[error("the address of the store may not be dialled")]
    AddressRefused(#[source] Refused),
    #[error("the entries of the Secret cannot be used")]
    Setting,
    #[error("the store answers {0}")]
    Status(StatusCode),
    #[error("the store was not reached")]
    NotReached,
    #[error("the store did not answer within {0:?}")]
    TooSlow(Duration),
}

/// A bucket, and whether what is put there stays in the cluster.
pub(super) struct Bucket {
    store: AmazonS3,
    pub is_inside: bool,
}

impl Bucket {
    pub fn open(
        store: &Store,
        keys: &StoreKeys,
        dialler: &Arc<Dialler>,
    ) -> Result<Self, StoreError> {
        let reach = reach(keys.get("endpoint"), dialler.allows_loopback())?;
        let client = dialler.client(reach, CONNECT, None);
        let dialled = Dialled {
            client: client.map_err(|_| StoreError::Setting)?,
            dialler: dialler.clone(),
            reach,
        };
        let mut builder = AmazonS3Builder::new();
        for (name, value) in keys.entries() {
            let name = match name {
                "endpoint" => "aws_endpoint",
                "region" => "aws_region",
                name => name,
            };
            let key = name.parse().map_err(|_| StoreError::Setting)?;
            builder = builder.with_config(key, value);
        }
        // Waiting and trying again are ours.
        let retries = RetryConfig {
            max_retries: 0,
            ..RetryConfig::default()
        };
        let builder = builder.with_bucket_name(&store.bucket).with_retry(retries);
        let built = builder.with_http_connector(dialled).build();
        Ok(Self {
            store: built.map_err(|_| StoreError::Setting)?,
            is_inside: reach == Reach::Inside,
        })
    }

    pub async fn put(&self, name: &str, body: String) -> Result<(), StoreError> {
        let path = Path::parse(name).map_err(|_| StoreError::Setting)?;
        let put = self.store.put(&path, body.into()).await;
        put.map(drop).map_err(|error| told(&error))
    }
}

/// Where the store is: a Service of the cluster, or anywhere else.
fn reach(endpoint: Option<&str>, allows_loopback: bool) -> Result<Reach, StoreError> {
    let Some(endpoint) = endpoint else {
        return Ok(Reach::Outside);
    };
    let url: Url = endpoint.parse().map_err(|_| StoreError::Endpoint)?;
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = address
        .parse()
        .is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    let is_here = allows_loopback && (host == "localhost" || is_loopback);
    let is_inside = is_service(host) || is_here;
    match url.scheme() {
        "https" | "http" if is_inside => Ok(Reach::Inside),
        "https" => Ok(Reach::Outside),
        "http" => Err(StoreError::Plain),
        _ => Err(StoreError::Endpoint),
    }
}

/// What the library's error comes from.
fn told(error: &object_store::Error) -> StoreError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(refused) = error.downcast_ref::<Refused>() {
            return StoreError::AddressRefused(*refused);
        }
        if let Some(Answered(status)) = error.downcast_ref() {
            return StoreError::Status(*status);
        }
        cause = error.source();
    }
    StoreError::NotReached
}

/// A status that is no success; its body is not read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Answered(StatusCode);

/// Sends the library's requests with our client.
#[derive(Clone)]
struct Dialled {
    client: Client,
    dialler: Arc<Dialler>,
    reach: Reach,
}

impl fmt::Debug for Dialled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialled").finish_non_exhaustive()
    }
}

impl HttpConnector for Dialled {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Dialled {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let failed = |error: Refused| HttpError::new(HttpErrorKind::Connect, error);
        if let Ok(url) = request.uri().to_string().parse::<Url>() {
            let checked = self.dialler.check_literal(self.reach, &url);
            checked.map_err(failed)?;
        }
        let response = self.client.call(request).await?;
        match response.status() {
            status if status.is_success() => Ok(response),
            status => Err(HttpError::new(HttpErrorKind::Unknown, Answered(status))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_inside_by_the_name_of_a_service_and_plain_only_there() {
        let reach = |endpoint| reach(Some(endpoint), false);
        for inside in [
            "http://minio.data.svc:9000",
            "https://s3.data.svc.cluster.local",
        ] {
            assert!(matches!(reach(inside), Ok(Reach::Inside)), "{inside}");
        }
        assert!(matches!(
            reach("https://s3.example.com"),
            Ok(Reach::Outside)
        ));
        assert!(matches!(
            reach("http://s3.example.com"),
            Err(StoreError::Plain)
        ));
        assert!(matches!(
            reach("http://127.0.0.1:9000"),
            Err(StoreError::Plain)
        ));
        assert!(matches!(reach("s3.example.com"), Err(StoreError::Endpoint)));
        assert!(matches!(super::reach(None, true), Ok(Reach::Outside)));
        let laptop = super::reach(Some("http://127.0.0.1:9000"), true);
        assert!(matches!(laptop, Ok(Reach::Inside)));
    }

    #[tokio::test]
    async fn a_store_at_an_address_on_the_link_or_here_is_not_dialled() {
        // Fails if another test of this binary was first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dialler = Arc::new(Dialler::new(&crate::args::Args::default(), Vec::new()));
        let store = Store {
            bucket: "b".into(),
            prefix: String::new(),
            secret: "s3".into(),
        };
        for host in ["169.254.169.254", "[fe80::1]", "127.0.0.1:1", "localhost:1"] {
            let root = tempfile::tempdir().unwrap();
            std::fs::create_dir(root.path().join("s3")).unwrap();
            for (entry, text) in [
                ("aws_access_key_id", "id"),
                ("aws_secret_access_key", "key"),
                ("endpoint", &format!("https://{host}")),
            ] {
                std::fs::write(root.path().join("s3").join(entry), text).unwrap();
            }
            let keys = StoreKeys::read(root.path(), "s3").unwrap();
            let bucket = Bucket::open(&store, &keys, &dialler).unwrap();
            let put = bucket.put("a", String::new()).await;
            assert!(
                matches!(put, Err(StoreError::AddressRefused(_))),
                "{host}: {put:?}"
            );
        }
    }
}
