//! What came of an ask, by its wire: the whole answer, one clear error, or something that must not be.

use std::fmt;

use serde_json::Value;

use crate::question::answer;

/// How an ask goes out and comes back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wire {
    Chat,
    Messages,
}

/// What came of an ask.
#[derive(Clone, Debug, PartialEq)]
pub enum Came {
    /// Word for word, with its end.
    Whole { tier: String, is_unsure: bool },
    /// An error in place of an answer.
    Refused {
        status: u16,
        code: String,
        /// In seconds.
        retry_after: Option<u64>,
        why: Why,
    },
    /// The beginning of the answer, and one error.
    Broken { code: String, why: Why },
    /// The beginning of it, and then the connection broke.
    Cut,
    /// Anything else.
    Wrong(String),
}

/// What the router says of an ask: the id of its decision, and the record of that where it was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Why {
    pub id: String,
    pub record: String,
}

impl Why {
    fn at(heard: &Heard) -> Self {
        Self {
            id: heard.id.clone(),
            record: String::new(),
        }
    }
}

/// What an answer was like on its way.
pub struct Heard {
    pub status: u16,
    pub id: String,
    pub tier: String,
    pub is_unsure: bool,
    pub retry_after: Option<u64>,
    pub is_streamed: bool,
    pub body: String,
    /// It broke off there.
    pub is_cut: bool,
}

/// What a stream said.
#[derive(Default)]
struct Said {
    text: String,
    finishes: usize,
    ends: usize,
    errors: Vec<String>,
    /// Something came behind the end or the error.
    goes_on: bool,
}

impl Came {
    pub fn is_whole(&self) -> bool {
        matches!(self, Came::Whole { .. })
    }

    /// One clear error that says that a tier failed.
    pub fn is_failure(&self) -> bool {
        let is_code = |code: &str| ["lost", "connect", "api_error"].contains(&code);
        match self {
            Came::Broken { code, .. } => is_code(code),
            Came::Refused { status, code, .. } => *status == 502 && is_code(code),
            _ => false,
        }
    }

    /// Refused for want of money: it is spent, or put aside for calls in flight, which end soon.
    pub fn is_poor(&self) -> bool {
        const SPENT: Option<u64> = None;
        const IN_HAND: Option<u64> = Some(5);
        const TOLD: [(u16, &str, Option<u64>); 4] = [
            (429, "insufficient_quota", SPENT),
            (402, "billing_error", SPENT),
            (429, "rate_limit_exceeded", IN_HAND),
            (529, "overloaded_error", IN_HAND),
        ];
        match self {
            Came::Refused {
                status,
                code,
                retry_after,
                ..
            } => TOLD.contains(&(*status, code, *retry_after)),
            _ => false,
        }
    }

    pub fn is_by(&self, name: &str) -> bool {
        matches!(self, Came::Whole { tier, .. } if tier == name)
    }
}

/// Judges the answer to ask `number`.
pub fn judge(number: u64, wire: Wire, heard: &Heard) -> Came {
    let judged = match heard.is_streamed {
        true => streamed(number, wire, heard),
        false => in_one(number, wire, heard),
    };
    judged.unwrap_or_else(|why| Came::Wrong(format!("ask {number}, {wire:?}: {why}\n{heard}")))
}

fn in_one(number: u64, wire: Wire, heard: &Heard) -> Result<Came, String> {
    if heard.is_cut {
        return Ok(Came::Cut);
    }
    let body: Value = serde_json::from_str(&heard.body).map_err(|error| error.to_string())?;
    if heard.status != 200 {
        return Ok(Came::Refused {
            status: heard.status,
            code: error_of(wire, &body)?,
            retry_after: heard.retry_after,
            why: Why::at(heard),
        });
    }
    let (text, finish) = match wire {
        Wire::Chat => (
            &body["choices"][0]["message"]["content"],
            &body["choices"][0]["finish_reason"],
        ),
        Wire::Messages => (&body["content"][0]["text"], &body["stop_reason"]),
    };
    if *text != answer(number).as_str() || !finish.is_string() {
        return Err(format!("{text}, which ended by {finish}"));
    }
    Ok(whole(heard))
}

fn whole(heard: &Heard) -> Came {
    Came::Whole {
        tier: heard.tier.clone(),
        is_unsure: heard.is_unsure,
    }
}

fn streamed(number: u64, wire: Wire, heard: &Heard) -> Result<Came, String> {
    let mut said = Said::default();
    // What a cut left of the last event is none.
    let (events, rest) = heard.body.rsplit_once("\n\n").unwrap_or_default();
    let events = events.split("\n\n").filter(|event| !event.is_empty());
    for event in events {
        let data = event.lines().find_map(|line| line.strip_prefix("data: "));
        match data {
            Some(data) => said.hear(wire, data)?,
            None if event.lines().all(|line| line.starts_with(':')) => {}
            None => return Err(format!("an event without data: {event}")),
        }
    }
    if !rest.is_empty() && !heard.is_cut {
        return Err(format!("half an event: {rest}"));
    }
    let answer = answer(number);
    let is_prefix = answer.starts_with(&said.text);
    match (said.ends, &said.errors[..], heard.is_cut) {
        _ if !is_prefix || said.goes_on => Err(format!("{:?}", said.text)),
        (1, [], _) if said.text == answer && said.finishes == 1 => Ok(whole(heard)),
        (_, [code], false) => Ok(Came::Broken {
            code: code.clone(),
            why: Why::at(heard),
        }),
        (0, [], true) => Ok(Came::Cut),
        _ => Err("no end, or more than one".to_owned()),
    }
}

impl Said {
    fn hear(&mut self, wire: Wire, data: &str) -> Result<(), String> {
        let is_mark = wire == Wire::Chat && data == "[DONE]";
        // An error may be followed by the mark that ends a stream, and by nothing else.
        self.goes_on |= self.ends > 0 || (!self.errors.is_empty() && !is_mark);
        if is_mark {
            self.ends += 1;
            return Ok(());
        }
        let event: Value = serde_json::from_str(data).map_err(|error| error.to_string())?;
        if !event["error"].is_null() {
            self.errors.push(error_of(wire, &event)?);
            return Ok(());
        }
        let (text, finish) = match wire {
            Wire::Chat => (
                &event["choices"][0]["delta"]["content"],
                &event["choices"][0]["finish_reason"],
            ),
            Wire::Messages => (&event["delta"]["text"], &event["delta"]["stop_reason"]),
        };
        self.text += text.as_str().unwrap_or_default();
        self.finishes += usize::from(finish.is_string());
        self.ends += usize::from(event["type"] == "message_stop");
        Ok(())
    }
}

/// The code of an error, which must be as its wire has them.
fn error_of(wire: Wire, body: &Value) -> Result<String, String> {
    let error = &body["error"];
    let (code, is_right) = match wire {
        Wire::Chat => (&error["code"], true),
        Wire::Messages => (&error["type"], body["type"] == "error"),
    };
    let message = error["message"].as_str().unwrap_or_default();
    match code.as_str() {
        Some(code) if is_right && !message.is_empty() => Ok(code.to_owned()),
        _ => Err("an error that its wire does not know".to_owned()),
    }
}

impl fmt::Display for Heard {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "status {}, cut {}: {}",
            self.status, self.is_cut, self.body
        )
    }
}
