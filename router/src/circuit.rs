//! When an endpoint is left alone: a circuit that opens when it is down, lets one ask through after
//! a pause, and closes when that went well. Pure: the time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// So many failures one after the other mean that it is down, however long they took.
const IN_A_ROW: u32 = 5;
/// Or this share of what ended within the span, if it was so much.
const SPAN: Duration = Duration::from_secs(30);
const LEAST_ENDED: u32 = 20;
const PERCENT: u32 = 50;

/// The first pause; each probe that fails doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

/// How an ask ended, as far as the endpoint is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// It answered, if only with a refusal.
    Well,
    /// It was not reached, was too slow, broke off or failed.
    Down,
    /// Nobody waited for its answer.
    Unknown,
}

/// What may be asked, to be handed back with what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permission {
    Ordinary,
    /// The one ask by which it is seen whether the endpoint is back.
    Probe,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Closed,
    /// Nothing is asked before then.
    Open {
        until: Instant,
    },
    /// One ask is under way, and nothing else is asked.
    Probing,
}

#[derive(Clone, Debug)]
pub(crate) struct Circuit {
    state: State,
    in_a_row: u32,
    /// Of this span and the one before: when it began, what ended in it, and how much of it badly.
    spans: [Span; 2],
    pause: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    began: Instant,
    ended: u32,
    failed: u32,
}

impl Circuit {
    pub fn new(now: Instant) -> Self {
        Self {
            state: State::Closed,
            in_a_row: 0,
            spans: [Span::new(now); 2],
            pause: FIRST_PAUSE,
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// How long nothing may be asked; nothing where something may.
    pub fn closed_to_all(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Open { until } if now < until => Some(until - now),
            State::Closed | State::Open { .. } => None,
            // As long as the probe takes, which is not known.
            State::Probing => Some(Duration::from_secs(1)),
        }
    }

    /// Lets an ask through, or says how long none is. Each permission is to be handed back.
    pub fn ask(&mut self, now: Instant) -> Result<Permission, Duration> {
        if let Some(wait) = self.closed_to_all(now) {
            return Err(wait);
        }
        if self.state == State::Closed {
            return Ok(Permission::Ordinary);
        }
        self.state = State::Probing;
        Ok(Permission::Probe)
    }

    /// An ask has come to this. What was asked before the circuit opened says nothing new.
    pub fn ended(&mut self, now: Instant, permission: Permission, health: Health) {
        match (self.state, permission, health) {
            (State::Closed, _, Health::Well) => self.count(now, false),
            (State::Closed, _, Health::Down) => {
                self.count(now, true);
                if self.is_down() {
                    self.open(now, FIRST_PAUSE);
                }
            }
            (State::Probing, Permission::Probe, Health::Well) => *self = Self::new(now),
            (State::Probing, Permission::Probe, Health::Down) => {
                self.open(now, (self.pause * 2).min(LONGEST_PAUSE));
            }
            (State::Probing, Permission::Probe, Health::Unknown) => {
                self.state = State::Open { until: now };
            }
            _ => {}
        }
    }

    fn open(&mut self, now: Instant, pause: Duration) {
        self.pause = pause;
        self.state = State::Open { until: now + pause };
    }

    fn count(&mut self, now: Instant, has_failed: bool) {
        if now - self.spans[0].began >= SPAN {
            let before = match now - self.spans[0].began < 2 * SPAN {
                true => self.spans[0],
                false => Span::new(now),
            };
            self.spans = [Span::new(now), before];
        }
        let span = &mut self.spans[0];
        span.ended = span.ended.saturating_add(1);
        span.failed = span.failed.saturating_add(u32::from(has_failed));
        self.in_a_row = match has_failed {
            true => self.in_a_row + 1,
            false => 0,
        };
    }

    fn is_down(&self) -> bool {
        let [this, before] = self.spans;
        let ended = this.ended.saturating_add(before.ended);
        let failed = this.failed.saturating_add(before.failed);
        let is_most = u64::from(failed) * 100 >= u64::from(ended) * u64::from(PERCENT);
        self.in_a_row >= IN_A_ROW || (ended >= LEAST_ENDED && is_most)
    }
}

impl Span {
    fn new(began: Instant) -> Self {
        Self {
            began,
            ended: 0,
            failed: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn end(circuit: &mut Circuit, now: Instant, health: Health) {
        let permission = circuit.ask(now).unwrap();
        circuit.ended(now, permission, health);
    }

    /// A circuit that has just opened.
    fn opened(now: Instant) -> Circuit {
        let mut circuit = Circuit::new(now);
        for _ in 0..IN_A_ROW {
            end(&mut circuit, now, Health::Down);
        }
        circuit
    }

    #[test]
    fn it_opens_after_failures_in_a_row_however_far_apart() {
        let mut now = Instant::now();
        let mut circuit = Circuit::new(now);
        for _ in 1..IN_A_ROW {
            end(&mut circuit, now, Health::Down);
            assert_eq!(circuit.state(), State::Closed);
            now += 100 * SECOND;
        }
        end(&mut circuit, now, Health::Down);
        let until = now + FIRST_PAUSE;
        assert_eq!(circuit.state(), State::Open { until });
        assert_eq!(circuit.ask(now + SECOND), Err(FIRST_PAUSE - SECOND));
    }

    #[test]
    fn one_that_answers_in_between_is_not_down_unless_it_fails_half_of_the_time() {
        let now = Instant::now();
        let mut circuit = Circuit::new(now);
        let often = [Health::Well, Health::Down, Health::Well];
        for health in often.into_iter().cycle().take(300) {
            end(&mut circuit, now, health);
        }
        assert_eq!(circuit.state(), State::Closed);
        let mut circuit = Circuit::new(now);
        let half = [Health::Well, Health::Down];
        for health in half.into_iter().cycle().take(LEAST_ENDED as usize) {
            assert_eq!(circuit.state(), State::Closed);
            end(&mut circuit, now, health);
        }
        assert_ne!(circuit.state(), State::Closed);
    }

    #[test]
    fn failures_of_long_ago_are_forgotten() {
        let mut now = Instant::now();
        let mut circuit = Circuit::new(now);
        for health in [Health::Down, Health::Down, Health::Well]
            .into_iter()
            .cycle()
            .take(18)
        {
            end(&mut circuit, now, health);
        }
        now += 2 * SPAN;
        for health in [Health::Well, Health::Well, Health::Down] {
            end(&mut circuit, now, health);
        }
        assert_eq!(circuit.state(), State::Closed);
    }

    #[test]
    fn what_nobody_waited_for_says_nothing() {
        let now = Instant::now();
        let mut circuit = Circuit::new(now);
        for _ in 0..100 {
            end(&mut circuit, now, Health::Unknown);
        }
        assert_eq!(circuit.state(), State::Closed);
    }

    #[test]
    fn after_the_pause_one_ask_probes_and_closes_it() {
        let now = Instant::now();
        let mut circuit = opened(now);
        let later = now + FIRST_PAUSE;
        assert_eq!(circuit.ask(later), Ok(Permission::Probe));
        assert!(circuit.ask(later).is_err(), "one is enough");
        circuit.ended(later, Permission::Ordinary, Health::Well);
        assert_eq!(circuit.state(), State::Probing, "it was asked before");
        circuit.ended(later, Permission::Probe, Health::Well);
        assert_eq!(circuit.ask(later), Ok(Permission::Ordinary));
        // Nothing of before is held against it.
        end(&mut circuit, later, Health::Down);
        assert_eq!(circuit.state(), State::Closed);
    }

    #[test]
    fn each_probe_that_fails_doubles_the_pause_within_reason() {
        let mut now = Instant::now();
        let mut circuit = opened(now);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let State::Open { until } = circuit.state() else {
                panic!("{circuit:?}");
            };
            pauses.push((until - now).as_secs());
            now = until;
            end(&mut circuit, now, Health::Down);
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 120, 120, 120]);
    }

    #[test]
    fn a_probe_that_was_cancelled_makes_room_for_another_one() {
        let now = Instant::now() + FIRST_PAUSE;
        let mut circuit = opened(now - FIRST_PAUSE);
        end(&mut circuit, now, Health::Unknown);
        assert_eq!(circuit.ask(now), Ok(Permission::Probe));
    }
}
