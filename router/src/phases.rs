//! The phases of an ask one at a time, for `benches/phases.rs` to time: a door, and no part of what this
//! crate promises. Nothing is decided here.

use std::hint::black_box;
use std::time::{Duration, Instant};

use http::HeaderMap;
use jiff::Timestamp;
use weir_cascade::{Attempt, AttemptRecord, Config, FinishReason, Token};
use weir_policy::json::most_values;
use weir_policy::rules::{Evaluation, Length, first_match};
use weir_policy::tier::{Endpoint, Tier};
use weir_policy::validate::Settings;

use crate::answer::{Begin, Event};
use crate::ask::Ask;
use crate::attempt::phases;
use crate::decision::{AttemptLine, COMMITTED, Decision, Outcome, Step, Whom};
use crate::encode::Encoder;
use crate::plan;
use crate::room::Room;
use crate::route::facts::Gathered;
use crate::wire::Wire;

/// An ask, decoded.
pub struct Asked(Ask);

/// What came of an endpoint, for one client.
#[derive(Clone)]
pub struct Answered(Vec<Event>);

/// The decision on an ask that is over.
pub struct Decided(Decision);

impl Asked {
    /// What a body of `wire`, one of the words of records, says.
    pub fn decode(wire: &str, body: &[u8]) -> Result<Self, String> {
        let mut wires = Wire::ALL.into_iter();
        let wire = wires
            .find(|known| known.word() == wire)
            .ok_or("no such wire")?;
        black_box(most_values(body));
        let ask = crate::decode::decode(wire, body).map_err(|refusal| refusal.to_string())?;
        Ok(Self(ask))
    }

    /// The first rule that matches; nothing where none does, or it hangs on the number of tokens.
    pub fn rule<'a>(&self, settings: &'a Settings, headers: &HeaderMap) -> Option<&'a str> {
        let facts = Gathered::new(&self.0, headers, None);
        let length = Length::Bytes(facts.prompt_bytes());
        match first_match(&settings.rules, &facts, length) {
            Evaluation::Matched { rule, .. } => Some(&rule.name),
            Evaluation::NoMatch | Evaluation::NeedsTokens => None,
        }
    }

    /// How many tiers a plan over all of them has, and why each of them is in it or is not.
    pub fn plan(&self, settings: &Settings, headers: &HeaderMap) -> Result<usize, String> {
        let course = plan::plan(settings, &settings.tiers, &self.0, headers);
        let course = course.map_err(|refusal| refusal.to_string())?;
        Ok(plan::steps(settings, &course, &self.0).0.len())
    }

    /// What the endpoint is sent; nothing where it has no words for the ask.
    pub fn request(&self, endpoint: &Endpoint) -> Option<String> {
        phases::request(endpoint, &self.0)
    }

    /// Reads what the endpoint answered with, event by event; nothing where it is no answer.
    pub fn read(&self, endpoint: &Endpoint, answer: &[u8]) -> Option<Answered> {
        let (pieces, end) = phases::read(endpoint, &self.0, answer)?;
        let pieces = pieces.into_iter().map(Event::Piece);
        let begin = [Event::Begin(Begin::default())];
        let events = begin.into_iter().chain(pieces).chain([Event::End(end)]);
        Some(Answered(events.collect()))
    }

    /// Writes an answer on the ask's own wire, event by event; how many bytes that makes.
    pub fn write(&self, answered: Answered) -> usize {
        let room = Room::of(usize::MAX).part();
        let mut encoder = Encoder::new(&self.0, "01JD0000000000000000000000", 0, room);
        let events = answered.0.into_iter();
        events
            .map(|event| black_box(encoder.encode(Some(event)).0).len())
            .sum()
    }
}

impl Answered {
    pub fn events(&self) -> usize {
        self.0.len()
    }
}

impl Decided {
    /// On an ask that went to all tiers of `settings` in their order, of which the last answered; those
    /// before it gave evidence.
    pub fn over(settings: &Settings) -> Self {
        let decision = Decision::new(
            "01JD0000000000000000000000".into(),
            Instant::now(),
            Timestamp::now(),
        );
        {
            let mut state = decision.state();
            state.wire = Wire::Chat.word();
            state.model = "assistant".into();
            state.policy = "support".into();
            state.tenant = "0123456789abcdef".into();
            state.is_streamed = true;
            state.routed.by = "order";
            state.finish = vec!["stop"];
            state.first_byte = Some(Duration::from_millis(12));
            let last = settings.tiers.last().map(Tier::name).unwrap_or_default();
            for tier in &settings.tiers {
                let is_last = tier.name() == last;
                state.plan.push(Step::new(tier.name(), "above"));
                state.attempts.push(AttemptLine {
                    tier: tier.name().to_owned(),
                    whom: Whom::at(tier),
                    outcome: if is_last { COMMITTED } else { "dropped" },
                    tokens_in: 120,
                    tokens_out: 40,
                    cost: "0.00012".into(),
                    judged: (!is_last).then(judged),
                    ..AttemptLine::default()
                });
            }
            state.outcome = Outcome::Answered {
                tier: last.to_owned(),
                is_unsure: false,
            };
        }
        Self(decision)
    }

    /// Its record in one line.
    pub fn line(&self) -> String {
        self.0.record(true).json()
    }
}

/// Of an answer of so many tokens.
const JUDGED_TOKENS: usize = 16;

fn judged() -> AttemptRecord {
    let mut attempt = Attempt::new(Config::default(), Default::default());
    let token = Token {
        logprob: -0.7,
        margin: 0.4,
        entropy: Some(1.1),
        ..Token::default()
    };
    for _ in 0..JUDGED_TOKENS {
        attempt.observe(&token);
        attempt.checkpoint();
    }
    attempt.finish(FinishReason::Stop);
    attempt.record()
}
