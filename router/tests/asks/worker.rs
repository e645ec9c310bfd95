//! A worker that plays what a test wrote down for it, over real gRPC.
//!
//! Not imitated: a model, a tokenizer, prompts, limits, sampling, a queue, resuming, every call but
//! `Generate`. The two-node tests cover the same ground with a real worker.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use weir_worker_api::worker_server::{Worker, WorkerServer};
use weir_worker_api::*;

/// One thing that happens in an answer.
#[derive(Clone, Debug)]
pub enum Play {
    /// One token with this log-probability.
    Say(&'static str, f32),
    /// The answer ends well.
    End,
    /// The worker dies: the stream breaks.
    Die,
    /// Nothing comes any more, until somebody cancels.
    Hang,
    /// The ask is refused in place of an answer.
    Refuse(ErrorCode),
}

/// A worker and what was seen of its work. Asks beyond the last script get the last one again.
#[derive(Clone)]
pub struct Scripted {
    pub address: SocketAddr,
    seen: Arc<Seen>,
    _server: Arc<JoinSet<()>>,
}

#[derive(Default)]
struct Seen {
    scripts: Mutex<VecDeque<Vec<Play>>>,
    asked: Mutex<Vec<GenerateRequest>>,
    cancelled: AtomicUsize,
}

/// "billing" in two sure tokens.
pub fn sure() -> Vec<Play> {
    vec![Play::Say("bil", -0.01), Play::Say("ling", -0.01), Play::End]
}

/// A second token that no threshold in these tests forgives, and then nothing: whoever does not
/// cancel waits for ever.
pub fn unsure() -> Vec<Play> {
    vec![Play::Say("hard", -0.1), Play::Say("ware", -3.0), Play::Hang]
}

impl Scripted {
    pub async fn start(scripts: impl IntoIterator<Item = Vec<Play>>) -> Self {
        let seen = Arc::new(Seen {
            scripts: Mutex::new(scripts.into_iter().collect()),
            ..Seen::default()
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = WorkerServer::new(Service(seen.clone()));
        let mut server = JoinSet::new();
        server.spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            let server = Server::builder().add_service(service);
            server.serve_with_incoming(incoming).await.unwrap();
        });
        Self {
            address,
            seen,
            _server: Arc::new(server),
        }
    }

    pub fn asked(&self) -> Vec<GenerateRequest> {
        self.seen.asked.lock().unwrap().clone()
    }

    pub fn cancelled(&self) -> usize {
        self.seen.cancelled.load(Ordering::SeqCst)
    }
}

struct Service(Arc<Seen>);

/// Counts as cancelled if it is dropped before the script's end.
struct Playing {
    plays: VecDeque<Play>,
    seen: Arc<Seen>,
    has_ended: bool,
}

impl Drop for Playing {
    fn drop(&mut self) {
        if !self.has_ended {
            self.seen.cancelled.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Playing {
    async fn next(&mut self) -> Option<Result<GenerateEvent, Status>> {
        match self.plays.pop_front()? {
            Play::Say(text, logprob) => Some(Ok(token(text, logprob))),
            Play::Hang => std::future::pending().await,
            Play::Die => {
                self.has_ended = true;
                Some(Err(Status::unavailable("gone")))
            }
            Play::End | Play::Refuse(_) => {
                self.has_ended = true;
                Some(Ok(event(generate_event::Event::Finished(Finished {
                    reason: FinishReason::Stop.into(),
                    prompt_tokens: 7,
                    completion_tokens: 2,
                    ..Finished::default()
                }))))
            }
        }
    }
}

fn token(text: &str, logprob: f32) -> GenerateEvent {
    event(generate_event::Event::Tokens(Tokens {
        text: text.to_owned(),
        tokens: vec![Token {
            id: 1,
            evidence: Some(Evidence {
                logprob,
                margin: -logprob,
                entropy: 0.1,
                ..Evidence::default()
            }),
            ..Token::default()
        }],
        ..Tokens::default()
    }))
}

fn event(event: generate_event::Event) -> GenerateEvent {
    GenerateEvent { event: Some(event) }
}

#[tonic::async_trait]
impl Worker for Service {
    type GenerateStream = BoxStream<'static, Result<GenerateEvent, Status>>;
    type WatchStream = BoxStream<'static, Result<WatchEvent, Status>>;

    async fn generate(
        &self,
        request: Request<GenerateRequest>,
    ) -> Result<Response<Self::GenerateStream>, Status> {
        self.0.asked.lock().unwrap().push(request.into_inner());
        let plays = {
            let mut scripts = self.0.scripts.lock().unwrap();
            match scripts.len() {
                0 | 1 => scripts.front().cloned().unwrap_or_default(),
                _ => scripts.pop_front().unwrap(),
            }
        };
        if let Some(Play::Refuse(code)) = plays.first() {
            let detail = ErrorDetail {
                code: (*code).into(),
                retry_elsewhere: *code == ErrorCode::Overloaded,
                ..ErrorDetail::default()
            };
            return Err(status_with(
                &detail,
                "as the script says, with the secret sk-123",
            ));
        }
        let playing = Playing {
            plays: plays.into(),
            seen: self.0.clone(),
            has_ended: false,
        };
        let started = event(generate_event::Event::Started(Started::default()));
        let rest = stream::unfold(playing, |mut playing| async move {
            let next = playing.next().await?;
            Some((next, playing))
        });
        Ok(Response::new(
            stream::iter([Ok(started)]).chain(rest).boxed(),
        ))
    }

    async fn choose(&self, _: Request<ChooseRequest>) -> Result<Response<ChooseResponse>, Status> {
        Err(Status::unimplemented("not imitated"))
    }

    async fn embed(&self, _: Request<EmbedRequest>) -> Result<Response<EmbedResponse>, Status> {
        Err(Status::unimplemented("not imitated"))
    }

    async fn tokenize(
        &self,
        _: Request<TokenizeRequest>,
    ) -> Result<Response<TokenizeResponse>, Status> {
        Err(Status::unimplemented("not imitated"))
    }

    async fn describe(
        &self,
        _: Request<DescribeRequest>,
    ) -> Result<Response<DescribeResponse>, Status> {
        Err(Status::unimplemented("not imitated"))
    }

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("not imitated"))
    }
}
