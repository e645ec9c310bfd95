//! A stream's events, and how they are spelled.

use std::fmt::Write;

use serde_json::Value;

/// A stream as a wire means it.
#[derive(Debug)]
pub(crate) struct Events {
    pub(crate) style: Style,
    pub(crate) head: Vec<Value>,
    pub(crate) middle: Vec<Beat>,
    pub(crate) tail: Vec<Value>,
    pub(crate) end: End,
    /// What this wire says when it fails before its first event.
    pub(crate) refusal: Value,
    /// What it says when it fails later.
    pub(crate) error: Value,
}

/// An event between head and tail.
#[derive(Clone, Debug)]
pub(crate) struct Beat {
    pub(crate) data: Value,
    /// Whether it carries a piece of the answer: what faults count, and what is paced.
    pub(crate) is_piece: bool,
}

impl Beat {
    pub(crate) fn piece(data: Value) -> Self {
        Self {
            data,
            is_piece: true,
        }
    }

    pub(crate) fn between(data: Value) -> Self {
        Self {
            data,
            is_piece: false,
        }
    }
}

/// Takes one event of each choice in turn, until none has any left.
pub(crate) fn in_turns(choices: Vec<Vec<Beat>>) -> Vec<Beat> {
    let mut choices: Vec<_> = choices.into_iter().map(Vec::into_iter).collect();
    let mut beats = Vec::new();
    loop {
        let before = beats.len();
        beats.extend(choices.iter_mut().filter_map(Iterator::next));
        if beats.len() == before {
            return beats;
        }
    }
}

/// What tells the client that the stream is whole.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// `[DONE]`
    Done,
    Event(Value),
}

/// How a wire spells its events.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Style {
    /// Data only.
    Plain,
    /// With a name, which is its data's type.
    Named,
    /// Named, and its data counts the events of the stream.
    Numbered,
}

/// How lines end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Lines {
    Lf,
    /// Carriage returns too, with comments, empty lines and empty data lines between.
    Crlf,
}

/// Spells one stream's events in their order.
#[derive(Debug)]
pub(crate) struct Spelling {
    style: Style,
    lines: Lines,
    spelled: u64,
}

impl Spelling {
    pub(crate) fn new(style: Style, lines: Lines) -> Self {
        Self {
            style,
            lines,
            spelled: 0,
        }
    }

    pub(crate) fn event(&mut self, mut data: Value) -> String {
        if self.style == Style::Numbered {
            data["sequence_number"] = self.spelled.into();
        }
        self.spelled += 1;
        let name = match self.style {
            Style::Plain => None,
            Style::Named | Style::Numbered => data["type"].as_str(),
        };
        match self.lines {
            Lines::Lf => {
                let mut event = name.map_or(String::new(), |name| format!("event: {name}\n"));
                write!(event, "data: {data}\n\n").expect("writing to a string cannot fail");
                event
            }
            Lines::Crlf => {
                // Before a JSON text an empty line is white space.
                let mut event = ": a comment\r\n\r\n\r\n".to_owned();
                if let Some(name) = name {
                    write!(event, "event:{name}\r\n").expect("writing to a string cannot fail");
                }
                write!(event, "data:\r\n: another\r\ndata:{data}\r\n\r\n")
                    .expect("writing to a string cannot fail");
                event
            }
        }
    }

    pub(crate) fn end(&mut self, end: End) -> String {
        match (end, self.lines) {
            (End::Event(data), _) => self.event(data),
            (End::Done, Lines::Lf) => "data: [DONE]\n\n".to_owned(),
            (End::Done, Lines::Crlf) => "data:[DONE]\r\n\r\n".to_owned(),
        }
    }
}
