//! A stand-in for a frontier provider, for demos and tests: it speaks OpenAI's and Anthropic's
//! wires, answers the triage task rightly, and fails when told to.
//!
//! It serves `/v1/chat/completions`, `/v1/responses`, `/v1/responses/input_tokens`,
//! `/v1/completions` and `/v1/embeddings`, `/v1/messages` and `/v1/messages/count_tokens`, and
//! `/v1/models` in the shape of whoever asks. Every model name is accepted.
//!
//! **Answers.** The last thing the user said is read as a support ticket by the grammar that the
//! triage model was trained with (`examples/triage/tickets/grammar.json`), and answered with its
//! team. Text that is no ticket gets one fixed, polite sentence; images and documents are mentioned.
//! A question decides more than that:
//!
//! - `Say: …`, at its beginning: what follows is the answer;
//! - `refuse this`, anywhere: the answer is a refusal;
//! - `twice`: two calls instead of one, where several are allowed;
//! - `take a break`, with a hosted tool: the turn is paused (Anthropic's wire);
//! - `think in secret`, where there is thinking: it is redacted.
//!
//! With tools, the first of them is called, or the one that the choice names, always in the same
//! way: texts are the question's longest word (its second longest in a second call), numbers are 1,
//! of an enum the first, of an object only what is required. What a tool gave is quoted. Where an
//! answer must fit a schema it is made in the same way. Thoughts are as many sentences as the effort
//! asks for. A beginning of a prompt that was seen before is read from a cache.
//!
//! **Faults.** A request fails as its header `x-stand-in-fault` says, else as the next planned
//! fault does: `POST /control/faults {"fault": "status=503", "count": 2}`; `DELETE` forgets the
//! plan. A fault is one of
//!
//! - `status=503`: this status and the wire's error body;
//! - `throttle`, `throttle=7s`: 429 with `Retry-After` and `retry-after-ms`;
//! - `redirect=URL`: 302 to there;
//! - `stall=5s`: nothing at all for so long, then the answer;
//! - `slow-head=5s`: the first bytes of the status line, and the rest after so long;
//! - `reset-after-bytes=99`: the connection is reset after 99 bytes of the response, its head
//!   included; with 0 once the request is there;
//! - `cut-after=3`: the connection closes after three pieces (or in the middle of a body);
//! - `hang-after=3`: the same, but nothing comes and the connection stays;
//! - `error-after=3`: the wire's error event inside the stream (status 500 where not streamed);
//! - `garbage-after=3`: random bytes, then a clean end;
//! - `half-event-after=3`: half of the next event's JSON, then a clean end;
//! - `garbage`: random bytes and nothing else;
//! - `error-in-200`: an error where the answer should be, with status 200;
//! - `endless`: pieces until the client leaves;
//! - `no-end-mark`: all but `[DONE]`, `message_stop` or `response.completed` (or the last brace of
//!   a body), then a clean end;
//! - `hang-at-end`: the same, but the connection stays open;
//! - `no-finish`: every `finish_reason`, `stop_reason` and `status` is null;
//! - `wrong-usage=negative`, `=huge`, `=text`, `=missing`: what usage says;
//! - `trailing=9`: nine bytes of junk after the end;
//! - `drip=50ms`: the body one byte at a time, with so long between;
//! - `wrong-type`: an HTML page;
//! - `big-line=99999`: one line (of a body: all of it) as long as this, by an entry `padding`;
//! - `split-utf8`: chunks cut inside characters and inside `\r\n`, in which lines end;
//! - `crlf`: lines end in `\r\n`, with comments, empty lines and empty data lines between;
//! - `compressed`: as gzip, though nobody asked.
//!
//! **Log-probabilities** are made up and always the same. With the header `x-stand-in-logprobs: -2.5`
//! every token has that one, with `none` there are none though they were asked for, and with
//! `refused` whoever asks for them gets 400 that names the field.
//!
//! **Proof.** `GET /control/requests` shows the last 256 requests with headers and body as they
//! came, credentials included: never give it a real key. `left` says that the client went away
//! before a stream had ended. `DELETE` forgets them. `GET /control/bill` shows how many chats and
//! messages were answered since the start, and for how many tokens a provider would charge.
//!
//! **What providers give away.** Every answer has their headers for rate limits, organisation and
//! time taken; `POST /control/limits {"remaining_requests": 0}` sets what they say, and nothing is
//! held to it. Errors that were asked for, and wrong keys, quote the organisation `org-standin` and
//! both ends of the request's key, so that a test can see whether that is passed on.
//!
//! **Usage** is counted in pieces: runs of up to four letters or digits with the space before
//! them, and single other characters; a prompt counts three more for each message. At most 50,000
//! are read and 4,096 written.
//!
//! **Not imitated**: the effect of sampling fields and `logit_bias`, true log-probabilities,
//! patterns in schemas, prefilled answers (read, not continued), audio, refusing fields that a
//! provider does not know, rate limits by itself, content filters; batches, files and stored
//! objects; a provider's tokenizer, speed and prices.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use clap::Parser;
use tokio::net::TcpListener;
use weir_process::{Process, ProcessArgs, parse_duration};

mod answer;
mod anthropic;
mod ask;
mod bill;
mod control;
mod delivery;
mod events;
mod fault;
mod fields;
mod grammar;
mod headers;
mod intake;
mod journal;
mod kept;
mod limits;
mod mangle;
mod models;
mod openai;
mod pieces;
mod prompt;
mod refusal;
mod routing;
mod said;
mod schema;
mod signature;
mod socket;
mod spoil;
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
        journal: Arc::default(),
        prompts: prompt::PromptCache::default(),
        conversations: kept::Conversations::default(),
        limits: limits::Told::default(),
        bill: bill::Bill::default(),
        answered: AtomicU64::new(0),
    });
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("bind {}", args.listen))?;
    let address = listener.local_addr().context("read the bound address")?;
    let routes = routes(stand_in).into_make_service_with_connect_info::<socket::Line>();
    let server = axum::serve(socket::Door(listener), routes)
        .with_graceful_shutdown(process.shutdown().draining());
    process
        .tasks()
        .spawn_required("wires", async move { server.await.context("serve") });
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
    journal: Arc<journal::Journal>,
    prompts: prompt::PromptCache,
    conversations: kept::Conversations,
    limits: limits::Told,
    bill: bill::Bill,
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
        .route("/v1/chat/completions", post(openai::chat::chat))
        .route("/v1/completions", post(openai::completions::completions))
        .route("/v1/embeddings", post(openai::embeddings::embeddings))
        .route("/v1/responses", post(openai::responses::responses))
        .route(
            "/v1/responses/input_tokens",
            post(openai::responses::input_tokens),
        )
        .route("/v1/models", get(models::list))
        .route("/v1/models/{id}", get(models::one))
        .route("/v1/messages", post(anthropic::messages))
        .route("/v1/messages/count_tokens", post(anthropic::count_tokens))
        .route(
            "/control/faults",
            post(control::plan).delete(control::clear_faults),
        )
        .route("/control/limits", post(control::limit))
        .route("/control/bill", get(control::bill))
        .route(
            "/control/requests",
            get(control::requests).delete(control::clear_requests),
        )
        .fallback(openai::not_found)
        // A wire bounds a body itself, and says so in its own words.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(stand_in.clone(), headers::add))
        .with_state(stand_in)
}
