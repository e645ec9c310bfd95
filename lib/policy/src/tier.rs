//! The tiers of a policy, checked: inside the cluster or outside it, as different types.
//!
//! An [`Outside`] tier cannot be turned into an [`Inside`] one, and only this crate makes either,
//! from a spec: a plan that holds only `Inside` tiers keeps what it is given in the cluster.

use std::sync::Arc;
use std::time::Duration;

use weir_cascade::Config;
use weir_crds::{ConfigMapKeyRef, Money, Protocol, Provider, SecretKeyRef};

/// One step of a policy.
#[derive(Clone, Debug)]
pub enum Tier {
    Inside(Arc<Inside>),
    Outside(Arc<Outside>),
}

/// A tier whose asks stay in the cluster.
#[derive(Debug)]
pub struct Inside {
    pub(crate) name: String,
    pub(crate) target: Target,
    pub(crate) accept: Option<Config>,
}

/// What answers inside the cluster.
#[derive(Clone, Debug)]
pub enum Target {
    /// The deployment of this name, or one of its adapters.
    Deployment {
        name: String,
        adapter: Option<String>,
        /// What its spec says that replicas speak. While a revision of another engine takes over some speak the
        /// other one.
        protocol: Protocol,
    },
    Endpoint(Box<Endpoint>),
}

/// What a deployment's adapter is called as a model.
pub fn model_name(deployment: &str, adapter: Option<&str>) -> String {
    match adapter {
        Some(adapter) => format!("{deployment}:{adapter}"),
        None => deployment.to_owned(),
    }
}

/// A tier whose asks leave the cluster.
#[derive(Debug)]
pub struct Outside {
    pub(crate) name: String,
    pub(crate) endpoint: Endpoint,
    pub(crate) accept: Option<Config>,
}

/// An API that speaks a provider's wire.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub provider: Provider,
    pub model: String,
    /// Without a slash at its end, as in `https://api.openai.com/v1`.
    pub base_url: String,
    /// Request fields to leave out.
    pub unsupported: Vec<String>,
    pub api_key: Option<SecretKeyRef>,
    /// The authorities that it is trusted by besides the usual ones.
    pub ca_bundle: Option<ConfigMapKeyRef>,
    /// Names and values, checked to be sendable.
    pub headers: Vec<(String, String)>,
    /// Of an Anthropic endpoint; for others it is in `headers`, if anywhere.
    pub api_version: Option<String>,
    /// Where the client named none.
    pub default_output_tokens: Option<u32>,
    pub max_output_tokens: Option<u32>,
    /// Its policy has one, so that every call must be told how long its answer may be.
    pub has_budget: bool,
    pub price: Price,
    pub timeouts: Timeouts,
}

/// US dollars per million tokens; nothing costs nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    pub input: Money,
    pub output: Money,
    pub cache_read: Money,
    pub cache_write: Money,
}

/// What an answer took, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// All that was read.
    pub input: u64,
    /// The part of `input` that the provider had in its cache.
    pub cached: u64,
    /// The part of `input` that it put there.
    pub cache_written: u64,
    pub output: u64,
}

impl Price {
    /// What one answer cost.
    pub fn of(&self, taken: Taken) -> Money {
        let cached = taken.cached.min(taken.input);
        let written = taken.cache_written.min(taken.input - cached);
        self.input.per_million(taken.input - cached - written)
            + self.cache_read.per_million(cached)
            + self.cache_write.per_million(written)
            + self.output.per_million(taken.output)
    }
}

/// The version of Anthropic's API from which on sampling is the model's own.
pub const ANTHROPIC_WITHOUT_SAMPLING: &str = "2026-10-21";
/// The newest that we know.
const ANTHROPIC_VERSION: &str = ANTHROPIC_WITHOUT_SAMPLING;

impl Endpoint {
    /// Whether a budget pays for what is asked of it.
    pub fn is_counted(&self) -> bool {
        self.has_budget && self.price != Price::default()
    }

    /// What an Anthropic endpoint is asked for as its `anthropic-version`.
    pub fn anthropic_version(&self) -> &str {
        self.api_version.as_deref().unwrap_or(ANTHROPIC_VERSION)
    }
}

/// How long to wait for an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    pub connect: Duration,
    pub first_byte: Duration,
    pub idle: Duration,
}

impl Tier {
    pub fn name(&self) -> &str {
        match self {
            Tier::Inside(inside) => &inside.name,
            Tier::Outside(outside) => &outside.name,
        }
    }

    /// The endpoint, wherever it is; nothing for a deployment.
    pub fn endpoint(&self) -> Option<&Endpoint> {
        match self {
            Tier::Inside(inside) => match &inside.target {
                Target::Endpoint(endpoint) => Some(endpoint),
                Target::Deployment { .. } => None,
            },
            Tier::Outside(outside) => Some(&outside.endpoint),
        }
    }

    /// The deployment's name; nothing for an endpoint.
    pub fn deployment(&self) -> Option<&str> {
        match self {
            Tier::Inside(inside) => match &inside.target {
                Target::Deployment { name, .. } => Some(name),
                Target::Endpoint(_) => None,
            },
            Tier::Outside(_) => None,
        }
    }

    /// The adapter that its deployment answers with; nothing for the model itself.
    pub fn adapter(&self) -> Option<&str> {
        match self {
            Tier::Inside(inside) => match &inside.target {
                Target::Deployment { adapter, .. } => adapter.as_deref(),
                Target::Endpoint(_) => None,
            },
            Tier::Outside(_) => None,
        }
    }

    /// Whether it is a deployment of a server that is not ours.
    pub fn is_foreign(&self) -> bool {
        let target = match self {
            Tier::Inside(inside) => &inside.target,
            Tier::Outside(_) => return false,
        };
        matches!(target, Target::Deployment { protocol, .. } if *protocol == Protocol::OpenAI)
    }

    /// The same tier, of a deployment whose server is not ours.
    pub(crate) fn foreign(&self) -> Self {
        match self {
            Tier::Inside(inside) => {
                let mut target = inside.target.clone();
                if let Target::Deployment { protocol, .. } = &mut target {
                    *protocol = Protocol::OpenAI;
                }
                Tier::Inside(Arc::new(Inside {
                    name: inside.name.clone(),
                    target,
                    accept: inside.accept.clone(),
                }))
            }
            Tier::Outside(_) => self.clone(),
        }
    }

    /// The same tier with answers that count whatever their score.
    pub fn unjudged(&self) -> Self {
        match self {
            Tier::Inside(inside) => Tier::Inside(inside.unjudged()),
            Tier::Outside(outside) => Tier::Outside(Arc::new(Outside {
                name: outside.name.clone(),
                endpoint: outside.endpoint.clone(),
                accept: None,
            })),
        }
    }

    /// The same tier, whose answers are judged so.
    pub(crate) fn judged(&self, accept: Config) -> Self {
        let accept = Some(accept);
        match self {
            Tier::Inside(inside) => Tier::Inside(Arc::new(Inside {
                name: inside.name.clone(),
                target: inside.target.clone(),
                accept,
            })),
            Tier::Outside(outside) => Tier::Outside(Arc::new(Outside {
                name: outside.name.clone(),
                endpoint: outside.endpoint.clone(),
                accept,
            })),
        }
    }

    /// When its answer is good enough; nothing for the last tier of a policy, whose always is.
    pub fn accept(&self) -> Option<&Config> {
        match self {
            Tier::Inside(inside) => inside.accept.as_ref(),
            Tier::Outside(outside) => outside.accept.as_ref(),
        }
    }
}

impl Inside {
    /// See [`Tier::unjudged`].
    pub fn unjudged(&self) -> Arc<Self> {
        Arc::new(Self {
            name: self.name.clone(),
            target: self.target.clone(),
            accept: None,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn target(&self) -> &Target {
        &self.target
    }
}

impl Outside {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}
