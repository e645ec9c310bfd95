//! The contract over gRPC: decodes nothing itself, puts refusals into statuses.

use std::{sync::Arc, time::Duration};

use futures::{
    StreamExt,
    stream::{BoxStream, unfold},
};
use tokio::{sync::watch, time};
use tonic::{Request, Response, Status};
use weir_engine::Load;
use weir_process::Shutdown;
use weir_worker_api::{
    self as api, MAX_REQUEST_BYTES,
    generate_event::Event,
    status_with,
    worker_server::{Worker, WorkerServer},
};

use crate::{draining::Idle, intake::Room, refusal::Refusal, serving::Serving};

/// How often load is told when nothing changes.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

pub struct Grpc {
    pub serving: Arc<Serving>,
    pub idle: Idle,
}

impl Grpc {
    pub fn into_service(self) -> WorkerServer<Self> {
        WorkerServer::new(self).max_decoding_message_size(MAX_REQUEST_BYTES)
    }
}

#[tonic::async_trait]
impl Worker for Grpc {
    type GenerateStream = BoxStream<'static, Result<api::GenerateEvent, Status>>;
    type WatchStream = BoxStream<'static, Result<api::WatchEvent, Status>>;

    async fn generate(
        &self,
        request: Request<api::GenerateRequest>,
    ) -> Result<Response<Self::GenerateStream>, Status> {
        let request = request.into_inner();
        let serving = request.spelled.then(|| self.serving.clone());
        let generation = self.serving.generate(request).await.map_err(status)?;
        let events = unfold(
            (generation, serving),
            |(mut generation, serving)| async move {
                let mut event = generation.next().await?;
                if let (Some(serving), Ok(event)) = (&serving, &mut event) {
                    spell(serving, event);
                }
                let event = event
                    .map(|event| api::GenerateEvent { event: Some(event) })
                    .map_err(status);
                Some((event, (generation, serving)))
            },
        );
        Ok(Response::new(events.boxed()))
    }

    async fn choose(
        &self,
        request: Request<api::ChooseRequest>,
    ) -> Result<Response<api::ChooseResponse>, Status> {
        keep(&request)?;
        let response = self.serving.choose(request.into_inner()).await;
        response.map(Response::new).map_err(status)
    }

    async fn embed(
        &self,
        request: Request<api::EmbedRequest>,
    ) -> Result<Response<api::EmbedResponse>, Status> {
        keep(&request)?;
        let response = self.serving.embed(request.into_inner()).await;
        response.map(Response::new).map_err(status)
    }

    async fn tokenize(
        &self,
        request: Request<api::TokenizeRequest>,
    ) -> Result<Response<api::TokenizeResponse>, Status> {
        let ids = self.serving.tokenize(request.into_inner()).await;
        ids.map(|ids| Response::new(api::TokenizeResponse { ids }))
            .map_err(status)
    }

    async fn describe(
        &self,
        _request: Request<api::DescribeRequest>,
    ) -> Result<Response<api::DescribeResponse>, Status> {
        Ok(Response::new(self.serving.describe()))
    }

    async fn watch(
        &self,
        _request: Request<api::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let watching = Watching {
            load: self.serving.engine.load(),
            max_sequences: self.serving.engine.options().max_sequences as u32,
            shutdown: self.serving.shutdown.clone(),
            idle: self.idle.clone(),
            told: None,
        };
        Ok(Response::new(unfold(watching, Watching::next).boxed()))
    }
}

/// What is computed at length takes no room from what comes in.
fn keep<T>(request: &Request<T>) -> Result<(), Status> {
    match request.extensions().get::<Room>() {
        Some(room) => room.keep().map_err(status),
        None => Ok(()),
    }
}

/// One reader of load, and what it was told last.
struct Watching {
    load: watch::Receiver<Load>,
    max_sequences: u32,
    shutdown: Shutdown,
    idle: Idle,
    told: Option<api::WatchEvent>,
}

impl Watching {
    async fn next(mut self) -> Option<(Result<api::WatchEvent, Status>, Self)> {
        if let Some(told) = self.told {
            let draining = self.shutdown.clone();
            let told_draining = told.draining;
            // Blocks come and go with every few tokens, which is no news of its own.
            let was = (told.running, told.waiting, told.blocks_used > 0);
            let is_news = |load: &Load| (load.running, load.waiting, load.blocks_used > 0) != was;
            tokio::select! {
                changed = self.load.wait_for(is_news) => drop(changed.ok()?),
                () = time::sleep(WATCH_INTERVAL) => {}
                () = async { draining.begun().await }, if !told_draining => {}
                // The stream must not be what keeps a drained process alive.
                () = self.idle.when_drained() => return None,
            }
        }
        let load = *self.load.borrow_and_update();
        let event = api::WatchEvent {
            running: load.running,
            waiting: load.waiting,
            max_sequences: self.max_sequences,
            blocks_used: load.blocks_used,
            blocks_total: load.blocks_total,
            draining: self.shutdown.has_begun(),
        };
        self.told = Some(event);
        Some((Ok(event), self))
    }
}

/// Puts the text of each token beside its id.
fn spell(serving: &Serving, event: &mut Event) {
    let (tokens, is_prompt) = match event {
        Event::Started(started) => {
            let ids = &started.prompt_ids;
            started.first_text = ids
                .first()
                .map_or_else(String::new, |id| serving.token_text(*id));
            started.prompt_text = serving.tokenizer.decode(ids).unwrap_or_default();
            return;
        }
        Event::Prompt(prompt) => (&mut prompt.tokens, true),
        Event::Tokens(tokens) => (&mut tokens.tokens, false),
        Event::Finished(_) => return,
    };
    for token in tokens {
        // What ends a turn in a prompt was put there to be seen.
        if is_prompt || !serving.eos.contains(&token.id) {
            token.text = serving.token_text(token.id);
        }
        for other in &mut token.alternatives {
            other.text = serving.token_text(other.id);
        }
    }
}

/// A refusal as gRPC has it.
pub fn status(refusal: Refusal) -> Status {
    let detail = api::ErrorDetail {
        code: refusal.code().into(),
        retry_elsewhere: refusal.retry_elsewhere(),
        field: refusal.field().unwrap_or_default().to_owned(),
        retry_after_seconds: refusal.retry_after_seconds(),
    };
    status_with(&detail, refusal.message())
}
