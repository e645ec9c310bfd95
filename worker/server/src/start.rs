//! From arguments to a served model: find it, load it, warm it up. Each step names its failure.

use std::{
    num::NonZeroUsize,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::{sync::Semaphore, task::spawn_blocking};
use weir_engine::{
    Ended, Engine, EngineOptions, Event, Sampling, Showing, Writing, WritingLimits,
    model::{
        ChatTemplate, GenerationDefaults, KvCache, LoadError, LoadOptions, LoadReport, Model,
        Tokenizer, Upkeep, available_threads,
    },
};
use weir_policy::{
    load::ColdStart,
    source::{Roots, local_path},
};
use weir_process::Process;

use crate::{
    args::Args,
    draining::{Cutoff, Idle},
    failure::Failure,
    loading::{Took, keep_up},
    memory::available_bytes,
    metrics::Metrics,
    serving::Serving,
};

/// Sequences computed at the same time. Eight rows share one pass over the weights, and more
/// would make each of them slower than a person reads on two cores.
const MAX_SEQUENCES: usize = 8;

/// Prompts rendered and tokenized at the same time; most take less than a millisecond.
const PROMPTS_AT_ONCE: usize = 4;

/// Longer tokens are runs of spaces or dashes, of which nobody fills a whole context.
const LONGEST_TOKEN_BYTES: usize = 64;

/// Tokens of one block of key-value memory, which attention reads at once.
const BLOCK_TOKENS: usize = 16;

/// Loads the model that `args` names and starts its engine.
pub async fn start(args: &Args, process: &Process) -> Result<(Serving, Ended), Failure> {
    let folder = folder(args)?;
    let began = Instant::now();
    let options = load_options(args);
    let loading = spawn_blocking(move || Loaded::load(&folder, &options));
    let loaded = loading
        .await
        .map_err(|error| Failure::new("CrashLoop", &error))?
        .map_err(|error| Failure::new(error.reason(), &error))?;
    let load_ms = millis(began.elapsed());
    let engine_options = EngineOptions {
        max_sequences: MAX_SEQUENCES,
        max_waiting: args.max_waiting,
    };
    let facts = loaded.model.facts().clone();
    let (report, mut took) = (loaded.report, loaded.took);
    let (engine, ended) = Engine::start(loaded.model, loaded.cache, engine_options)
        .map_err(|error| Failure::new("CrashLoop", &error))?;
    let began = Instant::now();
    warm_up(&engine, &loaded.tokenizer).await?;
    took.warm_up = began.elapsed();
    let cold_start = ColdStart {
        // What is read here lies on a disk of this machine.
        download_ms: 0,
        load_ms,
        warm_up_ms: millis(took.warm_up),
    };
    tracing::info!(
        model = args.model_name,
        digest = facts.digest,
        architecture = facts.architecture,
        parameters = facts.parameters,
        context_tokens = engine.context_tokens(),
        kernel_class = %facts.kernel_class,
        load_ms = cold_start.load_ms,
        warm_up_ms = cold_start.warm_up_ms,
        phases = took.told(&report),
        packed = report.packed,
        mapped = report.mapped,
        "model loaded"
    );
    if let Some(unfit) = &report.unfit {
        tracing::warn!(path = %unfit.path.display(), why = unfit.why, "packed weights were not used");
    }
    if let Some(upkeep) = loaded.upkeep {
        keep_up(process, upkeep);
    }
    let idle = Idle::new(process.shutdown().clone(), engine.load());
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let serving = Serving {
        name: args.model_name.clone(),
        most_prompt_bytes: most_prompt_bytes(&loaded.tokenizer, facts.vocabulary, &engine),
        engine,
        reading_prompts: Arc::new(Semaphore::new(PROMPTS_AT_ONCE)),
        eos: loaded.tokenizer.ends().into(),
        tokenizer: loaded.tokenizer,
        template: loaded.template,
        defaults: loaded.defaults,
        facts,
        cold_start,
        created_seconds: since.map_or(0, |since| since.as_secs()),
        metrics: Metrics::register(process),
        shutdown: process.shutdown().clone(),
        cutoff: Cutoff::after(args.drain, idle, process.tasks()),
    };
    Ok((serving, ended))
}

/// What the longest prompt can take: as many tokens as the context has, each as long as the longest
/// but not longer than any that carries meaning. Some vocabularies have tokens of a hundred spaces.
fn most_prompt_bytes(tokenizer: &Tokenizer, vocabulary: u32, engine: &Engine) -> usize {
    let longest = tokenizer.longest_token_bytes(vocabulary);
    engine.context_tokens() * longest.min(LONGEST_TOKEN_BYTES)
}

/// Where the source lies on this machine.
fn folder(args: &Args) -> Result<PathBuf, Failure> {
    let roots = Roots {
        files: args.file_root.clone(),
        volumes: args.volumes_root.clone(),
    };
    let source = args.source.parse();
    let source = source.map_err(|error| {
        let message = format!("model source {}: {error}", args.source);
        Failure::of("Unsupported", &message)
    })?;
    local_path(&source, &roots).ok_or_else(|| {
        let message = format!(
            "model source {}: this worker reads file:// and pvc:// addresses only",
            args.source
        );
        Failure::of("NotImplemented", &message)
    })
}

fn load_options(args: &Args) -> LoadOptions {
    let threads = args.threads.and_then(NonZeroUsize::new);
    LoadOptions {
        context_tokens: args.context_tokens,
        quantization: args.quantization,
        key_value_type: args.key_value_type,
        memory_bytes: available_bytes(),
        threads: threads.unwrap_or_else(available_threads),
        packed_cache: args.packed_cache.clone(),
        ..LoadOptions::default()
    }
}

struct Loaded {
    model: Model,
    cache: KvCache,
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    defaults: GenerationDefaults,
    report: LoadReport,
    upkeep: Option<Upkeep>,
    took: Took,
}

impl Loaded {
    fn load(folder: &std::path::Path, options: &LoadOptions) -> Result<Self, LoadError> {
        let mut model = Model::load(folder, options)?;
        let mut took = Took::default();
        let began = Instant::now();
        let tokenizer = Tokenizer::load(folder, model.facts().vocabulary)?;
        took.tokenizer = began.elapsed();
        let began = Instant::now();
        let cache = key_value_memory(&model, options.context_tokens)?;
        took.key_values = began.elapsed();
        Ok(Self {
            template: ChatTemplate::load(folder, &tokenizer)?,
            defaults: GenerationDefaults::load(folder)?,
            report: model.report().clone(),
            upkeep: model.take_upkeep(),
            took,
            model,
            cache,
            tokenizer,
        })
    }
}

/// Room for as many whole contexts as can run at once, or for what memory allows. That may be less
/// than one of the model's own contexts, which then shrinks; a context that was asked for does not.
fn key_value_memory(model: &Model, asked: Option<u32>) -> Result<KvCache, LoadError> {
    let context_blocks = (model.facts().context_tokens as usize).div_ceil(BLOCK_TOKENS);
    let wanted = context_blocks * MAX_SEQUENCES;
    let block_bytes = KvCache::block_bytes(model, BLOCK_TOKENS);
    let available = available_bytes().unwrap_or(u64::MAX);
    // Mapped weights count as available, but every token needs them. Of the rest a half is left to
    // requests, activations and the system.
    let spare = available.saturating_sub(model.facts().mapped_bytes) / 2;
    let affordable = usize::try_from(spare).unwrap_or(usize::MAX) / block_bytes.max(1);
    let least = asked.map_or(1, |_| context_blocks);
    if affordable < least {
        return Err(LoadError::Memory {
            what: "key-value memory for one context",
            bytes: least * block_bytes,
        });
    }
    KvCache::new(model, wanted.min(affordable), BLOCK_TOKENS)
}

/// Writes one token, so that the first request does not wait for pages of the weights.
async fn warm_up(engine: &Engine, tokenizer: &Tokenizer) -> Result<(), Failure> {
    let writing = Writing {
        prompt: Arc::new([tokenizer.beginning().unwrap_or(0)]),
        produced: Vec::new(),
        sampling: Sampling::greedy(),
        penalties: weir_engine::Penalties::default(),
        seed: 0,
        choice: 0,
        limits: WritingLimits {
            max_tokens: 1,
            min_tokens: 0,
            ends: Arc::new([]),
        },
        alternatives: 0,
    };
    let showing = Showing {
        tokenizer: tokenizer.clone(),
        stop: Vec::new(),
        shown_bytes: 0,
    };
    let mut answer = engine
        .write(writing, showing)
        .map_err(|error| Failure::new("CrashLoop", &error))?;
    while let Some(event) = answer.next().await {
        match event {
            Ok(Event::Tokens { .. } | Event::Finished { .. }) => {}
            Err(error) => return Err(Failure::new("CrashLoop", &error)),
        }
    }
    Ok(())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
