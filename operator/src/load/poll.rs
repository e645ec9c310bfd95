//! Asks one process what it has in hand, and goes on asking: `GET /load` as a long poll.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use weir_policy::load::Load;

/// Between two answers of one process, whatever happens there: this late is what is held known at most.
const LEAST: Duration = Duration::from_millis(250);
/// One that does not answer is asked again after this.
const PAUSE: Duration = Duration::from_secs(1);
/// Longer than anybody waits for news.
pub(super) const ANSWER: Duration = Duration::from_secs(8);
/// A report of a namespace's thousand policies is far below this; whoever says more is not ours.
const LONGEST_REPORT: usize = 1 << 20;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("cannot ask")]
    Ask(#[source] reqwest::Error),
    #[error("the answer is {0}")]
    Status(reqwest::StatusCode),
    #[error("the report is too long")]
    TooLong,
    #[error("cannot read the report")]
    Read(#[source] serde_json::Error),
}

/// What asks. A process is asked itself: redirects are not followed and no proxy is asked, or whoever runs as
/// a pod of ours would choose what the operator connects to.
pub fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
}

/// Asks at `address` for what is new, for as long as somebody awaits it; `hear` gets every report, and every
/// reason why there is none.
pub async fn ask_on(http: &reqwest::Client, address: &str, hear: impl Fn(Result<Load, AskError>)) {
    let mut version = None;
    loop {
        let began = Instant::now();
        let url = match version {
            Some(version) => format!("{address}?after={version}"),
            None => address.to_owned(),
        };
        let answered = ask(http, &url, ANSWER).await;
        version = answered.as_ref().ok().map(|load| load.version);
        let pause = if version.is_some() { LEAST } else { PAUSE };
        hear(answered);
        sleep_until(began + pause).await;
    }
}

/// Asks once.
pub(super) async fn ask(
    http: &reqwest::Client,
    url: &str,
    longest: Duration,
) -> Result<Load, AskError> {
    let answer = http.get(url).timeout(longest).send().await;
    let mut answer = answer.map_err(AskError::Ask)?;
    if !answer.status().is_success() {
        return Err(AskError::Status(answer.status()));
    }
    let mut body = Vec::new();
    while let Some(bytes) = answer.chunk().await.map_err(AskError::Ask)? {
        body.extend_from_slice(&bytes);
        if body.len() > LONGEST_REPORT {
            return Err(AskError::TooLong);
        }
    }
    serde_json::from_slice(&body).map_err(AskError::Read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::tests::report;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Stands in for the admin port of one pod: it answers every connection with `head` and a report.
    async fn stand_in(head: String) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/load", listener.local_addr().unwrap());
        let body = serde_json::to_string(&report(1, "a")).unwrap();
        let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        #[allow(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let _ = connection.read(&mut [0; 4096]).await;
                let _ = connection.write_all(answer.as_bytes()).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn a_pod_cannot_send_the_operator_elsewhere() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = client().unwrap();
        let elsewhere = stand_in("HTTP/1.1 200 OK\r\n".into()).await;
        let ask = async |url: &str| ask(&http, url, ANSWER).await;
        assert_eq!(ask(&elsewhere).await.unwrap(), report(1, "a"));
        let pod = stand_in(format!("HTTP/1.1 302 Found\r\nlocation: {elsewhere}\r\n")).await;
        let asked = ask(&pod).await;
        assert!(
            matches!(asked, Err(AskError::Status(status)) if status == 302),
            "{asked:?}"
        );
    }
}
