//! Endpoints that fail, throttle and are full, on a clock that stands still.

use futures::FutureExt;
use http::{HeaderName, HeaderValue};
use tokio::time::advance;
use weir_crds::SecretKeyRef;

use super::*;
use crate::attempt::test_endpoint;

const SECOND: Duration = Duration::from_secs(1);

fn endpoint(base_url: &str, credential: Option<&str>) -> Endpoint {
    Endpoint {
        base_url: base_url.to_owned(),
        api_key: credential.map(|name| SecretKeyRef {
            name: name.to_owned(),
            key: "api-key".to_owned(),
        }),
        ..test_endpoint(weir_crds::Provider::OpenAICompatible)
    }
}

async fn enter(endpoints: &Endpoints, endpoint: &Endpoint) -> Result<Pass, Failure> {
    let late = Instant::now() + SECOND;
    endpoints.enter(endpoint, ("frontier", ""), late).await
}

fn connect() -> Result<(), Failure> {
    Err(Failure::Connect {
        tier: "frontier".into(),
    })
}

fn headers(name: &'static str, value: &'static str) -> HeaderMap {
    let name = HeaderName::from_static(name);
    [(name, HeaderValue::from_static(value))]
        .into_iter()
        .collect()
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_not_reached_is_left_alone_and_then_probed() {
    let endpoints = Endpoints::new(8);
    let (down, other) = (endpoint("http://a", None), endpoint("http://a", Some("b")));
    for _ in 0..5 {
        enter(&endpoints, &down).await.unwrap().opened(&connect());
    }
    let refused = enter(&endpoints, &down).await.err().unwrap();
    assert_eq!(refused.word(), "circuit_open");
    assert!(
        enter(&endpoints, &other).await.is_ok(),
        "another credential"
    );
    assert_eq!(endpoints.state(&down), 2);
    advance(5 * SECOND).await;
    let probe = enter(&endpoints, &down).await.unwrap();
    assert_eq!(endpoints.state(&down), 1);
    assert!(enter(&endpoints, &down).await.is_err());
    // Its client leaves; the next one probes.
    drop(probe);
    let probe = enter(&endpoints, &down).await.unwrap();
    probe.heard(StatusCode::OK, &HeaderMap::new());
    assert_eq!(endpoints.state(&down), 1, "a head is no answer");
    probe.opened(&Ok(()));
    assert_eq!(endpoints.state(&down), 0);
    assert!(enter(&endpoints, &down).await.is_ok(), "the probe goes on");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_hangs_is_left_alone_although_nobody_waits_as_long_as_it_may_take() {
    let endpoints = Endpoints::new(8);
    let mut hanging = endpoint("http://a", None);
    hanging.timeouts.first_byte = 30 * SECOND;
    let half = hanging.timeouts.first_byte / 2;
    for (waits, state) in [(half - SECOND, 0), (half, 2)] {
        for _ in 0..5 {
            let pass = enter(&endpoints, &hanging).await.unwrap();
            advance(waits).await;
            drop(pass);
        }
        assert_eq!(endpoints.state(&hanging), state, "{waits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_client_did_wrong_and_what_is_too_much_do_not_count_as_down() {
    let endpoints = Endpoints::new(8);
    let endpoint = endpoint("http://a", None);
    for status in [400, 401, 404, 429, 529] {
        for _ in 0..30 {
            let pass = enter(&endpoints, &endpoint).await.unwrap();
            pass.heard(StatusCode::from_u16(status).unwrap(), &HeaderMap::new());
            pass.opened(&connect());
        }
        assert_eq!(endpoints.state(&endpoint), 0, "{status}");
    }
    for _ in 0..5 {
        let pass = enter(&endpoints, &endpoint).await.unwrap();
        pass.heard(StatusCode::SERVICE_UNAVAILABLE, &HeaderMap::new());
        pass.opened(&connect());
    }
    assert_eq!(endpoints.state(&endpoint), 2);
}

#[tokio::test(start_paused = true)]
async fn answers_that_always_break_off_open_it_too() {
    let endpoints = Endpoints::new(8);
    let endpoint = endpoint("http://a", None);
    for _ in 0..10 {
        let pass = enter(&endpoints, &endpoint).await.unwrap();
        pass.opened(&Ok(()));
        pass.failed(&connect().unwrap_err());
    }
    assert_eq!(endpoints.state(&endpoint), 2);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_is_not_asked_before_the_time_it_named() {
    let endpoints = Endpoints::new(8);
    let endpoint = endpoint("http://a", None);
    let pass = enter(&endpoints, &endpoint).await.unwrap();
    pass.heard(StatusCode::TOO_MANY_REQUESTS, &headers("retry-after", "7"));
    // What comes later and says less takes nothing back.
    pass.heard(StatusCode::TOO_MANY_REQUESTS, &headers("retry-after", "1"));
    advance(2 * SECOND).await;
    let refused = enter(&endpoints, &endpoint).await.err().unwrap();
    let expected = Failure::Overloaded {
        tier: "frontier".into(),
        retry_after: Some(5 * SECOND),
    };
    assert_eq!(refused, expected);
    advance(5 * SECOND).await;
    assert!(enter(&endpoints, &endpoint).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_limit_is_that_of_one_model() {
    let endpoints = Endpoints::new(8);
    let big = endpoint("http://a", None);
    let of = |model: &str| Endpoint {
        model: model.to_owned(),
        ..endpoint("http://a", None)
    };
    let wait = headers("retry-after", "7");
    let throttle = async |endpoint: &Endpoint| {
        let pass = enter(&endpoints, endpoint).await.unwrap();
        pass.heard(StatusCode::TOO_MANY_REQUESTS, &wait);
    };
    throttle(&of("mini")).await;
    assert!(enter(&endpoints, &of("mini")).await.is_err());
    assert!(enter(&endpoints, &big).await.is_ok());
    // Of more than can be remembered the one that is over first is asked again.
    advance(SECOND).await;
    for number in 1..MOST_LIMITS {
        throttle(&of(&number.to_string())).await;
    }
    throttle(&big).await;
    assert!(enter(&endpoints, &of("mini")).await.is_ok());
    assert!(enter(&endpoints, &big).await.is_err());
    assert!(enter(&endpoints, &of("1")).await.is_err());
    let known = endpoints.known(&big, Instant::now());
    assert_eq!(known.record().not_before.len(), MOST_LIMITS);
}

#[tokio::test(start_paused = true)]
async fn more_asks_than_an_endpoint_may_have_wait_and_are_told_of_overload() {
    let endpoints = Endpoints::new(2);
    let endpoint = endpoint("http://a", None);
    let first = enter(&endpoints, &endpoint).await.unwrap();
    let _second = enter(&endpoints, &endpoint).await.unwrap();
    let refused = enter(&endpoints, &endpoint).await.err().unwrap();
    assert_eq!(refused.word(), "overloaded");
    let third = enter(&endpoints, &endpoint);
    tokio::pin!(third);
    assert!(third.as_mut().now_or_never().is_none());
    drop(first);
    assert!(third.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_nobody_asks_are_forgotten() {
    let endpoints = Endpoints::new(8);
    let url = |number: usize| endpoint(&format!("http://{number}"), None);
    let _kept = enter(&endpoints, &url(0)).await.unwrap();
    for number in 1..2 * MOST_KNOWN {
        drop(enter(&endpoints, &url(number)).await);
        advance(Duration::from_millis(1)).await;
    }
    assert_eq!(lock(&endpoints.known).len(), MOST_KNOWN);
    advance(FORGOTTEN_AFTER).await;
    drop(enter(&endpoints, &url(1)).await);
    let known: Vec<_> = lock(&endpoints.known).keys().cloned().collect();
    assert_eq!(
        known.len(),
        2,
        "the one with an ask in hand, and the new one"
    );
}
