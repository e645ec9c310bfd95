//! Both wires while there is no model yet: `Describe` says how far it is, the rest is refused.

use axum::{Router, extract, middleware::from_fn};
use futures::stream::BoxStream;
use tonic::{Request, Response, Status};
use weir_worker_api::{
    self as api, MAX_REQUEST_BYTES,
    worker_server::{Worker, WorkerServer},
};

use crate::{
    grpc::status,
    intake::{Intake, bounded},
    openai,
    stage::Stage,
};

struct Starting(Stage);

pub fn routes(stage: Stage, intake: Intake) -> Router {
    let grpc = WorkerServer::new(Starting(stage.clone()));
    let grpc = grpc.max_decoding_message_size(MAX_REQUEST_BYTES);
    let grpc = tonic::service::Routes::new(grpc).into_axum_router();
    let grpc = grpc.layer(from_fn(move |request, next| {
        bounded(intake.clone(), request, next)
    }));
    grpc.fallback(async move |request: extract::Request| {
        openai::refused(request, stage.refusal()).await
    })
}

impl Starting {
    fn refuse<T>(&self) -> Result<Response<T>, Status> {
        Err(status(self.0.refusal()))
    }
}

#[tonic::async_trait]
impl Worker for Starting {
    type GenerateStream = BoxStream<'static, Result<api::GenerateEvent, Status>>;
    type WatchStream = BoxStream<'static, Result<api::WatchEvent, Status>>;

    async fn generate(
        &self,
        _request: Request<api::GenerateRequest>,
    ) -> Result<Response<Self::GenerateStream>, Status> {
        self.refuse()
    }

    async fn choose(
        &self,
        _request: Request<api::ChooseRequest>,
    ) -> Result<Response<api::ChooseResponse>, Status> {
        self.refuse()
    }

    async fn embed(
        &self,
        _request: Request<api::EmbedRequest>,
    ) -> Result<Response<api::EmbedResponse>, Status> {
        self.refuse()
    }

    async fn tokenize(
        &self,
        _request: Request<api::TokenizeRequest>,
    ) -> Result<Response<api::TokenizeResponse>, Status> {
        self.refuse()
    }

    async fn describe(
        &self,
        _request: Request<api::DescribeRequest>,
    ) -> Result<Response<api::DescribeResponse>, Status> {
        Ok(Response::new(self.0.describe()))
    }

    async fn watch(
        &self,
        _request: Request<api::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.refuse()
    }
}
