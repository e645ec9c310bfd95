//! A stand-in for a frontier provider, for demos and tests: it speaks OpenAI's and Anthropic's
//! wires, answers the triage task rightly, and fails when told to.
//!
//! It serves `/v1/chat/completions`, `/v1/messages`, `/v1/messages/count_tokens` and `/v1/models`.
//! The last thing the user said is read as a support ticket by the grammar that the triage model
//! was trained with (`examples/triage/tickets/grammar.json`), and answered with its team. Text that is no
//! ticket gets one fixed, polite sentence. Every model name is accepted.
//!
//! **Faults.** A request fails as its header `x-stand-in-fault` says, else as the next planned
//! fault does: `POST /control/faults {"fault": "status=503", "count": 2}`; `DELETE` forgets the
//! plan. A fault is one of
//!
//! - `status=503`: this status and the wire's error body;
//! - `throttle`, `throttle=7s`: 429 with `Retry-After` and `retry-after-ms`;
//! - `stall=5s`: nothing at all for so long, then the answer;
//! - `cut-after=3`: the connection closes after three pieces of text (or in the middle of a body);
//! - `hang-after=3`: the same, but nothing comes and the connection stays;
//! - `error-after=3`: the wire's error event inside the stream (status 500 where not streamed).
//!
//! **Proof.** `GET /control/requests` shows the last 256 requests with headers and body as they
//! came, credentials included: never give it a real key. `DELETE` forgets them.
//!
//! **Usage** is counted in pieces: runs of up to four letters or digits with the space before
//! them, and single other characters; a prompt counts three more for each message.
//!
//! **Not imitated**: tools, several choices, logprobs, structured output, thinking, images (all
//! refused by name); stop sequences, sampling fields, prefilled answers, prompt caching, rate
//! limits by itself, rate-limit headers, organisations, content filters; the Responses, embeddings
//! and batch APIs; a provider's tokenizer, speed and prices.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use clap::Parser;
use http::{HeaderName, HeaderValue};
use tokio::net::TcpListener;
use weir_process::{Process, ProcessArgs, parse_duration};

mod answer;
mod anthropic;
mod control;
mod delivery;
mod fault;
mod grammar;
mod intake;
mod journal;
mod openai;
mod refusal;
mod routing;
mod template;

/// The one model that `/v1/models` lists.
pub const MODEL: &str = "stand-in-frontier";

/// What a stand-in is started with.
#[derive(Clone, Debug, Parser)]
#[command(name = "weir-stand-in", version = weir_process::VERSION, about = "A stand-in for a frontier provider, for demos and tests")]
pub struct Args {
    /// Address of the two wires and of /control. Port 0 takes a free one.
    #[arg(long, env = "WEIR_LISTEN", value_name = "ADDRESS", default_value_t = Args::default().listen)]
    pub listen: SocketAddr,

    /// The key that requests must carry; without one, any and none will do.
    #[arg(long, env = "WEIR_API_KEY", value_name = "KEY", hide_env_values = true)]
    pub api_key: Option<String>,

    /// Time before each piece of a streamed answer.
    #[arg(long, env = "WEIR_PACE", value_name = "DURATION", value_parser = parse_duration, default_value = "20ms")]
    pub pace: Duration,

    #[command(flatten)]
    pub process: ProcessArgs,
}

impl Default for Args {
    /// What the flags default to.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)),
            api_key: None,
            pace: Duration::from_millis(20),
            process: ProcessArgs::default(),
        }
    }
}

impl Args {
    /// For a stand-in inside another process, and for tests: free ports on loopback, no pauses.
    pub fn embedded() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            pace: Duration::ZERO,
            process: ProcessArgs::embedded(),
            ..Self::default()
        }
    }
}

/// Runs a stand-in until its process ends.
pub async fn run(args: Args, process: Process) -> anyhow::Result<()> {
    serve(&args, &process).await?;
    process.finish().await
}

/// Starts a stand-in as a task of `process`, and gives the address it listens on.
///
/// `args.process` is not looked at: the process is there already. The caller awaits
/// [`Process::finish`].
pub async fn serve(args: &Args, process: &Process) -> anyhow::Result<SocketAddr> {
    let stand_in = Arc::new(StandIn {
        desk: routing::Desk::new(grammar::Grammar::built_in()?),
        api_key: args.api_key.clone(),
        pace: args.pace,
        faults: fault::Faults::default(),
        journal: journal::Journal::default(),
        answered: AtomicU64::new(0),
    });
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("bind {}", args.listen))?;
    let address = listener.local_addr().context("read the bound address")?;
    process.serve("wires", listener, routes(stand_in));
    tracing::info!(%address, "stand-in listens");
    Ok(address)
}

/// What every request shares.
#[derive(Debug)]
struct StandIn {
    desk: routing::Desk,
    api_key: Option<String>,
    pace: Duration,
    faults: fault::Faults,
    journal: journal::Journal,
    answered: AtomicU64,
}

impl StandIn {
    /// Seconds since 1970, which answers carry and nothing here depends on.
    fn now(&self) -> u64 {
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
    }
}

fn routes(stand_in: Arc<StandIn>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(openai::chat))
        .route("/v1/models", get(openai::models))
        .route("/v1/messages", post(anthropic::messages))
        .route("/v1/messages/count_tokens", post(anthropic::count_tokens))
        .route(
            "/control/faults",
            post(control::plan).delete(control::clear_faults),
        )
        .route(
            "/control/requests",
            get(control::requests).delete(control::clear_requests),
        )
        .fallback(openai::not_found)
        .layer(from_fn_with_state(stand_in.clone(), number))
        .with_state(stand_in)
}

/// Gives every answer an id, under both wires' names for it.
async fn number(State(stand_in): State<Arc<StandIn>>, request: Request, next: Next) -> Response {
    let number = stand_in.answered.fetch_add(1, Ordering::Relaxed) + 1;
    let mut response = next.run(request).await;
    let id = HeaderValue::from_str(&format!("req_stand_in_{number}"))
        .expect("letters and digits are a header value");
    for name in ["x-request-id", "request-id"] {
        response
            .headers_mut()
            .insert(HeaderName::from_static(name), id.clone());
    }
    response
}
