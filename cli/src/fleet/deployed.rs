//! What there is of one deployment, and what is to be: from what its replicas and the router say to who begins
//! and who ends.
//!
//! Pure: time and reports come in, steps come out. One that is to end is no replica any more, but its number is
//! taken until it has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use weir_policy::load::{Capacity, ColdStart, RouterLoad, WorkerLoad};
use weir_policy::scale::leaving::Candidate;
use weir_policy::scale::{Bounds, Decision, History, Inputs, decide, inputs, least_to_lose};

use super::Event;
use crate::replica::ReplicaEvent;

/// What somebody said last, and when.
pub(super) type Said<T> = (T, Instant);

/// One deployment and its replicas, by number.
#[derive(Debug)]
pub(crate) struct Deployed {
    name: String,
    /// What demand may make of the count; nothing where the count is fixed.
    scaled: Option<Bounds>,
    wanted: u32,
    /// Demand wakes it from zero, and nothing has come of that yet.
    is_waking: bool,
    history: History,
    replicas: BTreeMap<u32, Replica>,
    /// Those that were told to end.
    leaving: BTreeSet<u32>,
    /// As measured at the last start.
    capacity: Option<Capacity>,
    cold_start: Option<Duration>,
}

#[derive(Debug)]
struct Replica {
    /// When it began, or became what it is.
    since: Instant,
    /// Where it serves, while it does.
    ready: Option<SocketAddr>,
    said: Option<Said<WorkerLoad>>,
}

/// Who begins and who ends, by number.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Steps {
    pub begin: Vec<u32>,
    pub end: Vec<u32>,
}

impl Deployed {
    /// Nothing runs; `wanted` are to.
    pub(crate) fn new(name: String, wanted: u32, scaled: Option<Bounds>) -> Self {
        Self {
            name,
            scaled,
            wanted,
            is_waking: false,
            history: History::default(),
            replicas: BTreeMap::new(),
            leaving: BTreeSet::new(),
            capacity: None,
            cold_start: None,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn wanted(&self) -> u32 {
        self.wanted
    }

    /// Whether there should be a replica and is none. One that sleeps at zero lacks none, nor one that is waking:
    /// asks wait for it.
    pub(super) fn lacks(&self) -> bool {
        self.wanted > 0 && !self.is_waking && self.addresses().is_empty()
    }

    /// What the last start of a replica took.
    pub(super) fn cold_start(&self) -> Option<Duration> {
        self.cold_start
    }

    /// Where it is served.
    pub(super) fn addresses(&self) -> BTreeSet<SocketAddr> {
        let replicas = self.replicas.values();
        replicas.filter_map(|replica| replica.ready).collect()
    }

    /// Takes what is heard of a replica; gives what of that is to be told. Of one that was told to end nothing
    /// is.
    pub(super) fn hear(&mut self, number: u32, event: ReplicaEvent, now: Instant) -> Option<Event> {
        let replica = self.replicas.get_mut(&number)?;
        match event {
            ReplicaEvent::Ready(address) => {
                (replica.ready, replica.since) = (Some(address), now);
                self.is_waking = false;
                Some(Event::Ready(address))
            }
            ReplicaEvent::Gone { reason } => {
                *replica = Replica::at(now);
                self.is_waking = false;
                Some(Event::Gone { reason })
            }
            ReplicaEvent::Load(load) => {
                replica.said = Some((*load, now));
                self.measure();
                None
            }
        }
    }

    /// What is known of a replica is what the youngest one measured, which no other takes back.
    fn measure(&mut self) {
        let ready = self.replicas.values();
        let ready = ready.filter(|replica| replica.ready.is_some());
        let said = ready.filter_map(|replica| Some((replica.since, &replica.said.as_ref()?.0)));
        let Some((_, load)) = said.max_by_key(|(since, _)| *since) else {
            return;
        };
        self.capacity = load.capacity.or(self.capacity);
        self.cold_start = load.cold_start.as_ref().map(total).or(self.cold_start);
    }

    /// One that was told to end has done so.
    pub(super) fn ended(&mut self, number: u32) {
        self.leaving.remove(&number);
    }

    /// Decides how many are wanted, by what the router said last; gives the decision where it changes that.
    /// `at_ms` is `now` by a clock that only goes on.
    pub(super) fn decide(
        &mut self,
        router: Option<&Said<RouterLoad>>,
        (now, at_ms): (Instant, u64),
    ) -> Option<Decision> {
        let bounds = self.scaled?;
        let inputs = self.inputs(router, (now, at_ms));
        let (history, decision) = decide(std::mem::take(&mut self.history), &inputs, &bounds);
        self.history = history;
        self.is_waking |= self.wanted == 0 && decision.to > 0;
        self.wanted = decision.to;
        decision.is_change().then_some(decision)
    }

    fn inputs(&self, router: Option<&Said<RouterLoad>>, (now, at_ms): (Instant, u64)) -> Inputs {
        let said = router.map(|(load, at)| (load, millis(now, *at)));
        let replicas = self.replicas.values().map(|replica| {
            let said = replica.said.as_ref();
            let said = said.map(|(load, at)| (load, millis(now, *at)));
            inputs::Replica::of(replica.ready.is_some(), said)
        });
        let cold_start = self.cold_start.map(|took| took.as_millis());
        Inputs {
            at_ms,
            wanted: self.wanted,
            replicas: replicas.collect(),
            routers: vec![inputs::Router::of(true, said, &self.name)],
            cold_start_ms: cold_start.and_then(|ms| u64::try_from(ms).ok()),
            capacity: self.capacity,
        }
    }

    /// Who has to begin or to end so that there are as many as are wanted. From then on they count as begun, and
    /// as gone.
    pub(super) fn steps(&mut self, now: Instant) -> Steps {
        let wanted = self.wanted as usize;
        let surplus = self.replicas.len().saturating_sub(wanted);
        let candidates: Vec<Candidate> = self
            .replicas
            .iter()
            .map(|(number, replica)| replica.candidate(*number, now))
            .collect();
        let order = least_to_lose(&candidates).into_iter();
        let order = order.filter_map(|name| name.parse::<u32>().ok());
        let end: Vec<u32> = order.take(surplus).collect();
        for number in &end {
            self.replicas.remove(number);
            self.leaving.insert(*number);
        }
        let mut begin = Vec::new();
        while self.replicas.len() < wanted {
            let is_free = |number: &u32| {
                !self.replicas.contains_key(number) && !self.leaving.contains(number)
            };
            let Some(number) = (1..=u32::MAX).find(is_free) else {
                break;
            };
            self.replicas.insert(number, Replica::at(now));
            begin.push(number);
        }
        Steps { begin, end }
    }
}

impl Replica {
    fn at(since: Instant) -> Self {
        Self {
            since,
            ready: None,
            said: None,
        }
    }

    fn candidate(&self, number: u32, now: Instant) -> Candidate {
        let load = self.said.as_ref().map(|(load, _)| load);
        let age_ms = millis(now, self.since);
        Candidate::of(number.to_string(), self.ready.is_some(), load, age_ms)
    }
}

fn total(of: &ColdStart) -> Duration {
    let parts = [of.download_ms, of.load_ms, of.warm_up_ms, of.adapters_ms];
    parts.map(Duration::from_millis).iter().sum()
}

fn millis(now: Instant, then: Instant) -> u64 {
    let age = now.saturating_duration_since(then).as_millis();
    u64::try_from(age).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_policy::load::DeploymentLoad;
    use weir_policy::scale::Reason;

    /// A deployment whose time passes as the test says.
    struct Watched {
        deployed: Deployed,
        began: Instant,
        at: Duration,
        router: RouterLoad,
    }

    impl Watched {
        fn new(wanted: u32, scaled: Option<Bounds>) -> Self {
            let began = Instant::now();
            let mut watched = Self {
                deployed: Deployed::new("triage".into(), wanted, scaled),
                began,
                at: Duration::ZERO,
                router: RouterLoad::default(),
            };
            watched.say(0, 0);
            watched
        }

        fn now(&self) -> Instant {
            self.began + self.at
        }

        /// The router has so many asks at replicas, and holds so many.
        fn say(&mut self, running: u32, held: u32) {
            let load = DeploymentLoad {
                running,
                held,
                asked: 0,
            };
            self.router.deployments.insert("triage".into(), load);
        }

        fn steps(&mut self) -> Steps {
            self.deployed.steps(self.now())
        }

        fn ready(&mut self, number: u32, running: u32) {
            let address = SocketAddr::from(([127, 0, 0, 1], number as u16));
            let now = self.now();
            self.deployed
                .hear(number, ReplicaEvent::Ready(address), now);
            let load = WorkerLoad {
                running,
                capacity: Some(Capacity {
                    sequences: 2,
                    tokens_per_second: 100,
                }),
                cold_start: Some(ColdStart {
                    load_ms: 200,
                    warm_up_ms: 50,
                    ..ColdStart::default()
                }),
                ..WorkerLoad::default()
            };
            let load = ReplicaEvent::Load(Box::new(load));
            self.deployed.hear(number, load, now);
        }

        /// Seconds pass in which everybody says the same again; gives what was decided.
        fn pass(&mut self, seconds: u64) -> Vec<(u32, u32, Reason)> {
            let mut decided = Vec::new();
            for _ in 0..seconds {
                self.at += Duration::from_secs(1);
                let now = self.now();
                for replica in self.deployed.replicas.values_mut() {
                    if let Some((_, at)) = &mut replica.said {
                        *at = now;
                    }
                }
                let said = (self.router.clone(), now);
                let at_ms = self.at.as_millis() as u64;
                let decision = self.deployed.decide(Some(&said), (now, at_ms));
                decided.extend(decision.map(|made| (made.from, made.to, made.reason)));
            }
            decided
        }
    }

    fn bounds(min: u32, max: u32) -> Bounds {
        Bounds {
            min,
            max,
            utilization: 1.0,
            concurrency: None,
            down_after_ms: 4000,
            zero_after_ms: 8000,
        }
    }

    fn begun(numbers: &[u32]) -> Steps {
        Steps {
            begin: numbers.into(),
            ..Steps::default()
        }
    }

    fn ended(numbers: &[u32]) -> Steps {
        Steps {
            end: numbers.into(),
            ..Steps::default()
        }
    }

    #[test]
    fn a_deployment_goes_to_zero_when_nobody_asks_and_comes_back_for_the_first_who_does() {
        let mut watched = Watched::new(1, Some(bounds(0, 2)));
        assert_eq!(watched.steps(), begun(&[1]));
        watched.ready(1, 0);
        assert_eq!(watched.pass(8), []);
        assert_eq!(watched.pass(1), [(1, 0, Reason::ToZero)]);
        assert_eq!(watched.steps(), ended(&[1]));
        watched.say(0, 1);
        assert_eq!(watched.pass(1), [(0, 1, Reason::FromZero)]);
        assert_eq!(watched.steps(), begun(&[2]), "the first has not ended yet");
        assert_eq!(watched.steps(), Steps::default());
    }

    #[test]
    fn a_replica_that_does_not_become_ready_goes_too_when_nobody_asks() {
        let mut watched = Watched::new(1, Some(bounds(0, 2)));
        watched.steps();
        assert_eq!(watched.pass(9), [(1, 0, Reason::ToZero)]);
    }

    #[test]
    fn more_asks_than_places_bring_replicas_up_to_the_most_that_there_may_be() {
        let mut watched = Watched::new(1, Some(bounds(1, 2)));
        watched.steps();
        watched.ready(1, 2);
        watched.say(9, 0);
        let decided = watched.pass(20);
        assert_eq!(decided, [(1, 2, Reason::Demand)]);
        assert_eq!(watched.steps(), begun(&[2]));
    }

    #[test]
    fn the_replica_with_least_to_lose_goes_and_is_served_no_more() {
        let mut watched = Watched::new(3, None);
        watched.steps();
        for (number, running) in [(1, 4), (2, 0), (3, 5)] {
            watched.ready(number, running);
        }
        watched.deployed.wanted = 2;
        assert_eq!(watched.steps(), ended(&[2]));
        let ports = watched.deployed.addresses();
        let ports: Vec<u16> = ports.iter().map(SocketAddr::port).collect();
        assert_eq!(ports, [1, 3]);
        let now = watched.now();
        let gone = ReplicaEvent::Gone {
            reason: "told to".into(),
        };
        assert!(watched.deployed.hear(2, gone, now).is_none());
        watched.deployed.ended(2);
        watched.deployed.wanted = 3;
        assert_eq!(watched.steps(), begun(&[2]), "its number is free again");
    }

    #[test]
    fn a_fixed_count_stays_whoever_asks() {
        let mut watched = Watched::new(2, None);
        assert_eq!(watched.steps(), begun(&[1, 2]));
        watched.say(50, 50);
        assert_eq!(watched.pass(20), []);
        assert_eq!(watched.steps(), Steps::default());
    }

    #[test]
    fn a_replica_that_ended_is_served_no_more_and_still_counts() {
        let mut watched = Watched::new(1, None);
        watched.steps();
        watched.ready(1, 0);
        assert_eq!(watched.deployed.addresses().len(), 1);
        let now = watched.now();
        let gone = ReplicaEvent::Gone {
            reason: "killed".into(),
        };
        let told = watched.deployed.hear(1, gone, now);
        assert!(matches!(told, Some(Event::Gone { .. })), "{told:?}");
        assert!(watched.deployed.addresses().is_empty());
        assert_eq!(watched.steps(), Steps::default(), "it is tried again");
    }

    #[test]
    fn a_deployment_lacks_a_replica_unless_it_sleeps_or_wakes_by_its_own_right() {
        let mut watched = Watched::new(1, Some(bounds(0, 2)));
        watched.steps();
        assert!(watched.deployed.lacks(), "none has been ready");
        watched.ready(1, 0);
        assert!(!watched.deployed.lacks());
        watched.pass(9);
        watched.steps();
        assert!(!watched.deployed.lacks(), "it sleeps");
        watched.say(0, 1);
        watched.pass(1);
        watched.steps();
        assert!(!watched.deployed.lacks(), "it wakes");
        let reason = "killed".into();
        let gone = ReplicaEvent::Gone { reason };
        watched.deployed.hear(2, gone, watched.now());
        assert!(watched.deployed.lacks(), "nobody comes");
    }

    #[test]
    fn what_was_measured_is_known_while_there_is_no_replica() {
        let mut watched = Watched::new(1, Some(bounds(0, 4)));
        watched.steps();
        watched.ready(1, 0);
        watched.pass(9);
        watched.steps();
        let took = watched.deployed.cold_start();
        assert_eq!(took, Some(Duration::from_millis(250)));
        let inputs = watched.deployed.inputs(None, (watched.now(), 0));
        assert_eq!(inputs.cold_start_ms, Some(250));
        assert_eq!(inputs.capacity.map(|of| of.sequences), Some(2));
    }
}
