//! What can be made to go wrong, and when.

use std::collections::VecDeque;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use weir_process::parse_duration;

/// The request header that makes its own request fail.
pub(crate) const HEADER: &str = "x-stand-in-fault";

/// How many faults may wait.
const MOST_PLANNED: usize = 1000;

/// The longest line, and the most junk, that a fault may ask for.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// One thing that goes wrong with one request. As text: the names in [`FromStr`], which the
/// crate's documentation explains.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// Answers with this status and the wire's error body.
    Status(StatusCode),
    /// Answers 429 and says when to come again.
    Throttle { retry_after: Duration },
    /// Says nothing at all for a while, then answers.
    Stall(Duration),
    /// Sends the client elsewhere.
    Redirect(HeaderValue),
    /// Answers rightly over a bad connection.
    Connection(Trouble),
    /// Answers wrongly.
    Answer(Damage),
}

/// What is wrong with a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Trouble {
    /// It is reset after so many bytes of the response, its head included.
    ResetAfter(usize),
    /// Part of the status line comes, and the rest only after so long.
    SlowHead(Duration),
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Damage {
    /// Breaks off a stream after so many pieces of text. An answer that is not streamed breaks
    /// off in the middle of its body.
    Break {
        after: usize,
        how: Break,
    },
    /// Random bytes instead of a body.
    Garbage,
    /// An error where the answer is expected, with status 200.
    ErrorInside,
    /// Pieces that never end.
    Endless,
    /// All but the end mark, and then a clean end.
    NoEndMark,
    /// All but the end mark, and then nothing more.
    HangAtEnd,
    /// Nothing says why the answer ends.
    NoFinish,
    WrongUsage(Wrong),
    /// So many bytes of junk after the end.
    Trailing(usize),
    /// One byte at a time.
    Drip(Duration),
    /// An HTML page.
    WrongType,
    /// One line of so many bytes.
    BigLine(usize),
    /// Chunks cut inside characters and inside line ends.
    SplitUtf8,
    /// Other line ends, comments, empty lines.
    Crlf,
    /// Compressed, though nobody asked.
    Compressed,
}

/// How an answer ends before its time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Break {
    /// The connection closes without an end mark.
    Cut,
    /// Nothing more comes, and the connection stays open.
    Hang,
    /// The wire's error event, then the end. Not streamed: status 500.
    Error,
    /// Random bytes, then a clean end.
    Garbage,
    /// Half of the next event, then a clean end.
    Half,
}

/// What is wrong with an answer's usage.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wrong {
    Negative,
    Huge,
    Text,
    Missing,
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let name = name.trim();
        let number = || {
            value
                .parse::<usize>()
                .ok()
                .filter(|&number| number <= MOST_BYTES)
                .ok_or_else(|| {
                    format!("`{text}` needs a number up to {MOST_BYTES}, as in {name}=3")
                })
        };
        let duration =
            || parse_duration(value).map_err(|why| format!("{name}= needs a duration: {why}"));
        let broken = |how| {
            let after = number()?;
            Ok(Self::Answer(Damage::Break { after, how }))
        };
        match name {
            "status" => StatusCode::from_bytes(value.as_bytes())
                .ok()
                .filter(|status| status.as_u16() >= 400)
                .map(Self::Status)
                .ok_or_else(|| format!("`{text}` needs a status of 400 or more, as in status=503")),
            "throttle" if value.is_empty() => Ok(Self::Throttle {
                retry_after: Duration::from_secs(1),
            }),
            "throttle" => duration().map(|retry_after| Self::Throttle { retry_after }),
            "stall" => duration().map(Self::Stall),
            "redirect" => HeaderValue::from_str(value)
                .ok()
                .filter(|value| !value.is_empty())
                .map(Self::Redirect)
                .ok_or_else(|| format!("`{text}` needs an address, as in redirect=http://a/")),
            "slow-head" => Ok(Self::Connection(Trouble::SlowHead(duration()?))),
            "reset-after-bytes" => Ok(Self::Connection(Trouble::ResetAfter(number()?))),
            "cut-after" => broken(Break::Cut),
            "hang-after" => broken(Break::Hang),
            "error-after" => broken(Break::Error),
            "garbage-after" => broken(Break::Garbage),
            "half-event-after" => broken(Break::Half),
            "trailing" => Ok(Self::Answer(Damage::Trailing(number()?))),
            "big-line" => Ok(Self::Answer(Damage::BigLine(number()?))),
            "drip" => Ok(Self::Answer(Damage::Drip(duration()?))),
            "wrong-usage" => {
                wrong_usage(value).map(|wrong| Self::Answer(Damage::WrongUsage(wrong)))
            }
            _ => plain(name)
                .filter(|_| value.is_empty())
                .map(Self::Answer)
                .ok_or_else(|| format!("`{text}` is none of {NAMES}")),
        }
    }
}

const NAMES: &str = "status=, throttle, stall=, redirect=, slow-head=, reset-after-bytes=, \
    cut-after=, hang-after=, error-after=, garbage-after=, half-event-after=, trailing=, \
    big-line=, drip=, wrong-usage=, garbage, error-in-200, endless, no-end-mark, hang-at-end, \
    no-finish, wrong-type, split-utf8, crlf, compressed";

/// The damages that are only a name.
fn plain(name: &str) -> Option<Damage> {
    Some(match name {
        "garbage" => Damage::Garbage,
        "error-in-200" => Damage::ErrorInside,
        "endless" => Damage::Endless,
        "no-end-mark" => Damage::NoEndMark,
        "hang-at-end" => Damage::HangAtEnd,
        "no-finish" => Damage::NoFinish,
        "wrong-type" => Damage::WrongType,
        "split-utf8" => Damage::SplitUtf8,
        "crlf" => Damage::Crlf,
        "compressed" => Damage::Compressed,
        _ => return None,
    })
}

fn wrong_usage(value: &str) -> Result<Wrong, String> {
    match value {
        "negative" => Ok(Wrong::Negative),
        "huge" => Ok(Wrong::Huge),
        "text" => Ok(Wrong::Text),
        "missing" => Ok(Wrong::Missing),
        _ => Err("wrong-usage= needs negative, huge, text or missing".to_owned()),
    }
}

/// Faults that wait for the next requests, whoever sends them.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<VecDeque<Fault>>);

impl Faults {
    /// Lets the next `count` requests fail, behind those planned already. Says how many then
    /// wait, or, where that would be too many, how many may.
    pub(crate) fn plan(&self, fault: Fault, count: usize) -> Result<usize, usize> {
        let mut planned = self.lock();
        if count > MOST_PLANNED - planned.len() {
            return Err(MOST_PLANNED);
        }
        planned.extend(std::iter::repeat_n(fault, count));
        Ok(planned.len())
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    pub(crate) fn next(&self) -> Option<Fault> {
        self.lock().pop_front()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_as_documented() {
        let second = Duration::from_secs(1);
        let broken = |after, how| Fault::Answer(Damage::Break { after, how });
        for (text, fault) in [
            ("status=503", Fault::Status(StatusCode::SERVICE_UNAVAILABLE)),
            (
                "throttle",
                Fault::Throttle {
                    retry_after: second,
                },
            ),
            (
                "throttle=7s",
                Fault::Throttle {
                    retry_after: 7 * second,
                },
            ),
            ("stall=5s", Fault::Stall(5 * second)),
            (
                "redirect=/x",
                Fault::Redirect(HeaderValue::from_static("/x")),
            ),
            ("slow-head=1s", Fault::Connection(Trouble::SlowHead(second))),
            (
                "reset-after-bytes=9",
                Fault::Connection(Trouble::ResetAfter(9)),
            ),
            ("cut-after=3", broken(3, Break::Cut)),
            ("hang-after=0", broken(0, Break::Hang)),
            ("error-after=1", broken(1, Break::Error)),
            ("garbage-after=1", broken(1, Break::Garbage)),
            ("half-event-after=1", broken(1, Break::Half)),
            ("garbage", Fault::Answer(Damage::Garbage)),
            ("trailing=4", Fault::Answer(Damage::Trailing(4))),
            ("big-line=4", Fault::Answer(Damage::BigLine(4))),
            ("drip=1s", Fault::Answer(Damage::Drip(second))),
            (
                "wrong-usage=huge",
                Fault::Answer(Damage::WrongUsage(Wrong::Huge)),
            ),
        ] {
            assert_eq!(text.parse(), Ok(fault), "{text}");
        }
    }

    #[test]
    fn every_name_that_is_listed_is_read() {
        for name in NAMES.split(", ") {
            let read = |value: &str| format!("{name}{value}").parse::<Fault>().is_ok();
            assert!(
                ["", "503", "5s", "7", "/x", "text"].into_iter().any(read),
                "{name}"
            );
        }
    }

    #[test]
    fn a_fault_that_is_none_is_refused_with_an_example() {
        for text in [
            "",
            "status=200",
            "status=x",
            "stall=5",
            "cut-after",
            "garbage=1",
            "wrong-usage=odd",
            "big-line=99999999999",
            "redirect=",
            "explode",
        ] {
            let refused: Result<Fault, String> = text.parse();
            assert!(refused.unwrap_err().contains('='), "{text}");
        }
    }

    #[test]
    fn planned_faults_come_in_order_and_are_bounded() {
        let faults = Faults::default();
        let stall = Fault::Stall(Duration::ZERO);
        assert_eq!(faults.plan(stall.clone(), 2), Ok(2));
        assert_eq!(
            faults.plan(Fault::Status(StatusCode::BAD_GATEWAY), 1),
            Ok(3)
        );
        assert_eq!(faults.plan(stall.clone(), MOST_PLANNED), Err(MOST_PLANNED));
        assert_eq!(faults.next(), Some(stall.clone()));
        assert_eq!(faults.next(), Some(stall));
        assert_eq!(faults.next(), Some(Fault::Status(StatusCode::BAD_GATEWAY)));
        assert_eq!(faults.next(), None);
    }
}
