//! A deployment whose rollouts are played second by second: its objects, its routers, and a leader that can
//! be cut off between any two writes.
//!
//! Pods are made at once and ready one by one, a second each; what routers hear they obey at once. Nothing
//! here is refused, and no write of anybody else comes between.

use std::collections::BTreeMap;

use jiff::Timestamp;
use weir_crds::Rollout;

use super::*;
use crate::load::RevisionLoad;
use crate::rollout::heard::Heard;

/// The deployment, and everybody around it.
pub(super) struct World {
    pub second: i64,
    pub wanted: String,
    pub replicas: u32,
    pub most: u32,
    pub settings: Settings,
    pub order: Option<Order>,
    /// As a ConfigMap has it.
    pub state: Option<String>,
    pub objects: BTreeMap<String, Revision>,
    /// What routers read.
    pub status: Option<(String, Option<String>, u32)>,
    /// Asks a second; and revisions of whose attempts every so-manieth fails.
    pub asks: u64,
    pub fails: BTreeMap<&'static str, u64>,
    /// All asks are of one conversation, which stays where its canary is.
    pub sticks: bool,
    /// A revision whose replicas never get ready.
    pub broken: &'static str,
    counts: BTreeMap<String, RevisionLoad>,
    /// What the leader has in memory.
    heard: Heard,
    memory: Option<State>,
    pub reason: Option<Reason>,
}

/// One write of the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Write {
    State(String),
    Object(Revision),
    Gone(String),
    Status((String, Option<String>, u32)),
}

/// What goes wrong in one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The leader ends before this write, and another begins.
    Crash(usize),
    /// This write is refused, and the leader goes on, but not when it was the state.
    Lost(usize),
}

impl World {
    /// One whose revision `old` has served for long.
    pub fn new(rollout: serde_json::Value) -> Self {
        let mut world = Self::empty(rollout);
        world.wanted = "old".into();
        (0..60).for_each(|_| drop(world.look(None)));
        assert_eq!(world.ready("old"), world.replicas);
        world
    }

    pub fn empty(rollout: serde_json::Value) -> Self {
        let rollout: Rollout = serde_json::from_value(rollout).unwrap();
        Self {
            second: 1_000_000,
            wanted: "new".into(),
            replicas: 3,
            most: 3,
            settings: Settings::read(&rollout).unwrap(),
            order: None,
            state: None,
            objects: BTreeMap::new(),
            status: None,
            asks: 40,
            fails: BTreeMap::new(),
            sticks: false,
            broken: "",
            counts: BTreeMap::new(),
            heard: Heard::default(),
            memory: None,
            reason: None,
        }
    }

    pub fn ready(&self, revision: &str) -> u32 {
        self.objects.get(revision).map_or(0, |object| object.ready)
    }

    /// How many replicas there are that routers send asks to.
    pub fn serving(&self) -> u32 {
        let Some((stable, canary, weight)) = &self.status else {
            return 0;
        };
        let canary = canary.as_ref().filter(|_| *weight > 0);
        let canary = canary.map_or(0, |canary| self.ready(canary));
        self.ready(stable) + canary
    }

    pub fn weight(&self) -> u32 {
        self.status.as_ref().map_or(0, |(_, _, weight)| *weight)
    }

    pub fn stable(&self) -> &str {
        self.status.as_ref().map_or("", |(stable, _, _)| stable)
    }

    pub fn written(&self) -> State {
        let state = self.state.as_ref();
        state.map_or_else(State::default, |json| serde_json::from_str(json).unwrap())
    }

    /// Another leader begins.
    pub fn restart(&mut self) {
        self.heard = Heard::default();
        self.memory = None;
    }

    /// One second: clients ask, pods start, the leader looks. Returns what it had to write.
    pub fn look(&mut self, fault: Option<Fault>) -> Vec<Write> {
        self.second += 1;
        self.ask();
        for object in self.objects.values_mut() {
            object.replicas = object.wanted;
            let more = u32::from(object.name != self.broken);
            object.ready = (object.ready + more).min(object.replicas);
        }
        let before = self.memory.take().unwrap_or_else(|| self.written());
        let next = self.advance(&before);
        let writes = self.writes(&next);
        self.memory = Some(next.state.clone());
        self.reason = Some(next.reason);
        for (index, write) in writes.iter().enumerate() {
            match fault {
                Some(Fault::Crash(at)) if at == index => {
                    self.restart();
                    break;
                }
                Some(Fault::Lost(at)) if at == index => {
                    if matches!(write, Write::State(_)) {
                        // Nothing is done on the strength of what is not written.
                        self.restart();
                        break;
                    }
                }
                _ => self.write(write.clone()),
            }
        }
        writes
    }

    fn advance(&mut self, before: &State) -> Next {
        let reports = [("run", &self.counts)];
        let news = self.heard.news(reports);
        let revisions: Vec<Revision> = self.objects.values().cloned().collect();
        let facts = Facts {
            wanted: &self.wanted,
            spec: &self.wanted,
            replicas: self.replicas,
            most: self.most,
            revisions: &revisions,
            order: self.order.as_ref(),
            news: &news,
        };
        let now = Timestamp::from_second(self.second).unwrap();
        advance(before, &self.settings, &facts, now)
    }

    /// What the leader writes, in its order, so that the world is what the target says.
    fn writes(&self, next: &Next) -> Vec<Write> {
        let mut writes = Vec::new();
        let written = self.state.as_ref().map(|_| self.written());
        if next.state.is_worth_writing(written.as_ref()) {
            writes.push(Write::State(serde_json::to_string(&next.state).unwrap()));
        }
        let target = &next.target;
        let canary = target
            .canary
            .iter()
            .map(|name| (name, false, target.replicas.canary));
        let stable = (&target.stable, true, target.replicas.stable);
        for (name, is_stable, replicas) in canary.chain([stable]) {
            let known = self.objects.get(name);
            let object = Revision {
                name: name.clone(),
                is_stable,
                wanted: replicas,
                created: Timestamp::from_second(self.second).unwrap(),
                ..known.cloned().unwrap_or_default()
            };
            let is_so = known.is_some_and(|is| is.is_stable == is_stable && is.wanted == replicas);
            if !is_so {
                writes.push(Write::Object(object));
            }
        }
        let named = |name: &String| target.stable == *name || target.canary.as_ref() == Some(name);
        let status = (target.stable.clone(), target.canary.clone(), target.weight);
        // Routers have heard that it is neither: it may go.
        let gone = self.objects.keys().filter(|name| !named(name));
        if self.status.as_ref() == Some(&status) {
            writes.extend(gone.cloned().map(Write::Gone));
        } else {
            writes.push(Write::Status(status));
        }
        writes
    }

    fn write(&mut self, write: Write) {
        match write {
            Write::State(json) => self.state = Some(json),
            Write::Object(object) => drop(self.objects.insert(object.name.clone(), object)),
            Write::Gone(name) => drop(self.objects.remove(&name)),
            Write::Status(status) => self.status = Some(status),
        }
    }

    /// A second's asks, as routers send them.
    fn ask(&mut self) {
        let Some((stable, canary, weight)) = self.status.clone() else {
            return;
        };
        let canary = canary.filter(|name| weight > 0 && self.ready(name) > 0);
        let part = if self.sticks { 100 } else { u64::from(weight) };
        let of_canary = canary.as_ref().map_or(0, |_| self.asks * part / 100);
        let sent = [(Some(stable), self.asks - of_canary), (canary, of_canary)];
        for (revision, asks) in sent {
            let Some(name) = revision.filter(|name| self.ready(name) > 0) else {
                continue;
            };
            let every = self.fails.get(name.as_str()).copied().unwrap_or(1000);
            let load = self.counts.entry(name).or_default();
            load.asks += asks;
            load.errors = load.asks / every;
            load.judged = load.asks;
        }
    }
}
