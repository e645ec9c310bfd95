//! The admin port: alive, ready, metrics, log level, and what a binary adds.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Request, State};
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

    pub fn router(self) -> Router {
        Router::new()
            .route("/livez", get(async || "alive\n"))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .route("/log-level", get(log_level).put(set_log_level))
            .fallback(mounted)
            .with_state(self)
    }
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
