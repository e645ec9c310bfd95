//! What a worker is told when it starts.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{ArgAction, Parser};
use weir_engine::model::{KernelClass, KeyValueType, Pooling, Quantization};
use weir_process::{ProcessArgs, parse_duration};

use crate::source::SourceArgs;

/// Serves one model over gRPC and the OpenAI wire.
#[derive(Debug, Clone, Parser)]
#[command(name = "weir-worker", version = weir_process::VERSION)]
pub struct Args {
    /// The name clients use for the model.
    #[arg(long, env = "WEIR_MODEL_NAME", value_name = "NAME")]
    pub model_name: String,

    #[command(flatten)]
    pub source: SourceArgs,

    /// Address of gRPC and the OpenAI wire. Port 0 takes a free one.
    #[arg(
        long,
        env = "WEIR_LISTEN",
        value_name = "ADDRESS",
        default_value = "0.0.0.0:8000"
    )]
    pub listen: SocketAddr,

    /// The longest sequence, prompt and answer together [default: the model's own]
    #[arg(long, env = "WEIR_CONTEXT_TOKENS", value_name = "TOKENS")]
    pub context_tokens: Option<u32>,

    /// What weights in full precision are rounded to: Auto (as they are, or Q8 where only that fits
    /// in memory or makes room for the context), None, Q8 or Q4
    #[arg(long, env = "WEIR_QUANTIZATION", value_name = "NAME", default_value = "Auto", value_parser = quantization)]
    pub quantization: Quantization,

    /// What keys and values are stored as: Auto (as precise as the weights), F32, BF16, F16
    /// or Fp8 (half the memory of F16, and less exact)
    #[arg(long, env = "WEIR_KEY_VALUE_TYPE", value_name = "NAME", default_value = "Auto", value_parser = key_value_type)]
    pub key_value_type: KeyValueType,

    /// A chat template to use instead of the model's own [default: the model's]
    #[arg(long, env = "WEIR_CHAT_TEMPLATE", value_name = "FILE")]
    pub chat_template: Option<PathBuf>,

    /// Which states become the vector of a text: Last or Mean [default: what the model's files say,
    /// else Last]
    #[arg(long, env = "WEIR_POOLING", value_name = "NAME", value_parser = pooling)]
    pub pooling: Option<Pooling>,

    /// The instructions to compute with: avx512-bf16, avx512, avx2 or portable; an answer is resumed
    /// on the same only [default: the best that the processor has]
    #[arg(long, env = "WEIR_KERNEL_CLASS", value_name = "NAME", value_parser = kernel_class)]
    pub kernel_class: Option<KernelClass>,

    /// Where packed weights are kept for the next start, where there is room; shared by workers and
    /// models. Whoever may write to it may change the model [default: nowhere]
    #[arg(long, env = "WEIR_PACKED_CACHE", value_name = "FOLDER")]
    pub packed_cache: Option<PathBuf>,

    /// A folder with a list `adapters.json` of LoRA adapters to serve beside the model, each as
    /// MODEL:NAME: an array of {"name", "source"}, and where they are wanted "revision" and
    /// "sha256". It may change at any time [default: none]
    #[arg(long, env = "WEIR_ADAPTERS", value_name = "FOLDER")]
    pub adapters: Option<PathBuf>,

    /// Threads that compute [default: what the container may use]
    #[arg(long, env = "WEIR_THREADS", value_name = "COUNT")]
    pub threads: Option<usize>,

    /// Sequences computed at the same time, at most; more than 256 do not fit into one step
    /// [default: as many as bring more tokens a second, measured at the start; 8 at the least, 64 where no end was found]
    #[arg(long, env = "WEIR_MAX_SEQUENCES", value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub max_sequences: Option<u16>,

    /// Whether prompts that begin alike share what is computed of that: Enabled or Disabled
    #[arg(long, env = "WEIR_PREFIX_CACHE", value_name = "NAME", default_value = "Enabled", value_parser = enabled, action = ArgAction::Set)]
    pub prefix_cache: bool,

    /// Sequences that may wait; more are answered with 429.
    #[arg(
        long,
        env = "WEIR_MAX_WAITING",
        value_name = "COUNT",
        default_value_t = 64
    )]
    pub max_waiting: usize,

    /// How long answers that were begun may go on when the worker is told to end. Stands in for
    /// the shutdown deadline.
    #[arg(long, env = "WEIR_DRAIN", value_name = "DURATION", value_parser = parse_duration, default_value = "2m")]
    pub drain: Duration,

    /// How long a client may read nothing of an answer before that is given up.
    #[arg(long, env = "WEIR_READER_PATIENCE", value_name = "DURATION", value_parser = parse_duration, default_value = "1m")]
    pub reader_patience: Duration,

    /// How long a client may take for a request's line and headers, and keep a connection without
    /// asking.
    #[arg(long, env = "WEIR_CONNECTION_PATIENCE", value_name = "DURATION", value_parser = parse_duration, default_value = "1m")]
    pub connection_patience: Duration,

    /// Where the reason is left if the worker cannot start [default: nowhere]
    #[arg(long, env = "WEIR_TERMINATION_LOG", value_name = "FILE")]
    pub termination_log: Option<PathBuf>,

    /// Renders what comes on standard input; what a worker starts beside itself.
    #[arg(long, hide = true)]
    pub render_apart: bool,

    #[command(flatten)]
    pub process: ProcessArgs,
}

fn enabled(name: &str) -> Result<bool, String> {
    match name {
        "Enabled" => Ok(true),
        "Disabled" => Ok(false),
        _ => Err("one of Enabled, Disabled is expected".to_owned()),
    }
}

fn pooling(name: &str) -> Result<Pooling, String> {
    let all = Pooling::ALL;
    let found = all.into_iter().find(|known| known.name() == name);
    found.ok_or_else(|| format!("one of {} is expected", all.map(Pooling::name).join(", ")))
}

fn quantization(name: &str) -> Result<Quantization, String> {
    let all = Quantization::ALL;
    let found = all.into_iter().find(|known| known.name() == name);
    found.ok_or_else(|| {
        format!(
            "one of {} is expected",
            all.map(Quantization::name).join(", ")
        )
    })
}

/// One that this processor can run.
fn kernel_class(name: &str) -> Result<KernelClass, String> {
    let all = KernelClass::ALL.into_iter();
    let here: Vec<KernelClass> = all.filter(|class| class.is_available()).collect();
    let found = here.iter().find(|class| class.name() == name);
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = here.iter().map(|class| class.name()).collect();
        format!("this processor has {}", names.join(", "))
    })
}

fn key_value_type(name: &str) -> Result<KeyValueType, String> {
    let all = KeyValueType::ALL;
    let found = all.into_iter().find(|known| known.name() == name);
    found.ok_or_else(|| {
        format!(
            "one of {} is expected",
            all.map(KeyValueType::name).join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_is_told_of_no_termination_log_leaves_none_on_the_machine() {
        let args = ["weir-worker", "--model-name=triage", "--source=file:///m"];
        assert_eq!(Args::parse_from(args).termination_log, None);
    }

    #[test]
    fn the_engine_is_as_it_was_asked_to_be() {
        let parse = |more: &[&str]| {
            let least = ["weir-worker", "--model-name=triage", "--source=file:///m"];
            Args::try_parse_from(least.iter().chain(more))
        };
        let default = parse(&[]).unwrap();
        assert_eq!((default.max_sequences, default.prefix_cache), (None, true));
        let other = parse(&["--max-sequences=3", "--prefix-cache=Disabled"]).unwrap();
        assert_eq!((other.max_sequences, other.prefix_cache), (Some(3), false));
        assert_eq!(default.key_value_type, KeyValueType::Auto);
        let eight = parse(&["--key-value-type=Fp8"]).unwrap();
        assert_eq!(eight.key_value_type, KeyValueType::Fp8);
        for wrong in [
            "--max-sequences=0",
            "--prefix-cache=Off",
            "--key-value-type=FP8",
        ] {
            assert!(parse(&[wrong]).is_err(), "{wrong}");
        }
    }
}
