//! An answer that is written down while the client is told it, and kept if it may be given again.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Answer, Cache, Key, MOST_ANSWER_BYTES, Models};
use crate::answer::{Begin, End, Event, Piece, Stop};
use crate::room::Part;

/// Dropping it before the end leaves nothing.
pub(crate) struct Recording {
    cache: Arc<Cache>,
    terms: Terms,
    heard: Heard,
    bytes: usize,
    /// Of the memory for answers that are still written.
    room: Part,
    /// There was no room for it, or it has ended.
    is_over: bool,
}

/// What is kept, and for how long.
pub(crate) struct Terms {
    pub key: Key,
    pub keep: Duration,
    pub models: Models,
    /// The id of the decision.
    pub decision: String,
}

#[derive(Default)]
struct Heard {
    begin: Option<Begin>,
    pieces: Vec<Piece>,
}

impl Recording {
    pub fn new(cache: Arc<Cache>, terms: Terms) -> Self {
        Self {
            room: cache.in_the_making.part(),
            cache,
            terms,
            heard: Heard::default(),
            bytes: 0,
            is_over: false,
        }
    }

    /// Hears what the client is told; at its end, by which `revision` it was said.
    pub fn hear(&mut self, event: &Event, revision: &str) {
        if self.is_over {
            return;
        }
        match event {
            Event::Begin(begin) => self.heard.begin = Some(begin.clone()),
            Event::Piece(piece) => self.add(piece),
            Event::Restart => self.forget(),
            Event::End(end) => self.end(end, revision),
            Event::Fail { .. } => self.give_up(),
        }
    }

    fn add(&mut self, piece: &Piece) {
        self.bytes += piece.bytes();
        if self.bytes > MOST_ANSWER_BYTES || !self.room.grow(self.bytes) {
            return self.give_up();
        }
        self.heard.pieces.push(piece.clone());
    }

    fn end(&mut self, end: &End, revision: &str) {
        let heard = mem::take(&mut self.heard);
        if let Some(begin) = heard.begin
            && self.terms.models.have(revision)
            && may_be_kept(&begin, &heard.pieces, end)
        {
            let mut pieces = heard.pieces;
            pieces.shrink_to_fit();
            let answer = Answer {
                decision: self.terms.decision.clone(),
                begin,
                pieces,
                end: end.clone(),
            };
            let Terms { key, keep, .. } = self.terms;
            self.cache.put(key, answer, keep, Instant::now());
        }
        self.give_up();
    }

    fn give_up(&mut self) {
        self.forget();
        self.is_over = true;
    }

    fn forget(&mut self) {
        self.heard = Heard::default();
        self.bytes = 0;
        self.room.clear();
    }
}

/// Only what is sure, whole and an answer is worth being said again; and what was given in the place of
/// another only as long as there is no money for that.
fn may_be_kept(begin: &Begin, pieces: &[Piece], end: &End) -> bool {
    let is_sure = !begin.is_unsure && !end.is_unsure;
    let is_whole = |stop: &Stop| matches!(stop, Stop::Turn | Stop::Sequence(_) | Stop::Calls);
    let is_answer = pieces.iter().all(|piece| piece.refusal.is_empty());
    is_sure && !begin.is_local && is_answer && end.stops.iter().all(is_whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn piece(text: &str) -> Event {
        Event::Piece(Piece {
            text: text.to_owned(),
            ..Piece::default()
        })
    }

    fn end(stop: Stop) -> End {
        End {
            stops: vec![stop],
            ..End::default()
        }
    }

    /// What is kept after `events`, of which revision `1` is known.
    fn kept(cache: &Arc<Cache>, events: &[Event], revision: &str) -> Option<String> {
        let terms = Terms {
            key: [0; 32],
            keep: HOUR,
            models: Models::with_revision("1"),
            decision: "a1".into(),
        };
        let mut recording = Recording::new(cache.clone(), terms);
        for event in events {
            recording.hear(event, revision);
        }
        drop(recording);
        let all = cache.in_the_making.all();
        assert!(
            cache.in_the_making.part().grow(all),
            "nothing is left behind"
        );
        let answer = cache.find(&[0; 32], HOUR, Instant::now())?;
        Some(
            answer
                .pieces
                .iter()
                .map(|piece| piece.text.as_str())
                .collect(),
        )
    }

    fn kept_of(events: &[Event], revision: &str) -> Option<String> {
        kept(&Arc::new(Cache::new(64 << 20)), events, revision)
    }

    fn answer(begin: Begin, said: Event, end: End) -> [Event; 3] {
        [Event::Begin(begin), said, Event::End(end)]
    }

    #[test]
    fn a_whole_answer_is_kept_as_it_was_told_in_the_end() {
        let mut events = vec![
            Event::Begin(Begin::default()),
            piece("lost"),
            Event::Restart,
        ];
        events.extend(answer(Begin::default(), piece("bil"), end(Stop::Turn)));
        events.insert(5, piece("ling"));
        assert_eq!(kept_of(&events, "1").as_deref(), Some("billing"));
        assert!(kept_of(&events[..6], "1").is_none(), "its end did not come");
    }

    #[test]
    fn what_nobody_could_rely_on_is_not_kept() {
        let unsure = Begin {
            is_unsure: true,
            ..Begin::default()
        };
        let local = Begin {
            is_local: true,
            ..Begin::default()
        };
        let unsure_end = End {
            is_unsure: true,
            ..end(Stop::Turn)
        };
        let refused = Event::Piece(Piece {
            refusal: "no".into(),
            ..Piece::default()
        });
        let (sure, said) = (Begin::default(), || piece("a"));
        for (events, revision) in [
            (answer(unsure, said(), end(Stop::Turn)), "1"),
            (answer(local, said(), end(Stop::Turn)), "1"),
            (answer(sure.clone(), said(), unsure_end), "1"),
            (answer(sure.clone(), said(), end(Stop::Length)), "1"),
            (answer(sure.clone(), said(), end(Stop::Context)), "1"),
            (answer(sure.clone(), said(), end(Stop::Refusal)), "1"),
            (answer(sure.clone(), said(), end(Stop::Pause)), "1"),
            (answer(sure.clone(), refused, end(Stop::Turn)), "1"),
            (answer(sure.clone(), said(), end(Stop::Turn)), "2"),
        ] {
            assert_eq!(kept_of(&events, revision), None, "{events:?}");
        }
        let kept = kept_of(&answer(sure, said(), end(Stop::Calls)), "");
        assert_eq!(kept.as_deref(), Some("a"), "an endpoint has no revision");
    }

    #[test]
    fn an_answer_that_is_too_long_or_finds_no_room_is_given_up() {
        let long = piece(&"x".repeat(MOST_ANSWER_BYTES));
        assert!(kept_of(&answer(Begin::default(), long, end(Stop::Turn)), "1").is_none());
        let small = Arc::new(Cache::new(8 << 10));
        let half = || piece(&"x".repeat(1500));
        let events = answer(Begin::default(), half(), end(Stop::Turn));
        assert!(kept(&small, &events, "1").is_some());
        let mut events = events.to_vec();
        events.insert(1, half());
        let small = Arc::new(Cache::new(8 << 10));
        assert!(kept(&small, &events, "1").is_none());
    }
}
