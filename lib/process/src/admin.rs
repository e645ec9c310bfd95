//! The admin port: alive, ready, metrics, log level, and what a binary adds. Everybody who reaches it
//! may read; what changes anything is taken only from the pod, or the machine, itself.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use tower::ServiceExt;

use crate::logs;
use crate::metrics::Metrics;
use crate::readiness::Readiness;

/// What the admin port serves. Clones are the same port.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    pub readiness: Readiness,
    pub metrics: Metrics,
    mounted: Arc<Mutex<Router>>,
}

impl Admin {
    pub fn new(readiness: Readiness, metrics: Metrics) -> Self {
        Self {
            readiness,
            metrics,
            mounted: Arc::default(),
        }
    }

    /// Adds routes, also while the port is being served: a process must answer `/livez` long
    /// before it knows what else it has to say.
    pub fn mount(&self, routes: Router) {
        let mut mounted = self.mounted.lock().unwrap_or_else(PoisonError::into_inner);
        *mounted = mounted.clone().merge(routes);
    }

    /// Has to be told who asks, as [`ConnectInfo`] with a [`SocketAddr`].
    pub fn router(self) -> Router {
        Router::new()
            .route("/livez", get(async || "alive\n"))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .route("/log-level", get(log_level).put(set_log_level))
            .fallback(mounted)
            .layer(middleware::from_fn(writes_from_here))
            .with_state(self)
    }
}

/// `kubectl port-forward` and `kubectl exec` come from the pod itself.
async fn writes_from_here(
    ConnectInfo(asks): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    if request.method().is_safe() || asks.ip().to_canonical().is_loopback() {
        return next.run(request).await;
    }
    let message = "changes are taken from the pod itself: ask through kubectl port-forward\n";
    (StatusCode::FORBIDDEN, message).into_response()
}

async fn readyz(State(admin): State<Admin>) -> (StatusCode, String) {
    let closed = admin.readiness.closed();
    if closed.is_empty() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    let mut text = "not ready\n".to_owned();
    for gate in closed {
        writeln!(text, "{gate}").expect("writing to a string cannot fail");
    }
    (StatusCode::SERVICE_UNAVAILABLE, text)
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, format)], admin.metrics.encode())
}

async fn log_level() -> (StatusCode, String) {
    match logs::level() {
        Some(level) => (StatusCode::OK, format!("{level}\n")),
        None => (StatusCode::NOT_FOUND, "logging is not ours\n".to_owned()),
    }
}

async fn set_log_level(directives: String) -> (StatusCode, String) {
    match logs::set_level(directives.trim()) {
        Ok(()) => log_level().await,
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error:#}\n")),
    }
}

async fn mounted(State(admin): State<Admin>, request: Request) -> Response {
    let routes = admin
        .mounted
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let Ok(response) = routes.oneshot(request).await;
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    async fn status(method: &str, path: &str, asks: &str) -> StatusCode {
        let admin = Admin::new(Readiness::default(), Metrics::new("weir-test"));
        let wipe = axum::routing::post(async || "wiped").get(async || "kept");
        admin.mount(Router::new().route("/mounted", wipe));
        let asks: SocketAddr = asks.parse().unwrap();
        let mut request = Request::new(Body::from("info"));
        *request.method_mut() = method.parse().unwrap();
        *request.uri_mut() = path.parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(asks));
        admin.router().oneshot(request).await.unwrap().status()
    }

    #[tokio::test]
    async fn everybody_reads_and_only_the_pod_itself_changes() {
        for asks in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(status("POST", "/mounted", asks).await, 200, "{asks}");
        }
        for asks in ["10.1.2.3:1", "[fd00::1]:1", "[::ffff:10.1.2.3]:1"] {
            assert_eq!(status("GET", "/mounted", asks).await, 200, "{asks}");
            assert_eq!(status("POST", "/mounted", asks).await, 403, "{asks}");
            assert_eq!(status("PUT", "/log-level", asks).await, 403, "{asks}");
        }
    }
}
