//! The port that clients use. It is open from the start and says how far the model is; once the
//! model is there, it serves it.

use std::sync::{Arc, OnceLock};

use anyhow::Context;
use axum::{
    Router,
    extract::Request,
    middleware::{Next, from_fn},
    response::Response,
    serve::ListenerExt,
};
use tokio::net::TcpListener;
use tower::ServiceExt;
use tracing::Instrument;
use weir_process::{Process, traces};

use crate::{draining::Idle, grpc::Grpc, openai, serving::Serving, stage::Stage, starting};

/// An open port.
pub struct Port {
    served: Arc<OnceLock<Served>>,
}

struct Served {
    routes: Router,
    idle: Idle,
}

impl Port {
    /// Answers on `listener` until what was begun is finished.
    pub fn open(process: &Process, listener: TcpListener, stage: Stage) -> anyhow::Result<Self> {
        let opened = listener.local_addr().context("read the address")?;
        tracing::info!(%opened, "the model is not there yet, how far it is can be asked");
        // A token is a small packet: it must not wait for the next one (Nagle) to be sent.
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection sends late");
            }
        });
        let served: Arc<OnceLock<Served>> = Arc::default();
        let routes = switched(served.clone(), starting::routes(stage)).layer(from_fn(traced));
        let (draining, until) = (process.shutdown().draining(), served.clone());
        let server = axum::serve(listener, routes).with_graceful_shutdown(async move {
            draining.await;
            if let Some(served) = until.get() {
                served.idle.when_drained().await;
            }
        });
        process
            .tasks()
            .spawn_required("server", async move { server.await.context("serve") });
        Ok(Self { served })
    }

    /// From now on the model is served.
    pub fn serve(self, serving: Arc<Serving>, idle: Idle) {
        let grpc = Grpc {
            serving: serving.clone(),
            idle: idle.clone(),
        };
        let grpc = tonic::service::Routes::new(grpc.into_service()).into_axum_router();
        let routes = grpc
            .merge(openai::routes(serving))
            .fallback(openai::not_found);
        self.served.get_or_init(|| Served { routes, idle });
    }
}

/// What is served, or `starting` for as long as nothing is.
fn switched(served: Arc<OnceLock<Served>>, starting: Router) -> Router {
    Router::new().fallback(move |request: Request| {
        let served = served.get();
        let routes = served.map_or(&starting, |served| &served.routes).clone();
        async move {
            let Ok(response) = routes.oneshot(request).await;
            response
        }
    })
}

/// Ties what a request does to the trace that its caller began.
async fn traced(request: Request, next: Next) -> Response {
    let span = tracing::info_span!("request", path = request.uri().path());
    traces::follow(&span, request.headers());
    next.run(request).instrument(span).await
}
