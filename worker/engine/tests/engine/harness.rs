//! An engine on the example's model, and short ways to ask it.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::time::timeout;
use weir_engine::{
    Answer, Constraints, End, Ended, Engine, EngineOptions, Event, Form, Guide, Load, Origin,
    Penalties, Refused, Sampling, Showing, Shown, Token, Writing, WritingLimits,
    model::{
        ChatTemplate, Conversation, Extent, Groups, KvCache, LoadOptions, Message, Model,
        STEP_TOKENS, Tokenizer,
    },
};

/// Long enough for a loaded machine, short enough to find out that something hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Harness {
    pub engine: Engine,
    pub ended: Ended,
    pub tokenizer: Tokenizer,
    pub constraints: Constraints,
    template: ChatTemplate,
}

/// An answer at its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    pub tokens: Vec<Token>,
    pub text: String,
    pub end: End,
    pub stop: Option<String>,
    pub completion_tokens: usize,
}

impl Written {
    pub fn ids(&self) -> Vec<u32> {
        self.tokens.iter().map(|token| token.id).collect()
    }
}

impl Harness {
    /// Eight sequences at once, and a context for each.
    pub fn new() -> Self {
        Self::with(EngineOptions {
            max_sequences: 8,
            max_waiting: 64,
            prefix_cache: true,
        })
    }

    pub fn with(options: EngineOptions) -> Self {
        Self::with_blocks(options, |context_blocks| {
            context_blocks * options.max_sequences
        })
    }

    /// With so many blocks of key-value memory, where `blocks` is told how many one of the model's
    /// contexts takes.
    pub fn with_blocks(options: EngineOptions, blocks: impl Fn(usize) -> usize) -> Self {
        Self::of(&folder(), options, |model| {
            Groups::both(blocks(model.facts().context_tokens as usize / 16))
        })
    }

    /// The example's weights in a model of which most layers have a window of so many tokens: what
    /// it writes means nothing, but depends on all that it meets. There is key-value memory for
    /// `contexts` of its contexts, and no more.
    pub fn windowed(window: usize, max_sequences: usize, contexts: usize) -> Self {
        let changed = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(folder()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), changed.path().join(entry.file_name())).unwrap();
        }
        let path = changed.path().join("config.json");
        let mut config: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        config["architectures"] = serde_json::json!(["SmolLM3ForCausalLM"]);
        config["model_type"] = "smollm3".into();
        config["no_rope_layers"] = serde_json::json!([0, 1, 0, 0, 1, 0]);
        config["use_sliding_window"] = true.into();
        config["sliding_window"] = window.into();
        std::fs::write(&path, config.to_string()).unwrap();
        let options = EngineOptions {
            max_sequences,
            max_waiting: 64,
            prefix_cache: true,
        };
        Self::of(changed.path(), options, |model| {
            let layout = model.block_layout(16);
            let longest = model.facts().context_tokens as usize;
            let back_to = Some(0);
            let most = layout.most(Extent { longest, back_to }, STEP_TOKENS);
            Groups::each(|group| contexts * most.of(group))
        })
    }

    fn of(
        folder: &Path,
        options: EngineOptions,
        blocks: impl FnOnce(&Model) -> Groups<usize>,
    ) -> Self {
        let load = LoadOptions {
            threads: NonZeroUsize::MIN,
            ..LoadOptions::default()
        };
        let model = Model::load(folder, &load).unwrap();
        let vocabulary = model.facts().vocabulary;
        let tokenizer = Tokenizer::load(folder, vocabulary).unwrap();
        let template = ChatTemplate::load(folder).unwrap().unwrap();
        let cache = KvCache::new(&model, blocks(&model), 16).unwrap();
        let (engine, ended) = Engine::start(model, cache, options).unwrap();
        Self {
            engine,
            ended,
            constraints: Constraints::new(tokenizer.clone(), vocabulary),
            tokenizer,
            template,
        }
    }

    /// The prompt that a ticket becomes, as text.
    pub fn chat(&self, ticket: &str) -> String {
        let message = Message {
            role: "user".to_owned(),
            content: ticket.to_owned(),
            ..Message::default()
        };
        let conversation = Conversation {
            messages: vec![message],
            tools: Vec::new(),
            variables: serde_json::Map::new(),
            add_generation_prompt: true,
            now: std::time::UNIX_EPOCH,
        };
        self.template.render(&conversation).unwrap()
    }

    pub fn encode(&self, text: &str) -> Vec<u32> {
        self.tokenizer.encode(text, false).unwrap()
    }

    /// Writes greedily to the model's own end.
    pub fn ask(&self, ticket: &str) -> Writing {
        Writing {
            prompt: self.encode(&self.chat(ticket)).into(),
            produced: Vec::new(),
            sampling: Sampling::greedy(),
            penalties: Penalties::default(),
            seed: 0,
            choice: 0,
            limits: WritingLimits {
                max_tokens: usize::MAX,
                min_tokens: 0,
                ends: self.tokenizer.ends().into(),
            },
            alternatives: 0,
            prompt_alternatives: None,
            origin: Origin::default(),
            guide: Guide::default(),
        }
    }

    /// Writes almost anything, hot enough for a model that is sure of itself, and never ends by
    /// itself.
    pub fn ramble(&self, ticket: &str, seed: u64, max_tokens: usize) -> Writing {
        let mut writing = self.ask(ticket);
        writing.sampling = Sampling {
            temperature: 10.0,
            ..Sampling::default()
        };
        writing.seed = seed;
        writing.limits.max_tokens = max_tokens;
        writing.limits.ends = Arc::new([]);
        writing
    }

    /// Rambles within a form, to the end of it.
    pub fn formed(&self, form: &Form, seed: u64, max_tokens: usize) -> Writing {
        let mut writing = self.ramble("Where is my parcel?", seed, max_tokens);
        writing.limits.ends = self.tokenizer.ends().into();
        writing.guide.form = Some(self.constraints.compile(form).unwrap());
        writing
    }

    pub fn show(&self, stop: &[&str]) -> Showing {
        Showing {
            tokenizer: self.tokenizer.clone(),
            stop: stop.iter().map(ToString::to_string).collect(),
            shown_bytes: 0,
        }
    }

    pub fn begin(&self, writing: Writing) -> Result<Answer, Refused> {
        self.engine.write(writing, self.show(&[]))
    }

    pub async fn write(&self, writing: Writing) -> Written {
        finish(self.begin(writing).unwrap()).await
    }

    /// Waits until the model thread's load is as wanted.
    pub async fn until(&self, wanted: impl Fn(&Load) -> bool) {
        let mut load = self.engine.load();
        let reached = timeout(PATIENCE, load.wait_for(wanted)).await;
        reached.expect("the load was never reached").unwrap();
    }

    pub async fn until_idle(&self) {
        self.until(|load| load.running == 0 && load.waiting == 0 && load.blocks_used == 0)
            .await;
    }
}

/// Reads an answer to its end.
pub async fn finish(mut answer: Answer) -> Written {
    let (mut tokens, mut text) = (Vec::new(), String::new());
    loop {
        let event = timeout(PATIENCE, answer.next()).await;
        match event.expect("the answer stalled").unwrap().unwrap() {
            Event::Tokens {
                tokens: more,
                shown,
            } => {
                tokens.extend(more);
                for shown in shown {
                    match shown {
                        Shown::Answer(more) => text.push_str(&more),
                        Shown::Thinking(_) | Shown::Call(_) => panic!("no answer: {shown:?}"),
                    }
                }
            }
            Event::Prompt(_) => panic!("nobody asked for it"),
            Event::Finished {
                end,
                stop,
                completion_tokens,
                called: _,
            } => {
                assert!(
                    answer.next().await.is_none(),
                    "the finish is the last event"
                );
                return Written {
                    tokens,
                    text,
                    end,
                    stop,
                    completion_tokens,
                };
            }
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/triage/model")
}
