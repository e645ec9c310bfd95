//! Damaged requests and damaged answers, made from recorded exchanges by a seeded generator: none of
//! them is a defect of ours, and what comes of each is bounded.
//!
//! `recorded` holds what clients say on each wire (`.json`) and what the stand-in answered to it
//! (`.sse`).

use std::fmt::Write;

use axum::body::to_bytes;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use weir_crds::Provider;

use super::events::Events;
use super::reader::{Reader, Taken};
use super::tests::endpoint;
use super::{Upstream, request, vectors};
use crate::answer::{Begin, End, Event};
use crate::ask::Ask;
use crate::decode::decode;
use crate::encode::Encoder;
use crate::refusal::{Failure, Refusal};
use crate::room::Room;
use crate::wire::Wire;

/// How many of each recording are made, each answer for four wires; more find more.
const REQUESTS: u32 = 2500;
const ANSWERS: u32 = 400;

macro_rules! recorded {
    ($name:literal) => {
        include_bytes!(concat!("recorded/", $name))
    };
}

const ASKED: [(Wire, &[u8]); 5] = [
    (Wire::Chat, recorded!("chat.json")),
    (Wire::Responses, recorded!("responses.json")),
    (Wire::Messages, recorded!("messages.json")),
    (Wire::Completions, recorded!("completions.json")),
    (Wire::Embeddings, recorded!("embeddings.json")),
];

const ANSWERED: [(Wire, &[u8]); 6] = [
    (Wire::Chat, recorded!("chat.sse")),
    (Wire::Chat, recorded!("chat.text.sse")),
    (Wire::Responses, recorded!("responses.sse")),
    (Wire::Responses, recorded!("responses.text.sse")),
    (Wire::Messages, recorded!("messages.sse")),
    (Wire::Completions, recorded!("completions.sse")),
];

const PROVIDERS: [Provider; 3] = [
    Provider::OpenAICompatible,
    Provider::OpenAI,
    Provider::Anthropic,
];

/// Splitmix64: the same for the same seed, everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// What no text of a wire should have.
const ODD: [&str; 12] = [
    "\\ud800",
    "\\u0000",
    "\0",
    "\u{feff}",
    "1e999",
    "-0",
    "99999999999999999999999999",
    "\"",
    "\n\n",
    "data: ",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "}",
];

/// One to four damages to bytes.
fn damage(dice: &mut Dice, bytes: &mut Vec<u8>) {
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len() + 1);
        let to = (at + dice.below(40)).min(bytes.len());
        match dice.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            1 => bytes.insert(at, dice.next() as u8),
            2 => drop(bytes.drain(at..to)),
            3 => {
                let again = bytes[at..to].to_vec();
                bytes.splice(at..at, again);
            }
            4 => bytes.truncate(at),
            _ => drop(bytes.splice(at..at, dice.of(&ODD).bytes())),
        }
    }
}

/// One value somewhere in `value` becomes another one, or is not there.
fn replace(dice: &mut Dice, value: &mut Value) {
    let stays = dice.below(4) > 0;
    match value {
        Value::Object(members) if stays && !members.is_empty() => {
            let at = dice.below(members.len());
            let name = members.keys().nth(at).cloned().unwrap();
            match dice.below(12) {
                0 => drop(members.shift_remove(&name)),
                _ => replace(dice, &mut members[&name]),
            }
        }
        Value::Array(items) if stays && !items.is_empty() => {
            let at = dice.below(items.len());
            match dice.below(12) {
                0 => drop(items.remove(at)),
                1 => items.push(items[at].clone()),
                _ => replace(dice, &mut items[at]),
            }
        }
        value => *value = other(dice),
    }
}

fn other(dice: &mut Dice) -> Value {
    let deep = (0..100).fold(Value::Null, |inside, _| json!([inside]));
    let values = [
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e300),
        json!(""),
        json!("\0\r\n"),
        json!("x".repeat(5000)),
        json!("function"),
        json!([]),
        json!([null]),
        json!({}),
        json!({ "type": "text" }),
        deep,
    ];
    dice.of(&values).clone()
}

/// A request, damaged in its values or in its bytes.
fn request(dice: &mut Dice, recorded: &[u8]) -> Vec<u8> {
    if dice.below(3) == 0 {
        let mut bytes = recorded.to_vec();
        damage(dice, &mut bytes);
        return bytes;
    }
    let mut body: Value = serde_json::from_slice(recorded).unwrap();
    for _ in 0..=dice.below(3) {
        replace(dice, &mut body);
    }
    body.to_string().into_bytes()
}

/// An answer, damaged in the values of some events or in its bytes.
fn answer(dice: &mut Dice, recorded: &[u8]) -> Vec<u8> {
    let mut bytes = recorded.to_vec();
    if dice.below(3) == 0 {
        damage(dice, &mut bytes);
        return bytes;
    }
    let text = std::str::from_utf8(recorded).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let chosen = [dice.below(lines.len()), dice.below(lines.len())];
    let mut damaged = String::new();
    for (at, line) in lines.iter().enumerate() {
        match line.strip_prefix("data: ").map(serde_json::from_str) {
            Some(Ok(mut event)) if chosen.contains(&at) || chosen.contains(&(at + 1)) => {
                replace(dice, &mut event);
                writeln!(damaged, "data: {event}").unwrap();
            }
            _ => writeln!(damaged, "{line}").unwrap(),
        }
    }
    damaged.into_bytes()
}

/// Holds a request against what may come of it.
fn take_request(wire: Wire, bytes: &[u8]) {
    let shown = || String::from_utf8_lossy(bytes).into_owned();
    let ask = match decode(wire, bytes) {
        Ok(ask) => ask,
        Err(Refusal::Field { field, message }) => {
            assert!(
                !field.is_empty() && field.len() < 300,
                "{field}: {}",
                shown()
            );
            return assert!(message.len() < 300, "{message}");
        }
        Err(Refusal::NotJson(why)) => return assert!(why.len() < 300, "{why}"),
        Err(Refusal::NoThreads | Refusal::NothingStored) => return,
        Err(other) => panic!("{other}: {}", shown()),
    };
    for provider in PROVIDERS {
        let endpoint = endpoint(provider);
        let Some(to) = Upstream::of_endpoint(&endpoint).wire_for(wire) else {
            continue;
        };
        let sent = request::body(to, &endpoint, &ask).to_string();
        // A character of control is six in JSON.
        assert!(
            sent.len() < 8 * bytes.len() + 4096,
            "{} of {}",
            sent.len(),
            bytes.len()
        );
    }
}

/// What a client gets of an answer: as a stream, or whole.
async fn take_answer(dice: &mut Dice, from: Wire, bytes: &[u8], ask: &Ask) {
    let mut events = Events::default();
    let mut reader = Reader::new(from, &endpoint(Provider::OpenAI), ask, true);
    let mut told = vec![Event::Begin(Begin::default())];
    let mut has_failed = false;
    'stream: for part in bytes.chunks(1 + dice.below(4096)) {
        let (read, is_too_long) = events.take(part);
        has_failed |= is_too_long;
        for data in read {
            match reader.take(&data) {
                Ok(Taken::Pieces(pieces)) => told.extend(pieces.into_iter().map(Event::Piece)),
                Ok(Taken::End) => break 'stream,
                Err(_) => has_failed = true,
            }
            if has_failed {
                break 'stream;
            }
        }
    }
    let finish = reader.finish().filter(|_| !has_failed);
    told.push(match finish {
        Some(finish) => Event::End(End {
            stops: finish.stops,
            usage: finish.usage,
            cost: Default::default(),
            score: None,
            is_unsure: false,
            native: finish.native,
        }),
        None => Event::Fail {
            refusal: Refusal::Failed {
                last: Failure::Broken { tier: "t".into() },
                attempts: Vec::new(),
            },
            money_was_spent: true,
        },
    });
    let (sender, received) = mpsc::channel(told.len());
    for event in told {
        sender.try_send(event).expect("there is a place for each");
    }
    let encoder = Encoder::new(ask, "1", 0, Room::of(usize::MAX).part());
    // Each event says again whose answer it is part of.
    let most = 40 * bytes.len() + (64 << 10);
    match ask.stream {
        false => {
            if let Ok(whole) = encoder.whole(received).await {
                let body = whole.content.into_text();
                assert!(body.len() < most);
                serde_json::from_str::<Map<String, Value>>(&body).expect("an object");
            }
        }
        true => {
            let body = to_bytes(encoder.stream(None, received), most).await;
            let body = String::from_utf8(body.expect("bounded").to_vec()).expect("text");
            let lines = body.lines().filter_map(|line| line.strip_prefix("data: "));
            let events = lines.filter(|line| *line != "[DONE]").map(|line| {
                let event = serde_json::from_str::<Map<String, Value>>(line).expect("an object");
                Value::Object(event)
            });
            check_order(ask.wire, events);
        }
    }
}

/// Events come in an order that an SDK can follow.
fn check_order(wire: Wire, events: impl Iterator<Item = Value>) {
    let (mut blocks, mut open) = (0, false);
    for (number, event) in events.enumerate() {
        let kind = event["type"].as_str().unwrap_or_default();
        match (wire, kind) {
            (Wire::Responses, _) => assert_eq!(event["sequence_number"], number, "{event}"),
            (Wire::Messages, "content_block_start") => {
                assert!(!open && event["index"] == blocks, "{event}");
                (blocks, open) = (blocks + 1, true);
            }
            (Wire::Messages, "content_block_delta" | "content_block_stop") => {
                assert!(open && event["index"] == blocks - 1, "{event}");
                open = kind == "content_block_delta";
            }
            (Wire::Messages, "message_delta" | "message_stop") => assert!(!open, "{event}"),
            _ => {}
        }
    }
}

#[test]
fn damaged_requests_are_taken_or_name_what_is_wrong() {
    for (wire, recorded) in ASKED {
        decode(wire, recorded).expect("what was recorded is well");
        for seed in 0..REQUESTS {
            let bytes = request(&mut Dice(seed.into()), recorded);
            take_request(wire, &bytes);
        }
    }
}

#[tokio::test]
async fn damaged_answers_come_to_an_answer_or_an_error_and_to_nothing_else() {
    for (from, recorded) in ANSWERED {
        for (wire, asked) in ASKED.into_iter().take(4) {
            let mut ask = decode(wire, asked).unwrap();
            let mut dice = Dice(7);
            take_answer(&mut dice, from, recorded, &ask).await;
            for seed in 0..ANSWERS {
                let mut dice = Dice(seed.into());
                ask.stream = dice.below(2) == 0;
                let bytes = answer(&mut dice, recorded);
                take_answer(&mut dice, from, &bytes, &ask).await;
            }
        }
    }
}

#[test]
fn damaged_vectors_are_read_or_none() {
    let recorded = recorded!("embeddings.answer.json");
    assert!(vectors::read(recorded, 2).is_some());
    for seed in 0..REQUESTS {
        let bytes = request(&mut Dice(seed.into()), recorded);
        if let Some((piece, finish)) = vectors::read(&bytes, 2) {
            assert_eq!(piece.vectors.len(), 2);
            assert!(finish.usage.prompt < 1 << 30, "{}", finish.usage.prompt);
        }
    }
}
