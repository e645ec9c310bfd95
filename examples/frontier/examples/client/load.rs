//! Clients that come at moments of their own, whatever became of those before them: an answer's time counts
//! from when it should have been asked for, so that a server that falls behind is not spared.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::LocalSet;

use super::http::{Connection, Target};

#[derive(Deserialize)]
pub struct Plan {
    target: Target,
    connections: usize,
    /// Asks a second, at random moments.
    rate: f64,
    seconds: f64,
    /// What comes before is not counted.
    warm_seconds: f64,
    seed: u64,
}

#[derive(Default)]
struct Found {
    first: Vec<f64>,
    last: Vec<f64>,
    /// Between two parts of a stream, as they came.
    gaps: Vec<f64>,
    refused: usize,
    bytes: usize,
    /// The answers that ended while asks were counted, whenever they were asked for.
    within: usize,
}

impl Plan {
    /// Microseconds to the first byte and to the last of the answers, and between their parts, by their shares;
    /// how many there were, and what share of its time this process worked.
    pub async fn run(self) -> Value {
        let (moments, come) = unbounded_channel();
        let come = Rc::new(tokio::sync::Mutex::new(come));
        let found = Rc::new(RefCell::new(Found::default()));
        let request: Rc<[u8]> = self.target.request().into();
        let clients = LocalSet::new();
        let began = Instant::now();
        let counted = began + Duration::from_secs_f64(self.warm_seconds);
        let window = (counted, counted + Duration::from_secs_f64(self.seconds));
        for _ in 0..self.connections {
            let connection = Connection::open(self.target.address).await;
            let (come, found, request) = (come.clone(), found.clone(), request.clone());
            clients.spawn_local(client(connection, request, come, (found, window)));
        }
        let busy = busy();
        let plan = (
            self.rate,
            Duration::from_secs_f64(self.seconds + self.warm_seconds),
            self.seed,
        );
        // On a thread of its own, which sleeps to the moment and not to the next millisecond.
        let timer = std::thread::spawn(move || {
            let (rate, whole, seed) = plan;
            let mut draw = Draw::new(seed);
            let (began, mut after) = (Instant::now(), 0.0);
            loop {
                after -= draw.unit().ln() / rate;
                let due = began + Duration::from_secs_f64(after);
                if due > began + whole {
                    return;
                }
                let now = Instant::now();
                if due > now {
                    std::thread::sleep(due - now);
                }
                if moments.send(due).is_err() {
                    return;
                }
            }
        });
        clients.await;
        timer.join().unwrap();
        let (took, worked) = (began.elapsed().as_secs_f64(), self::busy() - busy);
        let mut found = found.borrow_mut();
        let Found {
            first,
            last,
            gaps,
            refused,
            bytes,
            within,
        } = &mut *found;
        json!({
            "count": last.len(), "refused": refused, "bytes": bytes, "seconds": took, "busy": worked / took,
            "asking": self.seconds, "within": within,
            "first": shares(first), "last": shares(last), "gaps": shares(gaps),
        })
    }
}

/// One connection, which takes the next ask that is due.
async fn client(
    mut connection: Connection,
    request: Rc<[u8]>,
    come: Rc<tokio::sync::Mutex<UnboundedReceiver<Instant>>>,
    (found, (counted, until)): (Rc<RefCell<Found>>, (Instant, Instant)),
) {
    loop {
        let due = come.lock().await.recv().await;
        let Some(due) = due else { return };
        connection.send(&request).await;
        let (mut bytes, mut came) = (0, Vec::new());
        let look = |part: &[u8], now| {
            bytes += part.len();
            came.push(now);
        };
        let times = connection.read(look).await;
        let mut found = found.borrow_mut();
        found.refused += usize::from(due >= counted && times.status != 200);
        let is_within = (counted..until).contains(&times.last);
        found.within += usize::from(is_within && times.status == 200);
        if due >= counted && times.status == 200 {
            found.first.push((times.first - due).as_secs_f64() * 1e6);
            found.last.push((times.last - due).as_secs_f64() * 1e6);
            found.bytes += bytes;
            let gaps = came.windows(2).map(|two| two[1] - two[0]);
            found.gaps.extend(gaps.map(|gap| gap.as_secs_f64() * 1e6));
        }
    }
}

/// Seconds of processor time that this process has used.
fn busy() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat");
    let own: f64 = threads().sum();
    match own > 0.0 {
        true => own,
        false => {
            stat.unwrap()
                .split(' ')
                .next()
                .unwrap()
                .parse::<f64>()
                .unwrap()
                / 1e9
        }
    }
}

fn threads() -> impl Iterator<Item = f64> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks.filter_map(|task| {
        let stat = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        Some(stat.split(' ').next()?.parse::<f64>().ok()? / 1e9)
    })
}

fn shares(values: &mut [f64]) -> Value {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| {
        values.get(((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1)))
    };
    json!({ "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p999": at(0.999), "max": values.last() })
}

/// Numbers that look drawn, the same for the same seed.
struct Draw(u64);

impl Draw {
    /// Numbers of seeds that are close, small ones above all, are far apart from the first on.
    fn new(seed: u64) -> Self {
        let mut draw = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            draw.unit();
        }
        draw
    }

    /// Above 0, and at most 1.
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}
