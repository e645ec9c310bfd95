//! From arguments to a served model: find it, load it, warm it up. Each step names its failure.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::{
    sync::{Semaphore, watch},
    task::spawn_blocking,
    time::timeout,
};
use weir_engine::{
    Constraints, Ended, Engine, EngineOptions,
    model::{
        AdapterBase, BLOCK_TOKENS, ChatTemplate, GenerationDefaults, Groups, KernelClass, KvCache,
        LoadError, LoadOptions, LoadReport, Model, ModelFacts, Plan, Quantization, STEP_TOKENS,
        Tokenizer, Upkeep, available_threads,
    },
};
use weir_policy::load::ColdStart;
use weir_process::Process;
use weir_sources::{Origin, Progress};

use crate::{
    adapters::{Following, Seen, follow, uses::Uses},
    args::Args,
    draining::{Cutoff, Idle},
    failure::Failure,
    loading::{Took, keep_up},
    memory::Memory,
    metrics::Metrics,
    room,
    serving::{Serving, tools::Style},
    trial,
    warm_up::{try_out, warm_up},
};

/// Prompts rendered and tokenized at the same time; most take less than a millisecond.
const PROMPTS_AT_ONCE: usize = 4;

/// How long a worker that could serve its model waits for the adapters that are listed.
const LONGEST_ADAPTERS: Duration = Duration::from_secs(30);

/// Longer tokens are runs of spaces or dashes, of which nobody fills a whole context.
const LONGEST_TOKEN_BYTES: usize = 64;

/// Loads the model that `args` names and starts its engine.
pub async fn start(
    args: &Args,
    process: &Process,
    progress: watch::Sender<Progress>,
) -> Result<(Serving, Ended), Failure> {
    let began = Instant::now();
    let fetched = args.source.bring(&progress).await?;
    let download = began.elapsed();
    let folder = fetched.path.clone();
    let began = Instant::now();
    // First, while the memory that weights will take is there for it.
    trial::of(&folder).await?;
    let memory = Memory::available();
    let engine_options = EngineOptions {
        max_sequences: usize::from(args.max_sequences).min(STEP_TOKENS),
        max_waiting: args.max_waiting,
        prefix_cache: args.prefix_cache,
    };
    let loaded = load(args, folder, memory, engine_options.max_sequences).await?;
    let load_ms = millis(began.elapsed());
    let facts = loaded.model.facts().clone();
    let (report, mut took) = (loaded.report, loaded.took);
    let adapter_bytes = room::for_adapters(memory, facts.weight_bytes);
    let base = loaded.model.adapter_base();
    let (engine, ended) = Engine::start(loaded.model, loaded.cache, engine_options)
        .map_err(|error| Failure::new("CrashLoop", &error))?;
    let began = Instant::now();
    warm_up(&engine, &loaded.tokenizer).await?;
    took.warm_up = began.elapsed();
    let adapters = adapters(args, process, (base, adapter_bytes)).await;
    let cold_start = ColdStart {
        download_ms: match fetched.origin {
            Origin::Local => 0,
            _ => millis(download),
        },
        load_ms,
        warm_up_ms: millis(took.warm_up),
    };
    tell(
        &args.model_name,
        (&fetched.revision, &facts),
        &engine,
        (cold_start, &took, &report),
    );
    if let Some(upkeep) = loaded.upkeep {
        keep_up(process, upkeep);
    }
    let idle = Idle::new(process.shutdown().clone(), engine.load());
    let serving = Serving {
        name: args.model_name.clone(),
        most_prompt_bytes: most_prompt_bytes(&loaded.tokenizer, facts.vocabulary, &engine),
        engine,
        reading_prompts: Arc::new(Semaphore::new(PROMPTS_AT_ONCE)),
        eos: loaded.tokenizer.ends().into(),
        tool_style: Style::of(loaded.template.as_ref(), &loaded.tokenizer),
        constraints: Constraints::new(loaded.tokenizer.clone(), facts.vocabulary),
        tokenizer: loaded.tokenizer,
        template: loaded.template,
        defaults: loaded.defaults,
        facts,
        revision: fetched.revision,
        cold_start,
        created_seconds: seconds_now(),
        metrics: Metrics::register(process),
        adapters,
        adapter_uses: Uses::default(),
        adapter_bytes,
        shutdown: process.shutdown().clone(),
        cutoff: Cutoff::after(args.drain, idle, process.tasks()),
    };
    Ok((serving, ended))
}

/// The model in a folder and all that is beside it, tried out.
async fn load(
    args: &Args,
    folder: PathBuf,
    memory: Option<Memory>,
    sequences: usize,
) -> Result<Loaded, Failure> {
    let options = load_options(args, memory);
    let own_template = args.chat_template.clone();
    let name = args.model_name.clone();
    let loading = spawn_blocking(move || {
        let files = (&*folder, own_template.as_deref());
        let mut loaded = Loaded::load(files, &options, memory, sequences)
            .map_err(|error| Failure::new(error.reason(), &error))?;
        let model = (&mut loaded.model, &mut loaded.cache);
        try_out(model, &loaded.tokenizer, &name)?;
        Ok(loaded)
    });
    loading
        .await
        .map_err(|error| Failure::new("CrashLoop", &error))?
}

/// The adapters that are listed, once those that come soon are there: whoever is ready has what it
/// can have.
async fn adapters(args: &Args, process: &Process, (base, most_bytes): (AdapterBase, u64)) -> Seen {
    let following = Following {
        folder: args.adapters.clone(),
        base,
        source: args.source.clone(),
        most_bytes,
    };
    let (adapters, tried) = follow(process, following);
    // What takes long comes later.
    let _ = timeout(LONGEST_ADAPTERS, tried).await;
    adapters
}

/// One line of what was loaded and how long each part took.
fn tell(
    name: &str,
    (revision, facts): (&str, &ModelFacts),
    engine: &Engine,
    (cold_start, took, report): (ColdStart, &Took, &LoadReport),
) {
    tracing::info!(
        model = name,
        digest = facts.digest,
        revision,
        architecture = facts.architecture,
        parameters = facts.parameters,
        context_tokens = engine.context_tokens(),
        kernel_class = %facts.kernel_class,
        download_ms = cold_start.download_ms,
        load_ms = cold_start.load_ms,
        warm_up_ms = cold_start.warm_up_ms,
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
    template: Option<ChatTemplate>,
    defaults: GenerationDefaults,
    report: LoadReport,
    upkeep: Option<Upkeep>,
    took: Took,
}

impl Loaded {
    fn load(
        (folder, template): (&Path, Option<&Path>),
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
        let template = match template {
            Some(file) => Some(ChatTemplate::load_file(file, &tokenizer)?),
            None => ChatTemplate::load(folder, &tokenizer)?,
        };
        let defaults = GenerationDefaults::load(folder)?;
        took.tokenizer = began.elapsed();
        let mut model = plan.load()?;
        let began = Instant::now();
        let cache = KvCache::new(&model, blocks, BLOCK_TOKENS)?;
        took.key_values = began.elapsed();
        Ok(Self {
            template,
            defaults,
            report: model.report().clone(),
            upkeep: model.take_upkeep(),
            took,
            model,
            cache,
            tokenizer,
        })
    }
}

/// The plan, and the blocks that have room beside its weights. Where it is left to us, weights are
/// rounded to eight bits when that makes room for the context that was asked for.
fn planned(
    folder: &Path,
    options: &LoadOptions,
    memory: Option<Memory>,
    sequences: usize,
) -> Result<(Plan, Groups<usize>), LoadError> {
    let plan = Plan::of(folder, options)?;
    let asked = options.context_tokens.is_some();
    let error = match room::blocks(&plan, memory, sequences, asked) {
        Ok(blocks) => return Ok((plan, blocks)),
        Err(error) => error,
    };
    if options.quantization != Quantization::Auto {
        return Err(error);
    }
    let rounded = LoadOptions {
        quantization: Quantization::Q8,
        ..options.clone()
    };
    // A file that keeps its own types is refused here: it stays with what it said first.
    let Ok(plan) = Plan::of(folder, &rounded) else {
        return Err(error);
    };
    let blocks = room::blocks(&plan, memory, sequences, asked)?;
    Ok((plan, blocks))
}

/// Since 1970.
fn seconds_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn triage() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/triage/model")
    }

    /// Says what a start is refused with, of a copy of the example with a weight that no load
    /// accepts.
    fn refusal(quantization: Quantization, memory: Memory) -> LoadError {
        let folder = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(triage()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
        let weights = folder.path().join("model.safetensors");
        let mut bytes = std::fs::read(&weights).unwrap();
        let end = bytes.len();
        bytes[end - 64..].fill(0xff);
        std::fs::write(weights, bytes).unwrap();
        let options = LoadOptions {
            context_tokens: Some(512),
            quantization,
            memory_bytes: Some(memory.bytes),
            ..LoadOptions::default()
        };
        let loaded = Loaded::load((folder.path(), None), &options, Some(memory), 8);
        loaded.map(|loaded| loaded.report).unwrap_err()
    }

    #[test]
    fn a_context_without_room_is_refused_before_weights_are_read() {
        let plan = Plan::of(&triage(), &LoadOptions::default()).unwrap();
        let spare = 100_000;
        let memory = Memory {
            bytes: plan.weight_bytes() + 2 * spare,
            is_shared: false,
        };
        let refused = refusal(Quantization::None, memory);
        assert_eq!(refused.reason(), "OutOfMemory");
        let LoadError::ContextMemory {
            tokens,
            needed,
            available,
        } = refused
        else {
            panic!("{refused}");
        };
        let each = plan.block_bytes(BLOCK_TOKENS).global as u64;
        let blocks = 512 / BLOCK_TOKENS as u64;
        assert_eq!((tokens, needed, available), (512, blocks * each, spare));
        let ample = Memory {
            bytes: u64::MAX,
            ..memory
        };
        let refused = refusal(Quantization::None, ample);
        assert!(matches!(refused, LoadError::NotFinite { .. }), "{refused}");
        // Eight bits make room, and so it comes to the weights.
        let refused = refusal(Quantization::Auto, memory);
        assert!(matches!(refused, LoadError::NotFinite { .. }), "{refused}");
    }
}
