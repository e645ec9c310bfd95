//! One attempt: tokens in, a verdict out.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::evidence::{Evidence, Snapshot, Token};
use crate::fitted::Fitted;
use crate::score::{bound, score};
use crate::signals::{Signal, Signals, Text, doubt};
use crate::task::{Asked, SHORT_TOKENS, Task};
use crate::verdict::{AbortReason, CommitReason, Verdict};

/// Token counts at which a text is judged: 1, 4, 16, 32, and then twice as many each time.
const FIRST_CHECKPOINTS: [u32; 3] = [1, 4, 16];
/// Before this many tokens a text has not shown enough to be let go, however sure it begins:
/// openings are boilerplate.
const EARLIEST_COMMIT: u32 = 16;
/// What stands before the first value of a call, its mark and its name among them, is no longer: until so many tokens
/// have followed, words that look hopeless may have been the head of one.
const LONGEST_HEAD: u32 = 16;

/// What a policy says about an attempt.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The kind of answer; `None` finds it from what is asked, takes an answer that ended within 16
    /// tokens for a short one, and one that calls a tool for JSON.
    pub task: Option<Task>,
    /// Scores from here on are kept; `None` takes the task's own.
    pub threshold: Option<f64>,
    /// A score that was fitted on this tier's answers, with its threshold, where it is in place of the
    /// built-in one.
    pub fitted: Option<Arc<Fitted>>,
    /// How much of the answer is kept from the client until there is a verdict.
    pub hold_back: HoldBack,
    /// What escalates whatever the score.
    pub signals: Signals,
    /// Its answer counts as it is: nothing in its words is looked for where it is not held back.
    pub is_trusted: bool,
}

/// How long the tokens of an attempt are kept from the client.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum HoldBack {
    /// A text until the first checkpoint that is sure enough; everything else to its end.
    #[default]
    Auto,
    /// Not at all: the answer is committed before its first token.
    Off,
    /// For this many tokens: then it is committed or dropped. With tools, JSON, or several
    /// answers, to the end all the same.
    Tokens(u32),
}

/// How a tier ended its answer.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum FinishReason {
    /// It was done.
    Stop,
    /// A limit was reached.
    Length,
    /// It wants tools to be called.
    ToolCalls,
    /// The model, or whoever watches over it, will not say.
    Refusal,
}

/// What was known at one checkpoint.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// After how many tokens.
    pub tokens: u32,
    /// The score then.
    pub score: f64,
    /// The highest score the answer could still have ended with; nothing where that is not known: of a
    /// fitted score, and as long as a call of a tool may come, which is judged by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<f64>,
}

/// Everything about an attempt that a decision record keeps.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptRecord {
    /// The kind of answer it was judged as.
    pub task: Task,
    /// Where the line was drawn.
    pub threshold: f64,
    /// The score at the end, or so far.
    pub score: Option<f64>,
    /// What was decided.
    pub verdict: Verdict,
    /// What it would have been dropped for at its end, had it been held back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt: Option<AbortReason>,
    /// What was known on the way.
    pub checkpoints: Vec<Checkpoint>,
    /// The evidence at the end, or so far.
    pub evidence: Snapshot,
}

/// One answer of one tier while it is being written.
///
/// For each event of the tier: [`observe`](Self::observe) its tokens, hand over its
/// [`text`](Self::text), then ask for the verdict with [`checkpoint`](Self::checkpoint); at the
/// end ask [`finish`](Self::finish). How tokens are grouped into events changes no verdict about
/// the score.
#[derive(Clone, Debug)]
pub struct Attempt {
    config: Config,
    asked: Asked,
    task: Task,
    evidence: Evidence,
    text: Text,
    next_checkpoint: u32,
    checkpoints: Vec<Checkpoint>,
    /// What the evidence says, before the text was looked at.
    due: Verdict,
    verdict: Verdict,
    doubt: Option<AbortReason>,
    /// As many tokens the answer had when its words looked hopeless first.
    hopeless_since: Option<u32>,
    has_called: bool,
    has_declined: bool,
    is_misfit: bool,
}

impl Attempt {
    /// Begins an attempt at what was asked.
    pub fn new(config: Config, asked: Asked) -> Self {
        let verdict = match config.hold_back {
            HoldBack::Off => Verdict::Commit(CommitReason::NotHeld),
            HoldBack::Auto | HoldBack::Tokens(_) => Verdict::Wait,
        };
        Self {
            task: config.task.unwrap_or_else(|| asked.task()),
            config,
            asked,
            evidence: Evidence::default(),
            text: Text::default(),
            next_checkpoint: FIRST_CHECKPOINTS[0],
            checkpoints: Vec::new(),
            due: Verdict::Wait,
            verdict,
            doubt: None,
            hopeless_since: None,
            has_called: false,
            has_declined: false,
            is_misfit: false,
        }
    }

    /// Takes in one token. After a verdict it still counts for the record.
    pub fn observe(&mut self, token: &Token) {
        self.evidence.observe(token);
        if token.thinking && self.config.task.is_none() && self.task == Task::Text {
            self.task = Task::Reasoning;
        }
        if token.value && self.may_call() {
            // Words have no values: it is a call that has begun.
            self.task = Task::Json;
        }
        let at_checkpoint = self.evidence.tokens() == self.next_checkpoint;
        if at_checkpoint {
            self.next_checkpoint = checkpoint_after(self.next_checkpoint);
            // Where nothing is known of the tokens there is nothing to write down.
            self.checkpoints
                .extend(self.score_so_far().map(|score| Checkpoint {
                    tokens: self.evidence.tokens(),
                    score,
                    bound: self.bound(),
                }));
        }
        if self.due == Verdict::Wait && self.verdict == Verdict::Wait {
            self.due = self.weigh(at_checkpoint);
        }
    }

    /// Takes in text of the answer (not of the thinking), as it would be shown.
    pub fn text(&mut self, text: &str) {
        if self.is_judged_at_its_end() {
            self.text.push(text);
        }
    }

    /// The tier calls a tool. What it says from here on is judged as JSON; words before it have been judged as
    /// words, and where those were hopeless no call makes up for them.
    pub fn calls(&mut self) {
        if self.has_called || !self.is_judged_at_its_end() {
            return;
        }
        self.has_called = true;
        if self.config.task.is_none() {
            self.task = Task::Json;
        }
    }

    /// The tier says by other means than its words that it will not answer.
    pub fn declined(&mut self) {
        self.has_declined = true;
    }

    /// The answer, all of which is there, does not have the form that was asked for.
    pub fn misfits(&mut self) {
        self.is_misfit = true;
    }

    /// No more of it can be held back.
    pub fn outgrows(&mut self) -> Verdict {
        if self.verdict == Verdict::Wait {
            self.verdict = Verdict::Abort(AbortReason::TooLarge);
        }
        self.verdict.clone()
    }

    /// How often it has been judged, for who wants to know whether there is news.
    pub fn checkpoints(&self) -> usize {
        self.checkpoints.len()
    }

    /// The verdict now.
    pub fn checkpoint(&mut self) -> Verdict {
        if self.verdict == Verdict::Wait {
            self.verdict = match &self.due {
                // The text is looked at before anything of it goes out.
                Verdict::Commit(_) => match self.signal_so_far() {
                    Some(signal) => Verdict::Abort(AbortReason::Signal(signal)),
                    None => self.due.clone(),
                },
                Verdict::Wait | Verdict::Abort(_) => self.due.clone(),
            };
        }
        self.verdict.clone()
    }

    /// The verdict at the end of the answer; never `Wait`.
    pub fn finish(&mut self, reason: FinishReason) -> Verdict {
        if reason == FinishReason::ToolCalls {
            self.calls();
        }
        match self.checkpoint() {
            Verdict::Wait => self.verdict = self.judge(reason),
            Verdict::Commit(CommitReason::NotHeld) if !self.config.is_trusted => {
                self.doubt = match self.judge(reason) {
                    Verdict::Abort(reason) => Some(reason),
                    Verdict::Wait | Verdict::Commit(_) => None,
                };
            }
            Verdict::Commit(_) | Verdict::Abort(_) => {}
        }
        self.verdict.clone()
    }

    /// What it would have been dropped for, where it ended and was not held back.
    pub fn doubt(&self) -> Option<&AbortReason> {
        self.doubt.as_ref()
    }

    /// The verdict on all of the answer.
    fn judge(&mut self, reason: FinishReason) -> Verdict {
        self.has_declined |= reason == FinishReason::Refusal;
        if self.config.task.is_none()
            && self.task == Task::Text
            && self.evidence.tokens() <= SHORT_TOKENS
        {
            self.task = Task::Short;
        }
        match self.last_signal(reason) {
            Some(signal) => Verdict::Abort(AbortReason::Signal(signal)),
            None => self.by_score(),
        }
    }

    /// Whether what comes still says something about it.
    fn is_judged_at_its_end(&self) -> bool {
        match self.verdict {
            Verdict::Wait => true,
            Verdict::Commit(CommitReason::NotHeld) => !self.config.is_trusted,
            Verdict::Commit(_) | Verdict::Abort(_) => false,
        }
    }

    /// Whether a call of a tool may come that has not begun yet.
    fn may_call(&self) -> bool {
        self.asked.tools && self.config.task.is_none() && self.task != Task::Json
    }

    /// Whether it is a call that is judged, and all that is known is of the words before it.
    fn is_call_unseen(&self) -> bool {
        let is_unseen = self.evidence.values.is_empty() && self.evidence.has_unseen();
        self.has_called && self.task == Task::Json && is_unseen
    }

    /// The highest score that it could still end with. What a fitted score may rise to is not known, nor what a call
    /// would score.
    fn bound(&self) -> Option<f64> {
        let is_known = self.config.fitted.is_none() && !self.may_call();
        is_known.then(|| bound(self.task, &self.evidence))
    }

    /// How sure the tier is of what it has written so far; `None` before the first token, and of a call of which
    /// nothing is known.
    pub fn score(&self) -> Option<f64> {
        let fitted = self.fitted_score().map(|(_, score)| score);
        fitted.or_else(|| self.built_in_score())
    }

    fn built_in_score(&self) -> Option<f64> {
        match self.is_call_unseen() {
            true => None,
            false => score(self.task, &self.evidence),
        }
    }

    /// The score on the scale that the whole answer is to be judged on: of two that are told one after the other
    /// nobody could say what has changed.
    fn score_so_far(&self) -> Option<f64> {
        match self.config.fitted {
            Some(_) => self.fitted_score().map(|(_, score)| score),
            None => self.built_in_score(),
        }
    }

    /// The fitted score and what it is held against, where there is one and all that it needs is known.
    fn fitted_score(&self) -> Option<(&Fitted, f64)> {
        let fitted = self.config.fitted.as_deref()?;
        if self.evidence.is_patchy() || self.is_call_unseen() {
            return None;
        }
        let score = fitted.score(&self.evidence.snapshot(), self.asked.prompt_tokens);
        Some((fitted, score?))
    }

    /// The kind of answer it is judged as.
    pub fn task(&self) -> Task {
        self.task
    }

    /// The line it is held against.
    pub fn threshold(&self) -> f64 {
        if let Some((fitted, _)) = self.fitted_score() {
            return fitted.threshold();
        }
        self.config
            .threshold
            .unwrap_or_else(|| self.task.built_in_threshold())
    }

    /// What the tokens have said so far.
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// What a decision record keeps of this attempt.
    pub fn record(&self) -> AttemptRecord {
        AttemptRecord {
            task: self.task,
            threshold: self.threshold(),
            score: self.score(),
            verdict: self.verdict.clone(),
            doubt: self.doubt.clone(),
            checkpoints: self.checkpoints.clone(),
            evidence: self.evidence.snapshot(),
        }
    }

    /// What the evidence says after a token, whatever the text is.
    fn weigh(&mut self, at_checkpoint: bool) -> Verdict {
        if let Some(hopeless) = self.hopeless() {
            return Verdict::Abort(hopeless);
        }
        // Thoughts say how sure an answer may be, and are none.
        let tokens = self.evidence.answer_tokens();
        if self.asked.is_whole() || tokens == 0 {
            return Verdict::Wait;
        }
        match self.config.hold_back {
            HoldBack::Tokens(number) if tokens >= number => self.by_score(),
            // What words say against an answer they may say at its end.
            HoldBack::Auto if self.evidence.is_patchy() => Verdict::Wait,
            // Only a text may be let go before its end: half a label is no label.
            HoldBack::Auto
                if at_checkpoint && self.task == Task::Text && tokens >= EARLIEST_COMMIT =>
            {
                match self.by_score() {
                    Verdict::Abort(_) => Verdict::Wait,
                    sure => sure,
                }
            }
            HoldBack::Auto | HoldBack::Off | HoldBack::Tokens(_) => Verdict::Wait,
        }
    }

    /// Where no continuation could reach the threshold any more. What looks like hopeless words may be the head of a
    /// call, which no text shows: they are given up once they were too many for one. That hangs on the tokens alone,
    /// however they are grouped.
    fn hopeless(&mut self) -> Option<AbortReason> {
        // A fitted score may rise with what follows, however it begins.
        if self.config.fitted.is_some() {
            return None;
        }
        let threshold = self.threshold();
        let bound = bound(self.task, &self.evidence);
        if bound >= threshold {
            return None;
        }
        let tokens = self.evidence.answer_tokens();
        let since = *self.hopeless_since.get_or_insert(tokens);
        let is_settled = !self.may_call() || tokens - since >= LONGEST_HEAD;
        is_settled.then_some(AbortReason::Hopeless { bound, threshold })
    }

    fn by_score(&self) -> Verdict {
        let threshold = self.threshold();
        match self.score() {
            None if self.evidence.has_unseen() => Verdict::Commit(CommitReason::Plausible),
            None => Verdict::Abort(AbortReason::NoEvidence),
            Some(score) if score >= threshold => {
                Verdict::Commit(CommitReason::Sure { score, threshold })
            }
            Some(score) => Verdict::Abort(AbortReason::Unsure { score, threshold }),
        }
    }

    fn last_signal(&self, reason: FinishReason) -> Option<Signal> {
        let calls_tools = self.has_called;
        let declines = self.has_declined && self.config.signals.refusal;
        if self.text.is_blank() && !calls_tools && !declines {
            return Some(Signal::Empty);
        }
        // An answer that fills what the client asked for is as long as any tier's would be. A
        // document or a label that was cut is none, though.
        let is_whole_or_nothing = self.asked.json || matches!(self.task, Task::Choice | Task::Json);
        // Where tokens were not counted but guessed, whoever says that a limit was reached knows better.
        let within_limit = self
            .asked
            .max_tokens
            .is_none_or(|most| self.evidence.tokens() < most && !self.evidence.has_unseen());
        if reason == FinishReason::Length && (within_limit || is_whole_or_nothing) {
            return Some(Signal::Truncated);
        }
        if self.evidence.answer_tokens() < self.config.signals.min_tokens && !calls_tools {
            return Some(Signal::TooShort);
        }
        let is_no_json = self.asked.json && !calls_tools && !self.text.is_json();
        if self.config.signals.schema_failure && !declines && (self.is_misfit || is_no_json) {
            return Some(Signal::SchemaFailure);
        }
        self.signal_so_far()
    }

    /// What the words so far say against the answer.
    fn signal_so_far(&self) -> Option<Signal> {
        if self.has_declined && self.config.signals.refusal {
            return Some(Signal::Refusal);
        }
        let signal = self.config.signals.while_writing(&self.text);
        let has_score = self.score().is_some() || !self.evidence.has_unseen();
        signal.or_else(|| match has_score {
            true => None,
            false => doubt(&self.text, self.task, self.evidence.answer_tokens()),
        })
    }
}

fn checkpoint_after(checkpoint: u32) -> u32 {
    FIRST_CHECKPOINTS
        .into_iter()
        .find(|next| *next > checkpoint)
        .unwrap_or_else(|| checkpoint.saturating_mul(2))
}
