//! Why a worker did not start or go on, as one line that the operator turns into a condition.

use std::path::Path;

use thiserror::Error;

/// `<reason>: <message>`, where the reason is one of the conditions' and the message one line.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("{reason}: {message}")]
pub struct Failure {
    pub reason: &'static str,
    pub message: String,
}

impl Failure {
    /// A failure that has no reason of its own.
    pub fn unforeseen(error: &anyhow::Error) -> Self {
        Self::of("CrashLoop", &format!("{error:#}"))
    }

    /// Takes the whole chain of causes into the message.
    pub fn new(reason: &'static str, error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        Self::of(reason, &message)
    }

    pub fn of(reason: &'static str, message: &str) -> Self {
        let words: Vec<&str> = message.split_whitespace().collect();
        Self {
            reason,
            message: words.join(" "),
        }
    }

    /// Leaves the line where Kubernetes looks for a container's last words.
    pub fn write_to(&self, termination_log: &Path) {
        // The same line goes to standard error, where nothing depends on this file.
        if let Err(error) = std::fs::write(termination_log, format!("{self}\n")) {
            tracing::debug!(
                path = %termination_log.display(),
                %error,
                "the termination log was not written"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_holds_every_cause_and_no_line_break() {
        let cause = std::io::Error::other("disk\n  broken");
        let failure = Failure::new("CrashLoop", &Read(cause));
        assert_eq!(failure.to_string(), "CrashLoop: read weights: disk broken");
    }

    #[derive(Debug, Error)]
    #[error("read weights")]
    struct Read(#[source] std::io::Error);
}
