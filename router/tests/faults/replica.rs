//! A worker that writes what it is asked to, and can be killed, stopped, slowed and drained like a process: it has
//! a runtime of its own, and where that is gone its connections are as well, without a word.
//!
//! Whoever has it go on with an answer must say what was written as it was.
//!
//! Not imitated: a model, a tokenizer, sampling, a queue; everything but `Generate`, `Describe` and `Watch`. The
//! tests of `weir up` and on two nodes kill real workers.

use std::net::{SocketAddr, TcpListener as Listener};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use weir_worker_api::generate_event::Event;
use weir_worker_api::worker_server::{Worker, WorkerServer};
use weir_worker_api::*;

use crate::question::words;

/// Between two words, where nothing else is said.
const PACE: Duration = Duration::from_millis(15);
/// It says what it has in hand so often.
const REPORTED_EVERY: Duration = Duration::from_millis(500);
/// Answers at once. It refuses more.
const ROOM: usize = 64;

/// How far a replica is with leaving.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Serves,
    /// It takes nothing more, and goes on with what it has.
    Leaves,
    /// Its time is over.
    EndsAll,
}

/// One worker. Dropping it kills it.
pub struct Replica {
    pub address: SocketAddr,
    state: Arc<State>,
    runtime: Option<Runtime>,
}

/// What was seen of all replicas of a test that must not be.
pub type Wrongs = Arc<Mutex<Vec<String>>>;

struct State {
    pace_millis: AtomicU64,
    is_stopped: AtomicBool,
    /// Nothing more is written, and all else goes on.
    is_stuck: AtomicBool,
    phase: watch::Sender<Phase>,
    running: AtomicUsize,
    begun: AtomicUsize,
    resumed: AtomicUsize,
    wrongs: Wrongs,
}

impl Replica {
    /// One that closes its connections with a reset when it dies, or as the kernel does it for a process that
    /// has read all that came.
    pub fn start(wrongs: &Wrongs, dies_by_reset: bool) -> Self {
        let state = Arc::new(State {
            pace_millis: AtomicU64::new(PACE.as_millis() as u64),
            is_stopped: AtomicBool::default(),
            is_stuck: AtomicBool::default(),
            phase: watch::Sender::new(Phase::Serves),
            running: AtomicUsize::default(),
            begun: AtomicUsize::default(),
            resumed: AtomicUsize::default(),
            wrongs: wrongs.clone(),
        });
        let listener = Listener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut runtime = Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        let service = WorkerServer::new(Service(state.clone()));
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            let incoming = TcpListenerStream::new(listener).inspect(move |stream| {
                if let (Ok(stream), true) = (stream, dies_by_reset) {
                    stream.set_zero_linger().unwrap();
                }
            });
            let server = Server::builder().add_service(service);
            server.serve_with_incoming(incoming).await.unwrap();
        });
        Self {
            address,
            state,
            runtime: Some(runtime),
        }
    }

    /// From now on a word takes so long.
    pub fn slow(&self, pace: Duration) {
        let millis = pace.as_millis() as u64;
        self.state.pace_millis.store(millis, Ordering::SeqCst);
    }

    /// As a process is stopped: its sockets stay open, and nobody is behind them.
    pub fn stop(&self) {
        self.state.is_stopped.store(true, Ordering::SeqCst);
        let state = self.state.clone();
        let runtime = self.runtime.as_ref().unwrap();
        // There is one thread for all that it does.
        runtime.spawn(async move {
            while state.is_stopped.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
    }

    /// What was stopped goes on.
    pub fn go_on(&self) {
        self.state.is_stopped.store(false, Ordering::SeqCst);
    }

    /// It writes nothing more of what it has in hand, and says that all is well.
    pub fn stick(&self) {
        self.state.is_stuck.store(true, Ordering::SeqCst);
    }

    /// Takes nothing more, goes on for `grace`, and tells whoever is left that it leaves.
    pub async fn drain(&self, grace: Duration) {
        self.state.phase.send_replace(Phase::Leaves);
        sleep(grace).await;
        self.state.phase.send_replace(Phase::EndsAll);
    }

    /// Answers in hand.
    pub fn running(&self) -> usize {
        self.state.running.load(Ordering::SeqCst)
    }

    /// Answers that it began.
    pub fn begun(&self) -> usize {
        self.state.begun.load(Ordering::SeqCst)
    }

    /// Answers of others that it went on with.
    pub fn resumed(&self) -> usize {
        self.state.resumed.load(Ordering::SeqCst)
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.go_on();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

struct Service(Arc<State>);

/// One answer in hand.
struct Writing {
    state: Arc<State>,
    words: Vec<String>,
    next: usize,
    is_over: bool,
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.state.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl State {
    /// How many words were written where the answer began. Whoever says something else of it has lost some of it.
    fn written(&self, resume: &Resume, words: &[String]) -> usize {
        let choice = resume.choices.first().cloned().unwrap_or_default();
        let count = choice.produced.len();
        let ids: Vec<u32> = (0..count as u32).collect();
        let bytes: usize = words.iter().take(count).map(String::len).sum();
        if choice.produced != ids || choice.sent_text_bytes != bytes as u64 || count > words.len() {
            let wrong = format!("resumed with {choice:?} of {words:?}");
            self.wrongs.lock().unwrap().push(wrong);
        }
        count
    }
}

impl Writing {
    async fn next(&mut self) -> Option<Result<GenerateEvent, Status>> {
        if self.is_over {
            return None;
        }
        let mut phase = self.state.phase.subscribe();
        tokio::select! {
            biased;
            _ = phase.wait_for(|phase| *phase == Phase::EndsAll) => {
                self.is_over = true;
                return Some(Err(refused(ErrorCode::Draining)));
            }
            () = self.pause() => {}
        }
        if self.next == self.words.len() {
            self.is_over = true;
            return Some(Ok(event(Event::Finished(Finished {
                reason: FinishReason::Stop.into(),
                prompt_tokens: self.words.len() as u32,
                completion_tokens: self.words.len() as u32,
                ..Finished::default()
            }))));
        }
        // Sometimes two come together.
        let count = 1 + usize::from(self.next % 5 == 3 && self.next + 1 < self.words.len());
        let ids = self.next..self.next + count;
        self.next += count;
        Some(Ok(event(Event::Tokens(Tokens {
            text: self.words[ids.clone()].concat(),
            tokens: ids.map(|id| token(id, &self.words[id])).collect(),
            ..Tokens::default()
        }))))
    }

    async fn pause(&self) {
        while self.state.is_stuck.load(Ordering::SeqCst) {
            sleep(REPORTED_EVERY).await;
        }
        let millis = self.state.pace_millis.load(Ordering::SeqCst);
        sleep(Duration::from_millis(millis)).await;
    }
}

fn token(id: usize, text: &str) -> Token {
    let evidence = Evidence {
        logprob: -0.01,
        margin: 4.0,
        entropy: 0.05,
        ..Evidence::default()
    };
    Token {
        id: id as u32,
        evidence: Some(evidence),
        text: text.to_owned(),
        ..Token::default()
    }
}

fn event(event: Event) -> GenerateEvent {
    GenerateEvent { event: Some(event) }
}

fn refused(code: ErrorCode) -> Status {
    let detail = ErrorDetail {
        code: code.into(),
        retry_elsewhere: true,
        ..ErrorDetail::default()
    };
    status_with(&detail, "as the test wants it")
}

/// What the user said last.
fn asked(request: &GenerateRequest) -> String {
    let form = request
        .prompt
        .as_ref()
        .and_then(|prompt| prompt.form.clone());
    match form {
        Some(prompt::Form::Chat(chat)) => chat.messages.last().cloned().unwrap_or_default().content,
        _ => String::new(),
    }
}

#[tonic::async_trait]
impl Worker for Service {
    type GenerateStream = BoxStream<'static, Result<GenerateEvent, Status>>;
    type WatchStream = BoxStream<'static, Result<WatchEvent, Status>>;

    async fn generate(
        &self,
        request: Request<GenerateRequest>,
    ) -> Result<Response<Self::GenerateStream>, Status> {
        let (state, request) = (&self.0, request.into_inner());
        if *state.phase.borrow() != Phase::Serves {
            return Err(refused(ErrorCode::Draining));
        }
        if state.running.load(Ordering::SeqCst) >= ROOM {
            return Err(refused(ErrorCode::Overloaded));
        }
        let words = words(&asked(&request));
        if words.is_empty() {
            return Err(refused(ErrorCode::Invalid));
        }
        let counted = match &request.resume {
            Some(_) => &state.resumed,
            None => &state.begun,
        };
        counted.fetch_add(1, Ordering::SeqCst);
        state.running.fetch_add(1, Ordering::SeqCst);
        let writing = Writing {
            next: request
                .resume
                .map_or(0, |resume| state.written(&resume, &words)),
            state: state.clone(),
            words,
            is_over: false,
        };
        let started = event(Event::Started(Started {
            prompt_ids: vec![1, 2, 3],
            seed: 7,
            ..Started::default()
        }));
        let rest = stream::unfold(writing, |mut writing| async move {
            let next = writing.next().await?;
            Some((next, writing))
        });
        let events = stream::iter([Ok(started)]).chain(rest);
        Ok(Response::new(events.boxed()))
    }

    async fn describe(
        &self,
        _: Request<DescribeRequest>,
    ) -> Result<Response<DescribeResponse>, Status> {
        Ok(Response::new(DescribeResponse {
            model_digest: "model".into(),
            tokenizer_digest: "tokenizer".into(),
            kernel_class: "avx2".into(),
            ..DescribeResponse::default()
        }))
    }

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let state = self.0.clone();
        let phase = state.phase.subscribe();
        let told = (state, phase, true);
        let events = stream::unfold(told, |(state, mut phase, is_first)| async move {
            if !is_first {
                // Leaving is news.
                let _ = timeout(REPORTED_EVERY, phase.changed()).await;
            }
            let event = WatchEvent {
                running: state.running.load(Ordering::SeqCst) as u32,
                max_sequences: ROOM as u32,
                draining: *phase.borrow_and_update() != Phase::Serves,
                ..WatchEvent::default()
            };
            Some((Ok(event), (state, phase, false)))
        });
        Ok(Response::new(events.boxed()))
    }

    async fn choose(&self, _: Request<ChooseRequest>) -> Result<Response<ChooseResponse>, Status> {
        Err(refused(ErrorCode::Unsupported))
    }

    async fn embed(&self, _: Request<EmbedRequest>) -> Result<Response<EmbedResponse>, Status> {
        Err(refused(ErrorCode::Unsupported))
    }

    async fn tokenize(
        &self,
        _: Request<TokenizeRequest>,
    ) -> Result<Response<TokenizeResponse>, Status> {
        Err(refused(ErrorCode::Unsupported))
    }
}
