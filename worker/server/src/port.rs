//! The port that clients use. It is open from the start and says how far the model is; once the
//! model is there, it serves it.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::Context;
use axum::{
    Router,
    extract::Request,
    middleware::{Next, from_fn},
    response::Response,
};
use tokio::net::TcpListener;
use tower::ServiceExt;
use tracing::Instrument;
use weir_process::{
    Process,
    connections::{Beyond, Limits, Patience, Times, serve},
    traces,
};

use crate::{
    args::Args,
    draining::Idle,
    grpc::Grpc,
    intake::{Intake, bounded},
    openai,
    serving::Serving,
    stage::Stage,
    starting,
};

/// Each takes a descriptor, and what it has sent of a head.
const MOST_CONNECTIONS: usize = 4096;

/// Requests that may be under way on one connection of HTTP/2: a router has one to each worker, and
/// what is more than that waits there.
const MOST_STREAMS: u32 = 512;

/// A key and a trace take a few kilobytes.
const MOST_HEAD_BYTES: u32 = 32 << 10;

/// Beyond the patience with which an answer is given up: so long there is time to hear of that.
const BEYOND_PATIENCE: Duration = Duration::from_secs(30);

/// For a client that takes nothing when the process ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// An open port.
pub struct Port {
    served: Arc<OnceLock<Served>>,
    intake: Intake,
}

struct Served {
    routes: Router,
    idle: Idle,
}

impl Port {
    /// Answers on `listener` until what was begun is finished.
    pub fn open(
        process: &Process,
        listener: TcpListener,
        (stage, args): (Stage, &Args),
    ) -> anyhow::Result<Self> {
        let opened = listener.local_addr().context("read the address")?;
        tracing::info!(%opened, "the model is not there yet, how far it is can be asked");
        let (served, intake) = (Arc::<OnceLock<Served>>::default(), Intake::default());
        let starting = starting::routes(stage, intake.clone());
        let routes = switched(served.clone(), starting).layer(from_fn(traced));
        let (draining, until) = (process.shutdown().draining(), served.clone());
        let drained = async move {
            draining.await;
            if let Some(served) = until.get() {
                served.idle.when_drained().await;
            }
        };
        let limits = Limits {
            most: MOST_CONNECTIONS,
            beyond: Beyond::Wait,
            most_streams: MOST_STREAMS,
            most_head_bytes: Some(MOST_HEAD_BYTES),
            times: Times {
                head: args.connection_patience,
                stall: args.reader_patience + BEYOND_PATIENCE,
                farewell: FAREWELL,
            },
            // Those that are still being made are given up where that is done, and say so.
            patience: Some(Patience {
                reader: args.reader_patience + BEYOND_PATIENCE,
                idle: args.connection_patience,
            }),
        };
        process.tasks().spawn_required("server", async move {
            serve(listener, routes, limits, drained).await;
            Ok(())
        });
        Ok(Self { served, intake })
    }

    /// From now on the model is served.
    pub fn serve(self, serving: Arc<Serving>, idle: Idle) {
        let grpc = Grpc {
            serving: serving.clone(),
            idle: idle.clone(),
        };
        let intake = self.intake.clone();
        let grpc = tonic::service::Routes::new(grpc.into_service()).into_axum_router();
        let grpc = grpc.layer(from_fn(move |request, next| {
            bounded(intake.clone(), request, next)
        }));
        let routes = grpc
            .merge(openai::routes(serving, self.intake))
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
