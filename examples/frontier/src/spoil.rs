//! Makes the script of an answer, rightly or with the damage that was asked for. Pure.

use std::time::Duration;

use axum::body::Bytes;
use serde_json::Value;

use crate::delivery::{Script, Step};
use crate::events::{Beat, End, Events, Lines, Spelling, Style};
use crate::fault::{Break, Damage};
use crate::mangle;

const STREAM: &str = "text/event-stream";
const JSON: &str = "application/json";
const PAGE: &str = "<!doctype html><html><title>A page</title><body><h1>Not what you asked for</h1></body></html>\n";

/// How much garbage is sent.
const GARBAGE_BYTES: usize = 512;

/// An answer in one piece.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) body: Value,
    /// What stands there instead where the wire fails with status 200.
    pub(crate) error: Value,
}

/// The script of a stream, with a pause before each piece.
pub(crate) fn stream(events: Events, pace: Duration, damage: Option<Damage>) -> Script {
    let lines = match damage {
        Some(Damage::Crlf | Damage::SplitUtf8) => Lines::Crlf,
        _ => Lines::Lf,
    };
    let spelling = Spelling::new(events.style, lines);
    let steps = Stream { spelling, pace }.steps(changed(events, damage), damage);
    scripted(STREAM, steps, damage)
}

/// The script of an answer in one piece.
pub(crate) fn whole(whole: Whole, damage: Option<Damage>) -> Script {
    let mut body = whole.body;
    match damage {
        Some(Damage::NoFinish) => mangle::without_finish(&mut body),
        Some(Damage::WrongUsage(wrong)) => mangle::with_usage(&mut body, wrong),
        Some(Damage::BigLine(bytes)) => mangle::pad(&mut body, bytes),
        Some(Damage::ErrorInside) => body = whole.error,
        _ => {}
    }
    let text = match damage {
        Some(Damage::Crlf | Damage::SplitUtf8) => format!("{body:#}").replace('\n', "\r\n"),
        _ => body.to_string(),
    };
    let half = send(&text[..text.floor_char_boundary(text.len() / 2)]);
    let steps = match damage {
        Some(Damage::Break { how, .. }) => vec![half, broken_off(how, "")],
        Some(Damage::NoEndMark) => vec![send(&text[..text.len() - 1]), Step::Flush],
        Some(Damage::HangAtEnd) => vec![send(&text[..text.len() - 1]), Step::Hang],
        Some(Damage::Endless) => vec![
            half,
            Step::Forever(Bytes::from_static(&[b'x'; 1024]), Duration::ZERO),
        ],
        _ => vec![send(&text)],
    };
    scripted(JSON, steps, damage)
}

fn send(text: &str) -> Step {
    Step::Send(Bytes::copy_from_slice(text.as_bytes()))
}

/// How an answer ends before its time: where half an event was asked for, with that.
fn broken_off(how: Break, half: &str) -> Step {
    match how {
        Break::Cut => Step::Cut,
        Break::Hang => Step::Hang,
        // Not streamed, an error is a status, which was answered before anything is spelled.
        Break::Error => Step::Cut,
        Break::Garbage => Step::Send(mangle::garbage(GARBAGE_BYTES)),
        Break::Half => send(half),
    }
}

/// The events with what is wrong in their data.
fn changed(mut events: Events, damage: Option<Damage>) -> Events {
    let end = match &mut events.end {
        End::Event(data) => Some(data),
        End::Done => None,
    };
    let middle = events.middle.iter_mut().map(|beat| &mut beat.data);
    let all = (events.head.iter_mut())
        .chain(middle)
        .chain(&mut events.tail)
        .chain(end);
    match damage {
        Some(Damage::NoFinish) => all.for_each(mangle::without_finish),
        Some(Damage::WrongUsage(wrong)) => all.for_each(|data| mangle::with_usage(data, wrong)),
        Some(Damage::BigLine(bytes)) => {
            let before = events.head.len();
            let first = events.middle.iter().position(|beat| beat.is_piece);
            if let Some(at) = first {
                let data = &mut events.middle[at].data;
                // Its number makes it longer, too.
                if events.style == Style::Numbered {
                    data["sequence_number"] = (before + at).into();
                }
                mangle::pad(data, bytes);
            }
        }
        _ => {}
    }
    events
}

struct Stream {
    spelling: Spelling,
    pace: Duration,
}

impl Stream {
    fn steps(mut self, events: Events, damage: Option<Damage>) -> Vec<Step> {
        if damage == Some(Damage::ErrorInside) {
            return vec![send(&self.spelling.event(events.refusal))];
        }
        let mut steps = Vec::new();
        for data in events.head {
            self.say(&mut steps, data);
        }
        let kept = match damage {
            Some(Damage::Break { after, .. }) => before_piece(&events.middle, after),
            Some(Damage::Endless) => before_piece(&events.middle, 1),
            _ => events.middle.len(),
        };
        let next = events.middle.get(kept).or(events.middle.last()).cloned();
        let mut last = events.error.clone();
        for beat in events.middle.into_iter().take(kept) {
            if beat.is_piece {
                last = beat.data.clone();
                steps.push(Step::Pause(self.pace));
            }
            self.say(&mut steps, beat.data);
        }
        match damage {
            Some(Damage::Break { how, .. }) => {
                let next = next.map_or(events.error.clone(), |beat| beat.data);
                self.break_off(&mut steps, how, next, events.error);
            }
            Some(Damage::Endless) => {
                let again = self.spelling.event(last);
                steps.push(Step::Forever(again.into(), self.pace));
            }
            _ => {
                for data in events.tail {
                    self.say(&mut steps, data);
                }
                match damage {
                    Some(Damage::NoEndMark) => {}
                    Some(Damage::HangAtEnd) => steps.push(Step::Hang),
                    _ => steps.push(Step::Send(self.spelling.end(events.end).into())),
                }
            }
        }
        // Streams are never sent with a length, so that what is wrong with them is met.
        steps.push(Step::Flush);
        steps
    }

    fn say(&mut self, steps: &mut Vec<Step>, data: Value) {
        steps.push(Step::Send(self.spelling.event(data).into()));
    }

    fn break_off(&mut self, steps: &mut Vec<Step>, how: Break, next: Value, error: Value) {
        if how == Break::Error {
            return self.say(steps, error);
        }
        let next = self.spelling.event(next);
        let data = next.find('{').unwrap_or_default();
        let half = &next[..next.floor_char_boundary(data + (next.len() - data) / 2)];
        steps.push(broken_off(how, half));
    }
}

/// How many events stand before piece number `pieces`, counted from 0; all where there are fewer.
fn before_piece(middle: &[Beat], pieces: usize) -> usize {
    let mut places = (0..middle.len()).filter(|&at| middle[at].is_piece);
    places.nth(pieces).unwrap_or(middle.len())
}

/// The damages that do not care what the bytes mean.
fn scripted(kind: &'static str, mut steps: Vec<Step>, damage: Option<Damage>) -> Script {
    let script = |kind, steps| Script {
        kind,
        is_compressed: damage == Some(Damage::Compressed),
        steps,
    };
    match damage {
        Some(Damage::Garbage) => {
            let garbage = Step::Send(mangle::garbage(GARBAGE_BYTES));
            script(kind, vec![garbage, Step::Flush])
        }
        Some(Damage::WrongType) => script("text/html; charset=utf-8", vec![send(PAGE)]),
        Some(Damage::Trailing(bytes)) => {
            steps.push(Step::Send(mangle::junk(bytes)));
            steps.push(Step::Flush);
            script(kind, steps)
        }
        Some(Damage::Drip(pause)) => script(kind, mangle::drip(steps, pause)),
        Some(Damage::SplitUtf8) => script(kind, mangle::split(steps)),
        Some(Damage::Compressed) => script(kind, mangle::compress(steps)),
        _ => script(kind, steps),
    }
}
