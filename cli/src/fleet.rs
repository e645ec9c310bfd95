//! The replicas of every deployment, as many as demand says: started and ended as processes of this machine.
//!
//! - What is wanted is decided as in a cluster: every second, and at once where somebody waits and there is
//!   none. What is decided from lies in [`Deployed`], which decides without touching.
//! - A replica is in the router's world while it is ready and stays. One that goes leaves that first, and is
//!   told to end once the router has seen so.
//! - Replicas do not wait for each other: one that cannot start is tried again while others go on.

mod deployed;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use kube::ResourceExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use weir_crds::ColdStartStatus;
use weir_crds::value::duration_text;
use weir_operator::poll;
use weir_policy::load::RouterLoad;
use weir_policy::scale::{Decision, EVERY_MS};
use weir_process::Gate;
use weir_router::World;

use crate::replica::{self, ReplicaEvent, ReplicaSpec};
pub(crate) use deployed::Deployed;
use deployed::Said;

/// Between leaving the router's world and being told to end: by then no ask is on its way there that was sent
/// before.
const NOTICE: Duration = Duration::from_secs(1);

/// What becomes of one deployment.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) deployment: String,
    pub(crate) event: Event,
}

#[derive(Debug)]
pub(crate) enum Event {
    /// A replica serves.
    Ready(SocketAddr),
    /// A replica has ended that was to stay; it is started again.
    Gone { reason: String },
    /// Another number of replicas is wanted.
    Scaled(Decision),
}

/// Everything that runs. Replicas end with it.
pub(crate) struct Fleet {
    crews: Vec<Crew>,
    worlds: watch::Sender<Arc<World>>,
    http: reqwest::Client,
    router: Option<Said<RouterLoad>>,
    began: Instant,
    tasks: JoinSet<()>,
    hearing: mpsc::UnboundedSender<Heard>,
    heard: mpsc::UnboundedReceiver<Heard>,
    tell: mpsc::UnboundedSender<Told>,
    /// Open while no deployment lacks a replica.
    served: Gate,
}

/// One deployment, and what its replicas are started with.
pub(crate) struct Crew {
    deployed: Deployed,
    revision: String,
    spec: ReplicaSpec,
    /// By number: what is sent tells a replica that it goes, what is dropped ends it at once.
    stops: BTreeMap<u32, oneshot::Sender<()>>,
}

impl Crew {
    pub(crate) fn new(deployed: Deployed, revision: String, spec: ReplicaSpec) -> Self {
        Self {
            deployed,
            revision,
            spec,
            stops: BTreeMap::new(),
        }
    }
}

enum Heard {
    Router(RouterLoad),
    Replica {
        of: usize,
        number: u32,
        event: ReplicaEvent,
    },
    /// The last that is heard of one that was to end.
    Ended {
        of: usize,
        number: u32,
    },
}

impl Fleet {
    /// Nothing runs yet. `worlds` is what the router serves, `tell` hears what becomes of deployments, and `served`
    /// is open while none lacks a replica.
    pub(crate) fn new(
        crews: Vec<Crew>,
        (worlds, tell): (watch::Sender<Arc<World>>, mpsc::UnboundedSender<Told>),
        served: Gate,
    ) -> anyhow::Result<Self> {
        let (hearing, heard) = mpsc::unbounded_channel();
        Ok(Self {
            crews,
            worlds,
            http: poll::client().context("make a client for probes")?,
            router: None,
            began: Instant::now(),
            tasks: JoinSet::new(),
            hearing,
            heard,
            tell,
            served,
        })
    }

    /// Keeps as many replicas as are wanted until `stop` resolves, then ends them all, each within its drain.
    /// `admin` is where the router reports.
    pub(crate) async fn keep(
        mut self,
        admin: SocketAddr,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        tokio::pin!(stop);
        let (http, hearing) = (self.http.clone(), self.hearing.clone());
        let address = format!("http://{}/load", reached(admin));
        let asking = poll::ask_on(&http, &address, move |answered| {
            if let Some(load) = answered.ok().and_then(|load| load.router) {
                // Who does not hear it has ended.
                let _ = hearing.send(Heard::Router(load));
            }
        });
        tokio::pin!(asking);
        let mut ticks = interval(Duration::from_millis(EVERY_MS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = &mut stop => break,
                () = &mut asking => {}
                _ = ticks.tick() => self.decide(false),
                Some(heard) = self.heard.recv() => self.hear(heard),
                Some(ended) = self.tasks.join_next() => ended.context("keep a replica")?,
            }
            self.show();
        }
        for crew in &mut self.crews {
            crew.stops.clear();
        }
        while self.tasks.join_next().await.is_some() {}
        Ok(())
    }

    fn hear(&mut self, heard: Heard) {
        let now = Instant::now();
        match heard {
            Heard::Router(load) => {
                let is_held = load.deployments.values().any(|of| of.held > 0);
                self.router = Some((load, now));
                if is_held {
                    self.decide(true);
                }
            }
            Heard::Ended { of, number } => self.crews[of].deployed.ended(number),
            Heard::Replica { of, number, event } => {
                let crew = &mut self.crews[of];
                let deployment = crew.deployed.name().to_owned();
                let event = crew.deployed.hear(number, event, now);
                self.publish(of);
                if let Some(event) = event {
                    // Nobody has to listen.
                    let _ = self.tell.send(Told { deployment, event });
                }
            }
        }
    }

    /// Says whether every deployment is served.
    fn show(&self) {
        let lacking = self.crews.iter().filter(|crew| crew.deployed.lacks());
        let lacking: Vec<&str> = lacking.map(|crew| crew.deployed.name()).collect();
        match lacking.is_empty() {
            true => self.served.open(),
            false => self.served.close(format!("none of {}", lacking.join(", "))),
        }
    }

    /// Decides of all deployments, or only of those that have no replica, and makes it so.
    fn decide(&mut self, only_at_zero: bool) {
        let now = Instant::now();
        let at_ms = u64::try_from((now - self.began).as_millis()).unwrap_or(u64::MAX);
        for of in 0..self.crews.len() {
            let deployed = &mut self.crews[of].deployed;
            if only_at_zero && deployed.wanted() > 0 {
                continue;
            }
            if let Some(decision) = deployed.decide(self.router.as_ref(), (now, at_ms)) {
                let deployment = deployed.name().to_owned();
                let event = Event::Scaled(decision);
                let _ = self.tell.send(Told { deployment, event });
            }
            self.follow(of, now);
        }
    }

    /// Starts and ends what is to be, so that there are as many as are wanted.
    fn follow(&mut self, of: usize, now: Instant) {
        let steps = self.crews[of].deployed.steps(now);
        if !steps.end.is_empty() {
            self.publish(of);
        }
        let crew = &mut self.crews[of];
        for number in steps.end {
            if let Some(stop) = crew.stops.remove(&number) {
                // One that has ended is told nothing.
                let _ = stop.send(());
            }
        }
        for number in steps.begin {
            let (stop, told) = oneshot::channel();
            crew.stops.insert(number, stop);
            let (http, hearing) = (self.http.clone(), self.hearing.clone());
            let last = hearing.clone();
            let tell = move |event| {
                let _ = hearing.send(Heard::Replica { of, number, event });
            };
            let keeping = replica::keep(crew.spec.numbered(number), http, leaves(told), tell);
            self.tasks.spawn(async move {
                keeping.await;
                let _ = last.send(Heard::Ended { of, number });
            });
        }
    }

    /// Writes what there is of a deployment into the world that the router serves.
    fn publish(&self, of: usize) {
        let crew = &self.crews[of];
        let (name, addresses) = (crew.deployed.name(), crew.deployed.addresses());
        let total_text = crew.deployed.cold_start().map(duration_text);
        self.worlds.send_if_modified(|world| {
            let there = world.replicas.get(name);
            let there = there.and_then(|revisions| revisions.get(&crew.revision));
            let mut deployments = world.deployments.iter();
            let place = deployments.position(|deployment| deployment.name_any() == name);
            let told = place.and_then(|place| world.deployments[place].status.as_ref());
            let told = told.and_then(|status| status.cold_start.as_ref());
            let is_told = told.and_then(|told| told.total_text.as_ref()) == total_text.as_ref();
            if there == Some(&addresses) && is_told {
                return false;
            }
            let world = Arc::make_mut(world);
            let revisions = world.replicas.entry(name.to_owned()).or_default();
            revisions.insert(crew.revision.clone(), addresses);
            if let Some(place) = place {
                let deployment = Arc::make_mut(&mut world.deployments[place]);
                let status = deployment.status.get_or_insert_default();
                status.cold_start = total_text.map(|total_text| ColdStartStatus {
                    total_text: Some(total_text),
                    ..ColdStartStatus::default()
                });
            }
            true
        });
    }
}

/// Resolves when a replica is to end: a while after it is told to go, at once where everything ends.
async fn leaves(told: oneshot::Receiver<()>) {
    if told.await.is_ok() {
        sleep(NOTICE).await;
    }
}

/// Where a port is reached that listens at `address`.
fn reached(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        _ => address,
    }
}
