//! From arguments to a served model: find it, load it, warm it up. Each step names its failure.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::{sync::watch, task::spawn_blocking, time::timeout};
use weir_engine::{
    Constraints, Ended, Engine, EngineOptions, model,
    model::{
        AdapterBase, BLOCK_TOKENS, GenerationDefaults, KernelClass, KvCache, LoadError,
        LoadOptions, LoadReport, Model, ModelFacts, Pooling, STEP_TOKENS, Tokenizer, Upkeep,
        available_threads,
    },
};
use weir_policy::load::ColdStart;
use weir_process::Process;
use weir_sources::{Origin, Progress};
use weir_worker_api::Phase;

use crate::{
    adapters::{Following, Seen, follow, uses::Uses},
    args::Args,
    capacity::Capacity,
    draining::{Cutoff, Idle},
    failure::Failure,
    held::Room,
    loading::{Took, keep_up},
    memory::Memory,
    metrics::Metrics,
    pins::Pins,
    planned::planned,
    renderer::Renderer,
    room,
    serving::{Aside, Patience, Serving, tools::Style},
    stage::Stage,
    warm_up::{try_out, warm_up},
};

/// Prompts tokenized at the same time; most take less than a millisecond.
const PROMPTS_AT_ONCE: usize = 4;

/// Sequences that there is to be room for where nobody asked for a number: what they bring is
/// measured after the room is taken. As many run at once where that did not find an end.
const PLANNED_SEQUENCES: usize = 64;

/// Fewer would make the next one wait for a whole answer, which is worse than a slower one.
const LEAST_SEQUENCES: usize = 8;

/// How long a worker that could serve its model waits for the adapters that are listed.
const LONGEST_ADAPTERS: Duration = Duration::from_secs(10);

/// Longer tokens are runs of spaces or dashes, of which nobody fills a whole context.
const LONGEST_TOKEN_BYTES: usize = 64;

/// Loads the model that `args` names and starts its engine.
pub async fn start(
    args: &Args,
    process: &Process,
    (progress, stage): (watch::Sender<Progress>, Stage),
) -> Result<(Serving, Ended), Failure> {
    let pins = Pins::of(args.source.pins.clone());
    let began = Instant::now();
    let resolved = pins.resolved()?;
    let fetched = args.source.bring(resolved.as_deref(), &progress).await?;
    let download = began.elapsed();
    stage.enter(Phase::Loading);
    let folder = fetched.path.clone();
    let began = Instant::now();
    // First, while the memory that weights will take is there for the template's trial.
    let template = Renderer::of(&folder, args.chat_template.as_deref()).await?;
    let memory = Memory::available();
    let loaded = load((args, stage.clone()), (folder, pins), memory).await?;
    let load_ms = millis(began.elapsed().saturating_sub(loaded.took.warm_up));
    let facts = loaded.model.facts().clone();
    let (report, mut took) = (loaded.report, loaded.took);
    let adapter_bytes = room::for_adapters(memory, facts.weight_bytes);
    let base = loaded.model.adapter_base();
    let engine_options = engine_options(args, loaded.capacity);
    let (engine, ended) = Engine::start(loaded.model, loaded.cache, engine_options)
        .map_err(|error| Failure::new("CrashLoop", &error))?;
    let began = Instant::now();
    warm_up(&engine, &loaded.tokenizer).await?;
    took.warm_up += began.elapsed();
    let (adapters, adapters_ms) = adapters((args, stage), process, (base, adapter_bytes)).await;
    let cold_start = ColdStart {
        download_ms: match fetched.origin {
            Origin::Local => 0,
            _ => millis(download),
        },
        load_ms,
        warm_up_ms: millis(took.warm_up),
        adapters_ms,
    };
    tell(
        &args.model_name,
        (&fetched.revision, &facts),
        &engine,
        (cold_start, &took, &report),
        loaded.capacity,
    );
    if let Some(upkeep) = loaded.upkeep {
        keep_up(process, upkeep);
    }
    let engine_load = engine.load();
    let idle = Idle::new(process.shutdown().clone(), engine_load.clone());
    let serving = Serving {
        name: args.model_name.clone(),
        most_prompt_bytes: most_prompt_bytes(&loaded.tokenizer, facts.vocabulary, &engine),
        engine,
        reading_prompts: Aside::with(PROMPTS_AT_ONCE),
        choosing: Room::default(),
        eos: loaded.tokenizer.ends().into(),
        tool_style: Style::of(template.as_ref().map(Renderer::source), &loaded.tokenizer),
        constraints: Constraints::new(loaded.tokenizer.clone(), facts.vocabulary),
        tokenizer: loaded.tokenizer,
        template,
        pooling: loaded.pooling,
        defaults: loaded.defaults,
        facts,
        revision: fetched.revision,
        cold_start,
        capacity: loaded.capacity,
        created_seconds: seconds_now(),
        metrics: Metrics::register(process, engine_load),
        adapters,
        adapter_uses: Uses::default(),
        adapter_bytes,
        shutdown: process.shutdown().clone(),
        cutoff: Cutoff::after(args.drain, idle, process.tasks()),
        sending: Room::default(),
        patience: Patience::of(args.reader_patience, process.tasks()),
    };
    Ok((serving, ended))
}

/// Loads on a thread where that disturbs nobody, and tries out what was loaded.
async fn load(
    (args, stage): (&Args, Stage),
    (folder, pins): (PathBuf, Pins),
    memory: Option<Memory>,
) -> Result<Loaded, Failure> {
    let options = load_options(args, memory);
    let name = args.model_name.clone();
    let sequences = asked(args).unwrap_or(PLANNED_SEQUENCES).min(STEP_TOKENS);
    let pooling = args.pooling;
    let loading = spawn_blocking(move || {
        let mut loaded = Loaded::load((&folder, pooling), &options, memory, sequences)
            .map_err(|error| Failure::new(error.reason(), &error))?;
        pins.hold(&loaded.model.facts().digest)?;
        let began = Instant::now();
        stage.enter(Phase::WarmingUp);
        let model = (&mut loaded.model, &mut loaded.cache);
        loaded.capacity = try_out(model, &loaded.tokenizer, &name)?;
        loaded.took.warm_up = began.elapsed();
        Ok(loaded)
    });
    let loaded = loading.await;
    loaded.map_err(|error| Failure::new("CrashLoop", &error))?
}

/// As many sequences at once as were asked for, or as are worth it.
fn engine_options(args: &Args, capacity: Capacity) -> EngineOptions {
    let worth = match capacity.is_the_end {
        true => (capacity.sequences as usize).max(LEAST_SEQUENCES),
        false => PLANNED_SEQUENCES,
    };
    EngineOptions {
        max_sequences: asked(args).unwrap_or(worth),
        max_waiting: args.max_waiting,
        prefix_cache: args.prefix_cache,
    }
}

/// Sequences at once, where somebody asked for a number.
fn asked(args: &Args) -> Option<usize> {
    args.max_sequences.map(usize::from)
}

/// The adapters that are listed, once those that come soon are there: whoever is ready has what it
/// can have. And how many milliseconds that took; none where none are listed.
async fn adapters(
    (args, stage): (&Args, Stage),
    process: &Process,
    (base, most_bytes): (AdapterBase, u64),
) -> (Seen, u64) {
    if args.adapters.is_some() {
        stage.enter(Phase::Adapters);
    }
    let began = Instant::now();
    let following = Following {
        folder: args.adapters.clone(),
        base,
        source: args.source.clone(),
        most_bytes,
    };
    let (adapters, tried) = follow(process, following);
    // What takes long comes later.
    let _ = timeout(LONGEST_ADAPTERS, tried).await;
    let took = match adapters.borrow().all().next() {
        Some(_) => millis(began.elapsed()),
        None => 0,
    };
    (adapters, took)
}

/// One line of what was loaded and how long each part took.
fn tell(
    name: &str,
    (revision, facts): (&str, &ModelFacts),
    engine: &Engine,
    (cold_start, took, report): (ColdStart, &Took, &LoadReport),
    capacity: Capacity,
) {
    tracing::info!(
        model = name,
        digest = facts.digest,
        revision,
        architecture = facts.architecture,
        parameters = facts.parameters,
        quantization = facts.quantization,
        context_tokens = engine.context_tokens(),
        kernel_class = %facts.kernel_class,
        download_ms = cold_start.download_ms,
        load_ms = cold_start.load_ms,
        warm_up_ms = cold_start.warm_up_ms,
        adapters_ms = cold_start.adapters_ms,
        capacity_sequences = capacity.sequences,
        capacity_tokens_per_second = capacity.tokens_per_second,
        phases = took.told(report),
        packed = report.packed,
        mapped = report.mapped,
        "model loaded"
    );
    if let Some(unfit) = &report.unfit {
        tracing::warn!(path = %unfit.path.display(), why = unfit.why, "packed weights were not used");
    }
}

/// What the longest prompt can take: as many tokens as the context has, each as long as the longest
/// but not longer than any that carries meaning. Some vocabularies have tokens of a hundred spaces.
fn most_prompt_bytes(tokenizer: &Tokenizer, vocabulary: u32, engine: &Engine) -> usize {
    let longest = tokenizer.longest_token_bytes(vocabulary);
    engine.context_tokens() * longest.min(LONGEST_TOKEN_BYTES)
}

fn load_options(args: &Args, memory: Option<Memory>) -> LoadOptions {
    let threads = args.threads.and_then(NonZeroUsize::new);
    LoadOptions {
        context_tokens: args.context_tokens,
        quantization: args.quantization,
        key_value_type: args.key_value_type,
        kernel_class: args.kernel_class.unwrap_or_else(KernelClass::detect),
        memory_bytes: memory.map(|memory| memory.bytes),
        threads: threads.unwrap_or_else(available_threads),
        packed_cache: args.packed_cache.clone(),
    }
}

struct Loaded {
    model: Model,
    cache: KvCache,
    tokenizer: Tokenizer,
    defaults: GenerationDefaults,
    report: LoadReport,
    upkeep: Option<Upkeep>,
    took: Took,
    /// Measured after all is loaded.
    capacity: Capacity,
    pooling: Pooling,
}

impl Loaded {
    fn load(
        (folder, pooling): (&Path, Option<Pooling>),
        options: &LoadOptions,
        memory: Option<Memory>,
        sequences: usize,
    ) -> Result<Self, LoadError> {
        // Before the weights are read, which takes the longest: what has no room, and what is wrong
        // beside them, is to be known at once.
        let (plan, blocks) = planned(folder, options, memory, sequences)?;
        let mut took = Took::default();
        let began = Instant::now();
        let tokenizer = Tokenizer::load(folder, plan.vocabulary())?;
        let defaults = GenerationDefaults::load(folder)?;
        let pooling = match pooling {
            Some(asked) => asked,
            None => model::pooling(folder)?.unwrap_or_default(),
        };
        took.tokenizer = began.elapsed();
        let mut model = plan.load()?;
        let began = Instant::now();
        let cache = KvCache::new(&model, blocks, BLOCK_TOKENS)?;
        took.key_values = began.elapsed();
        Ok(Self {
            defaults,
            report: model.report().clone(),
            upkeep: model.take_upkeep(),
            took,
            capacity: Capacity::default(),
            pooling,
            model,
            cache,
            tokenizer,
        })
    }
}

/// Since 1970.
fn seconds_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
