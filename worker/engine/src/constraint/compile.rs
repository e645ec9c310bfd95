//! Compiles forms, within bounds: what a form may say, and the time and memory that it may take.

use std::{
    collections::VecDeque,
    fmt::Display,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread,
};

use llguidance::{
    Matcher, ParserFactory,
    api::{ParserLimits, TopLevelGrammar},
    earley::SlicedBiasComputer,
    regex_to_lark,
    toktrie::{InferenceCapabilities, SimpleVob, TokEnv},
};
use serde_json::{Map, Value, json};
use thiserror::Error;
use weir_model::Tokenizer;

use super::{bounds, environment::Environment};

/// Bytes of a form as it is written. The largest schemas in use have a few hundred thousand.
const LONGEST_FORM_BYTES: usize = 512 << 10;

/// Expressions are not that long, and their size counts more.
const LONGEST_REGEX_BYTES: usize = 16 << 10;

/// White space between the parts of a document: one space, or a new line with its indentation. Some
/// models never stop where there may be more.
const WHITE_SPACE: &str = r" |\n( {0,32}|\t{0,8})";

/// Compiled forms that are kept for the next request with the same.
const KEPT: usize = 16;

/// Schemas nest, and the library walks into them.
const STACK_BYTES: usize = 64 << 20;

/// What an answer must look like.
#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    /// A JSON document that fits the schema.
    Json(Value),
    /// Text that the expression matches as a whole.
    Regex(String),
    /// One of these texts.
    Choice(Vec<String>),
    /// Text of a grammar in the library's dialect of Lark.
    Grammar(String),
}

/// Why a form is no use, or came to an end before its answer.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ConstraintError {
    #[error("has {bytes} bytes, more than {most}")]
    TooLong { bytes: usize, most: usize },
    #[error("cannot be compiled: {0}")]
    Refused(String),
    #[error("cannot be honoured: the bytes of this model's tokens are not known")]
    Tokenizer,
    #[error("cannot be followed further: {0}")]
    Broken(String),
    #[error("cannot be followed further: no token fits")]
    Stuck,
    #[error("was lost with the thread that computes masks")]
    Lost,
}

impl ConstraintError {
    fn refused(error: impl Display) -> Self {
        Self::Refused(first_line(&error.to_string()))
    }

    pub(super) fn broken(error: impl Display) -> Self {
        Self::Broken(first_line(&error.to_string()))
    }
}

/// What compiles forms for one tokenizer. The first form takes longer, by what all forms share, unless
/// that was prepared.
pub struct Constraints {
    tokenizer: Tokenizer,
    vocabulary: u32,
    shared: OnceLock<Result<Shared, ConstraintError>>,
    kept: Mutex<VecDeque<(Form, Constraint)>>,
}

struct Shared {
    factory: ParserFactory,
    known: Arc<SimpleVob>,
}

/// A form, compiled. Cheap to clone.
#[derive(Clone)]
pub struct Constraint {
    beginning: Arc<Matcher>,
    known: Arc<SimpleVob>,
    json: bool,
}

impl Constraints {
    /// For a model whose tokens have `vocabulary` logits.
    pub fn new(tokenizer: Tokenizer, vocabulary: u32) -> Self {
        Self {
            tokenizer,
            vocabulary,
            shared: OnceLock::new(),
            kept: Mutex::default(),
        }
    }

    /// Takes milliseconds, and up to seconds for the first form: not for a thread that others wait
    /// for.
    ///
    /// # Errors
    /// Where the form is malformed, asks for what cannot be held, or is too much of it.
    pub fn compile(&self, form: &Form) -> Result<Constraint, ConstraintError> {
        if let Some(kept) = self.kept(form) {
            return Ok(kept);
        }
        let constraint = self.compile_anew(form)?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_front((form.clone(), constraint.clone()));
        kept.truncate(KEPT);
        Ok(constraint)
    }

    /// Makes what all forms share, which takes up to a second, so that no form waits for it.
    ///
    /// # Errors
    /// Where no form can be honoured.
    pub fn prepare(&self) -> Result<(), ConstraintError> {
        self.shared().map(|_| ())
    }

    fn shared(&self) -> Result<&Shared, ConstraintError> {
        let make = || deep(|| shared(self.tokenizer.clone(), self.vocabulary));
        self.shared.get_or_init(make).as_ref().map_err(Clone::clone)
    }

    /// Moves it to the front, so that what is asked for again stays.
    fn kept(&self, form: &Form) -> Option<Constraint> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(known, _)| known == form)?;
        let found = kept.remove(at)?;
        let constraint = found.1.clone();
        kept.push_front(found);
        Some(constraint)
    }

    fn compile_anew(&self, form: &Form) -> Result<Constraint, ConstraintError> {
        check_length(form)?;
        let shared = self.shared()?;
        let grammar = grammar(form)?;
        let matcher = deep(|| {
            let parser = shared.factory.create_parser(grammar);
            let matcher = Matcher::new(Ok(parser.map_err(ConstraintError::refused)?));
            match matcher.get_error() {
                Some(error) => Err(ConstraintError::refused(error)),
                None => Ok(matcher),
            }
        })?;
        Ok(Constraint {
            beginning: Arc::new(matcher),
            known: shared.known.clone(),
            json: matches!(form, Form::Json(_)),
        })
    }
}

impl Constraint {
    /// A matcher at the beginning, which shares nothing with others.
    pub(super) fn matcher(&self) -> Matcher {
        self.beginning.deep_clone()
    }

    /// Tokens that have bytes.
    pub(super) fn known(&self) -> &SimpleVob {
        &self.known
    }

    /// Whether an answer of these tokens has the form.
    pub fn fits(&self, ids: &[u32]) -> bool {
        let mut matcher = self.matcher();
        matcher.consume_tokens(ids).is_ok() && matcher.is_accepting().unwrap_or(false)
    }

    /// Whether answers are JSON documents.
    pub fn is_json(&self) -> bool {
        self.json
    }
}

impl std::fmt::Debug for Constraint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Constraint").finish_non_exhaustive()
    }
}

fn check_length(form: &Form) -> Result<(), ConstraintError> {
    let (bytes, most) = match form {
        Form::Json(schema) => (schema.to_string().len(), LONGEST_FORM_BYTES),
        Form::Regex(regex) => (regex.len(), LONGEST_REGEX_BYTES),
        Form::Choice(options) => (options.iter().map(String::len).sum(), LONGEST_FORM_BYTES),
        Form::Grammar(grammar) => (grammar.len(), LONGEST_FORM_BYTES),
    };
    if bytes > most {
        return Err(ConstraintError::TooLong { bytes, most });
    }
    Ok(())
}

fn shared(tokenizer: Tokenizer, vocabulary: u32) -> Result<Shared, ConstraintError> {
    let environment = Environment::new(tokenizer, vocabulary).ok_or(ConstraintError::Tokenizer)?;
    let known = Arc::new(environment.known().clone());
    let environment: TokEnv = Arc::new(environment);
    let can = InferenceCapabilities {
        ff_tokens: true,
        ..InferenceCapabilities::default()
    };
    let slices = SlicedBiasComputer::general_slices();
    let factory = ParserFactory::new(&environment, can, &slices);
    let mut factory = factory.map_err(ConstraintError::refused)?;
    factory.quiet();
    *factory.limits_mut() = limits();
    Ok(Shared { factory, known })
}

/// The library's own limits, but for memory: a state takes a kilobyte or two, and each sequence has
/// states of its own. Real schemas stay under a thousand.
fn limits() -> ParserLimits {
    ParserLimits {
        max_lexer_states: 20_000,
        verbose_errors: false,
        ..ParserLimits::default()
    }
}

fn grammar(form: &Form) -> Result<TopLevelGrammar, ConstraintError> {
    match form {
        Form::Json(schema) => {
            let layout = json!({ "whitespace_pattern": WHITE_SPACE });
            Ok(TopLevelGrammar::from_json_schema(laid_out(schema, layout)?))
        }
        Form::Regex(regex) if regex.is_empty() => {
            Err(ConstraintError::refused("the expression is empty"))
        }
        Form::Regex(regex) => {
            // Digits and letters of words are those of ASCII, as in schemas.
            let regex = regex_to_lark(regex, "dw");
            Ok(TopLevelGrammar::from_lark(format!("start: /{regex}/")))
        }
        Form::Choice(options) => {
            if options.is_empty() || options.iter().any(String::is_empty) {
                let why = "there is no text in one of the options, or no option";
                return Err(ConstraintError::refused(why));
            }
            // The dialect writes strings as JSON does.
            let options = options.iter().map(|option| Value::from(option.as_str()));
            let options: Vec<String> = options.map(|option| option.to_string()).collect();
            let lark = format!("start: OPTION\nOPTION: {}\n", options.join(" | "));
            Ok(TopLevelGrammar::from_lark(lark))
        }
        Form::Grammar(grammar) => Ok(TopLevelGrammar::from_lark(grammar.clone())),
    }
}

/// The schema of documents on one line, with a space or none behind commas and colons, for a grammar
/// to have in it. Calls of tools are written so.
///
/// # Errors
/// Where the schema is none, or too much of one.
pub fn in_one_line(schema: &Value) -> Result<Value, ConstraintError> {
    let layout = json!({
        "whitespace_flexible": false,
        "item_separator": ", ?",
        "key_separator": ": ?",
    });
    laid_out(schema, layout)
}

/// The schema with our own word on white space, where the library looks for it.
fn laid_out(schema: &Value, layout: Value) -> Result<Value, ConstraintError> {
    if let Some(excess) = bounds::excess(schema) {
        return Err(ConstraintError::refused(excess));
    }
    let mut object = match schema {
        Value::Object(object) => object.clone(),
        Value::Bool(true) => Map::new(),
        Value::Bool(false) => return Err(ConstraintError::refused("no document fits `false`")),
        _ => return Err(ConstraintError::refused("a schema is an object")),
    };
    object.insert("x-guidance".to_owned(), layout);
    Ok(Value::Object(object))
}

/// Runs `work` where there is room to nest. A panic is a refusal.
fn deep<T: Send>(
    work: impl FnOnce() -> Result<T, ConstraintError> + Send,
) -> Result<T, ConstraintError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK_BYTES);
        let worked = thread
            .spawn_scoped(scope, work)
            .map_err(ConstraintError::refused)?;
        let panicked = |_| {
            Err(ConstraintError::refused(
                "the grammar library panics over it",
            ))
        };
        worked.join().unwrap_or_else(panicked)
    })
}

/// The library adds its own state to what it says.
fn first_line(error: &str) -> String {
    const LONGEST: usize = 300;
    let line = error.lines().next().unwrap_or_default();
    line[..line.floor_char_boundary(LONGEST)].to_owned()
}
