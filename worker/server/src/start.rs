//! From arguments to a served model: find it, load it, warm it up. Each step names its failure.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::{sync::Semaphore, task::spawn_blocking};
use weir_engine::{
    Constraints, Ended, Engine, EngineOptions,
    model::{
        BLOCK_TOKENS, ChatTemplate, GenerationDefaults, KvCache, LoadError, LoadOptions,
        LoadReport, Model, Plan, Tokenizer, Upkeep, available_threads,
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
    memory::Memory,
    metrics::Metrics,
    room,
    serving::{Serving, tools::Style},
    trial,
    warm_up::{try_out, warm_up},
};

/// Sequences computed at the same time. Eight rows share one pass over the weights, and more
/// would make each of them slower than a person reads on two cores.
const MAX_SEQUENCES: usize = 8;

/// Prompts rendered and tokenized at the same time; most take less than a millisecond.
const PROMPTS_AT_ONCE: usize = 4;

/// Longer tokens are runs of spaces or dashes, of which nobody fills a whole context.
const LONGEST_TOKEN_BYTES: usize = 64;

/// Loads the model that `args` names and starts its engine.
pub async fn start(args: &Args, process: &Process) -> Result<(Serving, Ended), Failure> {
    let folder = folder(args)?;
    let began = Instant::now();
    // First, while the memory that weights will take is there for it.
    trial::of(&folder).await?;
    let memory = Memory::available();
    let options = load_options(args, memory);
    let name = args.model_name.clone();
    let loading = spawn_blocking(move || {
        let mut loaded = Loaded::load(&folder, &options, memory)
            .map_err(|error| Failure::new(error.reason(), &error))?;
        let model = (&mut loaded.model, &mut loaded.cache);
        try_out(model, &loaded.tokenizer, &name)?;
        Ok(loaded)
    });
    let loaded = loading
        .await
        .map_err(|error| Failure::new("CrashLoop", &error))??;
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
        tool_style: Style::of(loaded.template.as_ref(), &loaded.tokenizer),
        constraints: Constraints::new(loaded.tokenizer.clone(), facts.vocabulary),
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

fn load_options(args: &Args, memory: Option<Memory>) -> LoadOptions {
    let threads = args.threads.and_then(NonZeroUsize::new);
    LoadOptions {
        context_tokens: args.context_tokens,
        quantization: args.quantization,
        key_value_type: args.key_value_type,
        memory_bytes: memory.map(|memory| memory.bytes),
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
    fn load(
        folder: &Path,
        options: &LoadOptions,
        memory: Option<Memory>,
    ) -> Result<Self, LoadError> {
        let plan = Plan::of(folder, options)?;
        // Before the weights are read: what has no room is to be known at once.
        let asked = options.context_tokens.is_some();
        let blocks = room::blocks(&plan, memory, MAX_SEQUENCES, asked)?;
        let mut model = plan.load()?;
        let mut took = Took::default();
        let began = Instant::now();
        let tokenizer = Tokenizer::load(folder, model.facts().vocabulary)?;
        took.tokenizer = began.elapsed();
        let began = Instant::now();
        let cache = KvCache::new(&model, blocks, BLOCK_TOKENS)?;
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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn triage() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/triage/model")
    }

    /// Says what a start is refused with, of a copy of the example with a weight that no load
    /// accepts.
    fn refusal(context_tokens: Option<u32>, memory: Memory) -> LoadError {
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
            context_tokens,
            memory_bytes: Some(memory.bytes),
            ..LoadOptions::default()
        };
        let loaded = Loaded::load(folder.path(), &options, Some(memory));
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
        let refused = refusal(Some(512), memory);
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
        let refused = refusal(Some(512), ample);
        assert!(matches!(refused, LoadError::NotFinite { .. }), "{refused}");
    }
}
