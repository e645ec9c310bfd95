//! Log lines: for a person on a terminal, as JSON elsewhere, at a level that can be changed.
//!
//! A reader of lines that stands still holds nobody up: see [`aside`].
//!
//! The subscriber is the operating system process's: the first to start decides format and
//! collector, the level is everybody's.

mod aside;
mod once;

use std::io::{IsTerminal, stderr};
use std::panic;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{FilterFn, LevelFilter, filter_fn};
use tracing_subscriber::fmt::format::{DefaultFields, JsonFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::args::{LogFormat, ProcessArgs};
use crate::traces;
use aside::Aside;
use once::Once;

static LEVEL: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();
static LINES: OnceLock<Aside> = OnceLock::new();

/// How long the last lines may take to be out, where a process ends.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Installs subscriber and panic hook unless the process has them.
///
/// A test or an embedding program may have its own subscriber; then that one is used, and the
/// level is not ours to change.
pub(crate) fn install(component: &'static str, args: &ProcessArgs) -> anyhow::Result<()> {
    let filter = parse_level(&args.log_level)?;
    if LEVEL.get().is_some() {
        return Ok(());
    }
    let (filter, handle) = reload::Layer::new(filter);
    let human = match args.log_format {
        LogFormat::Auto => stderr().is_terminal(),
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    let out = Aside::to(stderr()).context("start a thread for log lines")?;
    let lines = if human {
        fmt::layer()
            .with_writer(out.clone())
            .with_ansi(stderr().is_terminal())
            .fmt_fields(Once(DefaultFields::new()))
            .boxed()
    } else {
        let json = fmt::layer()
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .fmt_fields(Once(JsonFields::new()));
        json.with_writer(out.clone()).boxed()
    };
    // Each layer has its own filter: who wants few lines still wants whole traces.
    let spans = traces::layer(component, args.otlp_endpoint.as_deref())?;
    let installed = tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(spans.with_filter(traced()))
        .try_init();
    if installed.is_ok() && LINES.set(out).is_ok() && LEVEL.set(handle).is_ok() {
        log_panics();
    }
    Ok(())
}

/// Spans, and of the lines in them those that somebody should look into.
fn traced() -> FilterFn<impl Fn(&Metadata<'_>) -> bool> {
    let is_traced = |what: &Metadata<'_>| match what.is_span() {
        true => *what.level() <= Level::INFO,
        false => *what.level() <= Level::WARN,
    };
    filter_fn(is_traced).with_max_level_hint(LevelFilter::INFO)
}

/// Waits a moment until what was said is out.
pub(crate) fn flush() {
    if let Some(lines) = LINES.get() {
        lines.flush(LAST_LINES);
    }
}

/// The directives in force.
pub(crate) fn level() -> Option<String> {
    LEVEL.get()?.with_current(ToString::to_string).ok()
}

/// Changes what is logged from now on; on an error nothing has changed.
pub(crate) fn set_level(directives: &str) -> anyhow::Result<()> {
    let filter = parse_level(directives)?;
    let handle = LEVEL
        .get()
        .ok_or_else(|| anyhow!("logging is not ours to change"))?;
    handle.reload(filter).context("reload the log level")
}

pub(crate) fn parse_level(directives: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::builder()
        .parse(directives)
        .with_context(|| format!("log level `{directives}` is not understood"))
}

/// A panic is one log line like any other, with its place, and then ends what it always ends.
fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let message = info.payload_as_str().unwrap_or("no message");
        tracing::error!(place, message, "panic");
        // It may be the last line.
        flush();
    }));
}
