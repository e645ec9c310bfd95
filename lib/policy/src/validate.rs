//! A policy's spec, checked once: either [`Settings`] that nothing later can find fault with, or
//! every problem at once.
//!
//! Much of this the API server refuses by the rules in the schema. It is checked again because a
//! laptop has no API server, and because what RE2 takes as a regular expression is not quite what
//! we take.

mod budget;
mod endpoint;
mod limits;
mod records;
mod rules;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;
use serde_json::Value;
use weir_cascade::{Config, HoldBack, Signals, Skip};
use weir_crds::{
    Fraction, HeaderValues, HoldBackMode, Limits, OnAllUnsure, Protocol, Retries, RoutePolicySpec,
    Sticky, is_entry_name, is_object_name, reasons, value,
};

use crate::budget::Budget;
use crate::honoured::Honoured;
use crate::plan::Egress;
use crate::records::Records;
use crate::redact::Redaction;
use crate::rules::{Classifier, Rule};
use crate::tier::{Inside, Outside, Target, Tier};

/// One reason why a spec is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// A condition reason of `weir_crds::reasons`.
    pub reason: &'static str,
    /// The field at fault, as in `spec.tiers[0].accept.threshold`.
    pub field: String,
    /// For a person: names the field and says what to change.
    pub message: String,
}

/// What a valid spec means.
#[derive(Clone, Debug)]
pub struct Settings {
    /// At least one; the last has no `accept`.
    pub tiers: Vec<Tier>,
    pub egress: Egress,
    /// Asks with this header stay in the cluster whatever `egress` says.
    pub private_when: Option<HeaderValues>,
    /// What is taken out of what leaves the cluster.
    pub redaction: Option<Arc<Redaction>>,
    pub headers_after: Duration,
    pub timeout: Duration,
    pub idle_timeout: Duration,
    pub max_duration: Duration,
    pub retries: Retries,
    pub on_all_unsure: OnAllUnsure,
    /// The first that matches wins.
    pub rules: Vec<Rule>,
    /// Asked where neither a pin nor a rule says where an ask begins.
    pub classifier: Option<Classifier>,
    /// Who may name a tier in a request.
    pub pin_tenants: BTreeSet<String>,
    /// How much may be asked in a minute.
    pub limits: Option<Limits>,
    /// How long the answer to the very same ask is given again.
    pub cache: Option<Duration>,
    /// What endpoints may cost, each period once; all of them hold. Endpoints have prices where there is any.
    pub budgets: Vec<Budget>,
    pub records: Records,
    /// A conversation that was raised to a tier begins there the next time.
    pub is_sticky: bool,
    /// The tier whose score was found to tell nothing.
    pub useless: Option<String>,
    /// By which the first tier is passed over for some prompts; nothing until its weights were learnt.
    pub skip: Option<Skip>,
}

impl Settings {
    /// The deployments that asks may be sent to, those of its tiers first.
    pub fn deployments(&self) -> impl Iterator<Item = &str> {
        let tiers = self.tiers.iter().filter_map(Tier::deployment);
        let classifier = self.classifier.iter();
        tiers.chain(classifier.map(|classifier| classifier.deployment.as_str()))
    }
}

/// As many as the schema takes.
const MOST_TIERS: usize = 8;

/// The fields of a RoutePolicy that are honoured; every other is refused with `NotImplemented`.
pub const HONOURED: Honoured = Honoured {
    fields: &[
        "spec.models",
        "spec.tiers[].name",
        "spec.tiers[].deployment.name",
        "spec.tiers[].deployment.adapter",
        "spec.tiers[].accept.task",
        "spec.tiers[].accept.threshold",
        "spec.tiers[].accept.escalateOn.patterns",
        "spec.tiers[].accept.escalateOn.minTokens",
        "spec.tiers[].accept.escalateOn.schemaFailure",
        "spec.tiers[].accept.escalateOn.refusal",
        "spec.tiers[].endpoint.provider",
        "spec.tiers[].endpoint.model",
        "spec.tiers[].endpoint.baseUrl",
        "spec.tiers[].endpoint.unsupported",
        "spec.tiers[].endpoint.location",
        "spec.tiers[].endpoint.apiKeySecretRef",
        "spec.tiers[].endpoint.headers",
        "spec.tiers[].endpoint.apiVersion",
        "spec.tiers[].endpoint.defaultOutputTokens",
        "spec.tiers[].endpoint.caBundle",
        "spec.tiers[].endpoint.maxOutputTokens",
        "spec.tiers[].endpoint.price.inputPerMillion",
        "spec.tiers[].endpoint.price.outputPerMillion",
        "spec.tiers[].endpoint.price.cacheReadPerMillion",
        "spec.tiers[].endpoint.price.cacheWritePerMillion",
        "spec.tiers[].endpoint.timeouts",
        "spec.privacy.egress",
        "spec.privacy.denyWhen",
        "spec.privacy.redact",
        "spec.auth",
        "spec.pin",
        "spec.limits",
        "spec.cache",
        "spec.budget",
        "spec.rules",
        "spec.classifier.deployment",
        "spec.classifier.labels",
        "spec.streaming",
        "spec.timeout",
        "spec.idleTimeout",
        "spec.maxDuration",
        "spec.retries",
        "spec.onAllUnsure",
        "spec.records",
        "spec.sticky",
    ],
    values: &[],
};

/// Every problem of `spec`; none means that [`settings`] succeeds.
pub fn validate(spec: &RoutePolicySpec) -> Vec<Problem> {
    settings(spec).err().unwrap_or_default()
}

/// What `spec` means, or every problem of it.
pub fn settings(spec: &RoutePolicySpec) -> Result<Settings, Vec<Problem>> {
    let mut check = Check {
        has_budget: !spec.budget.is_empty(),
        ..Check::default()
    };
    let json = serde_json::to_value(spec).unwrap_or(Value::Null);
    check.problems.extend(HONOURED.problems(&json));
    check.names("spec.models", spec.models.iter());
    check.names("spec.tiers", spec.tiers.iter().map(|tier| &tier.name));
    let tiers = check.tiers(spec);
    if let Some(when) = &spec.privacy.deny_when {
        check.header("spec.privacy.denyWhen.header", &when.header);
    }
    if let Some(auth) = &spec.auth {
        check.object_name("spec.auth.keysSecretRef.name", &auth.keys_secret_ref.name);
    }
    let settings = Settings {
        tiers,
        egress: match spec.privacy.egress {
            weir_crds::Egress::Allow => Egress::Allowed,
            weir_crds::Egress::Deny => Egress::Denied,
        },
        private_when: spec
            .privacy
            .deny_when
            .as_ref()
            .map(|when| when.header.clone()),
        redaction: check.redaction(spec),
        headers_after: check.duration("spec.streaming.headersAfter", &spec.streaming.headers_after),
        timeout: check.duration("spec.timeout", &spec.timeout),
        idle_timeout: check.duration("spec.idleTimeout", &spec.idle_timeout),
        max_duration: check.duration("spec.maxDuration", &spec.max_duration),
        retries: spec.retries.clone(),
        on_all_unsure: spec.on_all_unsure,
        rules: check.rules(spec),
        classifier: check.classifier(spec),
        pin_tenants: check.pins(spec),
        limits: check.limits(spec),
        cache: spec
            .cache
            .as_ref()
            .map(|cache| check.duration("spec.cache.exact", &cache.exact)),
        budgets: check.budgets(spec),
        records: check.records(spec),
        is_sticky: spec.sticky == Sticky::Conversation,
        useless: None,
        skip: None,
    };
    match check.problems.is_empty() {
        true => Ok(settings),
        false => Err(check.problems),
    }
}

/// Problems as they are found.
#[derive(Default)]
struct Check {
    problems: Vec<Problem>,
    has_budget: bool,
}

impl Check {
    fn invalid(&mut self, field: impl Into<String>, message: impl Display) {
        let field = field.into();
        self.problems.push(Problem {
            reason: reasons::INVALID,
            message: format!("{field}: {message}"),
            field,
        });
    }

    fn names<'a>(&mut self, field: &str, names: impl Iterator<Item = &'a String>) {
        let mut names = names.peekable();
        if names.peek().is_none() {
            self.invalid(field, "must not be empty");
        }
        self.unique(field, names);
    }

    fn unique<'a>(&mut self, field: &str, names: impl Iterator<Item = &'a String>) {
        let mut seen = BTreeSet::new();
        for name in names {
            if name.is_empty() {
                self.invalid(field, "a name is empty");
            } else if !seen.insert(name) {
                self.invalid(field, format_args!("{name:?} is there twice"));
            }
        }
    }

    fn redaction(&mut self, spec: &RoutePolicySpec) -> Option<Arc<Redaction>> {
        match Redaction::compile(spec.privacy.redact.as_ref()?) {
            Ok(redaction) => Some(Arc::new(redaction)),
            Err(problems) => {
                for (field, message) in problems {
                    self.invalid(format!("spec.privacy.redact{field}"), message);
                }
                None
            }
        }
    }

    /// The name becomes a component of a path wherever Secrets are files.
    fn object_name(&mut self, field: impl Into<String>, name: &str) {
        if !is_object_name(name) {
            let message = "must be the name of an object: lower-case letters, digits, dashes and \
                           dots, no slash";
            self.invalid(field, message);
        }
    }

    /// See [`Self::object_name`].
    fn entry_name(&mut self, field: impl Into<String>, key: &str) {
        if !is_entry_name(key) {
            let message = "must be the name of an entry: letters, digits and - . _ without .. at \
                           its beginning";
            self.invalid(field, message);
        }
    }

    /// The duration, or one that nothing will ever see because the problem is kept.
    fn duration(&mut self, field: &str, text: &str) -> Duration {
        value::duration(text).unwrap_or_else(|error| {
            self.invalid(field, error);
            Duration::ZERO
        })
    }

    fn tiers(&mut self, spec: &RoutePolicySpec) -> Vec<Tier> {
        if spec.tiers.len() > MOST_TIERS {
            self.invalid(
                "spec.tiers",
                format_args!("has more than {MOST_TIERS} tiers"),
            );
        }
        let last = spec.tiers.len().saturating_sub(1);
        let mut tiers = Vec::new();
        for (index, tier) in spec.tiers.iter().enumerate() {
            let at = format!("spec.tiers[{index}]");
            let hold_back = hold_back(&spec.streaming.hold_back);
            let accept = match index == last {
                true => self.no_accept(&at, tier.accept.as_ref()),
                false => Some(self.accept(&at, tier.accept.as_ref(), hold_back)),
            };
            match (&tier.deployment, &tier.endpoint) {
                (Some(deployment), None) => tiers.push(Tier::Inside(Arc::new(Inside {
                    name: tier.name.clone(),
                    target: Target::Deployment {
                        name: deployment.name.clone(),
                        adapter: deployment.adapter.clone(),
                        // Only the deployment itself knows.
                        protocol: Protocol::Weir,
                    },
                    accept,
                }))),
                (None, Some(endpoint)) => {
                    tiers.extend(self.endpoint_tier(&at, tier.name.clone(), endpoint, accept));
                }
                _ => self.invalid(at, "must have one of deployment and endpoint"),
            }
        }
        if spec.privacy.egress == weir_crds::Egress::Deny
            && tiers.iter().any(|tier| matches!(tier, Tier::Outside(_)))
        {
            let message = "Deny leaves no use for a tier outside the cluster: take it out";
            self.invalid("spec.privacy.egress", message);
        }
        tiers
    }

    fn endpoint_tier(
        &mut self,
        at: &str,
        name: String,
        endpoint: &weir_crds::Endpoint,
        accept: Option<Config>,
    ) -> Option<Tier> {
        let location = endpoint.location;
        let endpoint = self.endpoint(&format!("{at}.endpoint"), endpoint)?;
        Some(match location {
            weir_crds::Location::Inside => Tier::Inside(Arc::new(Inside {
                name,
                target: Target::Endpoint(Box::new(endpoint)),
                accept,
            })),
            weir_crds::Location::Outside => Tier::Outside(Arc::new(Outside {
                name,
                endpoint,
                accept,
            })),
        })
    }

    fn no_accept(&mut self, at: &str, accept: Option<&weir_crds::Accept>) -> Option<Config> {
        if accept.is_some() {
            let message = "the last tier's answer always counts: take accept out";
            self.invalid(format!("{at}.accept"), message);
        }
        None
    }

    /// When the tier's answer is good enough: the defaults where it says nothing.
    fn accept(
        &mut self,
        at: &str,
        accept: Option<&weir_crds::Accept>,
        hold_back: HoldBack,
    ) -> Config {
        let accept = accept.cloned().unwrap_or_default();
        let threshold = accept.threshold.as_ref().and_then(|text| {
            let parsed = text.parse::<Fraction>();
            let parsed =
                parsed.map_err(|error| self.invalid(format!("{at}.accept.threshold"), error));
            parsed.ok().map(Fraction::value)
        });
        let mut patterns = Vec::new();
        for (index, pattern) in accept.escalate_on.patterns.iter().enumerate() {
            match Regex::new(pattern) {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => {
                    let field = format!("{at}.accept.escalateOn.patterns[{index}]");
                    // The library draws the place on lines of its own; the last says why.
                    let error = error.to_string();
                    let why = error.lines().last().unwrap_or_default().trim();
                    self.invalid(field, format_args!("does not compile: {why}"));
                }
            }
        }
        Config {
            task: task(accept.task),
            threshold,
            fitted: None,
            hold_back,
            signals: Signals {
                patterns,
                min_tokens: accept.escalate_on.min_tokens,
                schema_failure: accept.escalate_on.schema_failure,
                refusal: accept.escalate_on.refusal,
            },
            is_trusted: false,
        }
    }
}

fn task(task: weir_crds::Task) -> Option<weir_cascade::Task> {
    match task {
        weir_crds::Task::Auto => None,
        weir_crds::Task::Choice => Some(weir_cascade::Task::Choice),
        weir_crds::Task::Json => Some(weir_cascade::Task::Json),
        weir_crds::Task::Short => Some(weir_cascade::Task::Short),
        weir_crds::Task::Text => Some(weir_cascade::Task::Text),
        weir_crds::Task::Reasoning => Some(weir_cascade::Task::Reasoning),
    }
}

fn hold_back(hold_back: &weir_crds::HoldBack) -> HoldBack {
    match hold_back {
        weir_crds::HoldBack::Mode(HoldBackMode::Auto) => HoldBack::Auto,
        weir_crds::HoldBack::Mode(HoldBackMode::None) | weir_crds::HoldBack::Tokens(0) => {
            HoldBack::Off
        }
        weir_crds::HoldBack::Tokens(tokens) => HoldBack::Tokens(*tokens),
    }
}

mod http_names {
    /// Whether `name` is a token as HTTP wants it.
    pub fn is_header_name(name: &str) -> bool {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        !name.is_empty() && name.bytes().all(token)
    }
}

#[cfg(test)]
mod tests;
