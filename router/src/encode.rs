//! Phase 7: an answer in our words becomes what a client's SDK expects, whole or as a stream. One
//! file for each wire.

mod chat;
mod completions;
mod embeddings;
mod gathered;
mod messages;
mod respond;
mod responses;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::answer::{Begin, End, Event, Piece};
use crate::ask::Ask;
use crate::decision::{Decision, Outcome};
use crate::refusal::Refusal;
use crate::room::Part;
use crate::wire::Wire;
pub(crate) use gathered::{Choice, Gathered};
pub(crate) use respond::{
    begin_headers, json_response, json_text, refuse, respond, stream_response,
};

/// Balancers cut a connection that is silent for a minute.
pub(crate) const PING_EVERY: Duration = Duration::from_secs(10);
/// The longest answer that is gathered for a client that wants it whole, if only at the end of its
/// stream.
const MOST_GATHERED_BYTES: usize = 16 << 20;
/// As many vectors as an endpoint is heard out for: these come whole or not at all.
const MOST_VECTOR_BYTES: usize = 48 << 20;

/// What every part of one answer carries.
#[derive(Clone, Debug)]
struct About {
    /// Of the decision.
    id: String,
    /// The model as the client called it.
    model: String,
    /// Seconds since the epoch.
    created: i64,
    include_usage: bool,
}

/// One wire's words for what happens in an answer. Texts are whole events of a stream.
trait Voice: Send {
    /// An answer begins.
    fn begin(&mut self, begin: &Begin) -> String;
    /// More of it.
    fn piece(&mut self, piece: Piece) -> String;
    /// How many bytes of a stream it keeps, to say them again at its end.
    fn kept_bytes(&self) -> usize {
        0
    }
    /// It is over.
    fn end(&mut self, end: End) -> String;
    /// It broke off, after this much of it.
    fn fail(&mut self, refusal: &Refusal) -> String;
    /// Something to send while nothing happens.
    fn ping(&self) -> &'static str;
    /// Takes of a piece of an answer that is gathered what only this wire has a place for; gives about how
    /// much memory that takes.
    fn gather(&mut self, piece: &mut Piece) -> usize;
    /// What was gathered is void.
    fn restart(&mut self) {}
    /// All of it at once.
    fn whole(&mut self, gathered: Gathered, end: &End) -> Content;
}

/// A whole answer as JSON.
pub(crate) enum Content {
    Text(String),
    /// Made as it is sent.
    Parts(Parts),
}

#[cfg(test)]
impl Content {
    pub fn into_text(self) -> String {
        match self {
            Content::Text(text) => text,
            Content::Parts(parts) => parts.collect(),
        }
    }
}

type Parts = Box<dyn Iterator<Item = String> + Send>;

/// An answer on its way to the client.
pub(crate) struct Encoder {
    voice: Box<dyn Voice>,
    choices: u32,
    /// How much is gathered, and what a client can do that wants more.
    most_bytes: usize,
    instead: &'static str,
    /// How much silence a stream may have.
    ping_every: Duration,
    /// What is gathered takes this.
    room: Part,
    /// Of the ask, which this may refuse although it was answered.
    decision: Option<Arc<Decision>>,
}

/// An answer that was gathered, and what is known about it.
pub(crate) struct Whole {
    pub content: Content,
    /// Until it is sent.
    pub room: Part,
    pub begin: Begin,
    pub end: End,
}

/// A refusal, and whether money was spent before it.
pub(crate) type Refused = (Refusal, bool);

impl Encoder {
    /// For the answer to `ask`, under the decision's id, at `created` seconds since the epoch.
    pub fn new(ask: &Ask, id: &str, created: i64, room: Part) -> Self {
        let about = About {
            id: id.to_owned(),
            model: ask.model.clone(),
            created,
            include_usage: ask.include_usage,
        };
        let voice: Box<dyn Voice> = match ask.wire {
            Wire::Chat => Box::new(chat::Chat::new(about)),
            Wire::Completions => Box::new(completions::Completions::new(about)),
            Wire::Responses => Box::new(responses::Responses::new(about, ask)),
            Wire::Embeddings => Box::new(embeddings::Embeddings::new(about, ask)),
            Wire::Messages => Box::new(messages::Messages::new(about, ask.shows_thinking)),
        };
        let (most_bytes, instead) = match ask.wire {
            Wire::Embeddings => (MOST_VECTOR_BYTES, "send fewer inputs"),
            Wire::Responses if ask.stream => (MOST_GATHERED_BYTES, "ask for a shorter one"),
            _ => (MOST_GATHERED_BYTES, "ask for a stream"),
        };
        Self {
            voice,
            choices: ask.choices,
            most_bytes,
            instead,
            ping_every: PING_EVERY,
            room,
            decision: None,
        }
    }

    /// The same, for an ask with this decision.
    pub fn of(self, decision: Arc<Decision>) -> Self {
        Self {
            decision: Some(decision),
            ..self
        }
    }

    /// Gathers an answer to its end.
    pub async fn whole(mut self, mut events: mpsc::Receiver<Event>) -> Result<Whole, Refused> {
        let mut begin = Begin::default();
        let mut gathered = Gathered::of(self.choices);
        let mut of_the_wire = 0;
        while let Some(event) = events.recv().await {
            match event {
                Event::Begin(begun) => begin = begun,
                Event::Restart => {
                    gathered.clear();
                    self.voice.restart();
                    of_the_wire = 0;
                }
                Event::Piece(mut piece) if piece.choice < self.choices.max(1) => {
                    of_the_wire += self.voice.gather(&mut piece);
                    gathered.add(piece);
                    if let Some(refusal) = self.beyond(gathered.bytes + of_the_wire) {
                        drop(events);
                        let money_was_spent = self.refused(&refusal);
                        return Err((refusal, money_was_spent));
                    }
                }
                Event::Piece(_) => {}
                Event::Fail {
                    refusal,
                    money_was_spent,
                } => return Err((refusal, money_was_spent)),
                Event::End(end) => {
                    return Ok(Whole {
                        content: self.voice.whole(gathered, &end),
                        room: self.room,
                        begin,
                        end,
                    });
                }
            }
        }
        // Whoever had the ask in hand is gone without a word, also of what it spent.
        Err((Refusal::Defect, true))
    }

    /// The body of a stream. `first` is what came while the headers waited.
    pub fn stream(self, first: Option<Event>, events: mpsc::Receiver<Event>) -> Body {
        let streaming = Streaming {
            encoder: self,
            first,
            events,
            is_over: false,
        };
        Body::from_stream(stream::unfold(streaming, |mut streaming| async move {
            let text = streaming.next().await?;
            Some((Ok::<_, Infallible>(text), streaming))
        }))
    }

    /// Why so much is not kept of one answer, if it is not.
    fn beyond(&mut self, bytes: usize) -> Option<Refusal> {
        if bytes > self.most_bytes {
            return Some(Refusal::AnswerTooLarge {
                limit: self.most_bytes,
                instead: self.instead,
            });
        }
        let limit = self.room.room().all();
        (!self.room.grow(bytes)).then_some(Refusal::AnswersTooLarge { limit })
    }

    /// Writes down that the answer ends so; gives whether money was spent on it.
    fn refused(&self, refusal: &Refusal) -> bool {
        let Some(decision) = &self.decision else {
            return true;
        };
        let status = refusal.status().as_u16();
        decision.state().outcome = Outcome::Refused { status };
        decision.money_was_spent()
    }

    /// What one event is on the wire, and whether the stream is over. `None`: whoever had the ask in
    /// hand is gone.
    pub(crate) fn encode(&mut self, event: Option<Event>) -> (String, bool) {
        match event {
            Some(Event::Begin(begin)) => (self.voice.begin(&begin), false),
            // Nothing was shown when this is sent, so nothing has to be taken back.
            Some(Event::Restart) => (String::new(), false),
            Some(Event::Piece(piece)) => {
                let mut text = self.voice.piece(piece);
                let beyond = self.beyond(self.voice.kept_bytes());
                if let Some(refusal) = &beyond {
                    self.refused(refusal);
                    text.push_str(&self.voice.fail(refusal));
                }
                (text, beyond.is_some())
            }
            Some(Event::End(end)) => (self.voice.end(end), true),
            Some(Event::Fail { refusal, .. }) => (self.voice.fail(&refusal), true),
            None => (self.voice.fail(&Refusal::Defect), true),
        }
    }
}

/// A stream on its way to the client.
struct Streaming {
    encoder: Encoder,
    first: Option<Event>,
    events: mpsc::Receiver<Event>,
    is_over: bool,
}

impl Streaming {
    async fn next(&mut self) -> Option<Bytes> {
        // An event that says nothing on this wire is no reason to wake the client, and breaks no
        // silence.
        let ping_at = Instant::now() + self.encoder.ping_every;
        loop {
            if self.is_over {
                return None;
            }
            let event = match self.first.take() {
                Some(first) => Some(first),
                None => match timeout_at(ping_at, self.events.recv()).await {
                    Ok(event) => event,
                    Err(_) => return Some(self.encoder.voice.ping().into()),
                },
            };
            let (text, is_over) = self.encoder.encode(event);
            self.is_over = is_over;
            if !text.is_empty() {
                return Some(text.into());
            }
        }
    }
}

/// Puts a value behind those of a list that is being written; gives how many bytes that took.
fn append(list: &mut String, value: &Value) -> usize {
    let before = list.len();
    if !list.is_empty() {
        list.push(',');
    }
    list.push_str(&text(value));
    list.len() - before
}

/// One event of a stream that has no names for its events.
fn data(value: &impl Serialize) -> String {
    format!("data: {}\n\n", text(value))
}

/// Of what is ours and can be written.
fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests;
