//! Why a request is not served, in our own words: each wire puts it into its own.

use std::time::Instant;

use thiserror::Error;
use weir_engine::{Interrupted, Refused};
use weir_worker_api::ErrorCode;

use crate::pace::Pace;

/// How long a client should wait before it tries again where nothing better is known.
const RETRY_AFTER_SECONDS: u32 = 1;

/// What a client is told of its own words, at most: a status that a stream of HTTP/2 ends with has room
/// for little more.
const LONGEST_BYTES: usize = 1000;

#[derive(Debug, Error, PartialEq)]
pub enum Refusal {
    #[error("`{field}` {why}")]
    Invalid { field: String, why: String },
    #[error("the request is not valid JSON: {why}")]
    NotJson { why: String },
    #[error("the body is larger than {limit_bytes} bytes")]
    BodyTooLarge { limit_bytes: usize },
    #[error("the body has more than {limit} JSON values")]
    TooManyValues { limit: usize },
    #[error("the body did not come in time")]
    BodyTooSlow,
    #[error("the body broke off")]
    BodyBroken,
    #[error("the answer was not read for too long")]
    NotRead,
    #[error("there is no model `{asked}` here; there is: {known}")]
    UnknownModel { asked: String, known: String },
    #[error("there is no model `{asked}` here now; there is: {known}")]
    UnknownAdapter { asked: String, known: String },
    #[error(
        "the prompt has {prompt_tokens} tokens, which leaves no room for an answer in the \
         model's context of {context_tokens}"
    )]
    TooLong {
        prompt_tokens: usize,
        context_tokens: usize,
    },
    #[error(
        "the prompt has {bytes} bytes, which is more text than the model's context of \
         {context_tokens} tokens can hold"
    )]
    TooLongText { bytes: usize, context_tokens: usize },
    #[error("{max_waiting} requests are waiting already; try again later")]
    Overloaded {
        max_waiting: usize,
        /// After so many seconds a part of them have begun.
        seconds: u32,
    },
    #[error("requests of {limit_bytes} bytes together are being taken in already; try again later")]
    Crowded { limit_bytes: usize },
    #[error("answers of {limit_bytes} bytes together are not read yet; try again later")]
    Unread { limit_bytes: usize },
    #[error("`{field}` is {asked}, but this replica has {own}")]
    Mismatch {
        field: &'static str,
        asked: String,
        own: String,
    },
    #[error("`{field}` is not supported by this worker{why}")]
    Unsupported { field: String, why: String },
    #[error("this replica is ending")]
    Draining,
    #[error("`{model}` is not there yet: {doing}")]
    Starting {
        model: String,
        doing: String,
        seconds: u32,
    },
    #[error("{step} failed")]
    Internal { step: &'static str },
}

impl Refusal {
    pub fn invalid(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.into(),
            why: why.into(),
        }
    }

    pub fn unsupported(field: impl Into<String>) -> Self {
        Self::Unsupported {
            field: field.into(),
            why: String::new(),
        }
    }

    /// What is told, bounded: a name that a client made up may be as long as a body.
    pub fn message(&self) -> String {
        in_short(self.to_string())
    }

    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid { .. }
            | Self::NotJson { .. }
            | Self::BodyTooLarge { .. }
            | Self::TooManyValues { .. }
            | Self::BodyTooSlow
            | Self::BodyBroken
            | Self::NotRead => ErrorCode::Invalid,
            Self::UnknownModel { .. } | Self::UnknownAdapter { .. } => ErrorCode::UnknownModel,
            Self::TooLong { .. } | Self::TooLongText { .. } => ErrorCode::TooLong,
            Self::Overloaded { .. } | Self::Crowded { .. } | Self::Unread { .. } => {
                ErrorCode::Overloaded
            }
            Self::Mismatch { .. } => ErrorCode::Mismatch,
            Self::Unsupported { .. } => ErrorCode::Unsupported,
            Self::Draining => ErrorCode::Draining,
            Self::Starting { .. } => ErrorCode::Starting,
            Self::Internal { .. } => ErrorCode::Internal,
        }
    }

    /// The field of the request at fault, if it is one.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Invalid { field, .. } | Self::Unsupported { field, .. } => Some(field),
            Self::Mismatch { field, .. } => Some(field),
            Self::UnknownModel { .. } | Self::UnknownAdapter { .. } => Some("model"),
            Self::TooLong { .. } | Self::TooLongText { .. } => Some("prompt"),
            Self::NotJson { .. } | Self::BodyTooLarge { .. } | Self::Overloaded { .. } => None,
            Self::TooManyValues { .. } | Self::Starting { .. } | Self::Crowded { .. } => None,
            Self::Unread { .. } => None,
            Self::BodyTooSlow
            | Self::BodyBroken
            | Self::NotRead
            | Self::Draining
            | Self::Internal { .. } => None,
        }
    }

    /// The same with its field called as a wire calls it.
    pub fn with_field_named(mut self, name: impl Fn(&str) -> String) -> Self {
        if let Self::Invalid { field, .. } | Self::Unsupported { field, .. } = &mut self {
            *field = name(field);
        }
        self
    }

    /// So many wait, for nobody knows how long.
    pub fn overloaded(max_waiting: usize) -> Self {
        Self::Overloaded {
            max_waiting,
            seconds: RETRY_AFTER_SECONDS,
        }
    }

    /// The same with the time that those who wait will take at this pace.
    pub fn at_pace(mut self, pace: &Pace) -> Self {
        if let Self::Overloaded {
            max_waiting,
            seconds,
        } = &mut self
        {
            *seconds = pace.seconds_to_wait(*max_waiting, Instant::now());
        }
        self
    }

    /// Whether another replica of the same revision may do better.
    pub fn retry_elsewhere(&self) -> bool {
        // Adapters come to each replica by themselves.
        let is_late = matches!(self, Self::UnknownAdapter { .. });
        is_late
            || matches!(
                self.code(),
                ErrorCode::Overloaded
                    | ErrorCode::Mismatch
                    | ErrorCode::Draining
                    | ErrorCode::Starting
                    | ErrorCode::Internal
            )
    }

    pub fn retry_after_seconds(&self) -> Option<u32> {
        match self {
            Self::Overloaded { seconds, .. } | Self::Starting { seconds, .. } => Some(*seconds),
            Self::Draining | Self::Crowded { .. } | Self::Unread { .. } => {
                Some(RETRY_AFTER_SECONDS)
            }
            _ => None,
        }
    }
}

/// The text, or the beginning of one that is too long.
pub fn in_short(mut text: String) -> String {
    if text.len() > LONGEST_BYTES {
        text.truncate(text.floor_char_boundary(LONGEST_BYTES));
        text.push_str("...");
    }
    text
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::TooLong {
                prompt_tokens,
                context_tokens,
            } => Self::TooLong {
                prompt_tokens,
                context_tokens,
            },
            Refused::QueueFull { max_waiting } => Self::overloaded(max_waiting),
            Refused::Replay(_) => Self::Internal {
                step: "taking up what was produced before",
            },
            Refused::Form(error) => Self::invalid("constraint", error.to_string()),
            Refused::Ended => Self::Internal {
                step: "the model thread",
            },
        }
    }
}

impl From<Interrupted> for Refusal {
    fn from(interrupted: Interrupted) -> Self {
        match interrupted {
            Interrupted::Form(error) => Self::invalid("constraint", error.to_string()),
            Interrupted::Ended | Interrupted::Text(_) => Self::Internal { step: "writing" },
        }
    }
}
