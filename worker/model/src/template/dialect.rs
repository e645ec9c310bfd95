//! Jinja as chat templates are written for: what transformers adds to it, and Python's ways.

use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State, Value, escape_formatter};
use minijinja_contrib::pycompat;
use thiserror::Error as ThisError;

use super::json::{self, Style, python_json};

/// The variable that holds the time of the rendering, in seconds since 1970.
pub(super) const NOW: &str = "__now";

/// Spaces a level that nobody needs: with as many as a template likes, one value would be as long
/// as it likes.
const WIDEST: usize = 16;

/// A template called `raise_exception`.
#[derive(Debug, ThisError)]
#[error("{0}")]
pub(super) struct Raised(pub(super) String);

/// An environment whose renderings end after `fuel` steps.
pub(super) fn environment(fuel: u64) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .expect("the delimiters are the defaults"),
    );
    environment.set_fuel(Some(fuel));
    // Whatever a template is called, it writes text and not HTML.
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_unknown_method_callback(pycompat::unknown_method_callback);
    environment.set_formatter(write_as_python);
    environment.add_test("iterable", is_iterable);
    environment.add_filter("tojson", to_json);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    environment
}

pub(super) fn seconds(now: SystemTime) -> i64 {
    now.duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(0))
}

fn write_as_python(output: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    let word = match value.kind() {
        ValueKind::None => "None",
        ValueKind::Bool if value.is_true() => "True",
        ValueKind::Bool => "False",
        _ => return escape_formatter(output, state, value),
    };
    Ok(output.write_str(word)?)
}

/// As in Python, where `none` is not and what is not defined is like an empty list.
fn is_iterable(value: &Value) -> bool {
    match value.kind() {
        ValueKind::None | ValueKind::Bool | ValueKind::Number => false,
        ValueKind::Undefined | ValueKind::String => true,
        _ => value.try_iter().is_ok(),
    }
}

fn raise_exception(message: String) -> Result<Value, Error> {
    let error = Error::new(ErrorKind::InvalidOperation, message.clone());
    Err(error.with_source(Raised(message)))
}

fn strftime_now(state: &State, format: String) -> Result<String, Error> {
    let seconds = state.lookup(NOW).and_then(|now| now.as_i64()).unwrap_or(0);
    let wrong = |error: jiff::Error| Error::new(ErrorKind::InvalidOperation, error.to_string());
    let now = jiff::Timestamp::from_second(seconds)
        .map_err(wrong)?
        .to_zoned(jiff::tz::TimeZone::UTC);
    jiff::fmt::strtime::format(format, &now).map_err(wrong)
}

/// As transformers' own filter: JSON as Python writes it, without escapes for HTML.
fn to_json(value: Value, options: Kwargs) -> Result<String, Error> {
    let indent = options.get::<Option<usize>>("indent")?;
    let separators = options.get::<Option<Vec<String>>>("separators")?;
    let ascii = options
        .get::<Option<bool>>("ensure_ascii")?
        .unwrap_or(false);
    let sorted = options.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    options.assert_all_used()?;
    if indent.is_some_and(|spaces| spaces > WIDEST) {
        let why = format!("tojson: an indent of more than {WIDEST} is not supported");
        return Err(Error::new(ErrorKind::InvalidOperation, why));
    }
    let mut style = Style::new(indent);
    style.ascii = ascii;
    if let Some([item, key]) = separators.as_deref() {
        (style.item, style.key) = (item.clone(), key.clone());
    }
    let written = match sorted {
        true => {
            serde_json::to_value(&value).and_then(|value| python_json(&json::sorted(value), &style))
        }
        false => python_json(&value, &style),
    };
    written.map_err(|error| {
        Error::new(ErrorKind::BadSerialization, "tojson failed").with_source(error)
    })
}
