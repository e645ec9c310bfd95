//! A worker that plays what a test wrote down for it, over real gRPC.
//!
//! Not imitated: a model, a tokenizer, prompts, limits, sampling, a queue, that what is resumed fits to what was
//! begun, loads; `Tokenize`, `Choose` and `Describe` only where a test says what they answer. The two-node
//! tests cover the same ground with a real worker.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
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
    /// The text of the prompt in one sure token.
    Quote,
    /// These tokens of the prompt, each as likely as the last.
    Read(&'static [&'static str]),
    /// The answer ends well.
    End,
    /// The worker dies: the stream breaks.
    Die,
    /// Nothing comes any more, until somebody cancels.
    Hang,
    /// Nothing comes until the test says so.
    Wait,
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

struct Seen {
    scripts: Mutex<VecDeque<Vec<Play>>>,
    asked: Mutex<Vec<GenerateRequest>>,
    cancelled: AtomicUsize,
    kind: Mutex<Option<(&'static str, &'static str)>>,
    described: AtomicUsize,
    goes_on: Mutex<Vec<Play>>,
    /// One for each wait that may end.
    leave: Semaphore,
    /// What is counted of every prompt; nothing refuses to count.
    tokens: Mutex<Option<Reply<usize>>>,
    /// What every choice is; nothing refuses to choose.
    choice: Mutex<Option<Reply<&'static str>>>,
    tokenized: Mutex<Vec<TokenizeRequest>>,
    chosen: Mutex<Vec<ChooseRequest>>,
}

/// How a call that is not an answer goes.
#[derive(Clone, Copy, Debug)]
pub enum Reply<T> {
    With(T),
    /// Nothing comes, until somebody cancels.
    Never,
    /// The connection closes meanwhile.
    Leaves,
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
            asked: Mutex::default(),
            cancelled: AtomicUsize::default(),
            kind: Mutex::default(),
            described: AtomicUsize::default(),
            goes_on: Mutex::default(),
            leave: Semaphore::new(0),
            tokens: Mutex::default(),
            choice: Mutex::default(),
            tokenized: Mutex::default(),
            chosen: Mutex::default(),
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

    /// Says what it is: of this kernel class, with this adapter. Others say nothing of themselves.
    pub fn of(self, kernel_class: &'static str, adapter: &'static str) -> Self {
        *self.seen.kind.lock().unwrap() = Some((kernel_class, adapter));
        self
    }

    /// What it plays where an answer was begun elsewhere.
    pub fn goes_on(self, script: Vec<Play>) -> Self {
        *self.seen.goes_on.lock().unwrap() = script;
        self
    }

    /// Waits until the router has heard what it is.
    pub async fn until_known(&self) {
        while self.seen.described.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // The answer is on its way.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }

    /// Prompts have so many tokens.
    pub fn counts(self, tokens: Reply<usize>) -> Self {
        *self.seen.tokens.lock().unwrap() = Some(tokens);
        self
    }

    /// Of the options, this one is by far the likeliest.
    pub fn chooses(self, option: Reply<&'static str>) -> Self {
        *self.seen.choice.lock().unwrap() = Some(option);
        self
    }

    pub fn tokenized(&self) -> Vec<TokenizeRequest> {
        self.seen.tokenized.lock().unwrap().clone()
    }

    pub fn chosen(&self) -> Vec<ChooseRequest> {
        self.seen.chosen.lock().unwrap().clone()
    }

    pub fn asked(&self) -> Vec<GenerateRequest> {
        self.seen.asked.lock().unwrap().clone()
    }

    /// One wait is over.
    pub fn go_on(&self) {
        self.seen.leave.add_permits(1);
    }

    pub fn cancelled(&self) -> usize {
        self.seen.cancelled.load(Ordering::SeqCst)
    }
}

impl Seen {
    /// Counts as cancelled where it waits for ever and is dropped.
    async fn reply<T>(&self, reply: Option<Reply<T>>) -> Result<T, Status> {
        /// Counts when it is dropped.
        struct Waiting<'a>(&'a Seen);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.cancelled.fetch_add(1, Ordering::SeqCst);
            }
        }
        match reply {
            Some(Reply::With(reply)) => Ok(reply),
            Some(Reply::Leaves) => Err(Status::cancelled("the connection closes")),
            Some(Reply::Never) => {
                let _waiting = Waiting(self);
                std::future::pending().await
            }
            None => {
                let detail = ErrorDetail {
                    code: ErrorCode::Internal.into(),
                    ..ErrorDetail::default()
                };
                Err(status_with(&detail, "with the secret sk-123"))
            }
        }
    }
}

struct Service(Arc<Seen>);

/// Counts as cancelled if it is dropped before the script's end.
struct Playing {
    /// With the choice that it is of.
    plays: VecDeque<(u32, Play)>,
    prompt: String,
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
        if let Some((_, Play::Wait)) = self.plays.front() {
            self.seen.leave.acquire().await.unwrap().forget();
            self.plays.pop_front();
        }
        let (choice, play) = self.plays.pop_front()?;
        match play {
            Play::Say(text, logprob) => Some(Ok(token(choice, text, logprob))),
            Play::Quote => Some(Ok(token(choice, &self.prompt, -0.01))),
            Play::Read(texts) => {
                let tokens = texts.iter().map(|text| Token {
                    text: (*text).to_owned(),
                    evidence: Some(evidence(-0.5)),
                    ..Token::default()
                });
                let tokens = tokens.collect();
                Some(Ok(event(generate_event::Event::Prompt(PromptTokens {
                    tokens,
                }))))
            }
            Play::Hang | Play::Wait => std::future::pending().await,
            Play::Die => {
                self.has_ended = true;
                Some(Err(Status::unavailable("gone")))
            }
            Play::End | Play::Refuse(_) => {
                self.has_ended = self.plays.is_empty();
                Some(Ok(event(generate_event::Event::Finished(Finished {
                    choice,
                    reason: FinishReason::Stop.into(),
                    prompt_tokens: 7,
                    completion_tokens: 2,
                    ..Finished::default()
                }))))
            }
        }
    }
}

fn token(choice: u32, text: &str, logprob: f32) -> GenerateEvent {
    event(generate_event::Event::Tokens(Tokens {
        choice,
        text: text.to_owned(),
        tokens: vec![Token {
            id: 1,
            evidence: Some(evidence(logprob)),
            text: text.to_owned(),
            ..Token::default()
        }],
        ..Tokens::default()
    }))
}

fn evidence(logprob: f32) -> Evidence {
    Evidence {
        logprob,
        margin: -logprob,
        entropy: 0.1,
        ..Evidence::default()
    }
}

/// The prompt as text; of tokens, their ids.
fn text_of(request: &GenerateRequest) -> String {
    match request
        .prompt
        .as_ref()
        .and_then(|prompt| prompt.form.as_ref())
    {
        Some(prompt::Form::Text(text)) => text.clone(),
        Some(prompt::Form::Tokens(tokens)) => format!("{:?}", tokens.ids),
        _ => String::new(),
    }
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
        let request = request.into_inner();
        self.0.asked.lock().unwrap().push(request.clone());
        let plays = match &request.resume {
            Some(_) => self.0.goes_on.lock().unwrap().clone(),
            None => {
                let mut scripts = self.0.scripts.lock().unwrap();
                match scripts.len() {
                    0 | 1 => scripts.front().cloned().unwrap_or_default(),
                    _ => scripts.pop_front().unwrap(),
                }
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
        // Every choice does the same, one after the other; the prompt is read once.
        let choices = 0..request.choices.max(1);
        let plays = choices.flat_map(|choice| plays.iter().map(move |play| (choice, play.clone())));
        let plays = plays.filter(|(choice, play)| *choice == 0 || !matches!(play, Play::Read(_)));
        let playing = Playing {
            plays: plays.collect(),
            prompt: text_of(&request),
            seen: self.0.clone(),
            has_ended: false,
        };
        let started = event(generate_event::Event::Started(Started {
            prompt_ids: vec![1, 2, 3],
            prompt_text: format!("text of {}", text_of(&request)),
            first_text: "<s>".to_owned(),
            ..Started::default()
        }));
        let rest = stream::unfold(playing, |mut playing| async move {
            let next = playing.next().await?;
            Some((next, playing))
        });
        Ok(Response::new(
            stream::iter([Ok(started)]).chain(rest).boxed(),
        ))
    }

    async fn choose(
        &self,
        request: Request<ChooseRequest>,
    ) -> Result<Response<ChooseResponse>, Status> {
        let request = request.into_inner();
        self.0.chosen.lock().unwrap().push(request.clone());
        let choice = *self.0.choice.lock().unwrap();
        let choice = self.0.reply(choice).await?;
        let scores = request.options.into_iter().map(|option| OptionScore {
            probability: if option == choice { 0.9 } else { 0.01 },
            option,
            ..OptionScore::default()
        });
        Ok(Response::new(ChooseResponse {
            scores: scores.collect(),
            ..ChooseResponse::default()
        }))
    }

    /// The same vector for every input.
    async fn embed(
        &self,
        request: Request<EmbedRequest>,
    ) -> Result<Response<EmbedResponse>, Status> {
        let values = vec![0.6, 0.8];
        let vectors = vec![Vector { values }; request.into_inner().inputs.len()];
        Ok(Response::new(EmbedResponse {
            vectors,
            prompt_tokens: 7,
        }))
    }

    async fn tokenize(
        &self,
        request: Request<TokenizeRequest>,
    ) -> Result<Response<TokenizeResponse>, Status> {
        let request = request.into_inner();
        self.0.tokenized.lock().unwrap().push(request);
        let tokens = *self.0.tokens.lock().unwrap();
        let ids = vec![1; self.0.reply(tokens).await?];
        Ok(Response::new(TokenizeResponse { ids }))
    }

    async fn describe(
        &self,
        _: Request<DescribeRequest>,
    ) -> Result<Response<DescribeResponse>, Status> {
        let kind = *self.0.kind.lock().unwrap();
        let (kernel_class, adapter) = kind.ok_or_else(|| Status::unimplemented("unknown"))?;
        self.0.described.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(DescribeResponse {
            model_digest: "model".into(),
            tokenizer_digest: "tokenizer".into(),
            kernel_class: kernel_class.into(),
            adapters: vec![AdapterDescription {
                name: adapter.into(),
                digest: "adapter".into(),
                ..AdapterDescription::default()
            }],
            ..DescribeResponse::default()
        }))
    }

    /// Nothing runs, as far as it says.
    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        if self.0.kind.lock().unwrap().is_none() {
            return Err(Status::unimplemented("unknown"));
        }
        let events = stream::repeat(()).then(|()| async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok(WatchEvent::default())
        });
        Ok(Response::new(events.boxed()))
    }
}
