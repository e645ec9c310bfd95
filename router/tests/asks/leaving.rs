//! Clients that leave, or do not read, in each phase of their ask: nothing is left in hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderMap;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::rig::{QUESTION, Rig, Setup, merge};
use crate::wires::Wire;
use crate::worker::{Play, Reply, Scripted, sure};

fn gone(policy: &str, times: usize) -> String {
    format!("weir_router_asks_total{{policy=\"{policy}\",outcome=\"disconnected\"}} {times}")
}

/// Asks on each wire, whole and as a stream, and leaves when the ask is in hand and `is_reached`.
async fn leave(rig: &Rig, is_reached: impl AsyncFn(usize)) {
    let mut times = 0;
    for wire in Wire::ALL {
        for stream in [false, true] {
            let body = wire.body(QUESTION, stream);
            let ask = async {
                let response = wire.ask(rig, &body, HeaderMap::new()).await;
                response.text().await
            };
            times += 1;
            tokio::select! {
                text = ask => panic!("{wire:?} {stream}: it was answered: {text:?}"),
                () = is_reached(times) => {}
            }
            rig.until_counted("weir_router_asks_running 0").await;
            rig.until_counted(&gone("support", times)).await;
        }
    }
}

/// Waits for what another task does.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..500 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never so: {what}");
}

#[tokio::test]
async fn a_client_that_leaves_while_a_classifier_is_asked_takes_the_question_with_it() {
    let worker = Scripted::start([sure()]).await.chooses(Reply::Never);
    let classifier = json!({ "classifier": {
        "deployment": { "name": "triage" }, "timeout": "20s",
        "labels": [{ "label": "easy", "start": "small" }, { "label": "hard", "start": "frontier" }],
    } });
    let rig = Rig::with(classifier, &[&worker]).await;
    leave(&rig, async |times| {
        until("the classifier is asked", || worker.chosen().len() == times).await;
    })
    .await;
    until("every question is cancelled", || worker.cancelled() == 6).await;
    assert!(worker.asked().is_empty());
}

#[tokio::test]
async fn a_client_that_leaves_before_or_behind_the_first_word_of_a_replica_cancels_it() {
    for script in [vec![Play::Hang], vec![Play::Say("bil", -0.01), Play::Hang]] {
        let worker = Scripted::start([script]).await;
        let rig = Rig::with(json!({ "idleTimeout": "20s" }), &[&worker]).await;
        leave(&rig, async |times| {
            until("the replica is asked", || worker.asked().len() == times).await;
        })
        .await;
        until("every attempt is cancelled", || worker.cancelled() == 6).await;
    }
}

/// What stands between the router and the stand-in, and counts.
struct Between {
    url: String,
    /// Connections of the router that are open.
    open: Arc<AtomicUsize>,
    /// Bytes that the router has taken.
    taken: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Between {
    async fn start(rig: &Rig) -> Self {
        let to = rig.frontier.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let open = Arc::new(AtomicUsize::new(0));
        let taken = Arc::new(AtomicUsize::new(0));
        let counts = (open.clone(), taken.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(&to).await.unwrap();
                connections.spawn(pass(near, far, counts.clone()));
            }
        });
        Self {
            url,
            open,
            taken,
            _tasks: tasks,
        }
    }
}

async fn pass(
    near: TcpStream,
    far: TcpStream,
    (open, taken): (Arc<AtomicUsize>, Arc<AtomicUsize>),
) {
    open.fetch_add(1, Ordering::SeqCst);
    let (mut near_read, mut near_write) = near.into_split();
    let (mut far_read, mut far_write) = far.into_split();
    let back = async {
        let mut page = vec![0; 16 << 10];
        while let Ok(read @ 1..) = far_read.read(&mut page).await {
            if near_write.write_all(&page[..read]).await.is_err() {
                return;
            }
            taken.fetch_add(read, Ordering::SeqCst);
        }
    };
    tokio::select! {
        _ = tokio::io::copy(&mut near_read, &mut far_write) => {}
        () = back => {}
    }
    open.fetch_sub(1, Ordering::SeqCst);
}

/// A router whose asks all go to the stand-in, through [`Between`].
async fn between(policy: Value, args: fn(&mut weir_router::Args)) -> (Rig, Between) {
    let then = json!({ "only": "frontier" });
    let rig = Rig::start(Setup {
        args,
        ..Setup::default()
    })
    .await;
    let between = Between::start(&rig).await;
    let mut all = json!({
        "rules": [{ "name": "up", "when": {}, "then": then }],
        "tiers": [{}, { "endpoint": { "baseUrl": between.url } }],
    });
    merge(&mut all, policy);
    let mut world = crate::rig::world(all, &rig.frontier, &[]);
    let policy = Arc::make_mut(&mut world.policies[0]);
    policy.metadata.generation = Some(2);
    rig.world.send_replace(Arc::new(world));
    rig.until("the second policy is followed", |load| {
        load["policies"]["support"] == 2
    })
    .await;
    (rig, between)
}

#[tokio::test]
async fn a_client_that_leaves_closes_the_connection_to_the_endpoint() {
    for fault in ["stall=60s", "hang-after=0", "hang-after=1"] {
        let (rig, between) = between(json!({}), |_| {}).await;
        rig.frontier_fault(fault).await;
        leave(&rig, async |_| {
            until("the endpoint is asked", || {
                between.open.load(Ordering::SeqCst) == 1
            })
            .await;
            rig.until_counted("weir_router_asks_running 1").await;
        })
        .await;
        until("nothing is open", || {
            between.open.load(Ordering::SeqCst) == 0
        })
        .await;
    }
}
