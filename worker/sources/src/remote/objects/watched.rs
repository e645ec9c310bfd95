//! The requests of the stores' library, sent by our own client: what a status and its headers say
//! is the cause of the library's error, which by itself tells only some of them apart.

use std::time::Duration;

use async_trait::async_trait;
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    },
};
use reqwest::{Client, StatusCode};
use thiserror::Error;

use crate::error::{SourceError, Trouble};
use crate::web::text;

/// A status that is no success.
#[derive(Debug, Error)]
#[error("the store answers {status}")]
pub(super) struct Refused {
    status: StatusCode,
    after: Option<Duration>,
    region: Option<String>,
}

impl Refused {
    pub(super) fn is_not_found(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
    }

    pub(super) fn trouble(&self, address: String) -> Trouble {
        let unsupported = |what| SourceError::Unsupported {
            address: address.clone(),
            what,
        };
        match (self.status.as_u16(), &self.region) {
            (408 | 425 | 429 | 500.., _) => Trouble::Passing {
                what: self.to_string(),
                after: self.after,
            },
            (401 | 403, _) => SourceError::Unauthorized {
                address,
                what: format!(
                    "{self}: see the Secret of credentialsSecretRef, or the role of the pod's \
                     service account"
                ),
            }
            .into(),
            (404, _) => SourceError::NotFound {
                address,
                what: "no object of that name, and none below it".to_owned(),
            }
            .into(),
            (412 | 416, _) => SourceError::Changed {
                file: address,
                what: "another object has its name".to_owned(),
            }
            .into(),
            (_, Some(region)) => unsupported(format!(
                "the bucket is in {region}: put `region` into the Secret"
            ))
            .into(),
            (_, None) => {
                unsupported(format!("{self}; see `endpoint` and `region` in the Secret")).into()
            }
        }
    }
}

/// The service that gives a machine its credentials is not there.
#[derive(Debug, Error)]
#[error("this machine has no metadata service")]
pub(super) struct NoIdentity;

/// Headers by which a metadata service knows that it is meant.
const METADATA: [&str; 4] = [
    "x-aws-ec2-metadata-token-ttl-seconds",
    "x-aws-ec2-metadata-token",
    "metadata-flavor",
    "metadata",
];

/// A client that every store uses.
#[derive(Clone, Debug)]
pub(super) struct Watched(Client);

impl Watched {
    pub(super) fn new(client: Client) -> Self {
        Self(client)
    }
}

impl HttpConnector for Watched {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Watched {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let of_machine = METADATA
            .iter()
            .any(|name| request.headers().contains_key(*name))
            || request
                .uri()
                .host()
                .is_some_and(|host| host.starts_with("169.254."));
        let response = match self.0.call(request).await {
            Err(_) if of_machine => return Err(HttpError::new(HttpErrorKind::Unknown, NoIdentity)),
            response => response?,
        };
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if of_machine {
            return Err(HttpError::new(HttpErrorKind::Unknown, NoIdentity));
        }
        let after = text(response.headers(), "retry-after").and_then(|text| text.parse().ok());
        let refused = Refused {
            status,
            after: after.map(Duration::from_secs),
            region: text(response.headers(), "x-amz-bucket-region"),
        };
        Err(HttpError::new(HttpErrorKind::Unknown, refused))
    }
}
