//! What can be made to go wrong, and when.

use std::collections::VecDeque;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use weir_process::parse_duration;

/// The request header that makes its own request fail.
pub(crate) const HEADER: &str = "x-stand-in-fault";

/// How many faults may wait.
const MOST_PLANNED: usize = 1000;

/// One thing that goes wrong with one request.
///
/// As text: `status=503`, `throttle` or `throttle=7s`, `stall=5s`, `cut-after=3`, `hang-after=3`,
/// `error-after=3`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// Answers with this status and the wire's error body.
    Status(StatusCode),
    /// Answers 429 and says when to come again.
    Throttle { retry_after: Duration },
    /// Says nothing at all for a while, then answers.
    Stall(Duration),
    /// Breaks off a stream after so many pieces of text. An answer that is not streamed breaks
    /// off in the middle of its body.
    Break { after: usize, how: Break },
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
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let number = || {
            value
                .parse::<usize>()
                .map_err(|_| format!("`{text}` needs a number, as in {name}=3"))
        };
        let duration =
            || parse_duration(value).map_err(|why| format!("{name}= needs a duration: {why}"));
        let broken = |how| {
            Ok(Self::Break {
                after: number()?,
                how,
            })
        };
        match name.trim() {
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
            "cut-after" => broken(Break::Cut),
            "hang-after" => broken(Break::Hang),
            "error-after" => broken(Break::Error),
            _ => Err(format!(
                "`{text}` is none of status=, throttle, stall=, cut-after=, hang-after=, error-after="
            )),
        }
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
                "cut-after=3",
                Fault::Break {
                    after: 3,
                    how: Break::Cut,
                },
            ),
            (
                "hang-after=0",
                Fault::Break {
                    after: 0,
                    how: Break::Hang,
                },
            ),
            (
                "error-after=1",
                Fault::Break {
                    after: 1,
                    how: Break::Error,
                },
            ),
        ] {
            assert_eq!(text.parse(), Ok(fault), "{text}");
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
        assert_eq!(faults.plan(stall, 2), Ok(2));
        assert_eq!(
            faults.plan(Fault::Status(StatusCode::BAD_GATEWAY), 1),
            Ok(3)
        );
        assert_eq!(faults.plan(stall, MOST_PLANNED), Err(MOST_PLANNED));
        assert_eq!(faults.next(), Some(stall));
        assert_eq!(faults.next(), Some(stall));
        assert_eq!(faults.next(), Some(Fault::Status(StatusCode::BAD_GATEWAY)));
        assert_eq!(faults.next(), None);
    }
}
